"""Are agents and controllers up, and if not, why: from objects to words; pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mbcasctl.cluster.objects import DaemonSet, Deployment, Worker, WorkerContainerStatus

# Reasons of a waiting container that only mean that it is on its way.
_ON_ITS_WAY = {"ContainerCreating", "PodInitializing", ""}
_NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How far the pods of MBCAS are."""

    agents_ready: int
    agents_wanted: int  # one per node that takes them
    controllers_ready: int
    controllers_wanted: int
    settled: bool  # Kubernetes has seen the last change, and no pod of an older version is left
    troubles: tuple[str, ...] = ()  # why some are not, each with the pods that it is true of

    @property
    def complete(self) -> bool:
        """Whether everything runs as it was asked for."""
        agents = self.agents_ready >= self.agents_wanted
        return self.settled and agents and self.controllers_ready >= self.controllers_wanted


def judge(agents: DaemonSet | None, controllers: Deployment | None, workers: Sequence[Worker]) -> Readiness:
    """Say how far they are.

    Args:
        agents: None: it does not exist, and nobody waits for it.
        controllers: None: it does not exist, and nobody waits for it.
        workers: All pods of MBCAS.
    """
    settled, troubles = True, list(_why_not(workers))
    agents_ready = agents_wanted = controllers_ready = controllers_wanted = 0
    if agents is not None:
        status = agents.status
        agents_ready, agents_wanted = status.number_available, status.desired_number_scheduled
        settled &= status.observed_generation >= agents.metadata.generation
        settled &= status.updated_number_scheduled >= agents_wanted
    if controllers is not None:
        of = controllers.status
        controllers_ready, controllers_wanted = of.available_replicas, controllers.spec.replicas
        settled &= of.observed_generation >= controllers.metadata.generation
        settled &= of.updated_replicas >= controllers_wanted and of.replicas <= of.updated_replicas
        troubles += [
            f"controllers cannot be made: {condition.message}"
            for condition in of.conditions
            if condition.type == "ReplicaFailure" and condition.status == "True"
        ]
    return Readiness(
        agents_ready=agents_ready,
        agents_wanted=agents_wanted,
        controllers_ready=controllers_ready,
        controllers_wanted=controllers_wanted,
        settled=settled,
        troubles=tuple(troubles),
    )


def _why_not(workers: Iterable[Worker]) -> list[str]:
    """One line for each reason, with the pods that it is true of: a hundred nodes lack the same image."""
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for worker in workers:
        reason = why_not(worker)
        if reason:
            reasons[reason] += 1
            first.setdefault(reason, worker.metadata.name)
    return [
        f"{first[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
        for reason, count in reasons.most_common()
    ]


def why_not(worker: Worker) -> str:
    """Why a pod is not ready, in words; empty: it is, or nothing is known to be wrong yet."""
    if worker.is_ready or worker.metadata.deletion_timestamp is not None:
        return ""
    status = worker.status
    if status.phase == "Failed":
        return _short(f"failed: {status.message or status.reason}")
    images = {container.name: container.image for container in worker.spec.containers}
    for container in status.container_statuses:
        reason = _why_container(container, images.get(container.name, ""))
        if reason:
            return _short(reason)
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return _short(f"not scheduled: {condition.message or condition.reason}")
    if status.phase == "Running":
        return "runs, but is not ready yet"
    return ""


def _why_container(container: WorkerContainerStatus, image: str) -> str:
    waiting, ended = container.state.waiting, container.last_state.terminated or container.state.terminated
    if waiting is None or waiting.reason in _ON_ITS_WAY:
        return ""
    if waiting.reason in _NO_IMAGE:
        # The end of the chain of errors says why; its beginning changes from try to try.
        why = ": ".join(waiting.message.split(": ")[-2:])
        return f"image {image} cannot be pulled: {why or waiting.reason}"
    if waiting.reason == "CrashLoopBackOff" and ended is not None:
        return f"it ends again and again (exit code {ended.exit_code}); see its log"
    return f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON].rstrip()} …"
