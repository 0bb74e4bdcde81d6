"""What the engine sees and what it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from mbcasd.model.demand import Contract, Demand
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.market import Clearing, Market
from mbcasd.model.readings import CpuSample, LimitReading, NodeReading
from mbcasd.model.resizing import ResizeOutcome, ResizePlan
from mbcasd.model.slo import LatencyReading


class RunMode(Enum):
    """How far the daemon may go."""

    OBSERVE = "observe"  # computes and reports
    RECOMMEND = "recommend"  # also publishes recommendations
    ENFORCE = "enforce"  # moves limits


class HeldBy(Enum):
    """Why a workload has no more: one word for people."""

    NEED = "need"
    PRICE = "price"
    FLOOR = "floor"
    CAP = "cap"
    STEP = "step"
    COOLDOWN = "cooldown"
    GUARD = "guard"
    PENDING = "pending"
    OWNER = "owner"  # somebody else set the limit; it is left alone
    NOT_MANAGED = "not managed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One workload that exists now: level, not edge."""

    cgroup: CgroupRef
    contract: Contract
    managed: bool = True
    unmanaged_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a driver saw since the last step.

    `workloads` and `limits` are levels: a step that gets them gets them all; None means that they were not
    looked at this time. `samples` and `latencies` hold only what was read since the last pass.
    """

    samples: Mapping[WorkloadId, CpuSample] = field(default_factory=dict)
    workloads: Mapping[WorkloadId, Workload] | None = None
    limits: Mapping[WorkloadId, LimitReading] | None = None
    outcomes: tuple[ResizeOutcome, ...] = ()
    node: NodeReading | None = None
    latencies: Mapping[WorkloadId, LatencyReading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One clearing with everything that is needed to compute it again."""

    receipt_id: str  # hash of the content, hexadecimal
    decided_at_s: float  # monotonic; the record adds the wall time
    market: Market
    clearing: Clearing
    trigger: str  # what made it clear: "optimizer", "stall demo/worker-b", "guard demo/worker-b", …


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened and that a person may want to know."""

    at_s: float
    kind: str  # "guard", "violation", "slo", "drift", "resize", "vanished", "appeared", "capacity", …
    workload: WorkloadId | None
    message: str  # what happened, why, and what happens next


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from one step."""

    demands: Mapping[WorkloadId, Demand] = field(default_factory=dict)  # those renewed in this step
    market: Market | None = None  # the market of this step's clearing
    clearing: Clearing | None = None
    trigger: str = ""
    plan: ResizePlan = field(default_factory=ResizePlan)
    held_by: Mapping[WorkloadId, HeldBy] = field(default_factory=dict)
    guarded: tuple[WorkloadId, ...] = ()  # the guardrail triggered for them; the first time is an event as well
    events: tuple[Event, ...] = ()
