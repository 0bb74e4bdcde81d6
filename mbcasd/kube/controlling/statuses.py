"""What a PodAllocation's status says, when it has changed, and what people are told about the change."""

from typing import Any

from msgspec import structs, to_builtins

from mbcasd.kube import bounds, names
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.verdict import Announcement, Phase, Reason
from mbcasd.kube.objects import AllocationStatus, Condition, ContainerCpu, PodAllocation
from mbcasd.kube.times import format_time

APPLIED, RESIZE_PENDING, CONFLICT = "Applied", "ResizePending", "Conflict"


def compose(
    old: AllocationStatus,
    *,
    phase: Phase,
    reason: str,
    message: str,
    generation: int,
    containers: tuple[ContainerCpu, ...],
    wall_s: float,
    attempted_wall_s: float | None,
    is_applied: bool,
) -> AllocationStatus:
    """Write the status that follows on `old`; times of what has not changed stay.

    Args:
        old: As it stands in the object.
        phase: Where the decision stands.
        reason: Why, in one word.
        message: Why, in a sentence.
        generation: Of the spec that this is about.
        containers: What MBCAS has in force in the pod; empty: nothing.
        wall_s: Now, seconds since the epoch.
        attempted_wall_s: When a resize was last asked for; None: not by this leader.
        is_applied: Something of this pod was confirmed just now.
    """
    wanted = [(APPLIED, "True" if phase is Phase.APPLIED else "False", reason, message)]
    if reason in {Outcome.DEFERRED.value, Outcome.INFEASIBLE.value}:
        wanted.append((RESIZE_PENDING, "True", reason, message))
    if reason == Reason.CHANGED_BY_OTHER:
        wanted.append((CONFLICT, "True", reason, message))
    return AllocationStatus(
        phase=phase,
        reason=reason,
        containers=containers,
        last_applied_time=format_time(wall_s) if is_applied else old.last_applied_time,
        last_attempt_time=old.last_attempt_time if attempted_wall_s is None else format_time(attempted_wall_s),
        observed_generation=generation,
        conditions=tuple(
            _condition(old, kind, status, reason, message, generation, wall_s)
            for kind, status, reason, message in wanted
        ),
    )


def _condition(
    old: AllocationStatus, kind: str, status: str, reason: str, message: str, generation: int, wall_s: float
) -> Condition:
    before = next((one for one in old.conditions if one.type == kind), None)
    same = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[: bounds.MESSAGE_CHARS],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if same and before is not None else format_time(wall_s),
    )


def announcements(old: AllocationStatus, new: AllocationStatus) -> tuple[Announcement, ...]:
    """Tell people when the phase or its reason changes, not of each resize: the kubelet tells of those itself."""
    if (old.phase, old.reason) == (new.phase, new.reason):
        return ()
    message = new.conditions[0].message
    if new.phase == Phase.FAILED:
        reason = "ChangedByOther" if new.reason == Reason.CHANGED_BY_OTHER else "ResizeRefused"
        return (Announcement(reason=reason, note=message, is_warning=True),)
    if new.reason == Outcome.DEFERRED.value:
        return (Announcement(reason="ResizeDeferred", note=message, is_warning=True),)
    if new.reason == Reason.RESTORED:
        return (Announcement(reason="Restored", note=message),)
    if new.phase == Phase.APPLIED and old.phase != Phase.APPLIED:
        return (Announcement(reason="Resized", note=message),)
    return ()


def apply_body(allocation: PodAllocation, status: AllocationStatus) -> dict[str, Any]:
    """Write the body of a server-side apply on the status subresource.

    The uid keeps it from a successor. The resourceVersion refuses it once anybody has written since it was decided:
    one that was held up on its way must not undo what another leader has said.
    """
    return {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "metadata": {
            "name": allocation.metadata.name,
            "namespace": allocation.metadata.namespace,
            "uid": allocation.metadata.uid,
            "resourceVersion": allocation.metadata.resource_version,
        },
        "status": to_builtins(structs.replace(status, conditions=()))
        | {"conditions": [_as_json(one) for one in status.conditions]},
    }


def _as_json(condition: Condition) -> dict[str, Any]:
    return {key: value for key, value in to_builtins(condition).items() if value is not None}
