"""The values that the controller's decision about one pod takes and gives."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds
from mbcasd.kube.controlling.authors import Authors
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.pods import ResizablePod
from mbcasd.kube.objects import AllocationStatus, ContainerCpu, PodAllocation
from mbcasd.settings import ResizeSettings


class Phase(StrEnum):
    """`status.phase`: where the decision stands."""

    PENDING = "Pending"  # on its way
    APPLIED = "Applied"  # in force, as far as the cluster allows
    FAILED = "Failed"  # not in force; the reason says whether it is tried again


class Reason(StrEnum):
    """`status.reason` beside those of `Outcome`, which are refusals."""

    RESIZED = "Resized"
    HELD = "Held"  # applied as far as LimitRange, request and QoS class allow
    RESTORED = "Restored"  # what the owner had set is back
    IN_PROGRESS = "InProgress"  # the kubelet has not confirmed it yet
    IN_STEPS = "InSteps"  # a part is in force, the next step follows
    NOT_RUNNING = "NotRunning"  # a container has not started: a resize would get lost
    CHANGED_BY_OTHER = "ChangedByOther"  # somebody else resized the pod: hands off
    NOT_CONFIRMED = "NotConfirmed"  # the kubelet has not confirmed it for so long that something is wrong
    RESIZE_ERROR = "ResizeError"  # the kubelet tries and fails
    NO_CONTAINER = "NoContainer"
    NO_LIMIT = "NoLimit"  # a limit that is added could never be taken off again
    WOULD_RESTART = "WouldRestart"  # resizePolicy RestartContainer
    GUARANTEED = "Guaranteed"  # and those are left alone, or the request is missing that has to move with the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is allowed."""

    resize: ResizeSettings
    is_enforcing: bool  # False: nothing is moved away from what owners had set, but what was moved still goes back


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Now, on both clocks."""

    now_s: float  # monotonic
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is: the objects as last heard of."""

    allocation: PodAllocation
    pod: ResizablePod | None  # None: there is no such pod
    bounds: CpuBounds = NO_BOUNDS  # the namespace's LimitRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one leader remembers of one pod.

    All of it may be lost at any time: then the pod, its managedFields and the status say enough to go on, only
    later (a cooldown is taken from the status, a time-out starts anew).
    """

    patched: tuple[ContainerCpu, ...] = ()  # what the last accepted patch asked for
    patched_at_s: float | None = None  # not confirmed yet; None: nothing is
    generation: int = 0  # of the pod after that patch: an older view of the pod is out of date
    waiting_since_s: float | None = None  # since when a resize is seen under way
    done_at_s: float | None = None  # since when it is seen done, without a break
    confirmed_at_s: float | None = None  # the last time that a resize was confirmed: cooldowns start here
    attempted_wall_s: float | None = None
    refused: Outcome | None = None  # the answer to the last attempt, where it was not accepted
    refusal: str = ""  # its words
    refused_for: tuple[int, int] = (0, 0)  # generations of allocation and pod
    refusals: int = 0  # in a row
    not_before_s: float = 0.0  # back-off
    authors: Authors | None = None
    counted: frozenset[tuple[str, int]] = frozenset()  # incidents by kind and generation of the allocation


class Action(Enum):
    """What to do about the pod."""

    NOTHING = "nothing"
    RESIZE = "resize"
    ASK_AUTHORS = "ask"  # read the pod for who set its values, then decide again
    DELETE = "delete"  # the PodAllocation: nothing of MBCAS is left in the pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One event for people who look at the pod."""

    reason: str
    note: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something to count."""

    kind: str  # "applied", an outcome, "timeout"; "cooldown", "step", "drift"
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do now, and what to remember."""

    action: Action = Action.NOTHING
    resize: tuple[ContainerCpu, ...] = ()
    status: AllocationStatus | None = None  # to be written; None: it stands as it is
    announcements: tuple[Announcement, ...] = ()  # once the status is written, or the object deleted
    incidents: tuple[Incident, ...] = ()
    memory: Memory = field(default_factory=Memory)
    again_in_s: float | None = None  # when to look again, whatever happens; None: when something changes
