"""The rule of the requirements text: smoothed use and a headroom on top.

Kept as the baseline that everybody knows. Use is censored at the limit, so this law grows by its headroom per
second at most: it cannot discover what a workload would use (algorithms §0.4), and the guard has to help.
"""

from typing import NamedTuple

from mbcasd.estimation import forecast, smoothing
from mbcasd.estimation.bounds import within
from mbcasd.estimation.law import Law, LawSettings, Situation
from mbcasd.estimation.window import gather
from mbcasd.model.demand import Advice, Proposal
from mbcasd.model.readings import Interval
from mbcasd.settings import ForecastKind

# The weights are meant per 1 s sample. Fed with shorter ones, fast up and slow down would follow every burst.
SAMPLE_S = 1.0

# A share of a percent is no difference; the engine's dead bands are what limits churn.
_SAME_RATIO = 0.001


class Constants(NamedTuple):
    """The settings that matter here."""

    half_lives: smoothing.HalfLives
    headroom_ratio: float
    forecast_kind: ForecastKind
    idle_decay: bool


class State(NamedTuple):
    """What is remembered of one container."""

    constants: Constants
    gathered: Interval | None = None
    smoothed_milli: float | None = None
    foretold: forecast.State | None = None


def start(settings: LawSettings) -> State:
    """Know nothing yet."""
    demand, cost = settings.demand, settings.cost
    half_lives = smoothing.half_lives(demand, cost)
    return State(Constants(half_lives, demand.need_headroom_factor, demand.forecast, cost.idle_decay))


def observe(state: State, interval: Interval, situation: Situation) -> tuple[State, Proposal]:
    """Take in one interval; once per second, propose the smoothed use with headroom, or the forecast if larger."""
    constants, gathered, smoothed_milli, foretold = state
    gathered, second = gather(gathered, interval, SAMPLE_S)
    limit_milli = situation.limit_milli
    if second is None:
        return State(constants, gathered, smoothed_milli, foretold), Proposal(
            Advice.KEEP, within(limit_milli, situation)
        )
    usage_milli = second.usage_milli
    if constants.idle_decay and usage_milli < 1:
        smoothed_milli = usage_milli  # no use at all: do not wait for the half-life
    smoothed_milli = smoothing.approach(smoothed_milli, usage_milli, second.elapsed_s, constants.half_lives)
    foretold, peak_milli = forecast.observe(
        foretold, usage_milli, second.throttled_ratio, second.elapsed_s, constants.forecast_kind
    )
    state = State(constants, gathered, smoothed_milli, foretold)
    # Throttling is no input of this law: who may bear half as much of it gets twice the headroom.
    headroom_ratio = constants.headroom_ratio / situation.leniency
    wanted_milli, reason = smoothed_milli * (1 + headroom_ratio), f"smoothed use {smoothed_milli:.0f}m"
    if peak_milli is not None and peak_milli > wanted_milli:
        wanted_milli, reason = peak_milli, f"forecast peak {peak_milli:.0f}m"
    need_milli = within(wanted_milli, situation)
    if situation.in_flight or abs(need_milli - limit_milli) <= _SAME_RATIO * limit_milli:
        return state, Proposal(Advice.KEEP, within(limit_milli, situation))
    advice = Advice.RAISE if need_milli > limit_milli else Advice.LOWER
    return state, Proposal(advice, need_milli, urgent=False, reason=reason)


def settle(state: State, _proposal: Proposal, _before_milli: float, _granted_milli: float, _now_s: float) -> State:
    """Nothing to note: this law looks at use alone."""
    return state


LAW = Law(start, observe, settle)
