"""What is: which workloads exist, which limits are in force, what there is to hand out.

Level, not edge: each function compares what was seen with what is remembered, so that nothing relies on
having seen every change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from mbcasd.engine.state import Capacity, EngineConfig, EngineState, Pulse, Track
from mbcasd.estimation.law import Situation
from mbcasd.guarding.slo import Slo
from mbcasd.model.decision import Event, RunMode, Workload
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import LimitReading, NodeReading
from mbcasd.model.resizing import ResizeOutcome, ResizeStatus
from mbcasd.units import format_cpu_milli

# What is not managed can take at most this share of the allocatable CPU from the market: part of its use only
# soaks up what the managed ones leave idle, and must not squeeze them further.
UNMANAGED_AT_MOST_RATIO = 0.5

# Half-life of the smoothed use of what is not managed, and the change that moves the capacity: a node's noise
# must not move limits.
UNMANAGED_HALF_LIFE_S = 15.0
CAPACITY_STEP_RATIO = 0.05

# A refused resize is tried again after this long, doubling up to the maximum.
REFUSED_FOR_S = 5.0
REFUSED_AT_MOST_S = 300.0


def situation_of(
    workload: Workload, limit: LimitReading | None, config: EngineConfig, *, pending: bool, slo: Slo | None = None
) -> Situation:
    """What a law may know of a workload: an unlimited one stands at its cap."""
    contract = workload.contract
    limit_milli = limit.limit_milli if limit is not None else None
    return Situation(
        limit_milli if limit_milli is not None else contract.cap_milli,
        contract.floor_milli,
        contract.cap_milli,
        pending,
        config.cpus,
        slo.leniency if slo is not None else 1.0,
    )


def meet(state: EngineState, workloads: Mapping[WorkloadId, Workload], now_s: float) -> tuple[EngineState, list[Event]]:
    """Take over which workloads exist: new ones get a track, vanished ones lose theirs.

    A recreated cgroup of the same name is a new workload: nothing of the old one is kept.
    """
    events: list[Event] = []
    tracks: dict[WorkloadId, Track] = {}
    pulses: dict[WorkloadId, Pulse] = dict(state.pulses)
    from_start = not state.tracks and now_s - state.started_at_s < 1.0
    for name, workload in workloads.items():
        track = state.tracks.get(name)
        if track is not None and track.workload.cgroup == workload.cgroup:
            if track.workload is not workload and track.workload != workload:
                pending = track.pending is not None
                situation = situation_of(workload, track.limit, state.config, pending=pending, slo=track.slo)
                track = replace(track, workload=workload, situation=situation)
            tracks[name] = track
            continue
        pulses.pop(name, None)
        tracks[name] = Track(
            workload=workload,
            situation=situation_of(workload, None, state.config, pending=False),
            known_from_start=from_start,
            appeared_at_s=now_s,
        )
        events.append(Event(at_s=now_s, kind="appeared", workload=name, message=_greeting(name, workload)))
    for name in state.tracks:
        if name not in workloads:
            pulses.pop(name, None)
            events.append(Event(at_s=now_s, kind="vanished", workload=name, message=f"{name} is gone"))
    changed = bool(events)
    wanted = state.wanted or ("workloads came or went" if changed and state.tracks else "")
    return replace(state, tracks=tracks, pulses=pulses, wanted=wanted), events


def _greeting(name: WorkloadId, workload: Workload) -> str:
    if not workload.managed:
        return f"{name} appeared, not managed: {workload.unmanaged_reason}"
    return f"{name} appeared with limit {format_cpu_milli(workload.contract.owner_limit_milli)}"


def take_limits(
    state: EngineState, limits: Mapping[WorkloadId, LimitReading], now_s: float
) -> tuple[EngineState, list[Event]]:
    """Take over the limits in force; one that nobody here set is drift, reported and not fought."""
    events: list[Event] = []
    tracks = dict(state.tracks)
    for name, limit in limits.items():
        track = tracks.get(name)
        if track is None or track.pending is not None or track.limit == limit:
            continue
        known = track.limit
        if known is None or (known.quota_usec, known.period_usec) == (limit.quota_usec, limit.period_usec):
            tracks[name] = _with_limit(track, limit, state.config)
        else:
            tracks[name], event = _drifted(track, name, limit, state.config, now_s)
            events.append(event)
    return replace(state, tracks=tracks), events


def take_outcomes(
    state: EngineState, outcomes: Iterable[ResizeOutcome], now_s: float
) -> tuple[EngineState, list[Event]]:
    """Take over what became of resizes; the cooldown starts at the confirmed change."""
    events: list[Event] = []
    tracks = dict(state.tracks)
    for outcome in outcomes:
        name, resize = outcome.resize.workload, outcome.resize
        track = tracks.get(name)
        if track is None or track.workload.cgroup != resize.cgroup:
            continue
        limit = outcome.limit if outcome.limit is not None else track.limit
        settled = replace(track, pending=None)
        if outcome.status is ResizeStatus.APPLIED:
            tracks[name] = _with_limit(settled, limit, state.config, changed_at_s=now_s, refusals=0)
        elif outcome.status is ResizeStatus.DEFERRED:
            continue  # still under way
        elif outcome.status is ResizeStatus.DRIFTED and limit is not None:
            tracks[name], event = _drifted(settled, name, limit, state.config, now_s)
            events.append(event)
        else:
            again_in_s = min(REFUSED_AT_MOST_S, REFUSED_FOR_S * 2**settled.refusals)
            tracks[name] = _with_limit(
                settled, limit, state.config, refused_until_s=now_s + again_in_s, refusals=settled.refusals + 1
            )
            events.append(
                Event(
                    at_s=now_s,
                    kind="refused",
                    workload=name,
                    message=f"{name} stays at {format_cpu_milli(resize.from_milli)}, "
                    f"{format_cpu_milli(resize.to_milli)} was not possible: {outcome.detail}; "
                    f"next try in {again_in_s:g} s",
                )
            )
    retry_due_s = min(state.retry_due_s, now_s) if state.retry_due_s < inf else inf
    return replace(state, tracks=tracks, retry_due_s=retry_due_s), events


def _with_limit(track: Track, limit: LimitReading | None, config: EngineConfig, **more: object) -> Track:
    pending = track.pending is not None
    situation = situation_of(track.workload, limit, config, pending=pending, slo=track.slo)
    return replace(track, limit=limit, situation=situation, **more)  # type: ignore[arg-type]


def _drifted(
    track: Track, name: WorkloadId, limit: LimitReading, config: EngineConfig, now_s: float
) -> tuple[Track, Event]:
    ours = track.limit.limit_milli if track.limit is not None else None
    change = f"{name} from {format_cpu_milli(ours)} to {format_cpu_milli(limit.limit_milli)}"
    if config.follows_changes:
        moved = _with_limit(track, limit, config, changed_at_s=now_s)
        return moved, Event(at_s=now_s, kind="moved", workload=name, message=f"the limit of {change} was moved outside")
    message = f"somebody else set {change}"
    if config.run_mode is RunMode.ENFORCE and track.workload.managed:
        message += "; it is left alone until the daemon is reloaded"
    owner_held = track.owner_held or config.run_mode is RunMode.ENFORCE
    return _with_limit(track, limit, config, owner_held=owner_held, changed_at_s=now_s), Event(
        at_s=now_s, kind="drift", workload=name, message=message
    )


def take_node(state: EngineState, node: NodeReading, now_s: float) -> EngineState:
    """Measure the capacity: allocatable CPU less what is not managed really uses.

    capacity = node × (1 − reserve) − use of what is not managed, but neither less than half of the first term
    nor less than the floors that were promised. Fixed where it was given.
    """
    config, capacity = state.config, state.capacity
    managed = [track for track in state.tracks.values() if track.workload.managed]
    unmanaged_milli = capacity.unmanaged_milli
    if node.usage_milli is not None:
        managed_milli = sum(track.demand.usage_milli for track in managed if track.demand is not None)
        use_milli = max(0.0, node.usage_milli - managed_milli)
        elapsed_s = now_s - capacity.read_at_s if capacity.read_at_s is not None else 0.0
        keep_ratio = 2 ** (-max(0.0, elapsed_s) / UNMANAGED_HALF_LIFE_S)
        unmanaged_milli = use_milli + (unmanaged_milli - use_milli) * keep_ratio
    if config.capacity_milli is not None:
        capacity_milli = config.capacity_milli
    else:
        allocatable_milli = node.cpu_milli * (1 - config.settings.market.system_reserve_percent / 100)
        floors_milli = sum(track.workload.contract.floor_milli for track in managed)
        capacity_milli = max(
            allocatable_milli - unmanaged_milli,
            allocatable_milli * UNMANAGED_AT_MOST_RATIO,
            min(allocatable_milli, floors_milli),
        )
        if abs(capacity_milli - capacity.capacity_milli) < CAPACITY_STEP_RATIO * capacity.capacity_milli:
            capacity_milli = capacity.capacity_milli
    wanted = state.wanted
    if capacity_milli < capacity.capacity_milli and not wanted:
        wanted = f"capacity fell to {capacity_milli:.0f}m"
    return replace(
        state,
        wanted=wanted,
        capacity=Capacity(
            cpu_milli=node.cpu_milli,
            unmanaged_milli=unmanaged_milli,
            read_at_s=now_s,
            capacity_milli=capacity_milli,
        ),
    )
