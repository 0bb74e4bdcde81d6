"""Every Prometheus series that mbcasd exports, declared in one place.

Labels take values from small, known sets; error texts never become
labels. What describes the node now is built from the last frozen snapshot when it is scraped: a workload that is
gone leaves with the next snapshot, and no scrape ever sees half of one.
"""

import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from mbcasd.accounting import exposition
from mbcasd.accounting.instruments import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from mbcasd.allocation.utility import nash_product
from mbcasd.model.market import Clearing, Market
from mbcasd.model.slo import LatencySourceKind
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

_MODES = {"uncongested": 0, "congested": 1, "overloaded": 2}

# A sweep over 100 cgroups takes 0.3 to 1 ms, a clearing 0.1 ms, discovery some ms.
_QUICK_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# A cgroup file takes 60 µs, systemd some ms, a kubelet seconds.
_RESIZE_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0)
_LATENESS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_GUARD_MS = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0)

_Value = Callable[[WorkloadSnapshot], float | None]


def _fresh_p99_s(workload: WorkloadSnapshot) -> float | None:
    return workload.p99_s if workload.slo_violated is not None else None


# Per workload: name, meaning, where it stands in the snapshot; None: this workload has no such series.
_OF_WORKLOADS: tuple[tuple[str, str, _Value], ...] = (
    ("mbcas_demand_raw", "CPU use as measured, in millicores.", lambda w: w.usage_milli),
    ("mbcas_demand_smoothed", "CPU use, smoothed, in millicores.", lambda w: w.smoothed_milli),
    ("mbcas_need_milli", "Limit at which it would hardly be throttled, in millicores.", lambda w: w.need_milli),
    ("mbcas_allocation_milli", "CPU given by the last clearing, in millicores.", lambda w: w.target_milli),
    ("mbcas_limit_milli", "Limit in force, read back; absent where unlimited, in millicores.", lambda w: w.limit_milli),
    ("mbcas_throttled_ratio", "Share of active periods in which it was throttled.", lambda w: w.throttled_ratio),
    ("mbcas_utility", "Part of the range from floor to cap that it got.", lambda w: w.utility),
    ("mbcas_slo_target_seconds", "The p99 latency that counts as kept.", lambda w: w.slo_p99_s),
    ("mbcas_slo_latency_seconds", "The p99 latency as read last; absent where unknown.", _fresh_p99_s),
    (
        "mbcas_slo_leniency",
        "Factor on the throttling that it may bear; below 1 because its objective was violated.",
        lambda w: w.leniency if w.p99_source else None,
    ),
)
_STALLS: tuple[tuple[str, _Value], ...] = (
    ("limit", lambda w: w.stall_limit_ratio),
    ("neighbour", lambda w: w.stall_neighbour_ratio),
    ("self", lambda w: w.stall_self_ratio),
)


class Metrics:
    """All series of one daemon; may be called from any thread."""

    def __init__(self, node: str, version: str, registry: CollectorRegistry | None = None) -> None:
        """Declare them.

        Args:
            node: Value of the label `node`.
            version: Of the daemon, for `mbcas_build_info`.
            registry: Where they are registered; None: one of their own.
        """
        self._registry = registry = registry or CollectorRegistry()
        self._picture = _Picture(node)
        self._lock = threading.Lock()
        self._resized: set[tuple[str, str, str]] = set()
        registry.register(self._picture)
        ProcessCollector(registry=registry)

        self._clear_s = Histogram(
            "mbcas_allocation_compute_duration_seconds",
            "Time of one step that cleared the market.",
            registry=registry,
            buckets=_QUICK_S,
        )
        self._sensing_s = Histogram(
            "mbcas_cgroup_read_duration_seconds",
            "Time of one sweep over the cgroups that were due.",
            registry=registry,
            buckets=_QUICK_S,
        )
        self._discovery_s = Histogram(
            "mbcas_pod_discovery_duration_seconds",
            "Time to find out which workloads exist.",
            registry=registry,
            buckets=_QUICK_S,
        )
        self._nash_log = Gauge(
            "mbcas_nash_product_log",
            "Sum of weight times log of what each workload got above its floor, in millicores.",
            ["node"],
            registry=registry,
        ).labels(node=node)
        self._nash_log.set(math.nan)
        self._iterations = Gauge(
            "mbcas_nash_solver_iterations",
            "Steps of the last solution: breakpoints passed, or rounds of the price.",
            registry=registry,
        )
        self._resizes = Counter(
            "mbcas_resize_total", "Resizes by outcome.", ["namespace", "pod", "result"], registry=registry
        )
        self._resize_s = Histogram(
            "mbcas_resize_duration_seconds",
            "Time from asking for a resize to having read it back.",
            registry=registry,
            buckets=_RESIZE_S,
        )
        self._cooldown_violations = Counter(
            "mbcas_cooldown_violations_total", "Decreases that came before their cooldown was over.", registry=registry
        )
        self._step_violations = Counter(
            "mbcas_step_size_violations_total", "Resizes that were larger than one step may be.", registry=registry
        )
        self._guard_triggers = Counter(
            "mbcas_fast_guardrail_triggers_total", "Times that the fast guardrail raised a floor.", registry=registry
        )
        self._guard_ms = Histogram(
            "mbcas_fast_guardrail_latency_ms",
            "Time from the sample that showed the trouble to the amended bid, in milliseconds.",
            registry=registry,
            buckets=_GUARD_MS,
        )
        self._receipts_failed = Counter(
            "mbcas_receipts_failed_total", "Clearings whose certificate does not hold.", registry=registry
        )
        self._drift = Counter("mbcas_drift_total", "Limits that somebody else changed.", ["by"], registry=registry)
        self._lateness_s = Histogram(
            "mbcas_loop_lateness_seconds",
            "How late a pass began.",
            ["loop"],
            registry=registry,
            buckets=_LATENESS_S,
        )
        self._allocation_writes = Counter(
            "mbcas_allocation_writes_total",
            "PodAllocations that were written, refused, or could not be sent.",
            ["result"],
            registry=registry,
        )
        Gauge("mbcas_build_info", "1; the labels say what runs.", ["version", "python"], registry=registry).labels(
            version=version, python=".".join(map(str, sys.version_info[:3]))
        ).set(1)

    def publish(self, snapshot: NodeSnapshot) -> None:
        """Replace the picture that scrapes see; workloads that are not in it lose their series."""
        self._picture.snapshot = snapshot
        present = {(workload.namespace, workload.name) for workload in snapshot.workloads}
        with self._lock:
            for labels in [labels for labels in self._resized if labels[:2] not in present]:
                self._resized.remove(labels)
                self._resizes.remove(*labels)

    def count_resize(self, namespace: str, pod: str, result: str, duration_s: float) -> None:
        """Count one resize by its outcome, with the time that it took."""
        with self._lock:
            self._resized.add((namespace, pod, result))
            self._resizes.labels(namespace, pod, result).inc()
        self._resize_s.observe(max(0.0, duration_s))

    def observe_clear(self, duration_s: float, market: Market, clearing: Clearing) -> None:
        """Measure one clearing: its time, its size and its Nash product."""
        self._clear_s.observe(duration_s)
        self._iterations.set(clearing.steps)
        amounts = [allocation.milli for allocation in clearing.allocations]
        self._nash_log.set(nash_product(market.bids, amounts).log_product)

    def observe_sensing(self, duration_s: float) -> None:
        """Measure one sweep over the cgroups."""
        self._sensing_s.observe(duration_s)

    def observe_discovery(self, duration_s: float) -> None:
        """Measure one look at which workloads exist."""
        self._discovery_s.observe(duration_s)

    def observe_lateness(self, loop: str, late_s: float) -> None:
        """Measure how late a pass of a loop began."""
        self._lateness_s.labels(loop).observe(late_s)

    def count_guard_trigger(self) -> None:
        """Count one trigger of the guardrail."""
        self._guard_triggers.inc()

    def observe_guard(self, latency_ms: float) -> None:
        """Measure the time from a trigger of the guardrail to the raised limit in force."""
        self._guard_ms.observe(latency_ms)

    def count_drift(self, by: str) -> None:
        """Count one limit that somebody else changed; `by` is a kind, never a name."""
        self._drift.labels(by).inc()

    def count_cooldown_violation(self) -> None:
        """Count one decrease that came too early."""
        self._cooldown_violations.inc()

    def count_step_violation(self) -> None:
        """Count one resize that was too large."""
        self._step_violations.inc()

    def count_receipt_failed(self) -> None:
        """Count one clearing whose certificate does not hold."""
        self._receipts_failed.inc()

    def count_allocation_write(self, result: str) -> None:
        """Count one try to write a PodAllocation: "written", "refused" or "away"."""
        self._allocation_writes.labels(result).inc()

    def render(self) -> bytes:
        """Write all series as text for a scrape, `text/plain; version=0.0.4`."""
        return exposition.render(self._registry.collect())


class _Picture:
    """Turns the last snapshot into families at scrape time."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.snapshot: NodeSnapshot | None = None  # replaced as a whole

    def describe(self) -> Iterable[Metric]:
        """Name the families without any series, for the registry."""
        return self._families(None)

    def collect(self) -> Iterable[Metric]:
        """Build the families from the snapshot that is the last one now."""
        return self._families(self.snapshot)

    def _families(self, seen: NodeSnapshot | None) -> Iterator[Metric]:
        workloads = () if seen is None else seen.workloads
        labelled = [(workload, _labels(workload)) for workload in workloads]
        for name, meaning, value_of in _OF_WORKLOADS:
            family = Metric(name, meaning, "gauge")
            for workload, labels in labelled:
                value = value_of(workload)
                if value is not None:
                    family.add_sample(name, labels, value)
            yield family
        stalls = Metric("mbcas_stall_ratio", "Share of the waiting that each cause is to blame for.", "gauge")
        for workload, labels in labelled:
            for cause, value_of in _STALLS:
                value = value_of(workload)
                if value is not None:
                    stalls.add_sample(stalls.name, {**labels, "cause": cause}, value)
        yield stalls
        violations = Metric("mbcas_slo_violations", "Periods in which the latency objective was violated.", "counter")
        for workload, labels in labelled:
            if workload.p99_source:
                violations.add_sample(f"{violations.name}_total", labels, workload.slo_violations)
        yield violations
        yield from _of_latency_sources(seen)
        yield from self._of_node(seen)

    def _of_node(self, seen: NodeSnapshot | None) -> Iterator[Metric]:
        mode = Metric("mbcas_allocation_mode", "0 uncongested, 1 congested, 2 overloaded.", "gauge")
        price = Metric(
            "mbcas_shadow_price_cpu", "Log-welfare per extra millicore; NaN where no surplus exists.", "gauge"
        )
        capacity = Metric("mbcas_capacity_milli", "CPU that a clearing may hand out, in millicores.", "gauge")
        leak = Metric("mbcas_quota_leak_ratio", "CPU that writes of quotas gave away, relative to all use.", "gauge")
        dropped = Metric("mbcas_record_dropped", "Entries that the record has lost since the start.", "counter")
        if seen is not None:
            dropped.add_sample(f"{dropped.name}_total", {}, seen.counters.get("dropped_records", 0.0))
            if seen.market_mode is not None:
                mode.add_sample(mode.name, {"node": self._node}, _MODES[seen.market_mode])
                price.add_sample(price.name, {"node": self._node}, math.nan if seen.price is None else seen.price)
            capacity.add_sample(capacity.name, {}, seen.capacity_milli)
            leak.add_sample(leak.name, {}, seen.quota_leak_ratio)
        yield from (mode, price, capacity, leak, dropped)


def _of_latency_sources(seen: NodeSnapshot | None) -> Iterator[Metric]:
    up = Metric("mbcas_slo_source_up", "1 where a source of latencies answers as it should, 0 where not.", "gauge")
    asked = Metric("mbcas_slo_queries", "Questions to Prometheus by what came of them; ok is one number.", "counter")
    for source in () if seen is None else seen.latency_sources:
        up.add_sample(up.name, {"source": source.kind.replace(" ", "_")}, float(source.up))
        if source.kind == LatencySourceKind.PROMETHEUS.value:
            for result, count in sorted(source.answers.items()):
                asked.add_sample(f"{asked.name}_total", {"result": result}, count)
    yield from (up, asked)


def _labels(workload: WorkloadSnapshot) -> dict[str, str]:
    """Name the series of a workload; only a pod's containers need a third label."""
    labels = {"namespace": workload.namespace, "pod": workload.name}
    if workload.container:
        labels["container"] = workload.container
    return labels
