"""What every source of latencies looks like to the loop that asks."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from mbcasd.model.decision import Workload
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind


class SourceHealth(NamedTuple):
    """How a source does."""

    kind: LatencySourceKind
    is_up: bool
    place: str = ""  # whom it asks, without passwords
    trouble: str = ""  # why it is not up, in one sentence
    answers: Mapping[str, int] = {}
    problems: tuple[str, ...] = ()  # workloads whose owner named an objective, but whose latency is not known


class LatencySource(Protocol):
    """One source; none of its methods waits for anything."""

    def watch(self, workloads: Mapping[WorkloadId, Workload]) -> None:
        """Say which workloads there are and wanted: level, not edge."""

    def collect(self) -> Mapping[WorkloadId, LatencyReading]:
        """Readings that have come since the last call."""

    def close(self) -> None:
        """End what runs beside the loop."""
