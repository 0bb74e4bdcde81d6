"""What an application says about its own latency."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SloReport:
    """One word from an application: its tail latency, or just whether it is too slow."""

    workload: str  # as `top` shows it: namespace/name, with :container where there is one
    p99_s: float | None = None  # None: it only says whether its objective is violated
    violated: bool | None = None  # None: to be told from the latency
