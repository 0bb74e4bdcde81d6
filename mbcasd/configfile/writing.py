"""Settings → text of a configuration file. Only commands write one; the daemon never imports this module."""

import textwrap
from typing import Any

from mbcasd.configfile.keys import KEYS, SECTIONS, WORKLOAD, WORKLOAD_KEYS, about_section
from mbcasd.configfile.loading import LoadedSettings, load

WIDTH = 80  # columns of the file

_HEAD = """\
# Settings of mbcasd. Every key stands here with its default; what you delete
# keeps it. MBCAS_<SECTION>_<KEY> in the environment overrides this file, flags
# override both.
#
#   mbcasctl config validate FILE         is it right?
#   mbcasctl config show --config FILE    what is in force, and who says so?
#   mbcasctl config explain KEY           what does it mean?
"""

_EXAMPLE_RULE = {
    "match": "web-*",
    "floor": "200m",
    "cap": "2000m",
    "weight": 2.0,
    "class": "latency",
    "slo_p99": "100ms",
}


def default_text(role: str = "local") -> str:
    """A complete file with a role's defaults, each key explained above it."""
    defaults = load(None, {}, {}, role).settings
    parts = [_HEAD]
    for section in SECTIONS:
        parts.append(f"\n{_comment(about_section(section))}[{section}]\n")
        for key in KEYS:
            if key.section == section:
                shown = key.kind.show(key.of(defaults))
                line = f"# {key.name} =\n" if shown is None else _line(key.name, shown)
                parts.append(f"{_comment(f'{key.why} ({key.kind.form})')}{line}")
    parts.append(f"\n{_comment(about_section(WORKLOAD))}")
    rules = [_comment(f"{key.name}: {key.why} ({key.kind.form})", indent="  ") for key in WORKLOAD_KEYS]
    example = "".join(f"# {_line(name, value)}" for name, value in _EXAMPLE_RULE.items())
    parts.append(f"{''.join(rules)}#\n# [[workload]]\n{example}")
    return "".join(parts)


def text_in_force(loaded: LoadedSettings) -> str:
    """A file that says what is in force, with the source of each value beside it."""
    lines: list[str] = []
    for section in SECTIONS:
        lines.append(f"{chr(10) if lines else ''}[{section}]")
        for key in KEYS:
            if key.section == section:
                shown = key.kind.show(key.of(loaded.settings))
                said = f"# {key.name} is not set" if shown is None else _line(key.name, shown).rstrip("\n")
                lines.append(f"{said:<40} # {loaded.sources[key.dotted]}")
    for index, rule in enumerate(loaded.settings.workloads):
        lines.append("\n[[workload]]")
        for key in WORKLOAD_KEYS:
            source = loaded.sources.get(f"{WORKLOAD}[{index}].{key.name}")
            if source is not None:
                said = _line(key.name, key.kind.show(key.read(rule))).rstrip("\n")
                lines.append(f"{said:<40} # {source}")
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:  # noqa: ANN401
    import tomli_w

    if isinstance(value, dict):  # tomli_w would open a table of its own
        inner = ", ".join(_line(key, part).rstrip("\n") for key, part in value.items())
        return f"{name} = {{ {inner} }}\n"
    return tomli_w.dumps({name: value})


def _comment(said: str, indent: str = "") -> str:
    """A comment of as many lines as it takes."""
    wrapped = textwrap.wrap(said, WIDTH - 2, subsequent_indent=indent)
    return "".join(f"# {line}\n" for line in wrapped)
