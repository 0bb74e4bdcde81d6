"""Every Prometheus series of `mbcasd controller`, declared in one place.

What is there now is asked for when it is scraped. Counts per pod are kept as plain numbers: ten thousand pods would
cost a hundred megabytes as instruments. A pod that is gone takes its series with it.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from mbcasd.accounting import exposition
from mbcasd.accounting.instruments import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector

# A kubelet takes some tens of milliseconds, and up to a minute when its status lags.
_RESIZE_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 90.0)

# Incidents that are no outcome of a resize have series of their own.
_COOLDOWN, _STEP, _DRIFT = "cooldown", "step", "drift"


class Present(NamedTuple):
    """What there is at the moment of a scrape."""

    leads: bool  # this replica moves limits
    queued: int  # PodAllocations that are due for a look
    phases: Mapping[str, int]  # PodAllocations by phase
    requests: Mapping[tuple[str, int], int]  # sent, by method and HTTP status; status 0: no answer


class ControllerMetrics:
    """All series of one controller; may be called from any thread.

    Attributes:
        present: Asked at each scrape; None: nothing is there yet.
    """

    def __init__(self, version: str) -> None:
        """Declare them; `version` of the daemon is for `mbcas_build_info`."""
        self.present: Callable[[], Present] | None = None
        self._registry = registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._resizes: dict[tuple[str, str], dict[str, int]] = {}  # (namespace, pod) → result → count
        registry.register(self)
        ProcessCollector(registry=registry)
        self._resize_s = Histogram(
            "mbcas_resize_duration_seconds",
            "Time from the accepted request to the kubelet's confirmation.",
            registry=registry,
            buckets=_RESIZE_S,
        )
        self._cooldowns = Counter(
            "mbcas_cooldown_violations_total",
            "Decisions that would lower a limit before its cooldown was over; they wait.",
            registry=registry,
        )
        self._steps = Counter(
            "mbcas_step_size_violations_total",
            "Decisions that were more than one step away; they are carried out in steps.",
            registry=registry,
        )
        self._drift = Counter("mbcas_drift_total", "Limits that somebody else changed.", ["by"], registry=registry)
        self._reloads_refused = Counter(
            "mbcas_config_refused_total", "Changed configurations that were not taken over.", registry=registry
        )
        Gauge("mbcas_build_info", "1; the labels say what runs.", ["version", "python"], registry=registry).labels(
            version=version, python=".".join(map(str, sys.version_info[:3]))
        ).set(1)

    def count(self, namespace: str, pod: str, kind: str, duration_s: float | None) -> None:
        """Count one incident: the outcome of a resize, or one of the controller's rules at work."""
        if kind == _COOLDOWN:
            self._cooldowns.inc()
        elif kind == _STEP:
            self._steps.inc()
        elif kind == _DRIFT:
            self._drift.labels("other").inc()
        else:
            with self._lock:
                results = self._resizes.setdefault((namespace, pod), {})
                results[kind] = results.get(kind, 0) + 1
            if duration_s is not None:
                self._resize_s.observe(duration_s)

    def forget(self, namespace: str, pod: str) -> None:
        """Drop the series of a pod that is gone."""
        with self._lock:
            self._resizes.pop((namespace, pod), None)

    def forget_all(self) -> None:
        """Drop the series of all pods: another replica counts them now."""
        with self._lock:
            self._resizes.clear()

    def count_refused_config(self) -> None:
        """Count one configuration that was not taken over."""
        self._reloads_refused.inc()

    def render(self) -> bytes:
        """Write all series as text for a scrape."""
        return exposition.render(self._registry.collect())

    def describe(self) -> Iterable[Metric]:
        """Name the families that are built when scraped, for the registry."""
        return self._families({}, None)

    def collect(self) -> Iterable[Metric]:
        """Build them."""
        with self._lock:
            resizes = {pod: dict(results) for pod, results in self._resizes.items()}
        return self._families(resizes, self.present() if self.present is not None else None)

    def _families(
        self, resizes: Mapping[tuple[str, str], Mapping[str, int]], present: Present | None
    ) -> Iterator[Metric]:
        total = Metric("mbcas_resize", "Resizes by outcome.", "counter")
        for (namespace, pod), results in resizes.items():
            for result, count in results.items():
                total.add_sample("mbcas_resize_total", {"namespace": namespace, "pod": pod, "result": result}, count)
        by_phase = Metric("mbcas_allocations", "PodAllocations by phase.", "gauge")
        asked = Metric("mbcas_api_requests", "Requests to the API server; code 0: no answer.", "counter")
        leads = Metric("mbcas_leader", "1: this replica moves limits.", "gauge")
        queued = Metric("mbcas_queue_depth", "PodAllocations that are due for a look.", "gauge")
        if present is not None:
            for phase, count in present.phases.items():
                by_phase.add_sample(by_phase.name, {"phase": phase}, count)
            for (method, code), count in present.requests.items():
                asked.add_sample("mbcas_api_requests_total", {"method": method, "code": str(code)}, count)
            leads.add_sample(leads.name, {}, float(present.leads))
            queued.add_sample(queued.name, {}, present.queued)
        yield from (total, by_phase, asked, leads, queued)
