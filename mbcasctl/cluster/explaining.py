"""What a cluster knows of one workload: its PodAllocation, its events, and what its node's agent says of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mbcasctl.cluster import agents
from mbcasctl.cluster.objects import Event, Worker
from mbcasctl.cluster.reach import Cluster
from mbcasctl.explaining import names as workload_names
from mbcasctl.explaining.explanation import Explanation, explain
from mbcasd.errors import ApiError, ConfigError, SourceError
from mbcasd.kube import names
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import Condition, PodAllocation
from mbcasd.kube.times import parse_time_s
from mbcasd.model.identity import WorkloadId
from mbcasd.model.snapshot import NodeSnapshot

# Newest first; what happened long ago explains nothing.
MOST_EVENTS = 5

# Of the kubelet's; its ResizeStarted and ResizeCompleted say again what MBCAS says.
_TROUBLES_OF_KUBELET = {"ResizeDeferred", "ResizeInfeasible", "ResizeError"}

_EVENTS = "/apis/events.k8s.io/v1/namespaces/{}/events"
_RECORD = "/var/lib/mbcas/record.db"  # in the agent's pod; see deploy/base/agent.yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStory:
    """One container of the PodAllocation, in millicores; None: there is none, or it is not known."""

    name: str
    owner_limit_milli: int | None
    owner_request_milli: int | None
    decided_limit_milli: int | None
    decided_request_milli: int | None
    set_limit_milli: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event."""

    wall_s: float
    reason: str
    note: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationStory:
    """One PodAllocation, ready to be told."""

    name: str
    phase: str
    reason: str
    decided_for: str  # the agent's reason
    decided_wall_s: float
    applied_wall_s: float  # 0: never
    recommend_only: bool
    released: bool
    containers: tuple[ContainerStory, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterExplanation:
    """Everything that is known about one pod, or one container of it."""

    pod: str  # "shop/web-7d9f"
    node: str
    now_wall_s: float
    explanations: tuple[Explanation, ...]  # of its containers, by the agent
    allocation: AllocationStory | None  # None: there is none
    events: tuple[Told, ...]
    missing: tuple[str, ...]


def explain_on(cluster: Cluster, text: str, namespace: str | None) -> ClusterExplanation:
    """Find the workload that is meant, and collect what is known of it.

    Args:
        cluster: Which.
        text: As typed: a pod, or a container of one; see `mbcasctl.explaining.names`.
        namespace: Only look there; None: everywhere.

    Raises:
        ConfigError: None or several fit.
        SourceError: MBCAS is not installed there.
        ApiAway, ApiRefused: The cluster does not answer, or not this person.
    """
    allocations = cluster.allocations(namespace)
    if allocations is None:
        raise SourceError(f"MBCAS is not installed on {cluster.place}: mbcasctl install")
    workers = agents.agents_of(cluster.workers())
    answers = agents.ask(cluster, workers)
    nodes = agents.snapshots(answers)
    who = _find(text, nodes.values(), allocations, namespace, cluster.place)
    pod = who._replace(container="")
    rows = {
        (node, WorkloadId(row.namespace, row.name, row.container)): snapshot
        for node, snapshot in nodes.items()
        for row in snapshot.workloads
        if row.namespace == who.namespace and row.name == who.name and who.container in {"", row.container}
    }
    found = _newest(allocations, pod)
    node = next((node for node, _ in rows), found.spec.node_name if found else "")
    trouble = next((answer.trouble for answer in answers if answer.node == node and answer.trouble), "")
    return ClusterExplanation(
        pod=str(pod),
        node=node,
        now_wall_s=cluster.clock.wall_s(),
        explanations=tuple(
            explain(
                snapshot,
                each,
                place=f"the agent on {at}",
                missing=(_how_to_know_more(workers, at, each),),
            )
            for (at, each), snapshot in sorted(rows.items(), key=lambda item: item[0])
        ),
        allocation=None if found is None else _story(found, who.container),
        events=_events(cluster, pod),
        missing=() if rows else (_silence(node, trouble),),
    )


def _find(
    text: str,
    nodes: Iterable[NodeSnapshot],
    allocations: Sequence[PodAllocation],
    namespace: str | None,
    place: str,
) -> WorkloadId:
    """The container that was named, or the pod, with an empty container."""
    known = {WorkloadId(row.namespace, row.name, row.container) for snapshot in nodes for row in snapshot.workloads}
    known |= {
        WorkloadId(found.metadata.namespace, found.spec.pod_name, container.name)
        for found in allocations
        for container in found.spec.containers
    }
    known = {one for one in known if namespace in {None, one.namespace}}
    pods = {one._replace(container="") for one in known}
    if ":" in text:
        return workload_names.find(text, known, place)
    try:
        return workload_names.find(text, pods, place)
    except ConfigError:
        # A name of a container alone may still be unique.
        by_container = [one for one in known if one.container == text]
        if len(by_container) == 1:
            return by_container[0]
        raise


def _newest(allocations: Sequence[PodAllocation], pod: WorkloadId) -> PodAllocation | None:
    """Of a pod that was made again, the old one's object may still be there."""
    fitting = [
        found for found in allocations if (found.metadata.namespace, found.spec.pod_name) == (pod.namespace, pod.name)
    ]
    return max(fitting, key=lambda found: found.metadata.creation_timestamp, default=None)


def _story(found: PodAllocation, container: str) -> AllocationStory:
    spec, status = found.spec, found.status
    owner = {given.name: given for given in spec.original}
    done = {given.name: given for given in status.containers}
    return AllocationStory(
        name=found.metadata.name,
        phase=status.phase or "Pending",
        reason=status.reason,
        decided_for=spec.reason,
        decided_wall_s=parse_time_s(spec.decision_time),
        applied_wall_s=parse_time_s(status.last_applied_time or ""),
        recommend_only=spec.recommend_only,
        released=spec.released,
        containers=tuple(
            ContainerStory(
                name=wanted.name,
                owner_limit_milli=owner[wanted.name].limit_milli if wanted.name in owner else None,
                owner_request_milli=owner[wanted.name].request_milli if wanted.name in owner else None,
                decided_limit_milli=wanted.limit_milli,
                decided_request_milli=wanted.request_milli,
                set_limit_milli=done[wanted.name].limit_milli if wanted.name in done else None,
            )
            for wanted in spec.containers
            if container in {"", wanted.name}
        ),
        conditions=status.conditions,
    )


def _events(cluster: Cluster, pod: WorkloadId) -> tuple[Told, ...]:
    """What MBCAS and the kubelet said about resizes of the pod, newest first; none where they may not be read."""
    selector = {"fieldSelector": f"regarding.kind=Pod,regarding.name={pod.name}"}
    try:
        found = list_all(cluster.api, _EVENTS.format(pod.namespace), Event, selector)
    except ApiError:
        return ()
    told = [
        Told(wall_s=_when(event), reason=event.reason, note=event.note, count=event.series.count if event.series else 1)
        for event in found
        if event.reporting_controller.startswith("mbcas") or event.reason in _TROUBLES_OF_KUBELET
    ]
    return tuple(sorted(told, key=lambda one: -one.wall_s)[:MOST_EVENTS])


def _when(event: Event) -> float:
    last = event.series.last_observed_time if event.series else None
    text = last or event.event_time or event.deprecated_last_timestamp or event.metadata.creation_timestamp
    return parse_time_s(text)


def _how_to_know_more(workers: Sequence[Worker], node: str, who: WorkloadId) -> str:
    pod = next((worker.metadata.name for worker in workers if worker.spec.node_name == node), "POD")
    command = f"kubectl -n {names.NAMESPACE} exec {pod} -- mbcasctl explain {who} --record {_RECORD}"
    return f"how the last clearing came about, and what other policies would have led to; its agent knows: {command}"


def _silence(node: str, trouble: str) -> str:
    if not node:
        return "what its use and need are: no agent sees it"
    return f"what its use and need are: the agent on {node} is silent ({trouble or 'it does not run'})"
