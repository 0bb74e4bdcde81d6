"""The parts of Kubernetes objects that only commands read; see `mbcasd.kube.objects` for those that everybody reads."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from mbcasd.kube.objects import Condition, Metadata


class VersionInfo(Struct, frozen=True, kw_only=True, rename="camel"):
    """What `/version` says."""

    major: str = ""
    minor: str = ""  # may end in "+"
    git_version: str = ""


class ContainerSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of a workload of MBCAS."""

    name: str = ""
    image: str = ""
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class TemplateSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """What its pods are made of."""

    containers: tuple[ContainerSpec, ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    host_network: bool = False


class Template(Struct, frozen=True, kw_only=True, rename="camel"):
    """The template of its pods."""

    spec: TemplateSpec = field(default_factory=TemplateSpec)


class WorkloadSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of a DaemonSet or a Deployment."""

    replicas: int = 1
    template: Template = field(default_factory=Template)


class WorkloadStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of a DaemonSet (the first block) or a Deployment (the second)."""

    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_ready: int = 0

    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    ready_replicas: int = 0

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class DaemonSet(Struct, frozen=True, kw_only=True, rename="camel"):
    """The agents."""

    metadata: Metadata
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    status: WorkloadStatus = field(default_factory=WorkloadStatus)


class Deployment(Struct, frozen=True, kw_only=True, rename="camel"):
    """The controllers."""

    metadata: Metadata
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    status: WorkloadStatus = field(default_factory=WorkloadStatus)


class Waiting(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Terminated(Struct, frozen=True, kw_only=True, rename="camel"):
    """How a container ended."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0


class State(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a container does now."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class WorkerContainerStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of an agent or a controller."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: State = field(default_factory=State)
    last_state: State = field(default_factory=State)


class WorkerStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """How an agent or a controller does."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[WorkerContainerStatus, ...] = ()


class WorkerSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an agent or a controller is."""

    node_name: str = ""
    containers: tuple[ContainerSpec, ...] = ()


class Worker(Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod of MBCAS itself."""

    metadata: Metadata
    spec: WorkerSpec = field(default_factory=WorkerSpec)
    status: WorkerStatus = field(default_factory=WorkerStatus)

    def is_made_by(self, kind: str) -> bool:
        """Whether its controlling owner is of this kind."""
        return any(owner.kind == kind and owner.controller for owner in self.metadata.owner_references)

    @property
    def is_ready(self) -> bool:
        """Whether Kubernetes counts on it."""
        is_going = self.metadata.deletion_timestamp is not None
        return not is_going and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class LeaseSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who leads."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Struct, frozen=True, kw_only=True, rename="camel"):
    """The controllers' lease."""

    metadata: Metadata
    spec: LeaseSpec = field(default_factory=LeaseSpec)


class EventSeries(Struct, frozen=True, kw_only=True, rename="camel"):
    """How often something happened again."""

    count: int = 1
    last_observed_time: str | None = None


class Event(Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened, of events.k8s.io/v1."""

    metadata: Metadata
    reason: str = ""
    note: str = ""
    type: str = ""
    event_time: str | None = None
    deprecated_last_timestamp: str | None = None
    series: EventSeries | None = None
    reporting_controller: str = ""


class Generic(Struct, frozen=True, kw_only=True, rename="camel"):
    """An object of which only little is read: a policy binding, an autoscaler, a limit range, a quota."""

    metadata: Metadata
    spec: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
