"""What no single key can tell: settings that contradict each other, and names that nobody knows."""

from collections.abc import Iterator
from typing import NamedTuple

from mbcasd.configfile import aliases
from mbcasd.configfile.keys import BY_DOTTED, SECTIONS, WORKLOAD
from mbcasd.configfile.kinds import legible, nearest
from mbcasd.settings import Settings
from mbcasd.units import format_cpu_milli, format_duration

# The guardrail must not fire at the throttling that is aimed for; a third leaves room for chance.
GUARD_OVER_TARGET = 3.0


class Contradiction(NamedTuple):
    """Settings that cannot be in force together."""

    complaint: str  # one line, with values and remedy
    keys: tuple[str, ...]  # dotted, the likeliest culprit first


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """What does not fit together; nothing when all is well."""
    yield from _loops(settings)
    yield from _guardrail(settings)
    learning = settings.learning
    if learning.target_min_ratio > learning.target_max_ratio:
        yield Contradiction(
            f"learning.target_min {learning.target_min_ratio:g} is above "
            f"learning.target_max {learning.target_max_ratio:g}",
            ("learning.target_min", "learning.target_max"),
        )
    yield from _workloads(settings)


def _loops(settings: Settings) -> Iterator[Contradiction]:
    in_order = (
        ("loops.hot_sampling_interval", "loops.sampling_interval"),
        ("loops.hot_sampling_interval", "loops.fast_loop_interval"),
        ("loops.fast_loop_interval", "loops.slow_loop_interval"),
        ("loops.sampling_interval", "demand.window"),
    )
    for shorter, longer in in_order:
        shorter_s, longer_s = BY_DOTTED[shorter].of(settings), BY_DOTTED[longer].of(settings)
        if shorter_s > longer_s:
            yield Contradiction(
                f"{shorter} {format_duration(shorter_s)} is longer than {longer} {format_duration(longer_s)}, "
                "which cannot be kept then",
                (shorter, longer),
            )


def _guardrail(settings: Settings) -> Iterator[Contradiction]:
    guard = settings.guardrail
    in_force = "cost.target_throttling" if settings.cost.cost_efficiency_mode else "demand.target_throttling"
    target = (settings.cost if settings.cost.cost_efficiency_mode else settings.demand).target_throttling_ratio
    if guard.enabled and guard.fast_up_threshold_ratio < GUARD_OVER_TARGET * target * (1 - 1e-9):
        yield Contradiction(
            f"guardrail.fast_up_threshold {guard.fast_up_threshold_ratio:g} is less than {GUARD_OVER_TARGET:g} times "
            f"{in_force} {target:g}, so it would fire at what is aimed for: set it to "
            f"{GUARD_OVER_TARGET * target:g} or more, or lower the target",
            ("guardrail.fast_up_threshold", in_force, "cost.cost_efficiency_mode", "guardrail.enabled"),
        )
    if guard.step_min > guard.step_max:
        yield Contradiction(
            f"guardrail.step_min {guard.step_min:g} is above guardrail.step_max {guard.step_max:g}",
            ("guardrail.step_min", "guardrail.step_max"),
        )
    yield from _latency(settings)


def _latency(settings: Settings) -> Iterator[Contradiction]:
    guard = settings.guardrail
    queries = [f"{WORKLOAD}[{index}].slo_query" for index, rule in enumerate(settings.workloads) if rule.slo_query]
    if guard.slo_query is not None:
        queries.insert(0, "guardrail.slo_query")
    if queries and guard.prometheus_url is None:
        yield Contradiction(f"{queries[0]} needs guardrail.prometheus_url, the server to ask", (queries[0],))
    if guard.prometheus_url is not None and not queries:
        yield Contradiction(
            "guardrail.prometheus_url needs guardrail.slo_query, what to ask for (or a [[workload]] with its own)",
            ("guardrail.prometheus_url",),
        )
    if guard.slo_staleness_s < guard.slo_period_s:
        yield Contradiction(
            f"guardrail.slo_staleness {format_duration(guard.slo_staleness_s)} is shorter than guardrail.slo_period "
            f"{format_duration(guard.slo_period_s)}, so a latency would be forgotten before it counts",
            ("guardrail.slo_staleness", "guardrail.slo_period"),
        )


def _workloads(settings: Settings) -> Iterator[Contradiction]:
    seen: dict[str, int] = {}
    for index, rule in enumerate(settings.workloads):
        here = f"{WORKLOAD}[{index}]"
        floor, cap = rule.floor_milli, rule.cap_milli
        if floor is not None and cap is not None and floor > cap:
            yield Contradiction(
                f"{here} ({legible(rule.match)}): floor {format_cpu_milli(floor)} is above cap {format_cpu_milli(cap)}",
                (f"{here}.floor", f"{here}.cap"),
            )
        if cap is not None and cap < settings.resize.minimum_milli:
            yield Contradiction(
                f"{here} ({legible(rule.match)}): cap {format_cpu_milli(cap)} is below "
                f"resize.minimum {format_cpu_milli(settings.resize.minimum_milli)}, the smallest limit there is",
                (f"{here}.cap", "resize.minimum"),
            )
        if rule.match in seen:
            yield Contradiction(
                f"{here} ({legible(rule.match)}): workload[{seen[rule.match]}] has the same match and counts first; "
                "remove one",
                (f"{here}.match",),
            )
        seen.setdefault(rule.match, index)


def unknown(name: str) -> str:
    """Say that this is not a setting, with the nearest name that is; `name` as written, with its section if any."""
    section, dot, key = name.partition(".")
    if dot and section not in {*SECTIONS, WORKLOAD} and (near := nearest(section, (*SECTIONS, WORKLOAD))):
        section = near
    same_name = [dotted for dotted, known in BY_DOTTED.items() if known.name == (key or section)]
    if f"{section}.{key}" in BY_DOTTED:
        remedy = f"did you mean {section}.{key}?"
    elif same_name:
        remedy = f"did you mean {same_name[0]}?"
    elif near := nearest(f"{section}{dot}{key}", (*BY_DOTTED, *aliases.ALIASES)):
        remedy = f"did you mean {near}?"
    elif section in SECTIONS:
        remedy = f"`mbcasctl config explain {section}` lists those of its section"
    else:
        remedy = "`mbcasctl config explain` lists all"
    return f"{legible(name)} is not a setting; {remedy}"
