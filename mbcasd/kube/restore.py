"""Putting a pod's original CPU values back, once nobody of MBCAS moves them any more. Doing it twice changes nothing.

What the owner had set stands in the pod's PodAllocation. It is written through `pods/resize` with the caller's own
rights, and only over values that MBCAS had set: what somebody else has set since is left alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.api import Api, PatchKind
from mbcasd.kube.install import FIELD_MANAGER
from mbcasd.kube.objects import Container, ContainerCpu, Pod, PodAllocation, Resources
from mbcasd.units import parse_cpu_milli

# The kubelet confirms within a tenth of a second where nothing is wrong, and polls each pod once a minute otherwise.
CONFIRMED_WITHIN_S = 10.0
_POLL_S = 0.1

# The runtime writes quotas in steps of 1 ms per 100 ms.
_TOLERANCE_MILLI = 10.0


class RestoreResult(Enum):
    """What became of one pod."""

    RESTORED = "restored"  # in force again, as far as the kubelet says
    AS_OWNED = "as owned"  # it was as its owner had it already
    ACCEPTED = "accepted"  # the API server took it, the kubelet has not put it in force yet
    LEFT_ALONE = "left alone"  # somebody else has set another value since
    GONE = "gone"  # it ended, or was made again from its template: nothing of ours is in force
    FAILED = "failed"  # our value is still there
    WOULD = "would be restored"  # in a dry run


class RestoredContainer(NamedTuple):
    """The limit of one container."""

    name: str
    found_milli: float | None  # None: it had none
    owner_milli: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredPod:
    """One pod of the report."""

    namespace: str
    pod: str
    node: str
    result: RestoreResult
    containers: tuple[RestoredContainer, ...] = ()
    detail: str = ""  # one sentence for people when there is more to say than the result


class _Writer(msgspec.Struct, rename="camel"):
    """One entry of managedFields: who has set which fields last."""

    manager: str = ""
    fields: Mapping[str, Any] = msgspec.field(name="fieldsV1", default_factory=dict)


class _Written(msgspec.Struct, rename="camel"):
    managed_fields: tuple[_Writer, ...] = ()


class _WrittenPod(msgspec.Struct, rename="camel"):
    metadata: _Written


class _Difference(NamedTuple):
    """One container that is not as its owner had it."""

    owner: ContainerCpu
    is_init: bool
    limit_milli: float | None
    is_ours: bool


def put_back(
    api: Api, allocation: PodAllocation, *, dry_run: bool = False, confirmed_within_s: float = CONFIRMED_WITHIN_S
) -> RestoredPod:
    """Give one pod the CPU values that its owner had set.

    Args:
        api: With rights on `pods` (get) and `pods/resize` (patch).
        allocation: The pod's.
        dry_run: Only look.
        confirmed_within_s: How long to wait for the kubelet.

    Raises:
        ApiAway: The API server does not answer; what became of this pod is not known.
    """
    spec = allocation.spec
    path = names.pods_path(allocation.metadata.namespace, spec.pod_name)
    try:
        body = api.get(path)
        pod = msgspec.json.decode(body, type=Pod)
        gone = _gone(pod, allocation)
        if gone:
            return _report(allocation, RestoreResult.GONE, gone)
        different = _differences(pod, allocation, _fields_of_controller(body))
        ours = [difference for difference in different if difference.is_ours]
        result = RestoreResult.RESTORED
        if not ours:
            result = RestoreResult.LEFT_ALONE if different else RestoreResult.AS_OWNED
        elif dry_run:
            result = RestoreResult.WOULD
        if result is not RestoreResult.RESTORED:
            return _report(allocation, result, _foreign(different), different)
        params = {"fieldManager": FIELD_MANAGER}
        api.patch(f"{path}/resize", _patch(spec.pod_uid, ours), PatchKind.STRATEGIC, params)
    except ApiRefused as err:
        if err.code == 404:
            return _report(allocation, RestoreResult.GONE, "it does not exist any more")
        return _report(allocation, RestoreResult.FAILED, _without_name(err.message))
    except ValueError as err:
        return _report(allocation, RestoreResult.FAILED, f"its values cannot be read: {err}")
    waits_for = _confirm(api, path, ours, confirmed_within_s)
    result = RestoreResult.ACCEPTED if waits_for else RestoreResult.RESTORED
    return _report(allocation, result, waits_for or _foreign(different), different)


def _report(
    allocation: PodAllocation, result: RestoreResult, detail: str = "", different: Sequence[_Difference] = ()
) -> RestoredPod:
    return RestoredPod(
        namespace=allocation.metadata.namespace,
        pod=allocation.spec.pod_name,
        node=allocation.spec.node_name,
        result=result,
        containers=tuple(RestoredContainer(d.owner.name, d.limit_milli, d.owner.limit_milli) for d in different),
        detail=detail,
    )


def _gone(pod: Pod, allocation: PodAllocation) -> str:
    """Why there is nothing to put back; empty: there may be."""
    if pod.metadata.uid != allocation.spec.pod_uid:
        return "it was made again, from its owner's template"
    if pod.status.phase in {"Succeeded", "Failed"}:
        return "it has ended"
    return ""


def _differences(pod: Pod, allocation: PodAllocation, written: tuple[Mapping[str, Any], ...]) -> list[_Difference]:
    """The containers whose limit or request is not the owner's, and whether MBCAS is to blame."""
    set_by_us = [
        {given.name: given for given in containers}
        for containers in (allocation.status.containers, allocation.spec.containers)
    ]
    different = []
    for owner in allocation.spec.original:
        container, is_init = _find(pod, owner.name)
        if container is None or _is_as_owned(container.resources, owner):
            continue
        limit_milli = _milli(container.resources.limits)
        is_ours = any(owner.name in was and was[owner.name].limit_milli == limit_milli for was in set_by_us)
        is_ours = is_ours or any(_has_limit(fields, owner.name, is_init=is_init) for fields in written)
        different.append(_Difference(owner, is_init, limit_milli, is_ours))
    return different


def _find(pod: Pod, name: str) -> tuple[Container | None, bool]:
    """A container by name, and whether it is a sidecar among the init containers."""
    for containers, is_init in ((pod.spec.containers, False), (pod.spec.init_containers, True)):
        for container in containers:
            if container.name == name:
                return container, is_init
    return None, False


def _is_as_owned(resources: Resources, owner: ContainerCpu) -> bool:
    request_milli = _milli(resources.requests)
    same_request = owner.request_milli is None or request_milli == owner.request_milli
    return same_request and _milli(resources.limits) == owner.limit_milli


def _milli(quantities: Mapping[str, str]) -> float | None:
    cpu = quantities.get("cpu")
    return None if cpu is None else parse_cpu_milli(cpu)


def _fields_of_controller(body: bytes) -> tuple[Mapping[str, Any], ...]:
    """What the controller was the last to set in a pod, as the API server keeps count of.

    Needed where it was killed between a resize and the status that says so.
    """
    writers = msgspec.json.decode(body, type=_WrittenPod).metadata.managed_fields
    return tuple(writer.fields for writer in writers if writer.manager == names.CONTROLLER)


def _has_limit(fields: Mapping[str, Any], name: str, *, is_init: bool) -> bool:
    containers = fields.get("f:spec", {}).get("f:initContainers" if is_init else "f:containers", {})
    resources = containers.get(f'k:{{"name":"{name}"}}', {}).get("f:resources", {})
    return "f:cpu" in resources.get("f:limits", {})


def _foreign(different: list[_Difference]) -> str:
    """Which values somebody else has set."""
    foreign = [
        f"{d.owner.name} to {'no limit' if d.limit_milli is None else f'{d.limit_milli:g}m'}"
        for d in different
        if not d.is_ours
    ]
    return f"somebody else has set {', '.join(foreign)} since; left as it is" if foreign else ""


def _patch(uid: str, ours: list[_Difference]) -> dict[str, Any]:
    """CPU and nothing else; the uid keeps it from a pod that was made again meanwhile."""
    spec: dict[str, list[dict[str, Any]]] = {}
    for owner, is_init, *_ in ours:
        resources: dict[str, dict[str, str]] = {"limits": {"cpu": f"{owner.limit_milli}m"}}
        if owner.request_milli is not None:
            resources["requests"] = {"cpu": f"{owner.request_milli}m"}
        key = "initContainers" if is_init else "containers"
        spec.setdefault(key, []).append({"name": owner.name, "resources": resources})
    return {"metadata": {"uid": uid}, "spec": spec}


def _confirm(api: Api, path: str, ours: list[_Difference], within_s: float) -> str:
    """Wait until the kubelet says that the values are in force; else what it waits for."""
    ends_s = time.monotonic() + within_s
    while True:
        try:
            pod = msgspec.json.decode(api.get(path), type=Pod)
        except ApiRefused as err:
            return "" if err.code == 404 else f"it cannot be read any more: {err.message}"
        except ApiAway as err:
            return f"whether it is in force is not known: {err}"
        statuses = {s.name: s for s in (*pod.status.container_statuses, *pod.status.init_container_statuses)}
        if all(_is_in_force(statuses[d.owner.name].resources, d.owner) for d in ours if d.owner.name in statuses):
            return ""
        if time.monotonic() > ends_s:
            pending = next((c for c in pod.status.conditions if c.type == "PodResizePending"), None)
            if pending is not None:
                return f"the kubelet has not put it in force yet: {pending.message or pending.reason}"
            return f"the kubelet of {pod.spec.node_name or 'its node'} has not confirmed it within {within_s:g} s"
        time.sleep(_POLL_S)


def _is_in_force(resources: Resources | None, owner: ContainerCpu) -> bool:
    limit_milli = None if resources is None else _milli(resources.limits)
    return limit_milli is not None and abs(limit_milli - owner.limit_milli) < _TOLERANCE_MILLI


def _without_name(message: str) -> str:
    """A refusal without the pod's name in front, which stands beside it already."""
    _, found, rest = message.partition(" is forbidden: ")
    if found:
        return rest
    _, found, rest = message.partition(" is invalid: ")
    return rest if found else message
