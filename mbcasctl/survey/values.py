"""What a survey of this node's cgroups says; frozen, and printed as it is with `-o json`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRow:
    """One cgroup over the window."""

    name: str  # namespace/name[:container], as `top` has it
    cgroup: str
    workload_class: str = ""  # Kubernetes' QoS class; empty: no pod
    usage_milli: float
    peak_milli: float  # the busiest tenth of a second
    limit_milli: float | None  # None: unlimited
    period_usec: int
    burst_usec: int | None  # None: none here
    weight: int | None  # cpu.weight or cpu.shares, as the file says
    periods: int
    throttled_periods: int
    throttled_ratio: float  # share of the periods in which it ran or wanted to, 0 to 1
    throttled_s: float  # summed over CPUs
    throttled_above_s: float | None  # the same by limits of its ancestors; None: this kernel does not tell
    waited_ratio: float | None  # share of the window in which some task waited for a CPU; None: no PSI
    stall_limit_ratio: float | None  # why: its own limit, neighbours, more threads than CPUs; None: no PSI
    stall_neighbour_ratio: float | None
    stall_self_ratio: float | None
    runnable: float | None  # mean number of tasks that ran or wanted to; None: too many to count


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """A cgroup that was listed, but not read."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that were looked at."""

    node: str
    taken_wall_s: float
    window_s: float
    roots: tuple[str, ...]  # the cgroups whose children these are
    cgroup_version: str  # of the hierarchy with the cpu controller: v1 or v2
    driver: str | None  # the kubelet's cgroup driver; None: no pods
    cpu_milli: float
    has_pressure: bool
    has_burst: bool
    rows: tuple[SurveyRow, ...]
    not_read: tuple[NotRead, ...] = ()
