"""Need for a throttling target, from two moments of a demand that is seen only up to the limit.

Per active period the demand is taken as normal with mean μ and deviation σ, cut off at the limit L. The share
of throttled periods says where L lies in that distribution, mean use says how far below it the mean is: two
equations, two unknowns. The need is the point that only the target share exceeds, so that a workload
throttled exactly at its target needs exactly its limit.

Reality has other tails than the normal, so the number of deviations is corrected once per window by the miss that can
be seen even under the limit: the throttling itself (conformal, arXiv 2307.16895).

Right within −20/+45 % of the true need on six kinds of load (algorithms §3.3), needs 1 Hz samples only, and moves
limits seldom: the estimator for slow actuation. With fast actuation `reflex` is better.
"""

from math import erfc, exp, log, pi, sqrt
from typing import NamedTuple

from mbcasd.estimation import forecast
from mbcasd.estimation.bounds import parallelism_milli, within
from mbcasd.estimation.law import Law, LawSettings, Situation
from mbcasd.estimation.target import target_ratio
from mbcasd.estimation.window import gather, pool
from mbcasd.model.demand import Advice, Proposal
from mbcasd.model.readings import Interval
from mbcasd.settings import ForecastKind

SAMPLE_S = 1.0
SATURATED_RATIO = 0.5
FLOOR_MILLI = 10.0

# Bounds and rate of the conformal correction, in deviations.
DEVIATIONS_MIN, DEVIATIONS_MAX = 0.8, 6.0
_LEARNING_RATE = 0.5
_LARGEST_MISS = 0.3

_LARGEST_STEP = 2.0
_LEAST_GROWTH = 1.1  # of a saturated workload: it must find out
# Dead bands of algorithms §4.2: raises need evidence, decreases a full window.
_RAISE_ABOVE = 1.05
_LOWER_BELOW = 0.9
_TOLERANCE = 3.0
_EVIDENCE_PERIODS = 2


class Constants(NamedTuple):
    """The settings that matter here."""

    target_ratio: float
    window_s: float
    period_s: float
    forecast_kind: ForecastKind
    idle_decay: bool


class State(NamedTuple):
    """What is remembered of one container."""

    constants: Constants
    deviations: float  # from the mean to the need
    limit_milli: float | None = None  # that the window was seen under
    gathered: Interval | None = None
    window: tuple[Interval, ...] = ()  # seconds, oldest first
    corrected_s: float = 0.0  # since the last conformal correction
    withheld: bool = False  # a raise was proposed and not granted yet
    foretold: forecast.State | None = None


def deviations_for(tail_ratio: float) -> float:
    """How many deviations above the mean a normal variable is with probability `tail_ratio` (0 to 0.5, not 0).

    Newton's method on the logarithm of the tail: that is concave, so from 0 it runs up to the root and never past it.
    """
    deviations = 0.0
    for _ in range(20):
        tail, density = _tail(deviations), _density(deviations)
        step = (tail / density) * log(tail / tail_ratio)
        deviations += step
        if abs(step) < 1e-12:
            break
    return deviations


def need_milli(seen: Interval, limit_milli: float, deviations: float, period_s: float) -> float:
    """The limit at which a workload would be throttled no more than its target.

    Nothing is divided by what is left below the limit, nor by the share of free periods. From half of the periods on
    the mean is unknown, and the need grows: at least by a tenth, at most to twice the limit, and not beyond the
    parallelism that was seen.

    Args:
        seen: Any time under one constant limit.
        limit_milli: That limit, above 0.
        deviations: From the mean to the need: `deviations_for(target)`, corrected.
        period_s: Quota period.

    Returns:
        Millicores, at least 0, at most twice the limit; equal to the limit where the throttled ratio is the target.
    """
    # The period timer stops while nothing runs and where there is no quota; an active period is what counts.
    periods = float(seen.periods) or max(1.0, seen.elapsed_s / period_s)
    throttled = min(float(seen.throttled_periods), periods)
    usage_milli = seen.usage_usec / (periods * period_s * 1000)
    clip = 0.5 / (periods + 1)
    throttled_ratio = min(SATURATED_RATIO, max(clip, throttled / periods))
    z = deviations_for(throttled_ratio)
    # The denominator is at least the density at 0, since z is not negative.
    spread_milli = max(limit_milli - usage_milli, 0.0) / (z * (1 - _tail(z)) + _density(z))
    need = limit_milli + (deviations - z) * spread_milli
    seen_milli = parallelism_milli(seen, limit_milli, period_s)
    # Nothing throttled: no evidence for more, however few periods were seen.
    need = min(need, limit_milli if seen_milli is None else seen_milli)
    if throttled / periods >= SATURATED_RATIO:
        wanted_milli = usage_milli + seen.throttled_usec / (periods * period_s * 1000)
        need = max(need, wanted_milli, _LEAST_GROWTH * limit_milli)
    return min(_LARGEST_STEP * limit_milli, max(0.0, need))


def start(settings: LawSettings) -> State:
    """Know nothing yet."""
    target = target_ratio(settings)
    constants = Constants(
        target,
        max(SAMPLE_S, settings.demand.window_s),
        settings.period_s,
        settings.demand.forecast,
        settings.cost.idle_decay,
    )
    return State(constants, min(DEVIATIONS_MAX, max(DEVIATIONS_MIN, deviations_for(target))))


def observe(state: State, interval: Interval, situation: Situation) -> tuple[State, Proposal]:
    """Take in one interval; once per second, estimate from the window under the present limit."""
    constants, deviations, limit_milli, gathered, window, corrected_s, withheld, foretold = state
    keep = Proposal(Advice.KEEP, within(situation.limit_milli, situation))
    if limit_milli is None:
        limit_milli = situation.limit_milli
    if limit_milli != situation.limit_milli or situation.in_flight:
        # The limit moved, or is moving: what was seen under the old one is no sample of the new one.
        return State(constants, deviations, situation.limit_milli, None, (), 0.0, withheld, foretold), keep
    gathered, second = gather(gathered, interval, SAMPLE_S)
    if second is None:
        return State(constants, deviations, limit_milli, gathered, window, corrected_s, withheld, foretold), keep
    window = _slide((*window, second), constants.window_s)
    seen = pool(window)
    foretold, peak_milli = forecast.observe(
        foretold, second.usage_milli, second.throttled_ratio, second.elapsed_s, constants.forecast_kind
    )
    corrected_s += second.elapsed_s
    full = seen.elapsed_s >= constants.window_s * 0.95
    if full and corrected_s >= constants.window_s * 0.95:
        if not withheld:
            # What the market withholds must not widen the margin: that throttling is no error of the estimate.
            miss = min(_LARGEST_MISS, seen.throttled_ratio) - _target_ratio(constants, situation)
            deviations = min(DEVIATIONS_MAX, max(DEVIATIONS_MIN, deviations + _LEARNING_RATE * miss))
        corrected_s = 0.0
    proposal = _propose(constants, seen, second, deviations, peak_milli, situation, full=full)
    withheld = proposal.advice is Advice.RAISE
    return State(constants, deviations, limit_milli, gathered, window, corrected_s, withheld, foretold), proposal


def settle(state: State, proposal: Proposal, before_milli: float, granted_milli: float, _now_s: float) -> State:
    """Take note that a raise was granted; the window starts again by itself once the limit is seen to have moved."""
    if proposal.advice is Advice.RAISE and granted_milli > before_milli:
        return state._replace(withheld=False)
    return state


def _propose(
    constants: Constants,
    seen: Interval,
    second: Interval,
    deviations: float,
    peak_milli: float | None,
    situation: Situation,
    *,
    full: bool,
) -> Proposal:
    limit_milli, target = situation.limit_milli, _target_ratio(constants, situation)
    if target != constants.target_ratio:
        # The correction learns a change of the target over many windows; the step itself is known at once.
        deviations += deviations_for(target) - deviations_for(constants.target_ratio)
        deviations = min(DEVIATIONS_MAX, max(DEVIATIONS_MIN, deviations))
    if constants.idle_decay and second.usage_milli < 1 and not second.throttled_periods:
        wanted_milli, reason, full = 0.0, "idle", True
    else:
        wanted_milli = need_milli(seen, limit_milli, deviations, constants.period_s)
        reason = f"throttled in {seen.throttled_ratio:.1%} of {seen.periods} periods, {deviations:.1f} deviations"
    if peak_milli is not None and peak_milli > wanted_milli and reason != "idle":
        wanted_milli, reason = peak_milli, f"forecast peak {peak_milli:.0f}m"
    need = within(max(FLOOR_MILLI, wanted_milli), situation)
    ratio, throttled = seen.throttled_ratio, seen.throttled_periods
    hungry = throttled >= _EVIDENCE_PERIODS and (ratio >= SATURATED_RATIO or ratio > _TOLERANCE * target)
    if need > _RAISE_ABOVE * limit_milli:
        return Proposal(Advice.RAISE, need, urgent=hungry, reason=reason)
    if full and need <= _LOWER_BELOW * limit_milli:
        return Proposal(Advice.LOWER, need, urgent=False, reason=reason)
    return Proposal(Advice.KEEP, within(limit_milli, situation), urgent=False, reason=reason)


def _target_ratio(constants: Constants, situation: Situation) -> float:
    return min(SATURATED_RATIO, constants.target_ratio * situation.leniency)


def _slide(window: tuple[Interval, ...], window_s: float) -> tuple[Interval, ...]:
    spanned_s = sum([second.elapsed_s for second in window])
    first = 0
    while first < len(window) - 1 and spanned_s - window[first].elapsed_s >= window_s - 0.05 * SAMPLE_S:
        spanned_s -= window[first].elapsed_s
        first += 1
    return window[first:]


def _tail(z: float) -> float:
    return erfc(z / sqrt(2)) / 2


def _density(z: float) -> float:
    return exp(-z * z / 2) / sqrt(2 * pi)


LAW = Law(start, observe, settle)
