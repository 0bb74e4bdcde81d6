"""What is known of a workload's own latency."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

# What a PromQL template may name, in double braces.
PLACEHOLDERS = ("namespace", "pod", "container", "workload")


@dataclass(frozen=True, slots=True, kw_only=True)
class SloReport:
    """One word from an application: its tail latency, or just whether it is too slow."""

    workload: str  # as `top` shows it: namespace/name, with :container where there is one
    p99_s: float | None = None  # None: it only says whether its objective is violated
    violated: bool | None = None  # None: to be told from the latency


class LatencySourceKind(Enum):
    """Who says how slow a workload is."""

    PUSH = "push"  # the application itself, through `POST /slo`
    PROMETHEUS = "prometheus"
    RUN_QUEUE = "run queue"  # how long its tasks wait for a CPU: a lower bound for its latency


class LatencyReading(NamedTuple):
    """What one source says about one workload, once."""

    read_at_s: float  # monotonic
    source: LatencySourceKind
    p99_s: float | None = None  # None: the source only knows whether the objective is violated
    violated: bool | None = None  # the source's own verdict; None: to be told from the latency
