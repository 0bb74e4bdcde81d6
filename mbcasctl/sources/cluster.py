"""All nodes of a cluster as one picture: what the agents say, and PodAllocations where an agent is silent."""

from collections.abc import Iterable, Sequence
from math import nan

from msgspec.structs import replace

from mbcasctl.cluster import agents
from mbcasctl.cluster.agents import AgentAnswer
from mbcasctl.cluster.reach import Cluster
from mbcasd.errors import ApiError, SourceError
from mbcasd.kube.objects import ContainerCpu, PodAllocation
from mbcasd.model.decision import HeldBy
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

# From best to worst: the worst is the cluster's.
_MARKET_MODES = ("uncongested", "congested", "overloaded")
_RUN_MODES = ("enforce", "recommend", "observe")

_NOT_INSTALLED = "MBCAS is not installed on {place}: mbcasctl install"


class ClusterSource:
    """One cluster, or one namespace of it."""

    def __init__(self, cluster: Cluster, namespace: str | None = None) -> None:
        """Look at `cluster`; `namespace` narrows to the workloads of one."""
        self._cluster, self._namespace = cluster, namespace

    @property
    def place(self) -> str:
        """The API server's URL."""
        return self._cluster.place

    def snapshot(self) -> NodeSnapshot:
        """All nodes as they are now.

        Raises:
            SourceError: The API server does not answer, or MBCAS is not installed there.
        """
        try:
            allocations = self._cluster.allocations(self._namespace)
            if allocations is None:
                raise SourceError(_NOT_INSTALLED.format(place=self.place))
            answers = self.ask()
        except ApiError as err:
            raise SourceError(f"{self.place}: {err}") from err
        return merge(answers, allocations, self._namespace, self._cluster.clock.wall_s())

    def ask(self) -> list[AgentAnswer]:
        """What each agent says.

        Raises:
            ApiAway, ApiRefused: They cannot be listed.
        """
        return agents.ask(self._cluster, agents.agents_of(self._cluster.workers()))


def merge(
    answers: Sequence[AgentAnswer], allocations: Sequence[PodAllocation], namespace: str | None, now_wall_s: float
) -> NodeSnapshot:
    """One picture of many nodes; figures of nodes are added up, and where they differ in kind the worst is shown.

    Args:
        answers: Of the agents.
        allocations: All PodAllocations that are to be seen.
        namespace: Only workloads of this one; None: all.
        now_wall_s: When they were asked.
    """
    nodes = [answer.snapshot for answer in answers if answer.snapshot is not None]
    heard = {answer.node for answer in answers if answer.snapshot is not None}
    several = len(answers) > 1 or bool({found.spec.node_name for found in allocations} - heard)
    rows = [
        replace(row, node=answer.node if several else "")
        for answer in answers
        if answer.snapshot is not None
        for row in answer.snapshot.workloads
        if namespace in {None, row.namespace}
    ]
    rows += [row for found in allocations if found.spec.node_name not in heard for row in rows_of(found)]
    problems = [
        f"{answer.node}: its agent {answer.pod} is silent ({answer.trouble}); shown from PodAllocations"
        for answer in answers
        if answer.snapshot is None
    ]
    if not answers:
        problems.append("no agent runs: shown from PodAllocations; see mbcasctl status")
    problems += [f"{node.node}: {problem}" for node in nodes for problem in node.problems]
    skewed_s = max((node.taken_wall_s for node in nodes), default=now_wall_s)
    return NodeSnapshot(
        node=_title(answers, namespace),
        version=", ".join(sorted({node.version for node in nodes})) or "?",
        run_mode=_worst([node.run_mode for node in nodes], _RUN_MODES) or "unknown",
        taken_wall_s=max(now_wall_s, skewed_s),
        started_wall_s=min((node.started_wall_s for node in nodes), default=now_wall_s),
        cpu_milli=sum(node.cpu_milli for node in nodes),
        capacity_milli=sum(node.capacity_milli for node in nodes),
        limit_capacity_milli=sum(node.limit_capacity_milli for node in nodes),
        mechanism=", ".join(sorted({node.mechanism for node in nodes})) or "?",
        estimator=", ".join(sorted({node.estimator for node in nodes})) or "?",
        market_mode=_worst([node.market_mode for node in nodes if node.market_mode], _MARKET_MODES),
        # Each node has a market of its own; the highest price is where it is tightest.
        price=max((node.price for node in nodes if node.price is not None), default=None),
        need_milli=sum(node.need_milli for node in nodes),
        allocated_milli=sum(node.allocated_milli for node in nodes),
        limits_milli=sum(node.limits_milli for node in nodes),
        used_milli=sum(node.used_milli for node in nodes),
        unmanaged_milli=sum(node.unmanaged_milli for node in nodes),
        raises_last_15s=sum(node.raises_last_15s for node in nodes),
        lowers_last_15s=sum(node.lowers_last_15s for node in nodes),
        quota_leak_ratio=max((node.quota_leak_ratio for node in nodes), default=0.0),
        decided_wall_s=max((node.decided_wall_s for node in nodes if node.decided_wall_s is not None), default=None),
        workloads=tuple(rows),
        problems=tuple(problems),
    )


def rows_of(found: PodAllocation) -> Iterable[WorkloadSnapshot]:
    """The containers of one PodAllocation as rows; what only the agent knows is missing."""
    spec, status = found.spec, found.status
    in_force = {given.name: given for given in status.containers}
    original = {given.name: given for given in spec.original}
    for wanted in spec.containers:
        owner = original.get(wanted.name)
        yield WorkloadSnapshot(
            namespace=found.metadata.namespace,
            name=spec.pod_name,
            container=wanted.name,
            node=spec.node_name,
            cgroup="",
            managed=True,
            usage_milli=nan,
            throttled_ratio=nan,
            need_milli=None,
            floor_milli=nan,
            cap_milli=nan,
            weight=nan,
            stalled_s=nan,
            limit_milli=_limit(in_force.get(wanted.name, owner)),
            owner_limit_milli=_limit(owner),
            target_milli=wanted.limit_milli,
            held_by=_held_by(found).value,
        )


def _limit(given: ContainerCpu | None) -> float:
    return nan if given is None else given.limit_milli


def _held_by(found: PodAllocation) -> HeldBy:
    if any(condition.type == "Conflict" and condition.status == "True" for condition in found.status.conditions):
        return HeldBy.OWNER
    return HeldBy.NEED if found.status.phase == "Applied" else HeldBy.PENDING


def _title(answers: Sequence[AgentAnswer], namespace: str | None) -> str:
    nodes = answers[0].node if len(answers) == 1 else f"{len(answers)} nodes"
    return nodes if namespace is None else f"{nodes}, {namespace}"


def _worst(found: Sequence[str], order: Sequence[str]) -> str | None:
    """The one that comes last in `order`; an unknown one is shown as it is."""
    unknown = [one for one in found if one not in order]
    if unknown:
        return unknown[0]
    return max(found, key=order.index, default=None)
