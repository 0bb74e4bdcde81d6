"""The guardrail: the fast rule for what the estimator let through.

It looks at throttling once per fast loop. A workload that was throttled in most of its periods, and lost real
time to it, gets a raised need at once, and its need counts as at least its present limit for the cooldown. It
amends bids, never allocations: several guarded workloads still compete by weight, and the sum of limits stays
bounded. (As a lower bound of the window it froze contended markets: nobody could be lowered to their share.)

The reflex law answers within 0.3 s, so its workloads come here only when the law could not help; the slower
laws rely on it.
"""

from typing import NamedTuple

from mbcasd.model.readings import Interval
from mbcasd.settings import GuardrailSettings

# Throttled thread-time per second of wall time below which a high count of throttled periods means an exact fit
# and not a shortage: 5 ms in each of ten periods (algorithms §3.7, saturation rule).
SHORTAGE_MS_PER_S = 50.0

# How fast the guarded floor gives way once the cooldown is over (algorithms §4.4).
DECAY_RATIO = 0.10
DECAY_EVERY_S = 15.0


class Guarded(NamedTuple):
    """A workload under guard; an unguarded one has none."""

    limit_milli: float  # in force at the last trigger
    triggered_at_s: float
    triggers: int  # since the daemon first saw the workload


def is_short(interval: Interval, guard: GuardrailSettings) -> bool:
    """Whether throttling over one fast loop is a violation."""
    return (
        interval.throttled_ratio >= guard.fast_up_threshold_ratio
        and interval.throttled_usec / 1000 >= SHORTAGE_MS_PER_S * interval.elapsed_s
    )


def raise_factor(interval: Interval, guard: GuardrailSettings) -> float:
    """How much to raise: more the more it was throttled, between the two step bounds (algorithms §4.4)."""
    factor = 1 + 3 * (interval.throttled_ratio - guard.fast_up_threshold_ratio)
    return min(guard.step_max, max(guard.step_min, factor))


def trigger(guarded: Guarded | None, limit_milli: float, now_s: float) -> Guarded:
    """Put a workload under guard, or renew its guard."""
    return Guarded(limit_milli, now_s, (guarded.triggers if guarded else 0) + 1)


def least_need_milli(guarded: Guarded | None, guard: GuardrailSettings, now_s: float) -> float:
    """What the guarded workload's need counts as at least, in millicores; 0 without a guard.

    Whole during the cooldown, then 10 % less every 15 s until it is forgotten at half.
    """
    if guarded is None:
        return 0.0
    over_s = now_s - guarded.triggered_at_s - guard.cooldown_s
    if over_s < 0:
        return guarded.limit_milli
    left_ratio = (1 - DECAY_RATIO) ** (over_s / DECAY_EVERY_S)
    return guarded.limit_milli * left_ratio if left_ratio > 0.5 else 0.0
