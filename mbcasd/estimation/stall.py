"""Why a workload waited: its own limit, its neighbours, or its own parallelism.

CPU pressure alone cannot tell: a spinner held by its quota and one that shares its CPU with an outsider
both show the same numbers (measured, some = full = 50 %). Together with the throttled time it can:

    limit      what the throttled time explains                → raise the limit
    neighbour  all of it waited, and no quota held it          → raise the weight, or lower others
    self       something waited while something of it ran      → more threads than CPUs: nothing to buy
"""

from mbcasd.model.demand import StallSplit
from mbcasd.model.readings import Interval

NO_STALL = StallSplit(limit_ratio=0.0, neighbour_ratio=0.0, self_ratio=0.0, stalled_s=0.0)


def split(interval: Interval, limit_milli: float | None, cpus: int, period_s: float = 0.1) -> StallSplit | None:
    """Split the time in which at least one task of a workload waited.

    Pressure is wall time, throttled time is summed over CPUs; they are comparable once the latter is divided
    by the number of CPUs that were held at a time. That number is seen in the throttled periods: quota used
    and time throttled add up to it.

    Throttled time is credited when a period ends, so over an interval of about one period some of it shows up
    as the neighbours'; over a second that is a tenth at most.

    Args:
        interval: About a second or more, under one limit.
        limit_milli: In force; None: unlimited.
        cpus: CPUs that the workload may run on, at least 1.
        period_s: Quota period in force.

    Returns:
        Shares that sum to 1, or all 0 where nothing waited; None where the kernel gives no PSI.
    """
    some_usec, full_usec = interval.some_usec, interval.full_usec
    if some_usec is None or full_usec is None:
        return None
    # The kernel sums the two over CPUs at different moments, so `full` can be ahead by a tick.
    waited_usec = max(some_usec, full_usec)
    if waited_usec <= 0:
        return NO_STALL
    held_usec = min(waited_usec, interval.throttled_usec / _held_at_a_time(interval, limit_milli, cpus, period_s))
    neighbour_usec = max(0.0, full_usec - held_usec)
    limit_ratio, neighbour_ratio = held_usec / waited_usec, neighbour_usec / waited_usec
    return StallSplit(
        limit_ratio=limit_ratio,
        neighbour_ratio=neighbour_ratio,
        self_ratio=max(0.0, 1.0 - limit_ratio - neighbour_ratio),
        stalled_s=waited_usec / 1e6,
    )


def _held_at_a_time(interval: Interval, limit_milli: float | None, cpus: int, period_s: float) -> float:
    """How many CPUs were held at once while the workload was throttled: 1 to `cpus`."""
    if limit_milli is not None and interval.throttled_periods:
        # The sum that `bounds.parallelism_milli` explains; a period that starts late counts too little, hence
        # the lower bound of 1.
        seen = limit_milli / 1000 + interval.throttled_usec / interval.throttled_periods / period_s / 1e6
    else:
        seen = (interval.usage_usec + interval.throttled_usec) / interval.elapsed_s / 1e6
    return min(max(1.0, seen), max(1, cpus))
