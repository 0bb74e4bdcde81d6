"""What `mbcasctl verify` found, as text and as data; pure."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mbcasctl.views import style
from mbcasctl.views.text import UNICODE, clean
from mbcasd.accounting.audit import Audit

# More than this many rows help nobody; `-o json` has them all.
_MOST_ROWS = 20


def as_data(audit: Audit) -> dict[str, object]:
    """The audit for `-o json` and `-o yaml`."""
    return {
        "record": audit.record,
        "node": audit.node,
        "holds": audit.holds,
        "runs": audit.runs,
        "receipts": audit.receipts,
        "verified": audit.receipts - len(audit.failed),
        "dropped_before": audit.dropped,
        "first_wall_s": audit.first_wall_s,
        "last_wall_s": audit.last_wall_s,
        "failed": [
            {
                "number": failed.number,
                "receipt_id": failed.receipt_id,
                "decided_wall_s": failed.decided_wall_s,
                "problems": list(failed.problems),
            }
            for failed in audit.failed
        ],
        "chain": {"holds": not audit.chain_problems, "problems": list(audit.chain_problems)},
    }


def as_table(audit: Audit, *, wide: bool = False) -> RenderableType:
    """The audit for people; wide shows every failed receipt with all that is wrong with it."""
    parts: list[RenderableType] = [Text(_headline(audit), style=style.TITLE), Text()]
    if audit.receipts == 0 and not audit.chain_problems:
        parts.append(Text("There are no receipts yet: the market has not been cleared, so there is nothing to verify."))
        return Group(*parts)
    parts += [_receipts_line(audit), _chain_line(audit)]
    parts += [Text(f"    {clean(problem)}") for problem in audit.chain_problems[: None if wide else _MOST_ROWS]]
    if audit.failed:
        parts += [Text(), _failed_table(audit, wide=wide)]
        if not wide and len(audit.failed) > _MOST_ROWS:
            parts.append(Text(f"and {len(audit.failed) - _MOST_ROWS} more; -o wide shows all", style=style.QUIET))
    return Group(*parts)


def _headline(audit: Audit) -> str:
    runs = "1 run" if audit.runs == 1 else f"{audit.runs} runs"
    span = ""
    if audit.first_wall_s is not None and audit.last_wall_s is not None:
        span = f", decided {_shown(audit.first_wall_s)} to {_shown(audit.last_wall_s)}"
    node = f"  {clean(audit.node)}" if audit.node else ""
    return f"{clean(audit.record)}{node}  {runs}{span}"


def _receipts_line(audit: Audit) -> Text:
    good = audit.receipts - len(audit.failed)
    if not audit.failed:
        words = f"{good} of {audit.receipts} receipts hold: cleared again, every number agrees within 1e-9"
        return _verdict(True, words)
    return _verdict(False, f"{len(audit.failed)} of {audit.receipts} receipts do not hold")


def _chain_line(audit: Audit) -> Text:
    if audit.chain_problems:
        return _verdict(False, "the chain of receipts is broken:")
    earlier = f" ({audit.dropped} earlier ones were dropped for age or room)" if audit.dropped else ""
    return _verdict(True, f"the chain is whole: none is missing, none was exchanged{earlier}")


def _verdict(good: bool, words: str) -> Text:
    mark, colour = (UNICODE.yes, style.GOOD) if good else (UNICODE.no, style.BAD)
    return Text.assemble((f"  {mark} ", colour), words)


def _failed_table(audit: Audit, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style=style.TITLE)
    table.add_column("NUMBER", justify="right", no_wrap=True)
    table.add_column("RECEIPT", no_wrap=True)
    table.add_column("DECIDED", no_wrap=True)
    table.add_column("WHAT IS WRONG", overflow="fold")
    for failed in audit.failed[: None if wide else _MOST_ROWS]:
        problems = failed.problems if wide else failed.problems[:1]
        more = f" (and {len(failed.problems) - 1} more)" if not wide and len(failed.problems) > 1 else ""
        wrong = clean("; ".join(problems)) + more
        table.add_row(str(failed.number), clean(failed.receipt_id), _shown(failed.decided_wall_s), Text(wrong))
    return table


def _shown(wall_s: float) -> str:
    try:
        return datetime.fromtimestamp(wall_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "no date"  # an altered row may say anything
