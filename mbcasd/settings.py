"""Every setting, by topic, with its unit and its reason.

Frozen values, handed down explicitly, each step only its own part. Loading, merging and checking live in
`configfile.py`. Durations are seconds here and `15s` in the file; CPU is millicores here and `100m` there.
"""

from dataclasses import dataclass, field
from enum import Enum

from mbcasd.model.demand import WorkloadClass
from mbcasd.model.market import Mechanism, OverloadRule


class EstimatorKind(Enum):
    """Which law turns samples into need."""

    REFLEX = "reflex"
    CAPTAIN = "captain"
    TOBIT = "tobit"
    USAGE = "usage"


class Preset(Enum):
    """The reflex law's constants, by what the backend can do."""

    AUTO = "auto"  # H where burst can be set, else K
    K = "k"
    H = "h"
    HL = "hl"


class ForecastKind(Enum):
    """How the next seconds' peak is foretold; used by `usage` and `tobit`, shown for all."""

    EWMA = "ewma"
    KALMAN = "kalman"
    OFF = "off"


class BurstPolicy(Enum):
    """Whether unused quota may carry over."""

    AUTO = "auto"  # on where the kernel and the backend have it
    ON = "on"
    OFF = "off"


class RequestPolicy(Enum):
    """What happens to Kubernetes requests."""

    KEEP = "keep"
    SHARE = "share"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How often each loop runs."""

    sampling_interval_s: float = 1.0  # idle containers
    hot_sampling_interval_s: float = 0.1  # containers that do anything; the reflex law needs it
    fast_loop_interval_s: float = 2.0  # the guardrail
    slow_loop_interval_s: float = 15.0  # the optimizer; 5 s in `local`
    startup_grace_period_s: float = 45.0  # a workload that appears while the daemon runs is not lowered before


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSettings:
    """How CPU is divided."""

    mechanism: Mechanism = Mechanism.NASH
    alpha: float = 1.0  # alpha-fair only: 0 to infinity
    baseline_cpu_per_pod_milli: float = 100.0  # floor of a workload whose owner named none
    system_reserve_percent: float = 10.0
    overcommit: float = 2.0  # bound on the sum of limits, as a multiple of capacity; 1 is the strict market
    quantum_milli: float = 10.0  # systemd rounds quotas to it, the kernel's smallest limit is one
    overload_rule: OverloadRule = OverloadRule.PROPORTIONAL
    min_change_up_percent: float = 5.0  # smaller raises are not worth a write
    min_change_down_percent: float = 10.0
    credits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandSettings:
    """How need is estimated."""

    estimator: EstimatorKind = EstimatorKind.REFLEX
    preset: Preset = Preset.AUTO
    stall_budget_ms: float | None = None  # θ of the reflex law in thread-ms; None: by preset and class
    window_s: float = 15.0  # tobit and usage pool samples over it
    target_throttling_ratio: float = 0.05  # tobit and captain: share of periods that may be throttled
    need_headroom_factor: float = 0.05  # usage: need = smoothed use × (1 + this)
    alpha_up: float = 0.3  # smoothing per 1 s sample, upwards (half-life 1.9 s)
    alpha_down: float = 0.1  # downwards (half-life 6.6 s)
    forecast: ForecastKind = ForecastKind.EWMA


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSettings:
    """Trading a little latency for less allocated CPU."""

    cost_efficiency_mode: bool = False  # smoothing down as fast as up, and the larger throttling target below
    target_throttling_ratio: float = 0.10
    idle_decay: bool = False  # a workload without any use falls to its floor without waiting for the ring
    probe: bool = False  # shave the limit by 1 % while there is no stall


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailSettings:
    """The rules for what the estimator let through: throttling at once, latency slowly."""

    enabled: bool = True
    fast_up_threshold_ratio: float = 0.5  # throttled share of periods over one fast loop that triggers
    step_min: float = 1.2  # smallest factor of a raise
    step_max: float = 2.0
    cooldown_s: float = 30.0  # no decrease after a trigger for so long
    slo_latency_target_s: float = 0.1  # p99 of workloads that name none and whose latency is known
    slo_period_s: float = 30.0  # latency moves the throttling target at most this often
    slo_staleness_s: float = 60.0  # an older reading says nothing any more
    slo_timeout_s: float = 2.0  # for one question to Prometheus, all of it
    prometheus_url: str | None = None
    slo_query: str | None = None  # PromQL template: its answer is a p99 in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeSettings:
    """How limits move."""

    cooldown_s: float = 5.0  # before a decrease, from the last confirmed change
    raise_gap_s: float = 0.2  # between two raises of one workload
    max_step_factor: float = 2.0  # one resize at most doubles or halves
    minimum_milli: float = 10.0  # never less: the kernel's smallest quota at a period of 100 ms
    request_policy: RequestPolicy = RequestPolicy.KEEP
    skip_guaranteed: bool = True
    burst: BurstPolicy = BurstPolicy.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSettings:
    """Which workloads may be managed."""

    opt_in: bool = True  # Kubernetes: only what is labelled; a host manages what its flags name
    namespaces: tuple[str, ...] = ()  # empty: all
    labels: tuple[str, ...] = ()  # key=value, all must match
    excluded_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """Learning the throttling target; off by default."""

    enabled: bool = False
    kind: str = "bandit"  # or "q"
    learning_rate: float = 0.1
    discount: float = 0.9
    exploration_ratio: float = 0.1
    target_min_ratio: float = 0.005
    target_max_ratio: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CoalitionSettings:
    """Who bargains as one; off by default."""

    enabled: bool = False
    source: str = "annotation"  # or "otlp"
    max_size: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """What is kept on disk."""

    path: str | None = None  # None: record.db in the state directory
    retention_s: float = 86_400.0
    max_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRule:
    """One `[[workload]]` entry; the first whose glob matches the workload's name wins."""

    match: str
    floor_milli: float | None = None
    cap_milli: float | None = None
    weight: float = 1.0
    workload_class: WorkloadClass = WorkloadClass.STANDARD
    slo_p99_s: float | None = None
    slo_query: str | None = None  # None: that of the guardrail


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them."""

    loops: LoopSettings = field(default_factory=LoopSettings)
    market: MarketSettings = field(default_factory=MarketSettings)
    demand: DemandSettings = field(default_factory=DemandSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    guardrail: GuardrailSettings = field(default_factory=GuardrailSettings)
    resize: ResizeSettings = field(default_factory=ResizeSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    coalition: CoalitionSettings = field(default_factory=CoalitionSettings)
    record: RecordSettings = field(default_factory=RecordSettings)
    workloads: tuple[WorkloadRule, ...] = ()
