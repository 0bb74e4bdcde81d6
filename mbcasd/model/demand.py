"""What a workload really needs, and what its owner asked for."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class WorkloadClass(Enum):
    """How much a workload minds waiting; it picks the stall budget and the throttling target."""

    LATENCY = "latency"
    STANDARD = "standard"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the owner asked for, already merged with the node's rules."""

    floor_milli: float
    cap_milli: float
    weight: float = 1.0
    workload_class: WorkloadClass = WorkloadClass.STANDARD
    owner_limit_milli: float | None = None  # what the owner had set; None: unlimited
    group: str | None = None  # who bargains together: a namespace with a share of its own; None: each for itself
    group_weight: float = 1.0  # of the whole group; the same in all contracts of a group
    slo_p99_s: float | None = None  # the p99 latency that its users expect; None: nobody named one


@dataclass(frozen=True, slots=True, kw_only=True)
class StallSplit:
    """Why a workload waited; the three shares sum to 1 when it waited at all, else all are 0.

    limit: its own quota; neighbour: others had the CPU; self: more runnable threads than CPUs.
    """

    limit_ratio: float
    neighbour_ratio: float
    self_ratio: float
    stalled_s: float  # seconds of waiting in the window that was split


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one workload used and would use, over the last estimation window."""

    usage_milli: float  # mean over the window, as measured
    smoothed_milli: float  # the same, smoothed: fast up, slow down
    throttled_ratio: float  # share of active periods, 0 to 1
    need_milli: float  # the limit at which it would be throttled no more than its target
    stall: StallSplit | None  # None: unknown, this kernel has no PSI for it
    forecast_milli: float | None = None  # expected peak use of the next seconds; None: off


class Advice(Enum):
    """What an estimator wants done about the limit."""

    KEEP = "keep"
    RAISE = "raise"
    LOWER = "lower"


class Proposal(NamedTuple):
    """An estimator's answer for one interval."""

    advice: Advice
    need_milli: float  # KEEP: what it believes now, as far as it can tell under the limit
    urgent: bool = False  # clear the market at once, do not wait for a loop
    reason: str = ""  # a few words for explain: "stall debt 96 ms >= 80 ms"
