"""A pod as the controller keeps it: only what a resize needs, so that ten thousand fit into little memory."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from mbcasd.kube import names
from mbcasd.kube.objects import Condition, Identity, ResizePolicy, Resources
from mbcasd.units import MILLI_PER_CPU, parse_quantity

# What the kubelet puts in force may differ from what was asked: the systemd driver rounds quotas up to 10m.
TOLERANCE_MILLI = 10


class _Annotations(Struct, frozen=True, kw_only=True, rename={"skip_guaranteed": names.SKIP_GUARANTEED_ANNOTATION}):
    """The one annotation that matters; others can be kilobytes."""

    skip_guaranteed: str | None = None


class PodMetadata(Identity, frozen=True, kw_only=True, rename="camel"):
    """Which pod, which state of it, and the owner's word."""

    annotations: _Annotations = field(default_factory=_Annotations)


class PodContainer(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container of the spec; `restart_policy` is "Always" for a sidecar among the init containers."""

    name: str
    resources: Resources = field(default_factory=Resources)
    resize_policy: tuple[ResizePolicy, ...] = ()
    restart_policy: str | None = None


class _PodSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    node_name: str = ""
    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()
    resources: Resources | None = None  # of the pod as a whole; then they fix its QoS class


class _Running(Struct, frozen=True):
    """That a container runs; since when does not matter here."""


class _State(Struct, frozen=True):
    running: _Running | None = None


class _ContainerStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    resources: Resources | None = None
    state: _State = field(default_factory=_State)


class _PodStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    phase: str = ""
    qos_class: str = ""
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()


class ResizablePod(Struct, frozen=True, kw_only=True, rename="camel"):
    """One pod."""

    metadata: PodMetadata
    spec: _PodSpec = field(default_factory=_PodSpec)
    status: _PodStatus = field(default_factory=_PodStatus)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


class CpuInForce(NamedTuple):
    """What the kubelet says that a running container has, in millicores; None: no such value."""

    limit_milli: int | None
    request_milli: int | None


class ContainerNow(NamedTuple):
    """One container: its spec, and what is in force."""

    name: str
    limit_milli: int | None  # None: no limit
    request_milli: int | None
    memory: tuple[str | None, str | None]  # request and limit, as the API writes them
    in_force: CpuInForce | None  # None: it does not run, or its node cannot resize
    is_running: bool
    is_sidecar: bool  # among the init containers
    restarts_on_resize: bool  # a changed limit would restart it


def containers_of(pod: ResizablePod) -> dict[str, ContainerNow]:
    """Every container that can be resized, by name: the ordinary ones and the sidecars."""
    statuses = {status.name: status for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)}
    return {
        container.name: _container(container, statuses.get(container.name), is_sidecar=is_sidecar)
        for container, is_sidecar in _resizable(pod)
    }


def qos_class(pod: ResizablePod, limits: Mapping[str, tuple[int | None, int | None]]) -> str:
    """The QoS class that the pod had with other CPU values, as Kubernetes reckons it.

    Args:
        pod: As it is.
        limits: Limit and request in millicores of each container that changes.

    Source: pkg/apis/core/v1/helper/qos, `ComputePodQOS`.
    """
    if pod.spec.resources is not None:  # they alone decide, and are never touched here
        return pod.status.qos_class
    anything, guaranteed = False, True
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        now = _container(container, None, is_sidecar=False)
        limit_milli, request_milli = limits.get(container.name, (now.limit_milli, now.request_milli))
        memory_request, memory_limit = now.memory
        anything = anything or bool(limit_milli or request_milli or _bytes(memory_request) or _bytes(memory_limit))
        guaranteed = (
            guaranteed
            and bool(limit_milli)
            and request_milli in {None, limit_milli}
            and bool(_bytes(memory_limit))
            and (memory_request is None or _bytes(memory_request) == _bytes(memory_limit))
        )
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def condition_of(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type where it is true."""
    return next((one for one in conditions if one.type == kind and one.status == "True"), None)


def _resizable(pod: ResizablePod) -> Iterator[tuple[PodContainer, bool]]:
    for container in pod.spec.containers:
        yield container, False
    for container in pod.spec.init_containers:
        if container.restart_policy == "Always":
            yield container, True


def _container(container: PodContainer, status: _ContainerStatus | None, *, is_sidecar: bool) -> ContainerNow:
    resources = container.resources
    running = status is not None and status.state.running is not None
    in_force = None
    if status is not None and running and status.resources is not None:
        in_force = CpuInForce(_cpu_milli(status.resources.limits), _cpu_milli(status.resources.requests))
    return ContainerNow(
        name=container.name,
        limit_milli=_cpu_milli(resources.limits),
        request_milli=_cpu_milli(resources.requests),
        memory=(resources.requests.get("memory"), resources.limits.get("memory")),
        in_force=in_force,
        is_running=running,
        is_sidecar=is_sidecar,
        restarts_on_resize=any(
            policy.resource_name == "cpu" and policy.restart_policy == "RestartContainer"
            for policy in container.resize_policy
        ),
    )


def _cpu_milli(quantities: Mapping[str, str]) -> int | None:
    text = quantities.get("cpu")
    # The API server rounds CPU up to whole millicores.
    return None if text is None else math.ceil(parse_quantity(text) * MILLI_PER_CPU - 1e-6)


def _bytes(quantity: str | None) -> float:
    """Memory in bytes, to compare two; none is 0."""
    return 0 if quantity is None else parse_quantity(quantity)
