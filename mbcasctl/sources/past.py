"""Earlier pictures of a node, put together from the rows of its record: one for each clearing.

What the rows do not say is taken from the last picture: the node's capacity, and a limit that did not change since.
The use is that of the demands, a mean over the estimation window.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Self, TypeVar

from msgspec.structs import replace

from mbcasd.accounting.reading import Recorded, RecordedWorkload, RecordReader
from mbcasd.model.decision import HeldBy, Receipt
from mbcasd.model.demand import Contract, Demand
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Allocation, Binding
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import ResizeOutcome, ResizeStatus
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

T = TypeVar("T")

HISTORY_S = 60
RECENT_S = 15.0


class Past(NamedTuple):
    """What a record knows of a stretch of time; each list is in order of time."""

    last: NodeSnapshot
    announced: Sequence[RecordedWorkload]
    receipts: Sequence[Recorded[Receipt]]
    demands: Mapping[WorkloadId, Sequence[Recorded[Demand]]]
    limits: Mapping[WorkloadId, Sequence[Recorded[LimitReading]]]
    resizes: Mapping[WorkloadId, Sequence[Recorded[ResizeOutcome]]]

    @classmethod
    def load(cls, reader: RecordReader, last: NodeSnapshot, window_s: float) -> Self:
        """Read the `window_s` seconds before the last picture, and a minute more for what led there.

        Raises:
            RecordError: The record cannot be read.
        """
        since_s = last.taken_wall_s - window_s
        earlier_s = since_s - HISTORY_S
        announced = reader.workloads()
        names = {known.workload for known in announced}
        resizes: dict[WorkloadId, list[Recorded[ResizeOutcome]]] = {}
        for found in reader.resizes(None, earlier_s):
            resizes.setdefault(found.value.resize.workload, []).append(found)
        # Newest first stops reading where the window ends.
        receipts = list(reader.receipts(since_s, newest_first=True))[::-1]
        return cls(
            last=last,
            announced=announced,
            receipts=[found for found in receipts if found.wall_s <= last.taken_wall_s],
            demands={name: list(reader.demands(name, earlier_s)) for name in names},
            limits={name: list(reader.limits(name, earlier_s)) for name in names},
            resizes=resizes,
        )

    @property
    def depth(self) -> int:
        """How many pictures there are before the last one."""
        return len(self.receipts)

    def picture(self, back: int) -> NodeSnapshot:
        """The last picture, or the one `back` clearings before it; at most `depth`."""
        if back <= 0 or not self.receipts:
            return self.last
        found = self.receipts[-min(back, self.depth)]
        clearing, market = found.value.clearing, found.value.market
        rows = self._rows(found)
        moves = [
            outcome.value.resize.is_decrease
            for outcomes in self.resizes.values()
            for outcome in outcomes
            if found.wall_s - RECENT_S <= outcome.wall_s <= found.wall_s
        ]
        return replace(
            self.last,
            taken_wall_s=found.wall_s,
            decided_wall_s=found.wall_s,
            mechanism=market.mechanism.value,
            market_mode=clearing.mode.value,
            price=clearing.price,
            need_milli=sum(row.need_milli or 0.0 for row in rows),
            allocated_milli=clearing.allocated_milli,
            limits_milli=sum(row.limit_milli or 0.0 for row in rows if row.managed),
            used_milli=sum(row.usage_milli for row in rows),
            raises_last_15s=moves.count(False),
            lowers_last_15s=moves.count(True),
            receipt_id=found.value.receipt_id,
            receipt_holds=None,
            workloads=rows,
            problems=(),
            counters={},
        )

    def _rows(self, found: Recorded[Receipt]) -> tuple[WorkloadSnapshot, ...]:
        """The workloads that existed then, under the contract they had."""
        given = {allocation.name: allocation for allocation in found.value.clearing.allocations}
        present = {
            known.workload: known
            for known in self.announced
            if known.run == found.run
            and known.announced_wall_s <= found.wall_s
            and (known.gone_at_s is None or known.gone_at_s > found.at_s)
        }
        return tuple(self._row(known, given.get(str(name)), found.wall_s) for name, known in present.items())

    def _row(self, known: RecordedWorkload, given: Allocation | None, wall_s: float) -> WorkloadSnapshot:
        name, contract = known.workload, known.contract
        before = _until(self.demands.get(name, ()), wall_s)
        demand = before[-1].value if before else None
        moved = _until(self.resizes.get(name, ()), wall_s)
        row = WorkloadSnapshot(
            namespace=name.namespace,
            name=name.name,
            container=name.container,
            cgroup=known.cgroup.path if known.cgroup else "",
            managed=known.managed,
            reason=known.reason,
            limit_milli=self._limit_milli(name, wall_s),
        )
        if demand is not None:
            row = replace(
                row,
                usage_milli=demand.usage_milli,
                usage_history_milli=_history(before, wall_s),
                throttled_ratio=demand.throttled_ratio,
                stall_limit_ratio=demand.stall.limit_ratio if demand.stall else None,
                stall_neighbour_ratio=demand.stall.neighbour_ratio if demand.stall else None,
                stall_self_ratio=demand.stall.self_ratio if demand.stall else None,
                stalled_s=demand.stall.stalled_s if demand.stall else 0.0,
                smoothed_milli=demand.smoothed_milli,
                need_milli=demand.need_milli,
                forecast_milli=demand.forecast_milli,
            )
        if contract is not None:
            row = replace(
                row,
                workload_class=contract.workload_class.value,
                weight=contract.weight,
                floor_milli=contract.floor_milli,
                cap_milli=contract.cap_milli,
                owner_limit_milli=contract.owner_limit_milli,
                target_milli=given.milli if given else None,
                held_by=_held_by(given, contract, demand).value if known.managed else HeldBy.NOT_MANAGED.value,
            )
        if moved:
            resize = moved[-1].value.resize
            unlimited = resize.to_milli is None or resize.from_milli is None
            row = replace(
                row,
                last_change_milli=None if unlimited else (resize.to_milli or 0.0) - (resize.from_milli or 0.0),
                last_change_wall_s=moved[-1].wall_s,
                resizes=len(moved),
            )
        return row

    def _limit_milli(self, name: WorkloadId, wall_s: float) -> float | None:
        """The limit then: as read back, or what the next change started from, or what it still is."""
        before = _until(self.limits.get(name, ()), wall_s)
        if before:
            return before[-1].value.limit_milli
        for outcome in self.resizes.get(name, ()):
            if outcome.wall_s > wall_s and outcome.value.status is ResizeStatus.APPLIED:
                return outcome.value.resize.from_milli
        same = (row for row in self.last.workloads if WorkloadId(row.namespace, row.name, row.container) == name)
        row = next(same, None)
        return row.limit_milli if row else None


def _until(values: Sequence[Recorded[T]], wall_s: float) -> Sequence[Recorded[T]]:
    """Those that were known at `wall_s`."""
    return values[: bisect_right(values, wall_s, key=lambda found: found.wall_s)]


def _history(demands: Sequence[Recorded[Demand]], wall_s: float) -> tuple[float, ...]:
    """The use of each of the last seconds; a demand that hardly changed was not written again."""
    if not demands:
        return ()
    history: list[float] = []
    ends = [*(int(after.wall_s - before.wall_s + 0.5) for before, after in pairwise(demands)), 1]
    for found, seconds in zip(demands[-HISTORY_S:], ends[-HISTORY_S:], strict=True):
        history += [found.value.usage_milli] * max(1, min(seconds, HISTORY_S))
    history += history[-1:] * min(HISTORY_S, int(max(0.0, wall_s - demands[-1].wall_s)))
    return tuple(history[-HISTORY_S:])


def _held_by(given: Allocation | None, contract: Contract, demand: Demand | None) -> HeldBy:
    """What held a workload, read off its clearing; the engine knows finer what set the window."""
    if given is None:
        return HeldBy.PENDING  # it made no bid: a resize was under way, or had been refused
    if given.binding is Binding.LOWER or (demand is not None and given.milli >= demand.need_milli):
        return HeldBy.NEED
    if given.milli >= contract.cap_milli:
        return HeldBy.CAP
    if given.binding is Binding.UPPER:
        return HeldBy.STEP
    return HeldBy.FLOOR if given.binding in {Binding.FLOOR, Binding.MINIMUM} else HeldBy.PRICE
