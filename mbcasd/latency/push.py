"""What applications say about themselves, through `POST /slo`; called from the server's threads."""

import threading
from collections.abc import Mapping

from mbcasd.clock import Clock
from mbcasd.errors import BrokenInput, NoSuchWorkload
from mbcasd.guarding.slo import objective_s
from mbcasd.latency.port import SourceHealth
from mbcasd.model.decision import Workload
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind, SloReport
from mbcasd.settings import GuardrailSettings

_MOST_NAMED = 3


class Push:
    """Takes reports; fits `port.LatencySource`."""

    def __init__(self, guard: GuardrailSettings, clock: Clock) -> None:
        """Know nobody yet."""
        self._guard, self._clock = guard, clock
        self._lock = threading.Lock()
        self._workloads: Mapping[WorkloadId, Workload] = {}
        self._readings: dict[WorkloadId, LatencyReading] = {}
        self._told_at_s: dict[WorkloadId, float] = {}
        self._taken = 0

    def reconfigure(self, guard: GuardrailSettings) -> None:
        """Take over changed settings."""
        self._guard = guard

    @property
    def health(self) -> SourceHealth:
        """How it does: it is there as long as the socket is."""
        return SourceHealth(LatencySourceKind.PUSH, True, answers={"ok": self._taken})

    def telling(self) -> frozenset[WorkloadId]:
        """Workloads that have spoken lately; nobody else needs to be asked about them."""
        now_s = self._clock.now_s()
        with self._lock:
            return frozenset(
                name for name, at_s in self._told_at_s.items() if now_s - at_s <= self._guard.slo_staleness_s
            )

    def watch(self, workloads: Mapping[WorkloadId, Workload]) -> None:
        """Take reports about these from now on."""
        with self._lock:
            self._workloads = workloads
            for name in [name for name in self._told_at_s if name not in workloads]:
                del self._told_at_s[name]
                self._readings.pop(name, None)

    def take(self, report: SloReport) -> None:
        """Take one report.

        Raises:
            NoSuchWorkload: No workload here has that name, or it is not managed.
            BrokenInput: Several have it, or there is nothing to compare the latency with.
        """
        now_s = self._clock.now_s()
        if not self._guard.enabled:
            raise BrokenInput("the guardrail is switched off (guardrail.enabled), so latencies move nothing")
        with self._lock:
            name = self._named(report.workload)
            workload = self._workloads[name]
            if report.violated is None and objective_s(workload.contract, self._guard) is None:
                raise BrokenInput(
                    f"{name} is batch work without an objective: give it slo_p99 in a [[workload]], or send violated"
                )
            self._readings[name] = LatencyReading(now_s, LatencySourceKind.PUSH, report.p99_s, report.violated)
            self._told_at_s[name] = now_s
            self._taken += 1

    def collect(self) -> Mapping[WorkloadId, LatencyReading]:
        """Readings that have come since the last call."""
        if not self._readings:
            return {}
        with self._lock:
            readings, self._readings = self._readings, {}
        return readings

    def close(self) -> None:
        """Nothing runs beside the loop."""

    def _named(self, text: str) -> WorkloadId:
        """Whom a name means: all of it, or without container or namespace where that is plain enough."""
        shorter = [name for name in self._workloads if text in {f"{name.namespace}/{name.name}", name.name}]
        found = [name for name in self._workloads if str(name) == text] or shorter
        if not found:
            raise NoSuchWorkload(f"no workload {text[:200]!r} here; `mbcasctl top` shows which there are")
        if len(found) > 1:
            listed = ", ".join(sorted(map(str, found))[:_MOST_NAMED])
            raise BrokenInput(f"{text[:200]!r} means {len(found)} workloads: {listed}")
        if not self._workloads[found[0]].managed:
            reason = self._workloads[found[0]].unmanaged_reason
            raise NoSuchWorkload(f"{found[0]} is not managed{f': {reason}' if reason else ''}")
        return found[0]
