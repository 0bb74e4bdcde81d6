"""All sources as one: who pushes is not asked for, and who can be asked for is not guessed."""

from collections.abc import Mapping

from mbcasd.clock import Clock
from mbcasd.latency.port import LatencySource, SourceHealth
from mbcasd.latency.prometheus import Prometheus
from mbcasd.latency.push import Push
from mbcasd.latency.runqueue import RunQueue, TasksOf
from mbcasd.model.decision import Workload
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, SloReport
from mbcasd.settings import Settings


class Latencies:
    """The sources that the settings ask for; fits `port.LatencySource` itself.

    A role makes one, hands it to `drivers.live.Live`, and gives `take` to the server as its `slo` route.
    """

    def __init__(self, settings: Settings, clock: Clock, tasks_of: TasksOf | None = None) -> None:
        """Prepare; threads begin when there is something to ask for.

        Args:
            settings: For the guardrail and the `[[workload]]` rules.
            clock: For the times.
            tasks_of: See `RunQueue`; None: run queues are not looked at.

        Raises:
            ConfigError: The URL of Prometheus is none.
        """
        self._clock, self._tasks_of = clock, tasks_of
        self._push = Push(settings.guardrail, clock)
        self._set_up(settings)

    def _set_up(self, settings: Settings) -> None:
        guard = settings.guardrail
        url = guard.prometheus_url if guard.enabled else None
        # First what may be refused, so that the old sources stay in force then.
        prometheus = None if url is None else Prometheus(url, guard, settings.workloads, self._clock)
        self._enabled = guard.enabled
        self._prometheus = prometheus
        self._run_queue = None if self._tasks_of is None else RunQueue(guard, self._tasks_of, self._clock)
        self._push.reconfigure(guard)

    def reconfigure(self, settings: Settings) -> None:
        """Take over changed settings.

        Raises:
            ConfigError: The URL of Prometheus is none; the old sources stay.
        """
        before = self._asking
        self._set_up(settings)
        for source in before:
            source.close()

    @property
    def _asking(self) -> list[Prometheus | RunQueue]:
        return [source for source in (self._prometheus, self._run_queue) if source is not None]

    @property
    def health(self) -> tuple[SourceHealth, ...]:
        """How the sources do, those that had anything to do yet."""
        if not self._enabled:
            return ()
        sources = [self._prometheus, self._push, self._run_queue]
        known = [source.health for source in sources if source is not None]
        return tuple(health for health in known if any(health.answers.values()))

    def take(self, report: SloReport) -> None:
        """Take what an application says about itself; from any thread.

        Raises:
            BrokenInput: See `Push.take`, or the guardrail is off.
        """
        self._push.take(report)

    def watch(self, workloads: Mapping[WorkloadId, Workload]) -> None:
        """Say which workloads there are."""
        self._push.watch(workloads)
        if not self._enabled:
            return
        telling = self._push.telling()
        silent = {name: workload for name, workload in workloads.items() if name not in telling}
        if self._prometheus is not None:
            self._prometheus.watch(silent)
            silent = {name: workload for name, workload in silent.items() if name not in self._prometheus.asked}
        if self._run_queue is not None:
            self._run_queue.watch(
                {name: w for name, w in silent.items() if w.managed and w.contract.slo_p99_s is not None}
            )

    def collect(self) -> Mapping[WorkloadId, LatencyReading]:
        """Readings that have come since the last call."""
        sources: list[LatencySource] = [*self._asking, self._push]
        return {name: reading for source in sources for name, reading in source.collect().items()}

    def close(self) -> None:
        """End what runs beside the loop."""
        for source in self._asking:
            source.close()
