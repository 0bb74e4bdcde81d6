"""Moving limits: one change, a plan of changes, and what became of each."""

from dataclasses import dataclass
from enum import Enum

from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """One change of one workload's limit."""

    workload: WorkloadId
    cgroup: CgroupRef
    from_milli: float | None  # what the kernel enforced when this was decided; None: unlimited
    to_milli: float | None  # None: unlimited, only when an owner's value is put back
    burst: bool = False  # also let unused quota carry over, up to one quota

    @property
    def is_decrease(self) -> bool:
        """Whether it takes CPU away."""
        if self.to_milli is None:
            return False
        return self.from_milli is None or self.to_milli < self.from_milli


class ResizeStatus(Enum):
    """What became of a resize."""

    APPLIED = "applied"  # read back as asked
    FAILED = "failed"  # refused; nothing changed, worth another try later
    GONE = "gone"  # the cgroup does not exist any more
    DRIFTED = "drifted"  # somebody else changed the limit meanwhile; left as it is
    DEFERRED = "deferred"  # accepted, not yet in force
    INFEASIBLE = "infeasible"  # this node will never do it


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOutcome:
    """The answer to one resize, read back from the kernel."""

    resize: Resize
    status: ResizeStatus
    limit: LimitReading | None  # in force now; None where it could not be read
    asked_at_s: float  # monotonic
    ended_at_s: float  # monotonic
    detail: str = ""  # one sentence for people when it is not APPLIED


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePlan:
    """What to do now: decreases first, and only increases for which there is room already."""

    decreases: tuple[Resize, ...] = ()
    increases: tuple[Resize, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.decreases or self.increases)

    @property
    def resizes(self) -> tuple[Resize, ...]:
        """All of them in the order of execution."""
        return self.decreases + self.increases
