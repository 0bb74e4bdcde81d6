"""All receipts of a record, computed again: what `mbcasctl verify` does."""

from collections.abc import Callable
from dataclasses import dataclass

from mbcasd.accounting import chain, receipts
from mbcasd.accounting.reading import RecordReader, read_row


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedReceipt:
    """A receipt that does not hold."""

    number: int  # its place in the chain
    receipt_id: str
    decided_wall_s: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What came out."""

    record: str
    node: str
    runs: int
    receipts: int
    dropped: int  # receipts before the first one, dropped for their age or for room
    first_wall_s: float | None  # None: there are none
    last_wall_s: float | None
    failed: tuple[FailedReceipt, ...]
    chain_problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every receipt holds and none is missing."""
        return not self.failed and not self.chain_problems


def _dropped_meanwhile(reader: RecordReader, tail: chain.End, number: int) -> chain.End:
    """The chain's tail now, if the daemon dropped what is missing before this number; else the one known before."""
    now, _ = reader.ends()
    return now if now.number >= number - 1 else tail


def audit(reader: RecordReader, on_progress: Callable[[int], None] = lambda _: None) -> Audit:
    """Verify every receipt of a record, and the chain that binds them.

    Args:
        reader: The record; the daemon may go on writing to it.
        on_progress: Called after each receipt with how many are done.

    Raises:
        RecordError: The record itself cannot be read.
    """
    # The ends are read first: what the daemon drops or adds meanwhile is no breach.
    tail, head = reader.ends()
    inspector = chain.Inspector(tail, head)
    runs = reader.runs()
    failed: list[FailedReceipt] = []
    breaches: list[str] = []
    first_wall_s = last_wall_s = None
    count = 0
    for row in reader.rows():
        if row.number > head.number:
            break
        if row.number != inspector.last.number + 1:
            tail = _dropped_meanwhile(reader, tail, row.number)
            if tail.number == row.number - 1:
                inspector = chain.Inspector(tail, head)
        count += 1
        first_wall_s = row.wall_s if first_wall_s is None else first_wall_s
        last_wall_s = row.wall_s
        breaches += inspector.inspect(row)
        written = read_row(row)
        problems = (written.problem,) if written.receipt is None else receipts.verify(written.receipt)
        if written.problem and written.receipt is not None:
            problems = (written.problem, *problems)
        if problems:
            failed.append(
                FailedReceipt(
                    number=row.number, receipt_id=row.receipt_id, decided_wall_s=row.wall_s, problems=problems
                )
            )
        on_progress(count)
    if _dropped_meanwhile(reader, tail, head.number + 1).number < head.number:
        breaches += inspector.finish()
    return Audit(
        record=str(reader.path),
        node=runs[-1].node if runs else "",
        runs=len(runs),
        receipts=count,
        dropped=tail.number,
        first_wall_s=first_wall_s,
        last_wall_s=last_wall_s,
        failed=tuple(failed),
        chain_problems=tuple(breaches),
    )
