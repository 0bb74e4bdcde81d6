"""Samples become proposals and demands.

This is the hot path: it runs ten times per second for every busy container, in a budget of 20 µs each for
everything. Values are made positionally for that reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from mbcasd.engine.state import EngineConfig, EngineState, Pulse, Track, Waiting
from mbcasd.estimation import forecast, smoothing, stall, window
from mbcasd.estimation.law import LawSettings, LawState, Situation
from mbcasd.estimation.laws import LAWS
from mbcasd.model.demand import Advice, Demand, Proposal
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import CpuSample, Interval

# A proposal that the market withheld stands for so long without being renewed: two of the reflex law's own
# decision periods. Then the workload is taken to be content with what it has.
STANDS_FOR_S = 2.0

# Needs that differ by less are the same to the market: it need not be asked again.
SAME_RATIO = 0.001

# Use below it is nothing: a timer, a health check. With it goes waiting for the CPU for less than this.
STILL_MILLI = 0.5
STILL_WAIT_RATIO = 0.01

# A demand is renewed this often; a little less than a second, because samples come on a grid of a second.
DEMAND_EVERY_S = 0.95

Observe = Callable[[LawState, Interval, Situation], tuple[LawState, Proposal]]


def watch(  # noqa: C901 -- the hot path: a call for each sample costs more than a branch
    state: EngineState, samples: Mapping[WorkloadId, CpuSample], now_s: float
) -> tuple[EngineState, dict[WorkloadId, Demand], list[WorkloadId]]:
    """Feed samples to the laws.

    Returns:
        The next state, the demands that were renewed, and the workloads whose law wants the market cleared at
        once. One that the last clearing already refused the same need is not among them.
    """
    config = state.config
    law = LAWS[config.settings.demand.estimator]
    observe = law.observe
    pulses, tracks = dict(state.pulses), state.tracks
    renewed: dict[WorkloadId, Track] = {}
    still: dict[WorkloadId, Demand] = {}
    urgent: list[WorkloadId] = []
    for name, sample in samples.items():
        track = tracks.get(name)
        if track is None:
            continue
        pulse = pulses.get(name)
        if pulse is None:
            pulses[name] = _first_pulse(track, sample, config, now_s)
            continue
        last, law_state, proposal, proposed_at_s, demand_from, guard_from, fed, waiting = pulse
        is_due = sample.read_at_s - demand_from.read_at_s >= DEMAND_EVERY_S
        if not is_due and sample[3:] == last[3:] and proposal.advice is Advice.KEEP:
            # Nothing was throttled and nothing waited, so there is nothing to raise, and decreases are considered
            # once a second: the law takes it in together with the next ones, which spares half of the hot path.
            pulses[name] = Pulse(
                sample, law_state, proposal, proposed_at_s, demand_from, guard_from, fed, Waiting(sample, waiting)
            )
            continue
        if waiting is None and _sleeps(track, proposal, law.floor_milli) and _is_nothing(last, sample):
            pulses[name] = Pulse(sample, law_state, proposal, proposed_at_s, sample, guard_from, sample)
            if track.demand is not None:
                still[name] = track.demand
            continue
        law_state, proposal, proposed_at_s, interval = _feed(track, pulse, sample, observe, now_s)
        if proposal.urgent and proposed_at_s == now_s and _is_news(proposal, track):
            urgent.append(name)
        if interval is None:
            # Counters were reset or no time has passed: start afresh from here, the law keeps what it knows.
            pulses[name] = Pulse(sample, law_state, proposal, proposed_at_s, sample, sample, sample)
            continue
        if is_due:
            window_seen = window.between(demand_from, sample) or interval
            if not _is_still(track, window_seen, proposal):
                renewed[name] = _renew(track, window_seen, proposal, config)
            elif track.demand is not None:
                still[name] = track.demand
            demand_from = sample
        pulses[name] = Pulse(sample, law_state, proposal, proposed_at_s, demand_from, guard_from, sample)
    demands = still | {name: track.demand for name, track in renewed.items() if track.demand is not None}
    return replace(state, pulses=pulses, tracks={**tracks, **renewed} if renewed else tracks), demands, urgent


def _feed(
    track: Track, pulse: Pulse, sample: CpuSample, observe: Observe, now_s: float
) -> tuple[LawState, Proposal, float, Interval | None]:
    """Let the law take in what has waited and the newest sample.

    Returns:
        Its state, the proposal that stands and since when, and the newest interval; None where counters were reset.
    """
    _, law_state, proposal, proposed_at_s, _, _, fed, waiting = pulse
    interval = None
    for taken in [*_oldest_first(waiting), sample]:
        interval = window.between(fed, taken)
        fed = taken
        if interval is None:
            break
        if not track.in_market:
            continue
        law_state, fresh = observe(law_state, interval, track.situation)
        if fresh.advice is not Advice.KEEP or proposal.advice is Advice.KEEP or now_s - proposed_at_s > STANDS_FOR_S:
            proposal, proposed_at_s = fresh, now_s
    return law_state, proposal, proposed_at_s, interval


def _oldest_first(waiting: Waiting | None) -> list[CpuSample]:
    samples = []
    while waiting is not None:
        samples.append(waiting.sample)
        waiting = waiting.before
    samples.reverse()
    return samples


def _sleeps(track: Track, proposal: Proposal, law_floor_milli: float) -> bool:
    """Whether a workload whose counters all but stand still is known to do so, and has nothing left to give back.

    Then the law need not hear of it, and finds what it knew when the workload wakes up.

    Args:
        track: The workload's.
        proposal: The one that stands.
        law_floor_milli: What its law would not go below.
    """
    known, situation = track.demand, track.situation
    return (
        known is not None
        and known.usage_milli < STILL_MILLI
        and known.smoothed_milli < STILL_MILLI
        and proposal.advice is Advice.KEEP
        and situation.limit_milli <= max(situation.floor_milli, law_floor_milli)
    )


def _is_nothing(last: CpuSample, sample: CpuSample) -> bool:
    """Whether what was counted between two samples is too little to be looked at."""
    if sample[1:] == last[1:]:
        return True
    elapsed_usec = (sample.read_at_s - last.read_at_s) * 1e6
    return (
        sample.throttled_periods == last.throttled_periods
        and 0 <= sample.usage_usec - last.usage_usec < elapsed_usec * STILL_MILLI / 1000
        and 0 <= (sample.some_usec or 0) - (last.some_usec or 0) < elapsed_usec * STILL_WAIT_RATIO
    )


def _is_still(track: Track, interval: Interval, proposal: Proposal) -> bool:
    """Whether a workload that did nothing goes on doing nothing: what is known of it stays as it is."""
    known = track.demand
    return (
        known is not None
        and interval.usage_milli < STILL_MILLI
        and known.usage_milli < STILL_MILLI
        and known.smoothed_milli < STILL_MILLI
        and known.need_milli == proposal.need_milli
        and not interval.throttled_periods
        and (interval.some_usec or 0) < interval.elapsed_s * 1e6 * STILL_WAIT_RATIO
    )


def _is_news(proposal: Proposal, track: Track) -> bool:
    """Whether the last clearing has not refused the same need already."""
    return proposal.need_milli > (track.cleared_need_milli or 0.0) * (1 + SAME_RATIO)


def _first_pulse(track: Track, sample: CpuSample, config: EngineConfig, now_s: float) -> Pulse:
    settings = config.settings
    law_settings = LawSettings(
        demand=settings.demand,
        cost=settings.cost,
        preset=config.preset,
        workload_class=track.workload.contract.workload_class,
        period_s=_period_s(track),
        cpus=config.cpus,
    )
    keep = Proposal(Advice.KEEP, track.situation.limit_milli)
    return Pulse(sample, LAWS[settings.demand.estimator].start(law_settings), keep, now_s, sample, sample, sample)


def _renew(track: Track, interval: Interval, proposal: Proposal, config: EngineConfig) -> Track:
    settings = config.settings
    usage_milli = interval.usage_milli
    smoothed_milli = smoothing.smooth(
        track.smoothed_milli, usage_milli, interval.elapsed_s, settings.demand, settings.cost
    )
    foretold, forecast_milli = forecast.observe(
        track.forecast, usage_milli, interval.throttled_ratio, interval.elapsed_s, settings.demand.forecast
    )
    limit_milli = track.limit.limit_milli if track.limit is not None else None
    demand = Demand(
        usage_milli=usage_milli,
        smoothed_milli=smoothed_milli,
        throttled_ratio=interval.throttled_ratio,
        need_milli=proposal.need_milli,
        stall=stall.split(interval, limit_milli, config.cpus, _period_s(track)),
        forecast_milli=forecast_milli,
    )
    return replace(track, demand=demand, smoothed_milli=smoothed_milli, forecast=foretold)


def _period_s(track: Track) -> float:
    return track.limit.period_usec / 1e6 if track.limit is not None else 0.1
