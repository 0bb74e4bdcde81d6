"""Reading a record: what `explain`, `verify`, `replay` and `top --record` know about the past.

Opens the file read-only, also while the daemon writes. Everything is read in pages and no transaction stays open
between them, so that a slow reader never keeps the daemon's log from being folded back.

`since_s` is wall time, as people say it. Inside a run it is turned into monotonic time by the run's newest row, so
rows are right also when somebody has set the clock meanwhile.
"""

import math
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import msgspec

from mbcasd.accounting import chain, packing, receipts, schema
from mbcasd.errors import ConfigError, RecordError
from mbcasd.model.decision import Event, Receipt
from mbcasd.model.demand import Contract, Demand
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading, NodeReading
from mbcasd.model.resizing import ResizeOutcome
from mbcasd.model.snapshot import NodeSnapshot

T = TypeVar("T")
_PAGE = 500
_LONG_AGO = float("-inf")
# A row holds the samples of a second, and one of the second before where a silence ended.
_LONGEST_ROW_S = 3.0


class Recorded(NamedTuple, Generic[T]):
    """A value with its place in time."""

    run: int  # which start of the daemon
    at_s: float  # monotonic, within the run
    wall_s: float  # seconds since the epoch
    value: T


class RecordedRun(NamedTuple):
    """One start of the daemon."""

    run: int
    boot_id: str
    node: str
    version: str
    settings_json: str
    started_at_s: float
    started_wall_s: float
    ended_wall_s: float | None  # None: it still runs, or it was killed


class RecordedWorkload(NamedTuple):
    """One workload under one contract in one cgroup."""

    run: int
    workload: WorkloadId
    cgroup: CgroupRef | None  # None: the daemon died before it could say
    contract: Contract | None
    managed: bool
    reason: str  # why it was not managed
    announced_wall_s: float
    gone_at_s: float | None  # monotonic; also when only its contract changed


class WrittenReceipt(NamedTuple):
    """A receipt as it lies in the record, not yet believed."""

    number: int
    run: int
    at_s: float
    wall_s: float
    receipt_id: str  # what the row says
    receipt: Receipt | None
    problem: str  # why there is no receipt


class History(NamedTuple):
    """What is known about one workload: the newest of each kind, for `explain`."""

    workload: RecordedWorkload
    demand: Recorded[Demand] | None
    limit: Recorded[LimitReading] | None
    receipt: Recorded[Receipt] | None  # the newest clearing that it took part in
    resizes: tuple[Recorded[ResizeOutcome], ...]  # newest first
    events: tuple[Recorded[Event], ...]  # newest first


class RecordReader:
    """An open record; a context manager."""

    def __init__(self, path: str | Path) -> None:
        """Open the record.

        Raises:
            ConfigError: There is no record at that path.
            RecordError: It cannot be read, or is damaged.
        """
        self.path = Path(path)
        self._connection = schema.open_to_read(self.path)
        self._names: dict[int, WorkloadId] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def runs(self) -> tuple[RecordedRun, ...]:
        """All starts of the daemon that left something, oldest first."""
        rows = self._all(
            "SELECT run, boot_id, node, version, settings, started_at_s, started_wall_s, ended_wall_s"
            " FROM runs ORDER BY run"
        )
        return tuple(RecordedRun(*row) for row in rows)

    def workloads(self) -> tuple[RecordedWorkload, ...]:
        """All workloads, oldest announcement first; the same one again when its contract or cgroup changed."""
        rows = self._all(
            "SELECT run, namespace, name, container, cgroup, inode, contract, managed, reason, wall_s, gone_at_s"
            " FROM workloads ORDER BY workload"
        )
        return tuple(_workload(row) for row in rows)

    def find(self, text: str) -> WorkloadId:
        """Turn what a person typed into the workload that is meant.

        Takes `namespace/name`, `namespace/name:container`, or any unambiguous end of it.

        Raises:
            ConfigError: None or several fit; the message lists them.
        """
        known = sorted({recorded.workload for recorded in self.workloads()})
        exact = [who for who in known if text == str(who)]
        fitting = exact or [
            who
            for who in known
            if f"/{who}".endswith(f"/{text}") or f"/{who.namespace}/{who.name}".endswith(f"/{text}")
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ConfigError(f"{text!r} may be {', '.join(map(str, fitting))}: name it in full")
        listed = ", ".join(map(str, known[:20])) or "none at all"
        raise ConfigError(f"no workload {text!r} in the record {self.path}; it knows {listed}")

    def samples(self, workload: WorkloadId, since_s: float = _LONG_AGO) -> Iterator[Recorded[CpuSample]]:
        """A workload's samples, oldest first; where counters stood still for seconds there is a gap."""
        cuts_s = {run.run: self._monotonic("samples", run.run, since_s) for run in self.runs()}
        for run, _, wall_s, packed in self._timed("samples", "packed", workload, since_s - _LONGEST_ROW_S):
            unpacked = packing.unpack_samples(packed)
            ahead_s = wall_s - unpacked[0].read_at_s
            for sample in unpacked:
                if sample.read_at_s > cuts_s.get(run, _LONG_AGO):
                    yield Recorded(run, sample.read_at_s, sample.read_at_s + ahead_s, sample)

    def demands(self, workload: WorkloadId, since_s: float = _LONG_AGO) -> Iterator[Recorded[Demand]]:
        """A workload's demands, oldest first; one that hardly changed is not repeated."""
        for run, at_s, wall_s, packed in self._timed("demands", "packed", workload, since_s):
            yield Recorded(run, at_s, wall_s, packing.unpack_demand(packed))

    def limits(self, workload: WorkloadId, since_s: float = _LONG_AGO) -> Iterator[Recorded[LimitReading]]:
        """A workload's limits as the kernel enforced them, one for each change, oldest first."""
        columns = "quota_usec, period_usec, burst_usec, weight"
        for run, at_s, wall_s, *values in self._timed("limits", columns, workload, since_s):
            yield Recorded(run, at_s, wall_s, _limit(values))

    def nodes(self, since_s: float = _LONG_AGO) -> Iterator[Recorded[NodeReading]]:
        """What the node had and used, one for each change, oldest first."""
        for run, at_s, wall_s, cpu_milli, usage_milli in self._timed("nodes", "cpu_milli, usage_milli", None, since_s):
            yield Recorded(run, at_s, wall_s, NodeReading(cpu_milli=cpu_milli, usage_milli=usage_milli))

    def resizes(
        self, workload: WorkloadId | None = None, since_s: float = _LONG_AGO
    ) -> Iterator[Recorded[ResizeOutcome]]:
        """What became of each resize, oldest first; of one workload or of all."""
        for run, at_s, wall_s, written in self._timed("resizes", "outcome", workload, since_s):
            yield Recorded(run, at_s, wall_s, _decode(written, ResizeOutcome, "a resize"))

    def events(self, workload: WorkloadId | None = None, since_s: float = _LONG_AGO) -> Iterator[Recorded[Event]]:
        """What happened, oldest first; to one workload or to all."""
        for run, at_s, wall_s, kind, number, message in self._timed(
            "events", "kind, workload, message", workload, since_s
        ):
            who = None if number is None else self._name(number)
            yield Recorded(run, at_s, wall_s, Event(at_s=at_s, kind=kind, workload=who, message=message))

    def count_receipts(self) -> int:
        """How many receipts there are."""
        return int(self._all("SELECT count(*) FROM receipts")[0][0])

    def rows(self, *, newest_first: bool = False) -> Iterator[chain.Row]:
        """The receipts' rows as they lie there, for the chain."""
        order, comparison, number = ("DESC", "<", 2**62) if newest_first else ("ASC", ">", -1)
        query = (
            "SELECT number, run, at_s, wall_s, receipt_id, body, previous, link FROM receipts"  # noqa: S608 - ours
            f" WHERE number {comparison} ? ORDER BY number {order} LIMIT 50"
        )
        while page := self._all(query, number):
            for row in page:
                yield chain.Row(*row)
            number = page[-1][0]

    def written_receipts(self, *, newest_first: bool = False) -> Iterator[WrittenReceipt]:
        """All receipts, also those that cannot be read any more."""
        for row in self.rows(newest_first=newest_first):
            yield read_row(row)

    def receipts(self, since_s: float = _LONG_AGO, *, newest_first: bool = False) -> Iterator[Recorded[Receipt]]:
        """All receipts that can be read."""
        cuts_s = {run.run: self._monotonic("receipts", run.run, since_s) for run in self.runs()}
        for found in self.written_receipts(newest_first=newest_first):
            if found.receipt is not None and found.at_s > cuts_s.get(found.run, _LONG_AGO):
                yield Recorded(found.run, found.at_s, found.wall_s, found.receipt)

    def ends(self) -> tuple[chain.End, chain.End]:
        """Where the chain of receipts begins (what came before was dropped for age) and where it ends."""
        ends = {place: chain.End(number, link) for place, number, link in self._all("SELECT * FROM chain")}
        return ends.get("tail", chain.BEGINNING), ends.get("head", chain.BEGINNING)

    def snapshot(self) -> NodeSnapshot | None:
        """The last picture of the node, at most some ten seconds older than the last row; None: none was taken."""
        rows = self._all("SELECT body FROM snapshot")
        if not rows:
            return None
        try:
            return msgspec.json.decode(zlib.decompress(rows[0][0]), type=NodeSnapshot)
        except (zlib.error, msgspec.DecodeError) as err:
            raise RecordError(f"the record {self.path}: its last snapshot is damaged: {err}") from err

    def history(self, workload: WorkloadId, *, most: int = 20) -> History:
        """The newest of each kind that is known about one workload.

        Raises:
            ConfigError: The record does not know it.
        """
        announced = [recorded for recorded in self.workloads() if recorded.workload == workload]
        if not announced:
            raise ConfigError(f"no workload {workload} in the record {self.path}")
        name = str(workload)
        demand = self._newest("demands", "packed", workload)
        limit = self._newest("limits", "quota_usec, period_usec, burst_usec, weight", workload)
        return History(
            workload=announced[-1],
            demand=None if demand is None else Recorded(*_place(demand), packing.unpack_demand(demand[3])),
            limit=None if limit is None else Recorded(*_place(limit), _limit(limit[3:])),
            receipt=next(
                (r for r in self.receipts(newest_first=True) if any(bid.name == name for bid in r.value.market.bids)),
                None,
            ),
            resizes=tuple(reversed(deque(self.resizes(workload), maxlen=most))),
            events=tuple(reversed(deque(self.events(workload), maxlen=most))),
        )

    def _timed(
        self, table: str, columns: str, workload: WorkloadId | None, since_s: float
    ) -> Iterator[tuple[Any, ...]]:
        """Page through one table: run, at_s, wall_s and the columns, in order of time."""
        numbers = None if workload is None else self._numbers(workload)
        if numbers is not None and not numbers:
            return
        chosen = "" if numbers is None else f"AND workload IN ({', '.join(map(str, numbers))})"
        for (run,) in self._all("SELECT run FROM runs ORDER BY run"):
            at_s = self._monotonic(table, run, since_s)
            # Rows of one moment (a second's samples) may be more than a page, so a page ends with whole moments.
            query = (
                f"SELECT run, at_s, wall_s, {columns} FROM {table}"  # noqa: S608 - our own names
                f" WHERE run = ? AND at_s > ? {chosen} ORDER BY at_s LIMIT ?"
            )
            size = _PAGE
            while page := self._all(query, run, at_s, size):
                if len(page) == size:
                    last_s = page[-1][1]
                    whole = [row for row in page if row[1] != last_s]
                    if not whole:
                        size *= 2
                        continue
                    page = whole
                yield from page
                at_s = page[-1][1]

    def _monotonic(self, table: str, run: int, since_s: float) -> float:
        """The monotonic time, just before it, that is `since_s` by the wall clock of a run's newest row."""
        newest = self._all(
            f"SELECT at_s, wall_s FROM {table} WHERE run = ? ORDER BY at_s DESC LIMIT 1",  # noqa: S608 - ours
            run,
        )
        if not newest:
            return _LONG_AGO
        at_s, wall_s = newest[0]
        return math.nextafter(at_s - (wall_s - since_s), _LONG_AGO)

    def _numbers(self, workload: WorkloadId) -> tuple[int, ...]:
        rows = self._all(
            "SELECT workload FROM workloads WHERE namespace = ? AND name = ? AND container = ? ORDER BY workload",
            *workload,
        )
        return tuple(number for (number,) in rows)

    def _name(self, number: int) -> WorkloadId | None:
        if number not in self._names:
            rows = self._all("SELECT namespace, name, container FROM workloads WHERE workload = ?", number)
            if not rows:
                return None
            self._names[number] = WorkloadId(*rows[0])
        return self._names[number]

    def _newest(self, table: str, columns: str, workload: WorkloadId) -> tuple[Any, ...] | None:
        numbers = self._numbers(workload)
        for (run,) in self._all("SELECT run FROM runs ORDER BY run DESC"):
            rows = self._all(
                f"SELECT run, at_s, wall_s, {columns} FROM {table}"  # noqa: S608 - our own names
                f" WHERE run = ? AND workload IN ({', '.join(map(str, numbers))}) ORDER BY at_s DESC LIMIT 1",
                run,
            )
            if rows:
                return rows[0]
        return None

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as err:
            raise schema.translate(err, self.path) from err


def read_row(row: chain.Row) -> WrittenReceipt:
    """Read one row's receipt; what cannot be read is said, not raised, so that the others still can."""
    receipt, problem = None, ""
    try:
        receipt = receipts.decode(zlib.decompress(row.body))
    except zlib.error as err:
        problem = f"its content is damaged: {err}"
    except RecordError as err:
        problem = str(err)
    else:
        if receipt.receipt_id != row.receipt_id:
            problem = f"its content belongs to receipt {receipt.receipt_id}"
    return WrittenReceipt(row.number, row.run, row.at_s, row.wall_s, row.receipt_id, receipt, problem)


def _workload(row: tuple[Any, ...]) -> RecordedWorkload:
    run, namespace, name, container, cgroup, inode, contract, managed, reason, wall_s, gone_at_s = row
    return RecordedWorkload(
        run=run,
        workload=WorkloadId(namespace, name, container),
        cgroup=CgroupRef(path=cgroup, inode=inode) if cgroup else None,
        contract=None if contract is None else _decode(contract, Contract, "a contract"),
        managed=bool(managed),
        reason=reason,
        announced_wall_s=wall_s,
        gone_at_s=gone_at_s,
    )


def _place(row: tuple[Any, ...]) -> tuple[int, float, float]:
    run, at_s, wall_s, *_ = row
    return run, at_s, wall_s


def _limit(values: Sequence[Any]) -> LimitReading:
    quota, period, burst, weight = values
    return LimitReading(quota_usec=quota, period_usec=period, burst_usec=burst, weight=weight)


def _decode(written: str, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(written, type=kind)
    except msgspec.DecodeError as err:
        raise RecordError(f"{what} in the record is damaged: {err}") from err
