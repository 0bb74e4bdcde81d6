"""A strong baseline: hold the share of throttled periods at a target, with the recent peak and spread as a base.

Re-expression of the local controller of Autothrottle (arXiv 2212.12180) with its constants: a history of
50 × 100 ms, a decision each second, a rollback each 100 ms, a margin in standard deviations that integrates
the error. Two things are added, both for a world in which a market stands between proposal and limit: a raise never
exceeds the parallelism that was seen, and the margin does not wind up while a raise is withheld.

An interval of n × 100 ms counts as round(n) equal samples.
"""

from math import sqrt
from typing import NamedTuple

from mbcasd.estimation.bounds import parallelism_milli, within
from mbcasd.estimation.law import Law, LawSettings, Situation
from mbcasd.estimation.target import target_ratio
from mbcasd.estimation.window import pool
from mbcasd.model.demand import Advice, Proposal
from mbcasd.model.readings import Interval

SAMPLE_S = 0.1
HISTORY_SAMPLES = 50
MARGIN_START = 3.0  # standard deviations
FLOOR_MILLI = 10.0

_DECIDE_S = 1.0
_TOLERANCE = 3.0  # throttled up to so many times the target is noise
_LOWER_BELOW = 0.9
_SMALLEST_STEP = 0.5
_LARGEST_STEP = 2.0
_SLACK_S = 0.01
_SECOND_S = 0.95
_DECIDE_SAMPLES = 10
_IDLE_MILLI = 1.0


class Constants(NamedTuple):
    """The settings that matter here."""

    target_ratio: float  # share of wall time in throttled periods
    period_s: float
    idle_decay: bool


class State(NamedTuple):
    """What is remembered of one container."""

    constants: Constants
    margin: float = MARGIN_START
    history_milli: tuple[float, ...] = ()
    second: tuple[Interval, ...] = ()  # the last second
    undecided_s: float = 0.0
    withheld: bool = False  # a raise was proposed and not granted yet
    lowered_from_milli: float = 0.0
    lowered_to_milli: float | None = None  # None: the last action was no decrease


def start(settings: LawSettings) -> State:
    """Know nothing yet."""
    return State(Constants(target_ratio(settings), settings.period_s, settings.cost.idle_decay))


def observe(state: State, interval: Interval, situation: Situation) -> tuple[State, Proposal]:
    """Take in one interval; decide each second, and take a decrease back at once when it hurts."""
    limit_milli = situation.limit_milli
    lowered_to_milli = state.lowered_to_milli
    if lowered_to_milli is not None and abs(limit_milli - lowered_to_milli) > 1:
        lowered_to_milli = None  # somebody else has moved it since
    samples = max(1, min(HISTORY_SAMPLES, round(interval.elapsed_s / SAMPLE_S)))
    state = State(
        state.constants,
        state.margin,
        (state.history_milli + (interval.usage_milli,) * samples)[-HISTORY_SAMPLES:],
        _last_second((*state.second, interval)),
        state.undecided_s + interval.elapsed_s,
        state.withheld,
        state.lowered_from_milli,
        lowered_to_milli,
    )
    keep = Proposal(Advice.KEEP, within(limit_milli, situation))
    if situation.in_flight:
        return state, keep
    if lowered_to_milli is not None:
        proposal = _roll_back(state, situation)
        if proposal is not None:
            return state._replace(withheld=True), proposal
    if state.undecided_s < _DECIDE_S - _SLACK_S:
        return state, keep
    return _decide(state._replace(undecided_s=0.0), situation)


def settle(state: State, proposal: Proposal, before_milli: float, granted_milli: float, _now_s: float) -> State:
    """Take note of what the market granted; a rollback that is granted also widens the margin by its error."""
    if proposal.advice is Advice.RAISE and granted_milli > before_milli:
        margin = state.margin
        if state.lowered_to_milli is not None:
            margin = max(0.0, margin + _throttled_ratio(state) - state.constants.target_ratio)
        return state._replace(margin=margin, withheld=False, lowered_to_milli=None)
    if proposal.advice is Advice.LOWER and granted_milli < before_milli:
        # What is throttled from now on is judged, not what was before.
        return state._replace(
            second=(), withheld=False, lowered_from_milli=before_milli, lowered_to_milli=granted_milli
        )
    return state


def _decide(state: State, situation: Situation) -> tuple[State, Proposal]:
    throttled_ratio, limit_milli = _throttled_ratio(state), situation.limit_milli
    target = state.constants.target_ratio * situation.leniency
    if not (state.withheld and throttled_ratio > target):
        state = state._replace(margin=max(0.0, state.margin + throttled_ratio - target), withheld=False)
    excess = throttled_ratio - _TOLERANCE * target
    if excess > 0:
        proposal = _raise(state, limit_milli * (1 + excess), situation, f"throttled {throttled_ratio:.0%} of the time")
        return state._replace(withheld=proposal.advice is Advice.RAISE), proposal
    base_milli, reason = _base(state)
    if base_milli <= _LOWER_BELOW * limit_milli:
        least_milli = _SMALLEST_STEP * limit_milli if base_milli else 0.0
        need_milli = within(max(FLOOR_MILLI, least_milli, base_milli), situation)
        if need_milli < limit_milli:
            return state, Proposal(Advice.LOWER, need_milli, urgent=False, reason=reason)
    return state, Proposal(Advice.KEEP, within(limit_milli, situation))


def _base(state: State) -> tuple[float, str]:
    """What five seconds of use call for, and how; 0 for an idle one that need not wait for its history."""
    history = state.history_milli
    if state.constants.idle_decay and max(history[-_DECIDE_SAMPLES:]) < _IDLE_MILLI:
        return 0.0, "idle"
    mean_milli, peak_milli = sum(history) / len(history), max(history)
    spread_milli = sqrt(sum([(value - mean_milli) ** 2 for value in history]) / len(history))
    reason = f"peak {peak_milli:.0f}m and {state.margin:.1f} times the spread of {spread_milli:.0f}m"
    # Never 0: only who is idle, and may decay, skips the steps of a half.
    return max(FLOOR_MILLI, peak_milli + state.margin * spread_milli), reason


def _roll_back(state: State, situation: Situation) -> Proposal | None:
    if _throttled_ratio(state) <= _TOLERANCE * state.constants.target_ratio * situation.leniency:
        return None
    limit_milli, before_milli = situation.limit_milli, state.lowered_from_milli
    need_milli = within(before_milli + (before_milli - limit_milli), situation)
    if need_milli <= limit_milli:
        return None
    return Proposal(Advice.RAISE, need_milli, urgent=True, reason="the last decrease was too much")


def _raise(state: State, wanted_milli: float, situation: Situation, reason: str) -> Proposal:
    limit_milli = situation.limit_milli
    seen_milli = parallelism_milli(pool(state.second), limit_milli, state.constants.period_s)
    wanted_milli = min(wanted_milli, _LARGEST_STEP * limit_milli)
    if seen_milli is not None:
        # Never so tight that it would stop growing.
        wanted_milli = min(wanted_milli, max(1.1 * limit_milli, seen_milli))
    need_milli = within(wanted_milli, situation)
    if need_milli <= limit_milli:
        return Proposal(Advice.KEEP, need_milli, urgent=False, reason="at its ceiling")
    return Proposal(Advice.RAISE, need_milli, urgent=True, reason=reason)


def _throttled_ratio(state: State) -> float:
    """Share of the last second that lay in throttled periods, 0 to 1.

    Of wall time, not of the active periods: an idle workload has few of those, and one bad one is not everything.
    """
    throttled_s = sum([interval.throttled_periods for interval in state.second]) * state.constants.period_s
    return min(1.0, throttled_s / max(_DECIDE_S, sum([interval.elapsed_s for interval in state.second])))


def _last_second(intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
    spanned_s = sum([interval.elapsed_s for interval in intervals])
    first = 0
    while spanned_s - intervals[first].elapsed_s >= _SECOND_S:
        spanned_s -= intervals[first].elapsed_s
        first += 1
    return intervals[first:]


LAW = Law(start, observe, settle)
