"""Kubernetes objects, cut down to what MBCAS reads: structs that are decoded straight from the API's JSON.

Unknown fields are skipped while decoding, so that ten thousand pods cost megabytes and not hundreds of them.
CPU quantities stay text here ("250m", "2"); `units.parse_cpu_milli` is the one parser.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, field
from msgspec.structs import force_setattr


class OwnerReference(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who made the object."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class Identity(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which object, and which state of it: the least that everything has."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None


class Metadata(Identity, frozen=True, kw_only=True, rename="camel"):
    """The part of metadata that matters here."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str = ""


class Resources(Struct, frozen=True, kw_only=True, rename="camel"):
    """Requests and limits as written."""

    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


class ResizePolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a resource of a container changes in place."""

    resource_name: str
    restart_policy: str


class Container(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of the spec; `restart_policy` is "Always" for a sidecar among the init containers."""

    name: str
    resources: Resources = field(default_factory=Resources)
    resize_policy: tuple[ResizePolicy, ...] = ()
    restart_policy: str | None = None


class PodSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of a pod's spec that matters here."""

    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    os: Mapping[str, str] = field(default_factory=dict)
    resources: Resources | None = None  # pod-level resources, KEP-2837


class RunningState(Struct, frozen=True, kw_only=True, rename="camel"):
    """Since when a container runs."""

    started_at: str = ""


class ContainerState(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a container does now; only running matters."""

    running: RunningState | None = None


class ContainerStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container as the kubelet sees it."""

    name: str
    container_id: str = field(name="containerID", default="")  # "containerd://<64 hex>"
    started: bool | None = None
    restart_count: int = 0
    resources: Resources | None = None  # what is in force; None: a node that cannot resize
    state: ContainerState = field(default_factory=ContainerState)


class Condition(Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition, of a pod or of a PodAllocation."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: str | None = None


class PodStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of a pod's status that matters here."""

    phase: str = ""
    qos_class: str = ""
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    start_time: str | None = None


class Pod(Struct, frozen=True, kw_only=True, rename="camel"):
    """One pod."""

    metadata: Metadata
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class Namespace(Struct, frozen=True, kw_only=True, rename="camel"):
    """One namespace: its labels opt in, its annotations fix its share."""

    metadata: Metadata


class ContainerCpu(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """CPU of one container in a PodAllocation: integers in millicores."""

    name: str
    limit_milli: int
    request_milli: int | None = None  # None in `containers`: leave the request; in `original`: there was none


def total_limit_milli(containers: Iterable[ContainerCpu]) -> int:
    """The CPU that these containers may use together, in millicores."""
    return sum(cpu.limit_milli for cpu in containers)


class AllocationSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the agent decided for one pod."""

    pod_name: str
    pod_uid: str = field(name="podUID")
    node_name: str
    containers: tuple[ContainerCpu, ...]
    original: tuple[ContainerCpu, ...]  # what the owner had set before MBCAS
    mechanism: str = ""
    mode: str = ""  # of the clearing: uncongested, congested, overloaded
    price_micro: int | None = None  # shadow price × 10⁶
    reason: str = ""
    recommend_only: bool = False  # the controller moves nothing; what it had moved goes back to `original`
    released: bool = False  # not managed any more: back to `original`, then the controller deletes the object
    decision_time: str = ""  # RFC 3339
    total_limit_milli: int = 0  # of `containers`; reckoned here, as no printer column can add

    def __post_init__(self) -> None:
        force_setattr(self, "total_limit_milli", total_limit_milli(self.containers))


class AllocationStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the controller did about it."""

    phase: str = ""  # Pending, Applied, Failed
    reason: str = ""
    containers: tuple[ContainerCpu, ...] = ()  # what MBCAS set last, confirmed by the kubelet
    last_applied_time: str | None = None
    last_attempt_time: str | None = None
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()  # Applied, ResizePending, Conflict
    total_limit_milli: int = 0  # of `containers`; reckoned here, as no printer column can add

    def __post_init__(self) -> None:
        force_setattr(self, "total_limit_milli", total_limit_milli(self.containers))


class PodAllocation(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One PodAllocation."""

    metadata: Metadata
    spec: AllocationSpec
    status: AllocationStatus = field(default_factory=AllocationStatus)
