"""What `mbcasctl restore` did, as text and as data; pure."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mbcasctl.views import style
from mbcasctl.views.text import UNICODE, clean
from mbcasd.host.restore import RestoredCgroup, RestoreReport, RestoreResult
from mbcasd.units import format_cpu_milli

_LOOKS = {
    RestoreResult.RESTORED: (UNICODE.yes, style.GOOD, "put back"),
    RestoreResult.AS_OWNED: (UNICODE.yes, style.GOOD, "was so already"),
    RestoreResult.LEFT_ALONE: ("!", style.HELD, "left alone"),
    RestoreResult.GONE: (UNICODE.dot, style.QUIET, "gone"),
    RestoreResult.FAILED: (UNICODE.no, style.BAD, "FAILED"),
}


def as_data(report: RestoreReport, state_dir: str) -> dict[str, object]:
    """The report for `-o json` and `-o yaml`; a limit of null is an unlimited one."""
    return {
        "state_dir": state_dir,
        "all_as_owned": not report.failed,
        "cgroups": [
            {
                "cgroup": entry.cgroup,
                "result": entry.result.value,
                "owner_limit_milli": entry.owner.limit_milli,
                "found": None if entry.found is None else {"limit_milli": entry.found.limit_milli},
                "detail": entry.detail,
            }
            for entry in report.cgroups
        ],
        "notes": list(report.notes),
    }


def as_table(report: RestoreReport, state_dir: str) -> RenderableType:
    """The report for people: one line per cgroup, reasons below, a sentence at the end."""
    parts: list[RenderableType] = []
    if report.cgroups:
        parts.append(_table(report.cgroups))
        parts += [Text(clean(f"  {entry}"), style=_LOOKS[entry.result][1]) for entry in report.cgroups if entry.detail]
    parts += [Text(clean(f"note: {note}"), style=style.QUIET) for note in report.notes]
    parts.append(Text(_summary(report, state_dir), style=style.TITLE))
    return Group(*parts)


def _table(entries: tuple[RestoredCgroup, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style=style.TITLE)
    table.add_column("")
    table.add_column("CGROUP", overflow="fold")
    table.add_column("FOUND", justify="right", no_wrap=True)
    table.add_column("OWNER'S", justify="right", no_wrap=True)
    table.add_column("RESULT", no_wrap=True)
    for entry in entries:
        mark, colour, words = _LOOKS[entry.result]
        found = UNICODE.none if entry.found is None else format_cpu_milli(entry.found.limit_milli)
        table.add_row(
            Text(mark, style=colour),
            Text(clean(entry.cgroup)),
            found,
            format_cpu_milli(entry.owner.limit_milli),
            Text(words, style=colour),
        )
    return table


def _summary(report: RestoreReport, state_dir: str) -> str:
    if not report.cgroups:
        return clean(f"Nothing to put back: no limit of MBCAS is noted in {state_dir}.")
    if report.failed:
        count = len(report.failed)
        return f"{count} limit{'' if count == 1 else 's'} could not be put back; run it again once the reason is gone."
    count = len(report.restored)
    return f"{count} limit{'' if count == 1 else 's'} put back; every limit is its owner's again."
