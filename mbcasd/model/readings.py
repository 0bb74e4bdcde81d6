"""What was read from the kernel: cumulative counters, and the limit in force."""

from dataclasses import dataclass
from typing import NamedTuple


class CpuSample(NamedTuple):
    """One reading of one cgroup's cumulative counters.

    A tuple, not a dataclass: it is made ten times per second for every busy container, and a frozen
    dataclass costs three times as much to make.
    """

    read_at_s: float  # monotonic
    usage_usec: int
    periods: int = 0  # enforcement periods in which the cgroup ran or wanted to
    throttled_periods: int = 0
    throttled_usec: int = 0  # summed over CPUs, so it can exceed wall time; credited at unthrottle
    some_usec: int | None = None  # PSI: at least one task waited; None where the kernel has no PSI for it
    full_usec: int | None = None  # PSI: all non-idle tasks waited


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReading:
    """The limit that the kernel enforces on one cgroup, as read back."""

    quota_usec: int | None  # CPU time per period; None: no quota, unlimited
    period_usec: int
    burst_usec: int | None = None  # None: this kernel or this hierarchy has no burst
    weight: int | None = None  # cpu.weight (v2) or cpu.shares (v1), as the file says

    @property
    def limit_milli(self) -> float | None:
        """Quota per period in millicores; None means unlimited."""
        return None if self.quota_usec is None else self.quota_usec * 1000 / self.period_usec


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReading:
    """What the node as a whole has and uses."""

    cpu_milli: float  # CPUs that tasks may run on, in millicores
    usage_milli: float | None = None  # all of the node's use since the last reading; None at the first one


class Interval(NamedTuple):
    """What one cgroup did between two samples, all of it under one limit.

    Made by `estimation.window`, which drops intervals with a reset, a changed limit or no elapsed time.
    """

    ended_at_s: float
    elapsed_s: float
    usage_usec: int
    periods: int
    throttled_periods: int
    throttled_usec: int
    some_usec: int | None = None
    full_usec: int | None = None

    @property
    def usage_milli(self) -> float:
        """Mean CPU use over the interval, in millicores."""
        return self.usage_usec / self.elapsed_s / 1000

    @property
    def throttled_ratio(self) -> float:
        """Share of the active periods that were throttled, 0 to 1; 0 where no period was active."""
        return self.throttled_periods / self.periods if self.periods else 0.0
