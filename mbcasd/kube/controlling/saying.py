"""What there is to say about a pod that is not as decided: the kubelet's part, and the API server's. Pure."""

from typing import NamedTuple

from mbcasd.kube.controlling import statuses
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.progress import Progress, Stage
from mbcasd.kube.controlling.verdict import Instant, Memory, Phase, Reason, Seen
from mbcasd.kube.objects import AllocationStatus, ContainerCpu

# A resize that the kubelet has not confirmed for so long has gone wrong. Its status may lag by its sync period of a
# minute (kubernetes/kubernetes#112264), so less would cry wolf.
CONFIRMED_WITHIN_S = 90.0

# Most resizes are confirmed within a tenth of a second: only slower ones are worth a status of their own.
SHOWN_AFTER_S = 2.0

# A server that could not for so many times in a row is worth telling.
TOLD_AFTER = 3


class Said(NamedTuple):
    """A phase with its reason and its words."""

    phase: Phase
    reason: str
    message: str
    counts_as: str | None = None  # once per decision
    again_in_s: float | None = None


def of_progress(progress: Progress, waited_s: float, values: str) -> Said | None:
    """Say what the kubelet is at; None: too early to say.

    Args:
        progress: As the pod tells it, not done.
        waited_s: Since when it is not done.
        values: What was asked for, for people.
    """
    stage, message = progress
    if stage is Stage.DEFERRED:
        words = message or "the node has no room for the request yet"
        return Said(Phase.PENDING, Outcome.DEFERRED.value, words, "deferred")
    if stage is Stage.INFEASIBLE:
        return Said(Phase.FAILED, Outcome.INFEASIBLE.value, message or "the node can never do this", "infeasible")
    if stage is Stage.FAILING:
        return Said(Phase.FAILED, Reason.RESIZE_ERROR, message or "the kubelet fails at it and tries again", "error")
    if waited_s < SHOWN_AFTER_S:
        return None
    if waited_s < CONFIRMED_WITHIN_S:
        words = f"asked for {values}, not confirmed yet"
        return Said(Phase.PENDING, Reason.IN_PROGRESS, words, None, CONFIRMED_WITHIN_S - waited_s)
    words = f"the kubelet has not confirmed {values} for {CONFIRMED_WITHIN_S:.0f} s; is the node well?"
    return Said(Phase.FAILED, Reason.NOT_CONFIRMED, words, "timeout")


def of_refusal(memory: Memory) -> Said | None:
    """Say what the API server has answered; None: nothing that is worth telling yet."""
    refused = memory.refused
    if refused is None or refused is Outcome.CONFLICT:
        return None
    if refused is Outcome.RETRY:
        return None if memory.refusals < TOLD_AFTER else Said(Phase.PENDING, refused.value, memory.refusal)
    return Said(Phase.FAILED, refused.value, memory.refusal)


def status_after(
    seen: Seen, memory: Memory, at: Instant, said: Said, containers: tuple[ContainerCpu, ...] | None = None
) -> AllocationStatus | None:
    """Write the status that should stand in the object; None: it stands there already.

    Args:
        seen: The object as it is.
        memory: For the time of the last attempt.
        at: Now.
        said: What there is to say.
        containers: What MBCAS has in force in the pod; None: what it says already.
    """
    old = seen.allocation.status
    in_force = old.containers if containers is None else containers
    status = statuses.compose(
        old,
        phase=said.phase,
        reason=said.reason,
        message=said.message,
        generation=seen.allocation.metadata.generation,
        containers=in_force,
        wall_s=at.wall_s,
        attempted_wall_s=memory.attempted_wall_s,
        is_applied=said.phase is Phase.APPLIED and (old.phase != said.phase or old.containers != in_force),
    )
    return None if status == old else status
