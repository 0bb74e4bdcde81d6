"""One picture of a node, as `/status` serves it and `mbcasctl top` draws it.

Structs, not dataclasses: a picture of a hundred rows is made every second, and a frozen dataclass takes four times
as long to make. (`msgspec.structs.replace` changes one.)
"""

from collections.abc import Mapping

from msgspec import Struct, field


class WorkloadSnapshot(Struct, frozen=True, kw_only=True):
    """One row of `top`."""

    namespace: str
    name: str
    container: str = ""
    node: str = ""  # only where a picture shows more than one node
    cgroup: str
    managed: bool
    reason: str = ""  # why it is not managed
    workload_class: str = "standard"
    weight: float = 1.0
    usage_milli: float = 0.0
    usage_history_milli: tuple[float, ...] = ()  # one value per second, oldest first, at most 60
    throttled_ratio: float = 0.0
    throttled_periods: int = 0  # since the daemon first saw it
    periods: int = 0
    stall_limit_ratio: float | None = None  # the stall split; None: unknown
    stall_neighbour_ratio: float | None = None
    stall_self_ratio: float | None = None
    stalled_s: float = 0.0
    smoothed_milli: float = 0.0
    need_milli: float | None = None
    forecast_milli: float | None = None
    floor_milli: float = 0.0
    cap_milli: float = 0.0
    limit_milli: float | None = None  # read back from the kernel; None: unlimited
    owner_limit_milli: float | None = None  # what the owner had set; None: unlimited
    target_milli: float | None = None  # what the last clearing gives it
    utility: float | None = None  # (allocation − floor) / (cap − floor), 0 to 1
    held_by: str = "not managed"
    advice: str = ""  # the estimator's words
    last_change_milli: float | None = None
    last_change_wall_s: float | None = None
    resizes: int = 0
    slo_p99_s: float | None = None  # the p99 latency that counts as kept; None: there is none, or no latency is known
    p99_s: float | None = None  # as read last; None: not known, or the source only knows whether it is kept
    p99_source: str = ""  # who said so; empty: nobody
    p99_read_wall_s: float | None = None
    slo_violated: bool | None = None  # None: nothing fresh is known
    slo_violations: int = 0  # periods in which it was, since the daemon first saw the workload
    leniency: float = 1.0  # factor on the throttling that its law aims at


class LatencySourceSnapshot(Struct, frozen=True, kw_only=True):
    """Who is asked for latencies, and how that goes."""

    kind: str  # push, prometheus, run queue
    up: bool
    place: str = ""  # whom it asks
    trouble: str = ""  # why it is not up
    answers: Mapping[str, int] = field(default_factory=dict)  # since the start, by what they were


class NodeSnapshot(Struct, frozen=True, kw_only=True):
    """The whole screen."""

    node: str
    version: str
    run_mode: str  # observe, recommend, enforce
    taken_wall_s: float
    started_wall_s: float
    cpu_milli: float
    capacity_milli: float  # what a clearing may hand out, before overcommit
    limit_capacity_milli: float  # overcommit × capacity: the bound on the sum of limits
    mechanism: str = "nash"
    estimator: str = "reflex"
    market_mode: str | None = None  # None: nothing was cleared yet
    price: float | None = None
    need_milli: float = 0.0
    allocated_milli: float = 0.0
    limits_milli: float = 0.0  # sum of the limits in force of managed workloads that have one
    used_milli: float = 0.0
    unmanaged_milli: float = 0.0
    raises_last_15s: int = 0
    lowers_last_15s: int = 0
    quota_leak_ratio: float = 0.0
    decided_wall_s: float | None = None
    receipt_id: str | None = None
    receipt_holds: bool | None = None
    workloads: tuple[WorkloadSnapshot, ...] = ()
    latency_sources: tuple[LatencySourceSnapshot, ...] = ()
    problems: tuple[str, ...] = ()  # what a person should look at, most important first
    counters: Mapping[str, float] = field(default_factory=dict)  # passes, failed passes, dropped records, …
