"""Counters to intervals: what happened between two readings, and over many of them.

Everything downstream sees differences, never raw counters, so a counter that starts again or a clock that
stands still is dealt with here and nowhere else.
"""

from collections.abc import Iterable

from mbcasd.model.readings import CpuSample, Interval


def between(before: CpuSample, after: CpuSample) -> Interval | None:
    """Subtract two readings of one cgroup.

    PSI is a difference only where both readings have it: a kernel file that appears or vanishes in between
    makes it unknown for this interval, and costs nothing else.

    Returns:
        What happened in between; None where no time passed or any counter went back, as it does when a cgroup
        was made again. The caller then starts over from `after`.
    """
    before_s, usage, periods, throttled, throttled_usec, some, full = before
    read_s, usage_now, periods_now, throttled_now, throttled_usec_now, some_now, full_now = after
    usage = usage_now - usage
    periods = periods_now - periods
    throttled = throttled_now - throttled
    throttled_usec = throttled_usec_now - throttled_usec
    some = None if some is None or some_now is None else some_now - some
    full = None if full is None or full_now is None else full_now - full
    if read_s <= before_s or usage < 0 or periods < 0 or throttled < 0 or throttled_usec < 0:
        return None
    if (some is not None and some < 0) or (full is not None and full < 0):
        return None
    return Interval(read_s, read_s - before_s, usage, periods, throttled, throttled_usec, some, full)


def join(first: Interval, second: Interval) -> Interval:
    """Add two neighbouring intervals; PSI stays known only where both know it."""
    _, elapsed_s, usage, periods, throttled, throttled_usec, some, full = first
    ended_s, more_s, more_usage, more_periods, more_throttled, more_throttled_usec, more_some, more_full = second
    return Interval(
        ended_s,
        elapsed_s + more_s,
        usage + more_usage,
        periods + more_periods,
        throttled + more_throttled,
        throttled_usec + more_throttled_usec,
        None if some is None or more_some is None else some + more_some,
        None if full is None or more_full is None else full + more_full,
    )


def pool(intervals: Iterable[Interval]) -> Interval:
    """Add neighbouring intervals of one cgroup under one limit, oldest first.

    Raises:
        ValueError: There are none.
    """
    rest = iter(intervals)
    pooled = next(rest, None)
    if pooled is None:
        raise ValueError("no interval to pool")
    for interval in rest:
        pooled = join(pooled, interval)
    return pooled


def gather(gathered: Interval | None, interval: Interval, until_s: float) -> tuple[Interval | None, Interval | None]:
    """Collect short intervals into one of at least `until_s`, so that a rule keeps its own clock.

    Returns:
        What is still being gathered, and what became complete; one of the two is None.
    """
    if gathered is not None:
        interval = join(gathered, interval)
    # A tenth of a sample early is on time: samples of 100 ms come a millisecond early or late.
    return (None, interval) if interval.elapsed_s >= until_s - 0.01 else (interval, None)
