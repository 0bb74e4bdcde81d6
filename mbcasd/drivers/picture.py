"""One frozen picture of the node for `/status`, `top` and the metrics."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec.structs import replace

from mbcasd import __version__
from mbcasd.actuation.plan import SLACK_MILLI
from mbcasd.allocation.utility import satisfaction
from mbcasd.engine import EngineState
from mbcasd.engine.state import Pulse, Track
from mbcasd.guarding import slo
from mbcasd.latency.port import SourceHealth
from mbcasd.model.decision import Decision
from mbcasd.model.demand import Proposal
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Clearing
from mbcasd.model.resizing import ResizeOutcome, ResizeStatus
from mbcasd.model.snapshot import LatencySourceSnapshot, NodeSnapshot, WorkloadSnapshot
from mbcasd.settings import GuardrailSettings

# One value per second: what a sparkline of a minute needs.
HISTORY_S = 60
# Over which raises and lowers are counted for the headline.
RECENT_S = 15.0


@dataclass(slots=True)
class _Past:
    """What the picture remembers of one workload beyond the engine's state."""

    usage_milli: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    last_change_milli: float | None = None
    last_change_wall_s: float | None = None
    resizes: int = 0
    first_periods: int | None = None
    first_throttled_periods: int = 0
    # The last row, and what it was made from: on most nodes most workloads do nothing most of the time.
    row: WorkloadSnapshot | None = None
    track: Track | None = None
    proposal: Proposal | None = None
    counted: tuple[int, int, int] = (0, 0, 0)


class Painter:
    """Keeps the little history that a picture needs, and paints it."""

    def __init__(self, node: str, started_wall_s: float) -> None:
        """Paint the node called `node`."""
        self._node, self._started_wall_s = node, started_wall_s
        self._pasts: dict[WorkloadId, _Past] = {}
        self._recent: deque[tuple[float, bool]] = deque()
        self._clearing: Clearing | None = None
        self._decided_wall_s: float | None = None
        self.receipt_id: str | None = None
        self.receipt_holds: bool | None = None

    def note_decision(self, decision: Decision, wall_s: float) -> None:
        """Remember the last clearing and the renewed demands."""
        for name, demand in decision.demands.items():
            self._pasts.setdefault(name, _Past()).usage_milli.append(round(demand.usage_milli, 1))
        if decision.clearing is not None:
            self._clearing, self._decided_wall_s = decision.clearing, wall_s

    def note_outcomes(self, outcomes: Iterable[ResizeOutcome], now_s: float, wall_s: float) -> None:
        """Remember the changes that were confirmed."""
        for outcome in outcomes:
            if outcome.status is not ResizeStatus.APPLIED or outcome.limit is None:
                continue
            past = self._pasts.setdefault(outcome.resize.workload, _Past())
            before, after = outcome.resize.from_milli, outcome.limit.limit_milli
            past.last_change_milli = after - before if before is not None and after is not None else None
            past.last_change_wall_s = wall_s
            past.resizes += 1
            self._recent.append((now_s, outcome.resize.is_decrease))

    def paint(
        self,
        state: EngineState,
        now_s: float,
        wall_s: float,
        *,
        problems: tuple[str, ...],
        counters: Mapping[str, float],
        quota_leak_ratio: float,
        latency_sources: tuple[SourceHealth, ...] = (),
    ) -> NodeSnapshot:
        """Paint the picture of this moment."""
        while self._recent and now_s - self._recent[0][0] > RECENT_S:
            self._recent.popleft()
        for name in [name for name in self._pasts if name not in state.tracks]:
            del self._pasts[name]
        told = _Told(state.config.settings.guardrail, now_s, wall_s)
        workloads = tuple(self._row(name, track, state.pulses.get(name), told) for name, track in state.tracks.items())
        managed = [row for row in workloads if row.managed]
        settings, clearing = state.config.settings, self._clearing
        lowers = sum(is_decrease for _, is_decrease in self._recent)
        return NodeSnapshot(
            node=self._node,
            version=__version__,
            run_mode=state.config.run_mode.value,
            taken_wall_s=wall_s,
            started_wall_s=self._started_wall_s,
            cpu_milli=state.capacity.cpu_milli,
            capacity_milli=state.capacity.capacity_milli,
            limit_capacity_milli=state.capacity.capacity_milli * settings.market.overcommit,
            mechanism=settings.market.mechanism.value,
            estimator=settings.demand.estimator.value,
            market_mode=clearing.mode.value if clearing else None,
            price=clearing.price if clearing else None,
            need_milli=sum(row.need_milli or 0.0 for row in managed),
            allocated_milli=sum(row.target_milli or 0.0 for row in managed),
            limits_milli=sum(row.limit_milli or 0.0 for row in managed),
            used_milli=sum(row.usage_milli for row in managed),
            unmanaged_milli=state.capacity.unmanaged_milli,
            raises_last_15s=len(self._recent) - lowers,
            lowers_last_15s=lowers,
            quota_leak_ratio=quota_leak_ratio,
            decided_wall_s=self._decided_wall_s,
            receipt_id=self.receipt_id,
            receipt_holds=self.receipt_holds,
            workloads=workloads,
            latency_sources=tuple(map(_source, latency_sources)),
            problems=problems,
            counters=dict(counters),
        )

    def _row(self, name: WorkloadId, track: Track, pulse: Pulse | None, told: "_Told") -> WorkloadSnapshot:
        past = self._pasts.setdefault(name, _Past())
        contract, demand = track.workload.contract, track.demand
        stall = demand.stall if demand else None
        periods = throttled_periods = 0
        if pulse is not None:
            if past.first_periods is None:
                past.first_periods = pulse.sample.periods
                past.first_throttled_periods = pulse.sample.throttled_periods
            periods = max(0, pulse.sample.periods - past.first_periods)
            throttled_periods = max(0, pulse.sample.throttled_periods - past.first_throttled_periods)
        proposal = pulse.proposal if pulse is not None else None
        counted = periods, throttled_periods, past.resizes
        is_same = track is past.track and proposal is past.proposal and counted == past.counted
        if past.row is not None and is_same and track.slo is None:
            past.row = replace(past.row, usage_history_milli=tuple(past.usage_milli))
            return past.row
        past.track, past.proposal, past.counted = track, proposal, counted
        past.row = WorkloadSnapshot(
            namespace=name.namespace,
            name=name.name,
            container=name.container,
            cgroup=track.workload.cgroup.path,
            managed=track.workload.managed,
            reason=track.workload.unmanaged_reason,
            workload_class=contract.workload_class.value,
            weight=contract.weight,
            usage_milli=demand.usage_milli if demand else 0.0,
            usage_history_milli=tuple(past.usage_milli),
            throttled_ratio=demand.throttled_ratio if demand else 0.0,
            throttled_periods=throttled_periods,
            periods=periods,
            stall_limit_ratio=stall.limit_ratio if stall else None,
            stall_neighbour_ratio=stall.neighbour_ratio if stall else None,
            stall_self_ratio=stall.self_ratio if stall else None,
            stalled_s=stall.stalled_s if stall else 0.0,
            smoothed_milli=demand.smoothed_milli if demand else 0.0,
            need_milli=proposal.need_milli if proposal and track.in_market else None,
            forecast_milli=demand.forecast_milli if demand else None,
            floor_milli=contract.floor_milli,
            cap_milli=contract.cap_milli,
            limit_milli=track.limit.limit_milli if track.limit else None,
            owner_limit_milli=contract.owner_limit_milli,
            target_milli=track.target_milli,
            utility=_utility(track),
            held_by=track.held_by.value,
            advice=proposal.reason if proposal else "",
            last_change_milli=past.last_change_milli,
            last_change_wall_s=past.last_change_wall_s,
            resizes=past.resizes,
            **told.latency(track),
        )
        return past.row


def _utility(track: Track) -> float | None:
    """How much of what it could use beyond its floor the last clearing gave it, 0 to 1."""
    contract = track.workload.contract
    if track.target_milli is None or track.cleared_need_milli is None:
        return None
    wants_milli = min(contract.cap_milli, max(contract.floor_milli, track.cleared_need_milli))
    if wants_milli - contract.floor_milli <= SLACK_MILLI:
        return 1.0
    return satisfaction(track.target_milli, contract.floor_milli, wants_milli)


class _Told(NamedTuple):
    """What is needed to say how old a latency is."""

    guard: GuardrailSettings
    now_s: float
    wall_s: float

    def latency(self, track: Track) -> dict[str, Any]:
        """The fields about a workload's latency; those of most workloads, whose latency nobody knows, stay out."""
        known = track.slo
        if known is None:
            return {"slo_p99_s": track.workload.contract.slo_p99_s}
        reading = known.reading
        fresh = slo.is_fresh(known, self.guard, self.now_s)
        return {
            "slo_p99_s": slo.objective_s(track.workload.contract, self.guard),
            "p99_s": reading.p99_s,
            "p99_source": reading.source.value,
            "p99_read_wall_s": self.wall_s - (self.now_s - reading.read_at_s),
            "slo_violated": known.is_violated if fresh else None,
            "slo_violations": known.violations,
            "leniency": known.leniency,
        }


def _source(health: SourceHealth) -> LatencySourceSnapshot:
    return LatencySourceSnapshot(
        kind=health.kind.value, up=health.is_up, place=health.place, trouble=health.trouble, answers=health.answers
    )
