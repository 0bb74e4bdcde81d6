"""The one table of what a configuration file may say: each key, the field it fills, its form and its reason.

Everything that speaks about keys reads this table: loading, `config init`, `config explain`, the lists in the
documentation. A test keeps it in step with `settings.py`.
"""

from dataclasses import dataclass
from typing import Any

from mbcasd import settings
from mbcasd.configfile import kinds
from mbcasd.configfile.kinds import Kind, cpu, duration, number, percent, ratio, switch
from mbcasd.model.demand import WorkloadClass
from mbcasd.model.market import Mechanism, OverloadRule
from mbcasd.model.slo import PLACEHOLDERS
from mbcasd.settings import Settings, WorkloadRule


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file."""

    dotted: str  # section.name, as messages and flags call it
    fields: str | tuple[str, str]  # of the section's settings; two where one key fills a pair
    kind: Kind
    why: str  # what it does and why it is as it is

    @property
    def section(self) -> str:
        """The table it stands in."""
        return self.dotted.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name inside the table."""
        return self.dotted.partition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"MBCAS_{self.section}_{self.name}".upper()

    def read(self, topic: Any) -> Any:  # noqa: ANN401
        """The setting's value in its section's settings; a pair where the key fills two fields."""
        if isinstance(self.fields, str):
            return getattr(topic, self.fields)
        return tuple(getattr(topic, field) for field in self.fields)

    def of(self, whole: Settings) -> Any:  # noqa: ANN401
        """The setting's value in all settings."""
        return self.read(getattr(whole, self.section))

    def assign(self, value: Any) -> dict[str, Any]:  # noqa: ANN401
        """The value as arguments for the section's settings."""
        return {self.fields: value} if isinstance(self.fields, str) else dict(zip(self.fields, value, strict=True))


SHARE = {"above": 0, "below": 1}
PROBABILITY = {"at_least": 0, "at_most": 1}

KEYS: tuple[Key, ...] = (
    Key(
        "loops.sampling_interval", "sampling_interval_s", duration(at_least=0.01, at_most=60),
        "How often an idle container is read.",
    ),
    Key(
        "loops.hot_sampling_interval", "hot_sampling_interval_s", duration(at_least=0.01, at_most=60),
        "How often a container that does anything is read. The reflex law counts stalls per kernel period of 100 ms.",
    ),
    Key(
        "loops.fast_loop_interval", "fast_loop_interval_s", duration(at_least=0.1, at_most=600),
        "How often the guardrail looks for throttling that the estimator let through.",
    ),
    Key(
        "loops.slow_loop_interval", "slow_loop_interval_s", duration(at_least=0.1, at_most=3600),
        "How often the whole market is cleared without a cause. Decreases come with it; raises never wait for it.",
    ),
    Key(
        "loops.startup_grace_period", "startup_grace_period_s", duration(at_least=0, at_most=86_400),
        "A workload that appears while the daemon runs is not lowered before: start-up is no guide to need.",
    ),
    Key("market.mechanism", "mechanism", kinds.choice(Mechanism), "How scarce CPU is divided."),
    Key(
        "market.alpha", "alpha", number(may_be_infinite=True, at_least=0),
        "For alpha-fair only: 0 favours throughput, 1 is proportional, inf favours the worst off.",
    ),
    Key(
        "market.baseline_cpu_per_pod", "baseline_cpu_per_pod_milli", cpu(at_least=0),
        "The floor of a workload whose owner named none: it never gets less unless the node is overloaded.",
    ),
    Key(
        "market.system_reserve_percent", "system_reserve_percent", percent(at_least=0, below=100),
        "Share of the node's CPU that is never handed out, for the system itself.",
    ),
    Key(
        "market.overcommit", "overcommit", number("multiple of capacity", at_least=1, at_most=100),
        "Bound on the sum of limits. Workloads rarely peak together, so 2 is safe; 1 is the strict market.",
    ),
    Key(
        "market.quantum", "quantum_milli", cpu(at_least=0, at_most=1000),
        "Allocations are multiples of it. systemd rounds quotas to 10m; 0 leaves them exact.",
    ),
    Key(
        "market.overload_rule", "overload_rule", kinds.choice(OverloadRule),
        "Who gets what when the floors alone exceed the capacity; cea protects small floors.",
    ),
    Key(
        "market.min_change_percent", ("min_change_up_percent", "min_change_down_percent"),
        kinds.up_and_down(percent(at_least=0, at_most=100)),
        "Smaller changes are not written: each write refills the kernel's quota, and people read the log.",
    ),
    Key("market.credits", "credits", switch(), "Whether CPU left to others earns weight for later."),
    Key(
        "demand.estimator", "estimator", kinds.choice(settings.EstimatorKind),
        "The law that turns samples into need.",
    ),
    Key(
        "demand.preset", "preset", kinds.choice(settings.Preset),
        "Constants of the reflex law; auto takes h where burst can be set and k elsewhere.",
    ),
    Key(
        "demand.stall_budget_ms", "stall_budget_ms", kinds.optional(number("thread-milliseconds", above=0), "auto"),
        "Stall that a workload may collect before the reflex law raises it; auto takes it from preset and class.",
    ),
    Key(
        "demand.window", "window_s", duration(at_least=0.1, at_most=3600),
        "tobit and usage pool their samples over it.",
    ),
    Key(
        "demand.target_throttling", "target_throttling_ratio", ratio(**SHARE),
        "For tobit and captain: share of periods that may be throttled. Less costs much more CPU than it seems.",
    ),
    Key(
        "demand.need_headroom_factor", "need_headroom_factor", number("share on top of use", at_least=0, at_most=10),
        "For usage: need is the smoothed use times one plus this.",
    ),
    Key(
        "demand.alpha_up", "alpha_up", number("weight of a new 1 s sample", above=0, at_most=1),
        "Smoothing when use rises; 0.3 halves the distance in 1.9 s.",
    ),
    Key(
        "demand.alpha_down", "alpha_down", number("weight of a new 1 s sample", above=0, at_most=1),
        "Smoothing when use falls; 0.1 halves the distance in 6.6 s.",
    ),
    Key(
        "demand.forecast", "forecast", kinds.choice(settings.ForecastKind),
        "How the peak of the next seconds is foretold.",
    ),
    Key(
        "cost.cost_efficiency_mode", "cost_efficiency_mode", switch(),
        "Trade a little latency for less allocated CPU: smooth down as fast as up, allow more throttling.",
    ),
    Key(
        "cost.target_throttling", "target_throttling_ratio", ratio(**SHARE),
        "In cost efficiency mode it takes the place of demand.target_throttling.",
    ),
    Key(
        "cost.idle_decay", "idle_decay", switch(),
        "A workload without any use falls to its floor at once instead of waiting for its history to pass.",
    ),
    Key("cost.probe", "probe", switch(), "Shave the limit by 1 % while there is no stall, and find the least."),
    Key(
        "guardrail.enabled", "enabled", switch(),
        "Whether the rules are in force: the fast one for throttling spikes and the slow one for latency.",
    ),
    Key(
        "guardrail.fast_up_threshold", "fast_up_threshold_ratio", ratio(**SHARE),
        "Share of throttled periods over one fast loop that triggers it. At least three times the throttling target, "
        "or it would fire at what is aimed for.",
    ),
    Key("guardrail.step_min", "step_min", number("factor", at_least=1, at_most=10), "The smallest raise it asks for."),
    Key("guardrail.step_max", "step_max", number("factor", at_least=1, at_most=10), "The largest raise it asks for."),
    Key(
        "guardrail.cooldown", "cooldown_s", duration(at_least=0, at_most=3600),
        "No decrease for so long after a trigger.",
    ),
    Key(
        "guardrail.slo_latency_target", "slo_latency_target_s", duration(above=0, at_most=3600),
        "The p99 latency that counts as kept, for workloads that name none and whose latency is known; batch work has "
        "no such default.",
    ),
    Key(
        "guardrail.slo_period", "slo_period_s", duration(at_least=30, at_most=3600),
        "Latency moves the throttling target at most this often. Not shorter than the range that the query looks back, "
        "or it would react to what was before the last move.",
    ),
    Key(
        "guardrail.slo_staleness", "slo_staleness_s", duration(at_least=10, at_most=7200),
        "An older reading of a latency says nothing any more, and nothing moves by it.",
    ),
    Key(
        "guardrail.slo_timeout", "slo_timeout_s", duration(at_least=0.1, at_most=30),
        "How long Prometheus may take for one answer, all of it.",
    ),
    Key(
        "guardrail.prometheus_url", "prometheus_url",
        kinds.optional(kinds.text("URL", starts_with=("http://", "https://")), ""),
        "Where latencies are asked for; without it only throttling and what applications report count.",
    ),
    Key(
        "guardrail.slo_query", "slo_query", kinds.optional(kinds.template("PromQL query", PLACEHOLDERS), ""),
        "How the p99 of a workload is asked for: its one answer is in seconds.",
    ),
    Key(
        "resize.cooldown", "cooldown_s", duration(at_least=0, at_most=3600),
        "Wait before a decrease, from the last confirmed change.",
    ),
    Key(
        "resize.raise_gap", "raise_gap_s", duration(at_least=0, at_most=60),
        "Least time between two raises of one workload.",
    ),
    Key(
        "resize.max_step_factor", "max_step_factor", number("factor", above=1, at_most=100),
        "One resize changes a limit by this factor at most, up or down.",
    ),
    Key(
        "resize.minimum", "minimum_milli", cpu(at_least=10),
        "No limit is ever set below; 10m is the kernel's smallest quota at a period of 100 ms.",
    ),
    Key(
        "resize.request_policy", "request_policy", kinds.choice(settings.RequestPolicy),
        "What happens to Kubernetes requests; keep leaves them, so that a resize is always admitted.",
    ),
    Key(
        "resize.skip_guaranteed", "skip_guaranteed", switch(),
        "Leave Kubernetes pods of class Guaranteed alone: for them request and limit must stay equal.",
    ),
    Key(
        "resize.burst", "burst", kinds.choice(settings.BurstPolicy),
        "Whether unused quota carries over to the next period; auto: where kernel and backend have it.",
    ),
    Key(
        "selection.opt_in", "opt_in", switch(),
        "On Kubernetes manage only what is labelled; a host manages what its flags name.",
    ),
    Key("selection.namespaces", "namespaces", kinds.texts("namespace"), "Only these; empty means all."),
    Key(
        "selection.labels", "labels", kinds.texts("label as key=value", must_contain="="),
        "Only pods that carry all of them.",
    ),
    Key(
        "selection.excluded_classes", "excluded_classes", kinds.texts("QoS class"),
        "Pods of these QoS classes are never managed.",
    ),
    Key("learning.enabled", "enabled", switch(), "Whether the throttling target is learned from outcomes."),
    Key(
        "learning.kind", "kind", kinds.word("bandit", "q"),
        "bandit needs hours of data, q needs days and is there for comparison.",
    ),
    Key("learning.learning_rate", "learning_rate", number(above=0, at_most=1), "Weight of a new outcome."),
    Key("learning.discount", "discount", number(at_least=0, below=1), "Weight of later outcomes, for q."),
    Key("learning.exploration", "exploration_ratio", ratio(**PROBABILITY), "Share of epochs that try another target."),
    Key("learning.target_min", "target_min_ratio", ratio(**SHARE), "The least throttling target that may be tried."),
    Key("learning.target_max", "target_max_ratio", ratio(**SHARE), "The largest throttling target that may be tried."),
    Key("coalition.enabled", "enabled", switch(), "Whether services of one request path bargain as one."),
    Key("coalition.source", "source", kinds.word("annotation", "otlp"), "Where it is known from who belongs together."),
    Key("coalition.max_size", "max_size", kinds.integer(at_least=2, at_most=64), "More members than this do not join."),
    Key(
        "record.path", "path", kinds.optional(kinds.text("path"), ""),
        "Where samples, decisions and receipts are kept; without it record.db in the state directory.",
    ),
    Key("record.retention", "retention_s", duration(at_least=1), "Older entries are deleted."),
    Key(
        "record.max_bytes", "max_bytes", kinds.size(at_least=1 << 20),
        "The oldest entries go first when the file would grow beyond it.",
    ),
)  # fmt: skip

WORKLOAD_KEYS: tuple[Key, ...] = (
    Key(
        "workload.match", "match", kinds.text("glob"),
        "Glob on the workload's name: its cgroup, its unit, or namespace/pod. The first entry that matches counts.",
    ),
    Key("workload.floor", "floor_milli", cpu(at_least=0), "Never less, unless the node is overloaded."),
    Key("workload.cap", "cap_milli", cpu(above=0), "Never more."),
    Key("workload.weight", "weight", number(at_least=0, at_most=1e6), "Bargaining power, relative to the others."),
    Key("workload.class", "workload_class", kinds.choice(WorkloadClass), "How much it minds waiting."),
    Key("workload.slo_p99", "slo_p99_s", duration(above=0, at_most=3600), "The p99 latency that its users expect."),
    Key(
        "workload.slo_query", "slo_query", kinds.optional(kinds.template("PromQL query", PLACEHOLDERS), ""),
        "How its p99 is asked for, in the place of guardrail.slo_query.",
    ),
)  # fmt: skip

BY_DOTTED = {key.dotted: key for key in (*KEYS, *WORKLOAD_KEYS)}
SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS))
WORKLOAD = "workload"

# Read and checked, but nothing acts on them yet; whoever changes one is told so.
NOT_IN_FORCE_YET = frozenset(
    {
        "market.credits", "learning.enabled", "learning.kind",
        "learning.learning_rate", "learning.discount", "learning.exploration", "learning.target_min",
        "learning.target_max", "coalition.enabled", "coalition.source", "coalition.max_size",
    }
)  # fmt: skip

# What means nothing on a plain host.
ONLY_ON_KUBERNETES = frozenset(
    {
        "resize.request_policy", "resize.skip_guaranteed", "selection.opt_in", "selection.namespaces",
        "selection.labels", "selection.excluded_classes",
    }
)  # fmt: skip

# What one role takes instead of the general default, and why.
ROLE_DEFAULTS: dict[str, dict[str, object]] = {
    "local": {"loops.slow_loop_interval": "5s"},  # no API server has to be spared on a plain host
}


def about_section(section: str) -> str:
    """What a section is for, in one sentence."""
    topic = WorkloadRule if section == WORKLOAD else type(getattr(Settings(), section))
    return (topic.__doc__ or "").partition("\n")[0]
