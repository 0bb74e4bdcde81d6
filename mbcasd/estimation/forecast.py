"""What a workload will use at most in the next five seconds, in 19 of 20 cases.

Two parts: a point forecast (a plain exponential mean, or a constant-velocity Kalman filter), and on top a
margin that learns from its own misses until they are as rare as they should be, whatever the noise looks
like (conformal prediction in its online form, arXiv 2307.16895). On six kinds of load this did better than any
multiple of a standard deviation, and velocity bought nothing, ramps included (algorithms §3.5): hence the mean is the
default and the filter is for series with gaps.

A second that was throttled half of its periods or more shows the limit, not the workload: what was used then can
only be too little, so it may raise the forecast but never lower it, and it judges no margin unless it was
exceeded all the same.
"""

from math import exp2
from typing import NamedTuple

from mbcasd.settings import ForecastKind

HORIZON_S = 5.0
COVERAGE = 0.95
CENSORED_RATIO = 0.5

# 0.2 per 1 s sample.
_MEAN_HALF_LIFE_S = 3.1063
_LEARNING_RATE = 0.1
_MARGIN_START = 2.0
_ERROR_MEMORY = 0.02  # weight of the newest error in their mean size, about a minute
# Process noise relative to measurement noise; its steady gains are α = 0.170 and β = 0.0158 at 1 Hz.
_NOISE_RATIO = 0.0003
# A longer gap makes the pending predictions pointless: their five seconds were not seen.
_GAP_S = 2.5


class Kalman(NamedTuple):
    """The filter's velocity and its covariance, in units of the measurement noise."""

    velocity_milli_s: float = 0.0
    level_var: float = 1.0
    cross_var: float = 0.0
    velocity_var: float = 1.0


class State(NamedTuple):
    """What is remembered of one series."""

    level_milli: float
    kalman: Kalman | None
    margin_errors: float = _MARGIN_START  # the margin, in mean errors: so it shrinks with them
    error_milli: float | None = None  # mean size of the point forecast's errors; None: none was judged yet
    pending: tuple[tuple[float, float, float, float], ...] = ()  # point, peak foretold, age in s, peak seen since


def observe(
    state: object, usage_milli: float, throttled_ratio: float, elapsed_s: float, kind: ForecastKind
) -> tuple[State | None, float | None]:
    """Take in the mean use of about a second and foretell the peak of the next five.

    Args:
        state: What the last call returned; None at the first.
        usage_milli: Mean use over `elapsed_s`.
        throttled_ratio: Share of the periods that were throttled meanwhile.
        elapsed_s: About 1 s; gaps are allowed.
        kind: Of point forecast; with OFF there is neither state nor forecast.

    Returns:
        The next state and the peak in millicores, at least 0; None with OFF.
    """
    if kind is ForecastKind.OFF:
        return None, None
    if not isinstance(state, State) or (state.kalman is None) is (kind is ForecastKind.KALMAN):
        # The first value, or the kind was changed while running.
        kalman = Kalman() if kind is ForecastKind.KALMAN else None
        return State(usage_milli, kalman), max(0.0, usage_milli)
    censored = throttled_ratio >= CENSORED_RATIO
    state = _judge(state, usage_milli, elapsed_s, censored=censored)
    if state.kalman is None:
        level_milli, kalman = _mean(state.level_milli, usage_milli, elapsed_s, censored=censored), None
        point_milli = level_milli
    else:
        level_milli, kalman = _filter(state.level_milli, state.kalman, usage_milli, elapsed_s, censored=censored)
        point_milli = max(0.0, level_milli + max(0.0, kalman.velocity_milli_s) * HORIZON_S)
    peak_milli = max(0.0, point_milli + state.margin_errors * (state.error_milli or 0.0))
    pending = (*state.pending, (point_milli, peak_milli, 0.0, 0.0))
    return State(level_milli, kalman, state.margin_errors, state.error_milli, pending), peak_milli


def _mean(level_milli: float, usage_milli: float, elapsed_s: float, *, censored: bool) -> float:
    if censored and usage_milli < level_milli:
        return level_milli
    return usage_milli + (level_milli - usage_milli) * exp2(-elapsed_s / _MEAN_HALF_LIFE_S)


def _filter(
    level_milli: float, kalman: Kalman, usage_milli: float, elapsed_s: float, *, censored: bool
) -> tuple[float, Kalman]:
    """One step of the constant-velocity filter; the elapsed time need not be the same each time."""
    velocity, p_level, p_cross, p_velocity = kalman
    dt = elapsed_s
    level_milli += velocity * dt
    p_level += dt * (2 * p_cross + dt * p_velocity) + _NOISE_RATIO * dt**4 / 4
    p_cross += dt * p_velocity + _NOISE_RATIO * dt**3 / 2
    p_velocity += _NOISE_RATIO * dt**2
    innovation = usage_milli - level_milli
    if censored:
        innovation = max(0.0, innovation)
    alpha, beta = p_level / (p_level + 1), p_cross / (p_level + 1)
    level_milli += alpha * innovation
    velocity += beta * innovation
    if censored:
        velocity = max(0.0, velocity)
    kalman = Kalman(velocity, p_level - alpha * p_level, p_cross - alpha * p_cross, p_velocity - beta * p_cross)
    return max(0.0, level_milli), kalman


def _judge(state: State, usage_milli: float, elapsed_s: float, *, censored: bool) -> State:
    """Compare what was foretold with what came, and move the margin."""
    if elapsed_s > _GAP_S:
        return state._replace(pending=())
    margin_errors, error_milli = state.margin_errors, state.error_milli
    pending = []
    for point_milli, peak_milli, age_s, seen_milli in state.pending:
        age, seen = age_s + elapsed_s, max(seen_milli, usage_milli)
        if censored and seen <= peak_milli:
            continue  # it might have used more than was foretold: nobody knows
        if age < HORIZON_S - 0.01 * HORIZON_S:
            pending.append((point_milli, peak_milli, age, seen))
            continue
        error = abs(seen - point_milli)
        if error_milli is None:
            error_milli = error  # the first judgement sets the scale
            continue
        error_milli += _ERROR_MEMORY * (error - error_milli)
        missed = 1.0 if seen > peak_milli else 0.0
        margin_errors = max(0.0, margin_errors + _LEARNING_RATE * (missed - (1 - COVERAGE)))
    return state._replace(margin_errors=margin_errors, error_milli=error_milli, pending=tuple(pending))
