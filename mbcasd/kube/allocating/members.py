"""The containers of a pod as the agent sees them: what the spec says, and what the kubelet says of it."""

import math
from typing import NamedTuple

from mbcasd.kube.objects import Container, ContainerStatus, Pod, Resources
from mbcasd.kube.times import parse_time_s
from mbcasd.units import MILLI_PER_CPU, parse_quantity


class Member(NamedTuple):
    """One container that can be resized: an ordinary one, or a sidecar among the init containers."""

    name: str
    limit_milli: int | None  # None: no limit
    request_milli: int | None
    memory_is_equal: bool  # request and limit of memory are set and equal
    restarts_on_resize: bool  # a changed CPU limit would restart it
    container_id: str  # 64 hexadecimal digits; empty: it has not been made yet
    can_resize: bool  # its kubelet says what is in force, which the API wants to see before it takes a resize
    is_started: bool
    started_wall_s: float  # when it was started, to the second; 0 where it does not run


def members_of(pod: Pod) -> tuple[Member, ...]:
    """All containers that can be resized, in the order of the spec, sidecars last."""
    statuses = {status.name: status for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)}
    sidecars = (container for container in pod.spec.init_containers if container.restart_policy == "Always")
    return tuple(_member(container, statuses.get(container.name)) for container in (*pod.spec.containers, *sidecars))


def cpu_milli(resources: Resources, kind: str) -> int | None:
    """The CPU of `requests` or `limits`, in whole millicores as the API server rounds it; None: none is set.

    Raises:
        ValueError: It is no quantity, which the API server does not let happen.
    """
    text = getattr(resources, kind).get("cpu")
    return None if text is None else math.ceil(parse_quantity(text) * MILLI_PER_CPU - 1e-6)


def would_be_guaranteed(pod: Pod, members: tuple[Member, ...], moving: frozenset[str]) -> bool:
    """Whether a Burstable pod would change its class if the containers in `moving` had limit = request.

    The API refuses a resize that does that.
    Source: pkg/apis/core/v1/helper/qos, `ComputePodQOS`.
    """
    if pod.status.qos_class != "Burstable" or pod.spec.resources is not None:
        return False  # pod-level resources alone decide where they are set
    by_name = {member.name: member for member in members}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        member = by_name.get(container.name) or _member(container, None)
        if not member.memory_is_equal:
            return False
        if member.name not in moving and (member.limit_milli is None or member.limit_milli != member.request_milli):
            return False
    return True


def container_ids(pod: Pod) -> tuple[str, ...]:
    """Those of all containers that have one: what tells that a cgroup has come or gone."""
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return tuple(status.container_id for status in statuses if status.container_id)


def _member(container: Container, status: ContainerStatus | None) -> Member:
    resources = container.resources
    memory = (resources.requests.get("memory"), resources.limits.get("memory"))
    running = status.state.running if status is not None else None
    return Member(
        name=container.name,
        limit_milli=cpu_milli(resources, "limits"),
        request_milli=cpu_milli(resources, "requests"),
        memory_is_equal=None not in memory and _is_same(*memory),
        restarts_on_resize=any(
            policy.resource_name == "cpu" and policy.restart_policy == "RestartContainer"
            for policy in container.resize_policy
        ),
        container_id=status.container_id.rpartition("/")[2] if status is not None else "",
        can_resize=status is not None and status.resources is not None,
        is_started=status is not None and running is not None and bool(status.started),
        started_wall_s=parse_time_s(running.started_at) if running is not None else 0.0,
    )


def _is_same(request: str | None, limit: str | None) -> bool:
    return request == limit or (
        request is not None and limit is not None and parse_quantity(request) == parse_quantity(limit)
    )
