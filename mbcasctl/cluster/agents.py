"""What each node's agent says of itself: its `/status`, asked through the API server.

First by a port-forward, which works where the control plane has no route to pods and where a NetworkPolicy lets
nobody in; then by the API server's pod proxy, which needs other rights and works through a proxy as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mbcasctl.cluster import readiness
from mbcasctl.cluster.objects import Worker
from mbcasctl.cluster.reach import Cluster
from mbcasctl.sources.problems import decode_answer
from mbcasd.errors import ApiAway, ApiError, ApiRefused, SourceError
from mbcasd.kube import names
from mbcasd.kube.portforward import fetch
from mbcasd.model.snapshot import NodeSnapshot

PORT = 9102
TIMEOUT_S = 4.0
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAnswer:
    """What one agent said."""

    node: str
    pod: str
    snapshot: NodeSnapshot | None  # None: it said nothing
    trouble: str = ""  # why it said nothing


def agents_of(workers: Iterable[Worker]) -> list[Worker]:
    """The agents among the pods of MBCAS, one for each node: the newest, if an old one is still ending."""
    found: dict[str, Worker] = {}
    for worker in sorted(workers, key=lambda one: one.metadata.creation_timestamp):
        if worker.is_made_by("DaemonSet") and worker.metadata.deletion_timestamp is None and worker.spec.node_name:
            found[worker.spec.node_name] = worker
    return [found[node] for node in sorted(found)]


def ask(cluster: Cluster, agents: Sequence[Worker], *, timeout_s: float = TIMEOUT_S) -> list[AgentAnswer]:
    """Ask all of them, several at a time; the answers are in their order. Never raises for one that is silent."""
    if not agents:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(agents)), thread_name_prefix="ask") as pool:
        return list(pool.map(lambda agent: _ask(cluster, agent, timeout_s), agents))


def snapshots(answers: Iterable[AgentAnswer]) -> Mapping[str, NodeSnapshot]:
    """The pictures by node."""
    return {answer.node: answer.snapshot for answer in answers if answer.snapshot is not None}


def _ask(cluster: Cluster, agent: Worker, timeout_s: float) -> AgentAnswer:
    name, node = agent.metadata.name, agent.spec.node_name
    if agent.status.phase != "Running":
        reason = readiness.why_not(agent) or "it does not run yet"
        return AgentAnswer(node=node, pod=name, snapshot=None, trouble=reason)
    troubles = []
    for way in (_by_port_forward, _by_proxy):
        try:
            snapshot = way(cluster, name, timeout_s)
        except (ApiError, SourceError) as err:
            troubles.append(str(err))
        else:
            return AgentAnswer(node=node, pod=name, snapshot=snapshot)
    return AgentAnswer(node=node, pod=name, snapshot=None, trouble=troubles[0])


def _by_port_forward(cluster: Cluster, pod: str, timeout_s: float) -> NodeSnapshot:
    answer = fetch(cluster.api.access, names.NAMESPACE, pod, PORT, "/status", timeout_s=timeout_s)
    return decode_answer(pod, answer.status, answer.body)


def _by_proxy(cluster: Cluster, pod: str, timeout_s: float) -> NodeSnapshot:
    try:
        body = cluster.api.get(f"{names.pods_path(names.NAMESPACE, pod)}:{PORT}/proxy/status", timeout_s=timeout_s)
    except ApiRefused as err:
        raise ApiAway(f"the API server's proxy to {pod} says: {err.message}") from err
    return decode_answer(pod, 200, body)
