"""Bids, the clearing and the plan that follows from it."""

from dataclasses import replace
from math import inf
from typing import NamedTuple

from mbcasd.actuation.plan import Change, plan
from mbcasd.allocation.market import clear
from mbcasd.bidding.bids import bid_of
from mbcasd.engine.state import EngineConfig, EngineState, Track
from mbcasd.estimation.laws import LAWS
from mbcasd.guarding import slo, throttling
from mbcasd.guarding.window import Window, window
from mbcasd.model.decision import Decision, HeldBy, RunMode
from mbcasd.model.demand import Advice
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Binding, Market, Options
from mbcasd.model.resizing import Resize

# Increases that wait for room are tried again this soon, if no outcome comes first.
RETRY_AFTER_S = 0.1


# What is due at a pass must not wait for the next one because the clock reads a hair less.
EARLY_S = 0.01


class _Entry(NamedTuple):
    name: WorkloadId
    track: Track
    need_milli: float
    guarded: bool  # the need is the guard's, not the estimator's
    window: Window


def clear_market(state: EngineState, now_s: float, trigger: str, *, lower_all: bool) -> tuple[EngineState, Decision]:
    """Clear the market of limits and plan the resizes that follow.

    Workloads with a resize under way, with a refused one, or held by somebody else make no bid: what they have
    (or will have, if that is more) is taken off the capacity.

    Args:
        state: What is known.
        now_s: Monotonic.
        trigger: Why now, in a few words, for the receipt.
        lower_all: The optimizer's own pass; otherwise decreases happen only to make room.
    """
    config = state.config
    bound_milli = config.settings.market.overcommit * state.capacity.capacity_milli
    entries: list[_Entry] = []
    changed_at_s = _changed_at_s(state)
    out_of_market_milli = 0.0
    held_by: dict[WorkloadId, HeldBy] = {}
    for name, track in sorted(state.tracks.items()):
        if not track.workload.managed or track.limit is None:
            held_by[name] = HeldBy.NOT_MANAGED
        elif track.owner_held:
            held_by[name] = HeldBy.OWNER
            out_of_market_milli += track.situation.limit_milli
        elif track.pending is not None or now_s < track.refused_until_s:
            held_by[name] = HeldBy.PENDING
            out_of_market_milli += _effective_milli(track)
        elif name in state.pulses:
            wants_milli = state.pulses[name].proposal.need_milli
            guard = config.settings.guardrail
            guarded_milli = max(
                throttling.least_need_milli(track.guarded, guard, now_s),
                slo.least_need_milli(track.slo, track.situation.limit_milli, guard, now_s),
            )
            need_milli = max(wants_milli, guarded_milli)
            held = need_milli > wants_milli
            entries.append(_Entry(name, track, need_milli, held, _window(track, changed_at_s[name[:2]], config, now_s)))
        else:
            # Never sampled: nothing is known of it, so it keeps what it has.
            held_by[name] = HeldBy.NEED
            out_of_market_milli += track.situation.limit_milli
    if not entries:
        return _settled(state, held_by, {}, (), retry_due_s=inf), Decision(trigger=trigger, held_by=held_by)

    market = _market(entries, max(0.0, bound_milli - out_of_market_milli), config)
    clearing = clear(market)
    targets: dict[WorkloadId, _Target] = {}
    for entry, allocation in zip(entries, clearing.allocations, strict=True):
        held_by[entry.name] = _held_by(entry, allocation.binding, allocation.milli)
        # What only had to wait for its gap is asked for again with the next sample.
        asked_milli = None if held_by[entry.name] is HeldBy.COOLDOWN else entry.need_milli
        targets[entry.name] = _Target(allocation.milli, asked_milli)
    planned = plan(
        _changes(state, targets),
        bound_milli,
        config.settings.market,
        burst=config.burst,
        lower_all=lower_all,
    )
    started = planned.plan.resizes if config.run_mode is RunMode.ENFORCE else ()
    waiting = planned.waiting and config.run_mode is RunMode.ENFORCE
    retry_due_s = now_s + RETRY_AFTER_S if waiting else inf
    state = _settled(state, held_by, targets, started, retry_due_s=retry_due_s)
    if started:
        state = _settle_laws(state, started, now_s)
    return state, Decision(market=market, clearing=clearing, trigger=trigger, plan=planned.plan, held_by=held_by)


class _Target(NamedTuple):
    milli: float | None  # None: it made no bid
    need_milli: float | None  # None: ask again


def _effective_milli(track: Track) -> float:
    """What a workload counts against the bound: the larger of what is in force and what is on its way."""
    if track.pending is None or track.pending.to_milli is None:
        return track.situation.limit_milli
    return max(track.situation.limit_milli, track.pending.to_milli)


def _changed_at_s(state: EngineState) -> dict[tuple[str, ...], float]:
    """When each pod was last changed, by namespace and name: its containers are resized together, and cool together.

    On a host a name has but one workload.
    """
    latest: dict[tuple[str, ...], float] = {}
    for name, track in state.tracks.items():
        pod = name[:2]
        if track.changed_at_s > latest.get(pod, -inf):
            latest[pod] = track.changed_at_s
        else:
            latest.setdefault(pod, -inf)
    return latest


def _window(track: Track, changed_at_s: float, config: EngineConfig, now_s: float) -> Window:
    resize, loops = config.settings.resize, config.settings.loops
    in_grace = not track.known_from_start and now_s - track.appeared_at_s < loops.startup_grace_period_s
    return window(
        track.situation.limit_milli,
        resize,
        may_lower=not in_grace and now_s - changed_at_s >= resize.cooldown_s - EARLY_S,
        may_raise=now_s - track.raised_at_s >= resize.raise_gap_s - EARLY_S,
    )


def _market(entries: list[_Entry], capacity_milli: float, config: EngineConfig) -> Market:
    market = config.settings.market
    return Market(
        capacity_milli=capacity_milli,
        bids=tuple(
            bid_of(
                str(entry.name),
                entry.track.workload.contract,
                entry.need_milli,
                lower_milli=entry.window.lower_milli,
                upper_milli=entry.window.upper_milli,
            )
            for entry in entries
        ),
        mechanism=market.mechanism,
        group_weights=_group_weights(entries),
        options=Options(
            overload_rule=market.overload_rule,
            minimum_milli=config.settings.resize.minimum_milli,
            alpha=market.alpha,
            quantum_milli=market.quantum_milli,
        ),
    )


def _group_weights(entries: list[_Entry]) -> dict[str, float]:
    contracts = (entry.track.workload.contract for entry in entries)
    return {contract.group: contract.group_weight for contract in contracts if contract.group is not None}


def _held_by(entry: _Entry, binding: Binding, allocation_milli: float) -> HeldBy:
    """Why it gets no more, in one word."""
    contract = entry.track.workload.contract
    if allocation_milli >= entry.need_milli or binding is Binding.LOWER:
        return HeldBy.GUARD if entry.guarded else HeldBy.NEED
    if allocation_milli >= contract.cap_milli:
        return HeldBy.CAP
    if binding is Binding.UPPER:
        return entry.window.upper_by
    if binding in {Binding.FLOOR, Binding.MINIMUM}:
        return HeldBy.FLOOR
    return HeldBy.PRICE


def _changes(state: EngineState, targets: dict[WorkloadId, _Target]) -> list[Change]:
    """Every workload that counts against the bound, with where it should go; the others stay."""
    changes = []
    for name, track in state.tracks.items():
        if not track.workload.managed or track.limit is None:
            continue
        target = targets.get(name)
        effective_milli = _effective_milli(track)
        pulse = state.pulses.get(name)
        changes.append(
            Change(
                name,
                track.workload.cgroup,
                track.limit.limit_milli,
                effective_milli,
                target.milli if target is not None and target.milli is not None else effective_milli,
                pending=target is None,
                urgent=pulse is not None and pulse.proposal.urgent,
            )
        )
    return changes


def _settled(
    state: EngineState,
    held_by: dict[WorkloadId, HeldBy],
    targets: dict[WorkloadId, _Target],
    started: tuple[Resize, ...],
    *,
    retry_due_s: float,
) -> EngineState:
    """Write the outcome of a clearing into the tracks."""
    tracks = dict(state.tracks)
    for name, held in held_by.items():
        track, target = tracks[name], targets.get(name, _Target(None, None))
        if (held, *target) != (track.held_by, track.target_milli, track.cleared_need_milli):
            tracks[name] = replace(track, held_by=held, target_milli=target.milli, cleared_need_milli=target.need_milli)
    for resize in started:
        track = tracks[resize.workload]
        in_flight = track.situation._replace(in_flight=True)
        tracks[resize.workload] = replace(track, pending=resize, situation=in_flight)
    return replace(state, tracks=tracks, retry_due_s=retry_due_s, wanted="")


def _settle_laws(state: EngineState, started: tuple[Resize, ...], now_s: float) -> EngineState:
    """Tell each law what became of its proposal, if what was started is what it asked for."""
    law = LAWS[state.config.settings.demand.estimator]
    pulses, tracks = dict(state.pulses), dict(state.tracks)
    for resize in started:
        pulse, track = pulses[resize.workload], tracks[resize.workload]
        wanted = Advice.LOWER if resize.is_decrease else Advice.RAISE
        to_milli = resize.to_milli if resize.to_milli is not None else track.situation.ceiling_milli
        if pulse.proposal.advice is wanted:
            law_state = law.settle(pulse.law, pulse.proposal, track.situation.limit_milli, to_milli, now_s)
            pulses[resize.workload] = pulse._replace(law=law_state)
        if wanted is Advice.RAISE:
            tracks[resize.workload] = replace(track, raised_at_s=now_s)
    return replace(state, pulses=pulses, tracks=tracks)
