"""How far the kubelet is with a pod's resize: read off the pod alone, whoever asked for it."""

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from mbcasd.kube.controlling.pods import TOLERANCE_MILLI, ResizablePod, condition_of, containers_of

# Conditions of a pod that are there for as long as they are true.
PENDING = "PodResizePending"
IN_PROGRESS = "PodResizeInProgress"


class Stage(Enum):
    """Where a resize is."""

    DONE = "done"  # what the spec says is in force
    UNDER_WAY = "under way"  # not seen by the kubelet yet, or being put in force
    DEFERRED = "deferred"  # no room for the request now
    INFEASIBLE = "infeasible"  # never on this node
    FAILING = "failing"  # the kubelet tries and fails, and goes on trying


class Progress(NamedTuple):
    """Where it is, and the kubelet's words."""

    stage: Stage
    message: str = ""


def progress_of(pod: ResizablePod, containers: Collection[str]) -> Progress:
    """Tell how far the pod's last resize is, as far as these containers go.

    Done needs all three: the kubelet has seen this generation, neither condition is there, and what runs has what
    the spec says. None of them alone is enough: conditions come some milliseconds after the patch, and for a moment
    a status can show the old values again (kubernetes/kubernetes#128993); whoever needs it stable looks twice.
    """
    status = pod.status
    pending = condition_of(status.conditions, PENDING)
    if pending is not None and not _is_outdated(pending.observed_generation, pod):
        stage = Stage.INFEASIBLE if pending.reason == "Infeasible" else Stage.DEFERRED
        return Progress(stage, pending.message)
    doing = condition_of(status.conditions, IN_PROGRESS)
    if doing is not None:
        failing = doing.reason == "Error" and not _is_outdated(doing.observed_generation, pod)
        return Progress(Stage.FAILING if failing else Stage.UNDER_WAY, doing.message)
    if pending is not None or _is_outdated(status.observed_generation, pod):
        return Progress(Stage.UNDER_WAY)
    return Progress(Stage.DONE if _is_in_force(pod, containers) else Stage.UNDER_WAY)


def _is_outdated(observed: int | None, pod: ResizablePod) -> bool:
    """Whether the kubelet spoke of an earlier spec; one that tells no generation (before 1.34) is believed."""
    return observed is not None and observed < pod.metadata.generation


def _is_in_force(pod: ResizablePod, containers: Collection[str]) -> bool:
    for container in containers_of(pod).values():
        now = container.in_force
        # One that does not run has what the spec says when it starts.
        if now is None or container.name not in containers:
            continue
        for wanted_milli, got_milli in (
            (container.limit_milli, now.limit_milli),
            (container.request_milli, now.request_milli),
        ):
            if wanted_milli is not None and (got_milli is None or abs(got_milli - wanted_milli) > TOLERANCE_MILLI):
                return False
    return True
