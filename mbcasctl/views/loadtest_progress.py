"""A running load test on a screen, or as one line at a time; pure."""

from collections.abc import Mapping

from rich.text import Text

from mbcasctl.loadtest.counters import CgroupFigures
from mbcasctl.loadtest.experiment import Progress
from mbcasctl.loadtest.workloads import ANSWERING, NOISE, Regime
from mbcasctl.views import style
from mbcasctl.views.text import Glyphs, bar, milli, percent
from mbcasd.model.snapshot import WorkloadSnapshot
from mbcasd.units import MILLI_PER_CPU

_WHO = {
    Regime.FIXED: "fixed limits, as their owner set them",
    Regime.GENEROUS: "generous limits, the whole node for everybody",
    Regime.MBCAS: "mbcasd moves the limits",
}
_BAR_CELLS = 22
_NAMES = (*ANSWERING, *(spec.name for spec in NOISE))


def clock(seconds: float) -> str:
    """Write minutes and seconds as 02:05."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def screen(progress: Progress, glyphs: Glyphs, cpus: int) -> list[Text]:
    """The live table: usage as a bar of the node's CPUs, the limit as a mark on it."""
    who = f"{progress.number}/{progress.of}  {_WHO[progress.regime]}"
    when = f"{clock(progress.elapsed_s)} of {clock(progress.total_s)}"
    lines = [
        style.line(f"{who:<64}{when:>16}", style.TITLE),
        style.line(f"     {progress.phase}, {progress.rate_rps:.3g} requests per second{_market(progress)}"),
        style.line(),
        style.line(
            f"WORKLOAD   {'':{_BAR_CELLS + 1}} {'USAGE':>6} {'LIMIT':>6} {'THROT':>6} {'NEED':>6}  HELD BY",
            style.QUIET,
        ),
    ]
    rows = {row.name: row for row in progress.snapshot.workloads} if progress.snapshot else {}
    lines += [
        _row(name, progress.recent[name], rows.get(name), glyphs, cpus) for name in _NAMES if name in progress.recent
    ]
    return lines


def _market(progress: Progress) -> str:
    shown = progress.snapshot
    if shown is None or shown.market_mode is None:
        return ""
    price = "" if shown.price is None else f", price {shown.price:.2g}"
    return f"; market {shown.market_mode}{price}"


def _row(name: str, seen: CgroupFigures, row: WorkloadSnapshot | None, glyphs: Glyphs, cpus: int) -> Text:
    limit_milli = seen.mean_limit_milli
    used = bar(seen.usage_milli, _BAR_CELLS, cpus * MILLI_PER_CPU, glyphs).ljust(_BAR_CELLS + 1)
    if limit_milli is not None:
        at = min(_BAR_CELLS, round(limit_milli / (cpus * MILLI_PER_CPU) * _BAR_CELLS))
        used = used[:at] + glyphs.mark + used[at + 1 :]
    line = style.line(f"{name:<10} {used} {milli(seen.usage_milli):>6} {milli(limit_milli):>6} ")
    line.append(f"{percent(seen.throttled_ratio):>5}%", style=style.throttling(seen.throttled_ratio))
    if row is not None:
        line.append(f" {milli(row.need_milli):>6}  {row.held_by}")
    return line


def words(progress: Progress) -> str:
    """One line for a log: the services that somebody waits for, with usage of limit and throttling."""
    parts = [_brief(name, progress.recent) for name in ANSWERING if name in progress.recent]
    return f"{clock(progress.elapsed_s)} {progress.regime.value:8} {progress.phase:10}  " + "  ".join(parts)


def _brief(name: str, recent: Mapping[str, CgroupFigures]) -> str:
    seen = recent[name]
    limit = "∞" if seen.mean_limit_milli is None else f"{seen.mean_limit_milli:.0f}"
    return f"{name} {seen.usage_milli:.0f}/{limit}m {seen.throttled_ratio:.0%}"
