"""Everything that is known about one workload's limit, as one value; pure.

A running daemon tells what is; its record tells how it came about. What only one of them knows and is not at hand is
named in `missing`, so that nobody takes silence for an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from mbcasctl.explaining.counterfactual import Counterfactual
from mbcasctl.explaining.share import Remedy, Share, remedies, share_of
from mbcasd.accounting import receipts
from mbcasd.accounting.reading import History, Recorded
from mbcasd.estimation.law import LawSettings
from mbcasd.estimation.target import target_ratio
from mbcasd.model.decision import Event, HeldBy
from mbcasd.model.demand import Demand, WorkloadClass
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Binding
from mbcasd.model.resizing import ResizeOutcome
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot
from mbcasd.settings import EstimatorKind, Preset, Settings

# Events of the guard are told for as long as they can still matter: its cooldown and decay.
GUARD_S = 120.0

_GRANTED = {HeldBy.NEED.value, HeldBy.GUARD.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The last change of the limit."""

    from_milli: float | None
    to_milli: float | None
    status: str
    asked_wall_s: float
    took_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to it."""

    wall_s: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one workload has its limit."""

    name: str
    node: str
    version: str
    run_mode: str
    place: str  # where this is from
    taken_wall_s: float
    gone: bool  # it does not exist any more; the figures are its last ones
    estimator: str
    target_throttling_ratio: float | None  # of the laws that have one
    decided_wall_s: float | None
    receipt_id: str | None
    receipt_holds: bool | None  # None: not checked
    market_mode: str | None
    price: float | None
    workload: WorkloadSnapshot
    share: Share | None
    change: Change | None
    guard: Happening | None
    remedies: tuple[Remedy, ...]
    without: tuple[Counterfactual, ...]
    replayed_s: float  # how much of the past the counterfactuals were played over
    missing: tuple[str, ...]

    @property
    def lacks_milli(self) -> float:
        """How much more it would use than it may; 0 where it has what it needs or nothing is known."""
        need_milli, limit_milli = self.workload.need_milli, self.workload.limit_milli
        return 0.0 if need_milli is None or limit_milli is None else max(0.0, need_milli - limit_milli)


def explain(
    snapshot: NodeSnapshot,
    who: WorkloadId,
    *,
    place: str,
    history: History | None = None,
    settings: Settings | None = None,
    without: Sequence[Counterfactual] = (),
    replayed_s: float = 0.0,
    missing: Sequence[str] = (),
) -> Explanation:
    """Join what the snapshot and the record know about one workload.

    Args:
        snapshot: Of the node; it or the history must know the workload.
        who: The workload.
        place: Where the snapshot is from.
        history: From the record; None: there is none at hand.
        settings: The daemon's, from its record; None: not known.
        without: What other policies would have led to.
        replayed_s: How much of the past that was played over.
        missing: What could not be found out, and how it could.
    """
    row = next((row for row in snapshot.workloads if WorkloadId(row.namespace, row.name, row.container) == who), None)
    gone = row is None
    share = _share(history, str(who))
    taken_wall_s = snapshot.taken_wall_s
    if row is None:
        assert history is not None  # noqa: S101  for the reader: `who` is from one of the two
        row = _last_row(history)
    elif history is not None:
        row, taken_wall_s = _renewed(row, taken_wall_s, history, share)
    cap_milli, need_milli = row.cap_milli, row.need_milli
    advice: tuple[Remedy, ...] = ()
    if history is not None and history.receipt is not None and need_milli is not None and not gone:
        short = row.limit_milli is not None and need_milli > row.limit_milli and row.held_by not in _GRANTED
        advice = remedies(history.receipt.value.market, str(who), need_milli, cap_milli) if short else ()
    return Explanation(
        name=str(who),
        node=snapshot.node,
        version=snapshot.version,
        run_mode=snapshot.run_mode,
        place=place,
        taken_wall_s=taken_wall_s,
        gone=gone,
        estimator=snapshot.estimator,
        target_throttling_ratio=_target(snapshot.estimator, row, settings),
        decided_wall_s=share.decided_wall_s if share else snapshot.decided_wall_s,
        receipt_id=share.receipt_id if share else snapshot.receipt_id,
        receipt_holds=share.holds if share else snapshot.receipt_holds,
        market_mode=share.mode if share else snapshot.market_mode,
        price=share.price if share else snapshot.price,
        workload=row,
        share=share,
        change=_change(history.resizes[0]) if history and history.resizes else None,
        guard=_guard(history.events if history else (), taken_wall_s),
        remedies=advice,
        without=tuple(without),
        replayed_s=replayed_s,
        missing=tuple(missing),
    )


def _share(history: History | None, name: str) -> Share | None:
    if history is None or history.receipt is None:
        return None
    found = history.receipt
    return share_of(found.value, name, found.wall_s, receipts.verify(found.value))


def _target(estimator: str, row: WorkloadSnapshot, settings: Settings | None) -> float | None:
    if settings is None or estimator not in {EstimatorKind.TOBIT.value, EstimatorKind.CAPTAIN.value}:
        return None
    usual_ratio = target_ratio(LawSettings(settings.demand, settings.cost, Preset.K, WorkloadClass(row.workload_class)))
    return usual_ratio * row.leniency


def _change(found: Recorded[ResizeOutcome]) -> Change:
    outcome = found.value
    ahead_s = found.wall_s - found.at_s
    return Change(
        from_milli=outcome.resize.from_milli,
        to_milli=outcome.limit.limit_milli if outcome.limit is not None else outcome.resize.to_milli,
        status=outcome.status.value,
        asked_wall_s=outcome.asked_at_s + ahead_s,
        took_s=max(0.0, outcome.ended_at_s - outcome.asked_at_s),
        detail=outcome.detail,
    )


def _guard(events: Sequence[Recorded[Event]], taken_wall_s: float) -> Happening | None:
    """The guard's last word about it, if that is recent; events are newest first."""
    for event in events:
        if taken_wall_s - event.wall_s > GUARD_S:
            return None
        if event.value.kind in {"guard", "violation"}:
            return Happening(wall_s=event.wall_s, message=event.value.message)
    return None


def _renewed(
    row: WorkloadSnapshot, taken_wall_s: float, history: History, share: Share | None
) -> tuple[WorkloadSnapshot, float]:
    """Bring a row up to date: a record's picture is up to ten seconds older than its other rows."""
    newest_s = taken_wall_s
    if history.limit is not None and history.limit.wall_s > taken_wall_s:
        row = replace(row, limit_milli=history.limit.value.limit_milli)
        newest_s = max(newest_s, history.limit.wall_s)
    if history.demand is not None and history.demand.wall_s > taken_wall_s:
        row = _with_demand(row, history.demand.value)
        newest_s = max(newest_s, history.demand.wall_s)
    if share is not None and share.decided_wall_s > taken_wall_s and row.managed:
        row = replace(row, target_milli=share.given_milli, held_by=_held_by(row, share).value)
        newest_s = max(newest_s, share.decided_wall_s)
    return row, newest_s


def _held_by(row: WorkloadSnapshot, share: Share) -> HeldBy:
    """What held it in a clearing, read off the binding; the engine knows finer what set a window."""
    if share.given_milli >= row.cap_milli and (row.need_milli or 0.0) > row.cap_milli:
        return HeldBy.CAP
    return {
        Binding.INTERIOR.value: HeldBy.PRICE,
        Binding.UPPER.value: HeldBy.STEP,
        Binding.FLOOR.value: HeldBy.FLOOR,
        Binding.MINIMUM.value: HeldBy.FLOOR,
    }.get(share.binding, HeldBy.NEED)


def _with_demand(row: WorkloadSnapshot, demand: Demand) -> WorkloadSnapshot:
    return replace(
        row,
        usage_milli=demand.usage_milli,
        throttled_ratio=demand.throttled_ratio,
        smoothed_milli=demand.smoothed_milli,
        need_milli=demand.need_milli,
        forecast_milli=demand.forecast_milli,
        stall_limit_ratio=demand.stall.limit_ratio if demand.stall else None,
        stall_neighbour_ratio=demand.stall.neighbour_ratio if demand.stall else None,
        stall_self_ratio=demand.stall.self_ratio if demand.stall else None,
        stalled_s=demand.stall.stalled_s if demand.stall else 0.0,
    )


def _last_row(history: History) -> WorkloadSnapshot:
    """A workload that is gone, as the record knew it last."""
    known = history.workload
    row = WorkloadSnapshot(
        namespace=known.workload.namespace,
        name=known.workload.name,
        container=known.workload.container,
        cgroup=known.cgroup.path if known.cgroup else "",
        managed=known.managed,
        reason=known.reason,
        limit_milli=history.limit.value.limit_milli if history.limit else None,
        resizes=len(history.resizes),
    )
    if known.contract is not None:
        contract = known.contract
        row = replace(
            row,
            workload_class=contract.workload_class.value,
            weight=contract.weight,
            floor_milli=contract.floor_milli,
            cap_milli=contract.cap_milli,
            owner_limit_milli=contract.owner_limit_milli,
        )
    return row if history.demand is None else _with_demand(row, history.demand.value)
