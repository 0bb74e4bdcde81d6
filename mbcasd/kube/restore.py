"""Putting a pod's original CPU values back, once nobody of MBCAS moves them any more. Doing it twice changes nothing.

What the owner had set stands in the pod's PodAllocation. It is written through `pods/resize` with the caller's own
rights, and only over values that MBCAS had set: what somebody else has set since is left alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import msgspec

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.api import Api, PatchKind
from mbcasd.kube.controlling.authors import authors_of
from mbcasd.kube.controlling.patches import resize_body
from mbcasd.kube.controlling.pods import TOLERANCE_MILLI, ResizablePod, condition_of, containers_of
from mbcasd.kube.install import FIELD_MANAGER
from mbcasd.kube.objects import ContainerCpu, PodAllocation

# The kubelet confirms within a tenth of a second where nothing is wrong.
CONFIRMED_WITHIN_S = 10.0
_POLL_S = 0.1

# A pod that changes between the look at it and the patch is looked at again.
_MOST_TRIES = 5

_NOT_FOUND, _CONFLICT = 404, 409


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


class _Difference(NamedTuple):
    """One container that is not as its owner had it."""

    owner: ContainerCpu
    limit_milli: int | None
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
    path = names.pods_path(allocation.metadata.namespace, allocation.spec.pod_name)
    for attempt in range(_MOST_TRIES):
        try:
            body = api.get(path)
            pod = msgspec.json.decode(body, type=ResizablePod)
            different = _differences(pod, allocation, body)
            result, detail = _judge(pod, allocation, different, dry_run=dry_run)
            if result is not RestoreResult.RESTORED:
                return _report(allocation, result, detail, different)
            ours = [difference.owner for difference in different if difference.is_ours]
            api.patch(f"{path}/resize", resize_body(pod, ours), PatchKind.STRATEGIC, {"fieldManager": FIELD_MANAGER})
        except ApiRefused as err:
            if err.code == _NOT_FOUND:
                return _report(allocation, RestoreResult.GONE, "it does not exist any more")
            if err.code != _CONFLICT or attempt == _MOST_TRIES - 1:
                return _report(allocation, RestoreResult.FAILED, _without_name(err.message))
        except ValueError as err:
            return _report(allocation, RestoreResult.FAILED, f"its values cannot be read: {err}")
        else:
            waits_for = _confirm(api, path, ours, confirmed_within_s)
            result = RestoreResult.ACCEPTED if waits_for else RestoreResult.RESTORED
            return _report(allocation, result, waits_for or detail, different)
    raise AssertionError


def _judge(
    pod: ResizablePod, allocation: PodAllocation, different: Sequence[_Difference], *, dry_run: bool
) -> tuple[RestoreResult, str]:
    """What is to be done about a pod, and what to say of it; RESTORED means: put its values back."""
    if pod.metadata.uid != allocation.spec.pod_uid:
        return RestoreResult.GONE, "it was made again, from its owner's template"
    if pod.status.phase in {"Succeeded", "Failed"}:
        return RestoreResult.GONE, "it has ended"
    if not different:
        return RestoreResult.AS_OWNED, ""
    if not any(difference.is_ours for difference in different):
        return RestoreResult.LEFT_ALONE, _foreign(different)
    return RestoreResult.WOULD if dry_run else RestoreResult.RESTORED, _foreign(different)


def _differences(pod: ResizablePod, allocation: PodAllocation, body: bytes) -> list[_Difference]:
    """The containers whose limit or request is not the owner's, and whether MBCAS is to blame.

    The API server's own record of who set a field counts too: a controller that was killed between a resize and the
    status that tells of it has written down nothing.
    """
    authors = authors_of(body)
    now = containers_of(pod)
    different = []
    for owner in allocation.spec.original:
        container = now.get(owner.name)
        if container is None:
            continue
        limit_milli, request_milli = container.limit_milli, container.request_milli
        if limit_milli == owner.limit_milli and owner.request_milli in {None, request_milli}:
            continue
        told = any(
            given.name == owner.name and given.limit_milli == limit_milli
            for given in (*allocation.status.containers, *allocation.spec.containers)
        )
        is_ours = told or authors.limit_is_ours(owner.name) or authors.request_is_ours(owner.name)
        different.append(_Difference(owner, limit_milli, is_ours))
    return different


def _foreign(different: Sequence[_Difference]) -> str:
    """Which values somebody else has set."""
    foreign = [
        f"{one.owner.name} to {'no limit' if one.limit_milli is None else f'{one.limit_milli:g}m'}"
        for one in different
        if not one.is_ours
    ]
    return f"somebody else has set {', '.join(foreign)} since; left as it is" if foreign else ""


def _report(
    allocation: PodAllocation, result: RestoreResult, detail: str = "", different: Sequence[_Difference] = ()
) -> RestoredPod:
    return RestoredPod(
        namespace=allocation.metadata.namespace,
        pod=allocation.spec.pod_name,
        node=allocation.spec.node_name,
        result=result,
        containers=tuple(
            RestoredContainer(one.owner.name, one.limit_milli, one.owner.limit_milli) for one in different
        ),
        detail=detail,
    )


def _confirm(api: Api, path: str, ours: Sequence[ContainerCpu], within_s: float) -> str:
    """Wait until the kubelet says that the values are in force; else what it waits for."""
    ends_s = time.monotonic() + within_s
    while True:
        try:
            pod = msgspec.json.decode(api.get(path), type=ResizablePod)
        except ApiRefused as err:
            return "" if err.code == _NOT_FOUND else f"it cannot be read any more: {err.message}"
        except ApiAway as err:
            return f"whether it is in force is not known: {err}"
        now = containers_of(pod)
        # A container that does not run starts with what the spec says.
        running = [(now[owner.name].in_force, owner) for owner in ours if now[owner.name].is_running]
        if all(
            in_force is not None
            and in_force.limit_milli is not None
            and abs(in_force.limit_milli - owner.limit_milli) < TOLERANCE_MILLI
            for in_force, owner in running
        ):
            return ""
        if time.monotonic() > ends_s:
            pending = condition_of(pod.status.conditions, "PodResizePending")
            if pending is not None:
                return f"the kubelet has not put it in force yet: {pending.message or pending.reason}"
            return f"its kubelet has not confirmed it within {within_s:g} s"
        time.sleep(_POLL_S)


def _without_name(message: str) -> str:
    """A refusal without the pod's name in front, which stands beside it already."""
    for words in (" is forbidden: ", " is invalid: "):
        _, found, rest = message.partition(words)
        if found:
            return rest
    return message
