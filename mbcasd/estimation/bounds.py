"""What no estimate may exceed, whichever law made it."""

from mbcasd.estimation.law import Situation
from mbcasd.model.readings import Interval


def within(need_milli: float, situation: Situation) -> float:
    """Bring a need between the contract's floor and the ceiling; where these contradict, the ceiling wins."""
    return min(situation.ceiling_milli, max(situation.floor_milli, need_milli))


def parallelism_milli(interval: Interval, limit_milli: float, period_s: float) -> float | None:
    """How much CPU the workload could have used while it was throttled, in millicores.

    Time throttled is counted per CPU that had something to run, so a throttled period's quota and its
    throttled time add up to what ran and wanted to run: `min(threads, CPUs)` (algorithms §3.1, measured). It is
    an upper bound for the need, never an estimate of it: eight workers that share one queue look eight wide.

    Returns:
        None where nothing was throttled, since nothing is known then.
    """
    if not interval.throttled_periods:
        return None
    return limit_milli + interval.throttled_usec / interval.throttled_periods / period_s / 1000
