"""What a load test found, as lines for people; pure.

Figures are shown as they are, also where MBCAS is worse.
"""

from collections.abc import Callable, Sequence

from rich.text import Text

from mbcasctl.loadtest.figures import SLO_S
from mbcasctl.loadtest.results import LoadtestResult, RegimeResult, Stretch
from mbcasctl.loadtest.workloads import ANSWERING, NOISE, Regime
from mbcasctl.views import style
from mbcasd.units import MILLI_PER_CPU, format_duration

_TITLES = {Regime.FIXED: "fixed limits", Regime.GENEROUS: "generous limits", Regime.MBCAS: "MBCAS"}
_NOISE = tuple(spec.name for spec in NOISE)

# The share of the CPUs that the rest of the machine may use without a word.
_QUIET = 0.15

# Smaller differences between two runs say nothing.
_SAME_WITHIN = 0.05

_NONE = "–"


def title(regime: RegimeResult) -> str:
    """What a column is called; a daemon that did not enforce is named for what it did."""
    name = _TITLES[Regime(regime.regime)]
    return name if regime.daemon_mode in {None, "enforce"} else f"{name} ({regime.daemon_mode})"


def throttled(stretch: Stretch, names: Sequence[str]) -> float | None:
    """Share of the periods in which these workloads wanted to run and were throttled, 0 to 1."""
    chosen = [stretch.workloads[name] for name in names if name in stretch.workloads]
    periods = sum(done.periods for done in chosen)
    return sum(done.throttled_periods for done in chosen) / periods if periods else None


def milliseconds(value: float | None) -> str:
    """Write a wait in at most five cells without its unit, as 41 or, from ten seconds on, 12.3s."""
    if value is None:
        return _NONE
    return f"{value:.0f}" if value < 9_999.5 else f"{value / 1000:.1f}s"


def percent(ratio: float | None) -> str:
    """Write a ratio as percent: 0.4 %, 38 %."""
    if ratio is None:
        return _NONE
    return f"{ratio * 100:.1f} %" if ratio < 0.0995 else f"{ratio * 100:.0f} %"


def better(before: float | None, after: float | None) -> Text:
    """Say how a wait changed, in words that leave no doubt about the direction."""
    if not before or not after:
        return Text(_NONE)
    factor = before / after
    if abs(factor - 1) < _SAME_WITHIN:
        return Text("about the same")
    if factor > 1:
        return Text(f"{factor:.1f}× better", style=style.GOOD)
    return Text(f"{1 / factor:.1f}× worse", style=style.BAD)


def relative(before: float | None, after: float | None) -> Text:
    """Say how an amount changed, without judging it."""
    if not before or after is None:
        return Text(_NONE)
    percent_more = round((after / before - 1) * 100)
    return Text(f"{percent_more:+d} %".replace("-", "−") if percent_more else "the same")


def comparison(before: RegimeResult, after: RegimeResult) -> list[Text]:
    """Two regimes side by side over the whole test: the demo's last screen."""
    old, new = before.total, after.total
    lines = [_row("", title(before), title(after), Text("change"), colour=style.TITLE)]
    for name in ANSWERING:
        was, now = old.latencies[name], new.latencies[name]
        lines.append(
            _row(
                f"{name:9} p50 / p99",
                f"{milliseconds(was.p50_ms)} / {milliseconds(was.p99_ms)} ms",
                f"{milliseconds(now.p50_ms)} / {milliseconds(now.p99_ms)} ms",
                better(was.p99_ms, now.p99_ms),
            )
        )
    was, now = old.latencies[ANSWERING[-1]], new.latencies[ANSWERING[-1]]
    lines += [
        _row(f"answers over {SLO_S * 1000:.0f} ms", percent(was.over_slo_ratio), percent(now.over_slo_ratio)),
        _row(
            "noise     work done",
            f"{old.noise_core_s:.1f} core-s",
            f"{new.noise_core_s:.1f} core-s",
            relative(old.noise_core_s, new.noise_core_s),
        ),
        _row("throttled: services", percent(throttled(old, ANSWERING)), percent(throttled(new, ANSWERING))),
        _row("throttled: noise", percent(throttled(old, _NOISE)), percent(throttled(new, _NOISE))),
        _row(
            "allocated (mean)",
            _milli(old.allocated_milli),
            _milli(new.allocated_milli),
            relative(old.allocated_milli, new.allocated_milli),
        ),
        _row("used (mean)", _milli(old.used_milli), _milli(new.used_milli), relative(old.used_milli, new.used_milli)),
        _row("limit changes", _changes(before, old), _changes(after, new), _restarts(after)),
    ]
    return lines


def disturbance(regimes: Sequence[RegimeResult], cpus: int) -> Text | None:
    """What to say when the rest of the machine was so busy that the figures show it; None when it was not."""
    others_milli = max((regime.others_milli or 0.0 for regime in regimes), default=0.0)
    if others_milli < _QUIET * cpus * MILLI_PER_CPU:
        return None
    words = f"Not a quiet machine: other processes used up to {others_milli:.0f}m of {cpus * MILLI_PER_CPU}m meanwhile."
    return style.line(words, style.HELD)


def _row(label: str, was: str, now: str, change: Text | None = None, *, colour: str = "") -> Text:
    line = style.line(f"  {label:21} {was:>17} {now:>17}", colour)
    return line if change is None else line.append("   ").append_text(change)


def _milli(value: float | None) -> str:
    return "unlimited" if value is None else f"{value:.0f}m"


def _changes(regime: RegimeResult, stretch: Stretch) -> str:
    return str(stretch.limit_changes) if regime.regime == Regime.MBCAS.value else _NONE


def _restarts(regime: RegimeResult) -> Text:
    return Text(f"{regime.restarts} restarts", style=style.BAD if regime.restarts else "")


def report(result: LoadtestResult) -> list[Text]:
    """All phases under all regimes: `loadtest report`."""
    each = format_duration(round(sum(phase.duration_s for phase in result.phases), 1))
    lines = [
        style.line(
            f"Load test on {result.cpus} CPUs, seed {result.seed}, {result.arrivals} arrivals, {each} per regime"
        ),
        style.line(f"(times × {result.time_scale:.3g}, rates × {result.rate_scale:.3g}); {result.started_at}"),
    ]
    for index, phase in enumerate(result.phases):
        spikes = "" if phase.spike_rate_rps is None else f", spikes of {phase.spike_rate_rps:.3g}"
        head = f"{phase.name}: {format_duration(round(phase.duration_s, 1))} at {phase.rate_rps:.3g} rps{spikes}"
        lines += [style.line(), *_block(head, result.regimes, lambda regime, i=index: regime.phases[i])]  # type: ignore[misc]
    if len(result.phases) > 1:
        lines += [style.line(), *_block("all phases", result.regimes, lambda regime: regime.total)]
    lines += [note for regime in result.regimes for note in _notes(regime)]
    disturbed = disturbance(result.regimes, result.cpus)
    return lines if disturbed is None else [*lines, disturbed]


def _block(head: str, regimes: Sequence[RegimeResult], pick: Callable[[RegimeResult], Stretch]) -> list[Text]:
    stretches = [pick(regime) for regime in regimes]
    lines = [style.line(head, style.TITLE), _cells("", [title(regime) for regime in regimes], style.QUIET)]
    for name in ANSWERING:
        waits = [stretch.latencies[name] for stretch in stretches]
        lines.append(
            _cells(
                f"{name:8} p50/95/99 ms",
                ["/".join(map(milliseconds, (wait.p50_ms, wait.p95_ms, wait.p99_ms))) for wait in waits],
            )
        )
        lines.append(_cells(f"{'':8} over {SLO_S * 1000:.0f} ms", [percent(wait.over_slo_ratio) for wait in waits]))
        if any(wait.unanswered for wait in waits):
            lines.append(_cells(f"{'':8} unanswered", [str(wait.unanswered) for wait in waits]))
    lines += [
        _cells("noise    work done", [f"{stretch.noise_core_s:.1f} core-s" for stretch in stretches]),
        _cells("throttled: services", [percent(throttled(stretch, ANSWERING)) for stretch in stretches]),
        _cells("throttled: noise", [percent(throttled(stretch, _NOISE)) for stretch in stretches]),
        _cells("allocated, mean", [_milli(stretch.allocated_milli) for stretch in stretches]),
        _cells("used, mean", [_milli(stretch.used_milli) for stretch in stretches]),
        _cells("limit changes", [_changes(r, s) for r, s in zip(regimes, stretches, strict=True)]),
    ]
    return lines


def _cells(label: str, values: Sequence[str], colour: str = "") -> Text:
    return style.line(f"  {label:22}" + "".join(f"{value:>18}" for value in values), colour)


def _notes(regime: RegimeResult) -> list[Text]:
    """What a reader must know to trust the figures."""
    name, notes = title(regime), []
    if regime.daemon_cpu_milli is not None:
        back = "the owner's limits are back" if regime.limits_restored else "the owner's limits are NOT back"
        notes.append(f"{name}: mbcasd used {regime.daemon_cpu_milli:.0f}m of CPU; {back} after its end")
    notes.append(
        f"{name}: {regime.restarts} restarts; 99 % of requests sent within {regime.generator_late_p99_ms:.1f} ms"
    )
    return [style.line(f"  {note}", style.QUIET) for note in notes]
