"""Defaults, file, environment and flags, laid over each other → Settings, and where each value came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mbcasd.configfile import aliases, judging, reading
from mbcasd.configfile.keys import (
    BY_DOTTED,
    KEYS,
    NOT_IN_FORCE_YET,
    ONLY_ON_KUBERNETES,
    ROLE_DEFAULTS,
    SECTIONS,
    WORKLOAD,
    WORKLOAD_KEYS,
)
from mbcasd.configfile.reading import Entry
from mbcasd.errors import ConfigError
from mbcasd.settings import Settings, WorkloadRule

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """What is in force, and why."""

    settings: Settings
    sources: Mapping[str, str]  # dotted key → "default", "mbcasd.toml, line 7", "MBCAS_MARKET_OVERCOMMIT", "flag"

    def without_effect(self, *, on_kubernetes: bool = True) -> list[str]:
        """One line for each setting that was changed, but does nothing in this version, or on a plain host."""
        defaults = Settings()
        idle = dict.fromkeys(NOT_IN_FORCE_YET, "in this version")
        if not on_kubernetes:
            idle |= dict.fromkeys(ONLY_ON_KUBERNETES, "on a plain host")
        return [
            f"{self.sources[key.dotted]}: {key.dotted} has no effect {idle[key.dotted]}"
            for key in KEYS
            if key.dotted in idle and key.of(self.settings) != key.of(defaults)
        ]


@dataclass(frozen=True, slots=True)
class _Given:
    """One accepted value."""

    value: Any
    source: str


def load(
    path: str | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    role: str = "local",
) -> LoadedSettings:
    """Merge all places where a setting can be given; flags win over the environment, that over the file.

    Every place is judged as a whole, also values that another place overrides.

    Args:
        path: The configuration file; None: there is none.
        environ: The environment; of it `MBCAS_<SECTION>_<KEY>` counts.
        flags: Dotted key → value; None: this flag was not given.
        role: Whose defaults apply where they differ.

    Raises:
        ConfigError: Anything is wrong; the message has one line per problem, each with place, name and remedy.
    """
    problems: list[str] = []
    merged: dict[str, _Given] = {}
    rules: dict[int, dict[str, _Given]] = {}
    from_file = reading.entries(reading.read_text(path), path) if path is not None else []
    from_role = ROLE_DEFAULTS.get(role, {}).items()
    layers: tuple[list[Entry], ...] = (
        [Entry(name=name, value=value, source=f"{DEFAULT} of mbcasd {role}") for name, value in from_role],
        from_file,
        list(_from_environment(environ, problems)),
        [Entry(name=name, value=value, source="flag") for name, value in flags.items() if value is not None],
    )
    for layer in layers:
        accepted, layer_rules = _accept(layer, problems)
        merged |= accepted
        rules |= layer_rules

    settings = _settings(merged, rules)
    sources = {key.dotted: merged[key.dotted].source if key.dotted in merged else DEFAULT for key in KEYS} | {
        f"{WORKLOAD}[{index}].{name}": given.source for index, rule in rules.items() for name, given in rule.items()
    }
    if not problems:
        for complaint, at_odds in judging.contradictions(settings):
            place = next((s for key in at_odds if not (s := sources.get(key, DEFAULT)).startswith(DEFAULT)), DEFAULT)
            problems.append(f"{place}: {complaint}")
    if problems:
        raise ConfigError("\n".join(problems))
    return LoadedSettings(settings=settings, sources=sources)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[Entry]:
    """The variables that name a section of ours.

    Others that begin with MBCAS_ are left alone: Kubernetes puts MBCAS_AGENT_SERVICE_HOST and the like into every
    container beside a Service of that name.
    """
    known = {key.variable: key.dotted for key in KEYS}
    for variable, value in sorted(environ.items()):
        if variable in known:
            yield Entry(name=known[variable], value=value, source=variable)
        elif variable.startswith(tuple(f"MBCAS_{section.upper()}_" for section in SECTIONS)):
            section, _, name = variable.removeprefix("MBCAS_").lower().partition("_")
            guess = judging.unknown(f"{section}.{name}").partition("; did you mean ")[2].rstrip("?")
            remedy = f"did you mean {BY_DOTTED[guess].variable}?" if guess in BY_DOTTED else "unset it"
            problems.append(f"environment: {variable} is not a setting; {remedy}")


def _accept(layer: list[Entry], problems: list[str]) -> tuple[dict[str, _Given], dict[int, dict[str, _Given]]]:
    """Check the names and values of one place; what is wrong goes to `problems`."""
    accepted: dict[str, _Given] = {}
    rules: dict[int, dict[str, _Given]] = {}
    for entry in layer:
        if entry.name in SECTIONS and entry.value == {}:
            continue  # a section whose keys are all commented out
        alias = aliases.find(entry.name)
        names = alias.keys if alias else (entry.name,)
        for name in names:
            key = BY_DOTTED.get(name)
            if key is None or (key.section == WORKLOAD) != (entry.rule is not None):
                problems.append(f"{entry.source}: {_not_a_setting(entry)}")
                continue
            into = accepted if entry.rule is None else rules.setdefault(entry.rule, {})
            short = name if entry.rule is None else key.name
            if short in into:
                problems.append(f"{entry.source}: {name} is already set by {into[short].source}; remove one")
                continue
            try:
                value = key.kind.parse(alias.convert(entry.value) if alias else entry.value)
            except ValueError as err:
                problems.append(f"{entry.source}: {entry.name}: {err}")
            else:
                into[short] = _Given(value, entry.source)
    return accepted, rules


def _not_a_setting(entry: Entry) -> str:
    if entry.name in SECTIONS:
        return f"{entry.name} is a section: write its keys under [{entry.name}]"
    if entry.name.startswith(f"{WORKLOAD}.") and entry.rule is None:
        return f"{entry.name} belongs into a [[workload]] entry of the file"
    return judging.unknown(entry.name)


def _settings(merged: Mapping[str, _Given], rules: Mapping[int, Mapping[str, _Given]]) -> Settings:
    """Build the settings; what was refused stays at its default."""
    settings = Settings()
    for section in SECTIONS:
        arguments: dict[str, Any] = {}
        for key in KEYS:
            if key.section == section and key.dotted in merged:
                arguments |= key.assign(merged[key.dotted].value)
        if arguments:
            settings = replace(settings, **{section: replace(getattr(settings, section), **arguments)})
    workloads = []
    for index in sorted(rules):
        arguments = {}
        for key in WORKLOAD_KEYS:
            if key.name in rules[index]:
                arguments |= key.assign(rules[index][key.name].value)
        workloads.append(WorkloadRule(**({"match": ""} | arguments)))
    return replace(settings, workloads=tuple(workloads))
