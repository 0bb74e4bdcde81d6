"""Exponential smoothing that is fast up and slow down, and does not care how often it is fed.

The settings give a weight per 1 s sample, as the literature does. A weight means nothing without the
sample clock (0.3 forgets in 3 s at 1 Hz and in 42 s at one sample per 15 s), so it is turned into a half-life.

Fast up and slow down is not a mean but an expectile: on steady noise it settles above the mean, by 0.44
standard deviations for the default weights (algorithms §0.9). That is meant: it carries some headroom.
"""

from math import exp2, inf, log1p
from typing import NamedTuple

from mbcasd.settings import CostSettings, DemandSettings

_LN_HALF = -0.6931471805599453


class HalfLives(NamedTuple):
    """How long it takes to cover half of the way to a new level, in seconds; 0 is at once, inf never."""

    up_s: float
    down_s: float


def half_life_s(alpha: float, sample_s: float = 1.0) -> float:
    """Turn a weight per sample (0 to 1) into a half-life in seconds: 0.3 per 1 s is 1.9 s."""
    if alpha >= 1:
        return 0.0
    if alpha <= 0:
        return inf
    return sample_s * _LN_HALF / log1p(-alpha)


def half_lives(demand: DemandSettings, cost: CostSettings) -> HalfLives:
    """The half-lives that the settings ask for; cost mode comes down as fast as it goes up."""
    up_s = half_life_s(demand.alpha_up)
    return HalfLives(up_s, up_s if cost.cost_efficiency_mode else half_life_s(demand.alpha_down))


def smooth(previous: float | None, value: float, elapsed_s: float, demand: DemandSettings, cost: CostSettings) -> float:
    """Move from the previous level towards a value that held for `elapsed_s`, as fast as the settings say.

    Args:
        previous: The level so far; None: there is none, the value becomes it.
        value: The mean over the time that passed.
        elapsed_s: How long that was; not negative.
        demand: For the weights up and down.
        cost: For cost mode.
    """
    return approach(previous, value, elapsed_s, half_lives(demand, cost))


def approach(previous: float | None, value: float, elapsed_s: float, half_lives: HalfLives) -> float:
    """The same with half-lives at hand.

    Two steps of one second are the same as one of two seconds, as long as the value stays.
    """
    if previous is None:
        return value
    half_life = half_lives.up_s if value > previous else half_lives.down_s
    kept = exp2(-elapsed_s / half_life) if half_life > 0 else 0.0
    return value + (previous - value) * kept
