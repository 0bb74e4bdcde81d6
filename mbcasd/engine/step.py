"""One step of the engine: the story on one page."""

from dataclasses import replace

from mbcasd.engine import levels
from mbcasd.engine.clear import clear_market
from mbcasd.engine.latency import guard_latency, take_readings
from mbcasd.engine.state import EngineState
from mbcasd.engine.watch import watch
from mbcasd.estimation import window
from mbcasd.guarding import throttling
from mbcasd.model.decision import Decision, Event, Observation
from mbcasd.model.demand import Advice, Proposal
from mbcasd.model.identity import WorkloadId

# The trigger of the optimizer's own pass, which also takes back what is not needed.
OPTIMIZER = "optimizer"


def step(state: EngineState, seen: Observation, now_s: float) -> tuple[EngineState, Decision]:
    """Take in what was seen and decide what follows from it.

    A stall clears the market at once; the optimizer's pass, which also takes back what is not needed, comes
    with its own loop. A step costs a few microseconds per sample, and a clearing when there is a reason for one.

    Args:
        state: From `start` or from the step before.
        seen: What was read since then.
        now_s: Monotonic seconds, not before those of the step before.

    Returns:
        The next state, and the decision: renewed demands, the clearing if there was one, the plan of resizes
        (started in enforce mode, merely reported in the others) and what happened.
    """
    events: list[Event] = []
    if seen.workloads is not None:
        state, more = levels.meet(state, seen.workloads, now_s)
        events += more
    if seen.outcomes:
        state, more = levels.take_outcomes(state, seen.outcomes, now_s)
        events += more
    if seen.limits is not None:
        state, more = levels.take_limits(state, seen.limits, now_s)
        events += more
    if seen.node is not None:
        state = levels.take_node(state, seen.node, now_s)
    if seen.latencies:
        state = take_readings(state, seen.latencies)

    state, demands, stalled = watch(state, seen.samples, now_s)
    guarded: list[WorkloadId] = []
    if now_s >= state.guard_due_s:
        state, guarded, more = _guard(state, now_s)
        events += more
        state, more = guard_latency(state, now_s)
        events += more

    trigger, lower_all = _why_clear(state, stalled, guarded, now_s)
    if not trigger:
        return state, Decision(demands=demands, guarded=tuple(guarded), events=tuple(events))
    if lower_all:
        state = replace(state, clear_due_s=_next_due(state.clear_due_s, _slow_loop_s(state), now_s))
    state, decision = clear_market(state, now_s, trigger, lower_all=lower_all)
    return state, replace(decision, demands=demands, guarded=tuple(guarded), events=tuple(events))


def _why_clear(
    state: EngineState, stalled: list[WorkloadId], guarded: list[WorkloadId], now_s: float
) -> tuple[str, bool]:
    """Whether to clear now: the reason (empty: no), and whether it is the optimizer's pass."""
    if now_s >= state.clear_due_s:
        return OPTIMIZER, True
    if stalled:
        return f"stall {', '.join(map(str, stalled))}", False
    if guarded:
        return f"guard {', '.join(map(str, guarded))}", False
    if state.wanted:
        return state.wanted, False
    if now_s >= state.retry_due_s:
        return "room was freed", False
    return "", False


def _slow_loop_s(state: EngineState) -> float:
    return state.config.settings.loops.slow_loop_interval_s


def _next_due(due_s: float, period_s: float, now_s: float) -> float:
    """The next deadline on the grid; missed ones are skipped, never made up for."""
    missed = int((now_s - due_s) // period_s)
    return due_s + (missed + 1) * period_s


def _guard(state: EngineState, now_s: float) -> tuple[EngineState, list[WorkloadId], list[Event]]:
    """The guardrail's loop: amend the bids of workloads that were throttled most of the time."""
    settings = state.config.settings.guardrail
    tracks, pulses = dict(state.tracks), dict(state.pulses)
    guarded: list[WorkloadId] = []
    events: list[Event] = []
    for name, pulse in state.pulses.items():
        track = tracks[name]
        interval = window.between(pulse.guard_from, pulse.sample)
        if interval is None:
            continue
        pulses[name] = pulse._replace(guard_from=pulse.sample)
        if track.raised_at_s >= pulse.guard_from.read_at_s:
            continue  # the law has answered already, and what was counted before says nothing about now
        if not (settings.enabled and track.in_market and throttling.is_short(interval, settings)):
            continue
        limit_milli = track.situation.limit_milli
        tracks[name] = replace(track, guarded=throttling.trigger(track.guarded, limit_milli, now_s))
        raised_milli = limit_milli * throttling.raise_factor(interval, settings)
        need_milli = min(track.workload.contract.cap_milli, raised_milli)
        if need_milli > pulse.proposal.need_milli:
            reason = f"guard: throttled in {interval.throttled_ratio:.0%} of its periods"
            pulses[name] = pulses[name]._replace(
                proposal=Proposal(Advice.RAISE, need_milli, urgent=True, reason=reason),
                proposed_at_s=now_s,
            )
        guarded.append(name)
        if throttling.least_need_milli(track.guarded, settings, now_s) > 0:
            continue  # under guard already: renewed, but no news
        events.append(
            Event(
                at_s=now_s,
                kind="guard",
                workload=name,
                message=f"{name} was throttled in {interval.throttled_ratio:.0%} of {interval.periods} periods: "
                f"not lowered for {settings.cooldown_s:g} s",
            )
        )
    due_s = _next_due(state.guard_due_s, state.config.settings.loops.fast_loop_interval_s, now_s)
    return replace(state, tracks=tracks, pulses=pulses, guard_due_s=due_s), guarded, events
