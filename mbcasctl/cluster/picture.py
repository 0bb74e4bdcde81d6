"""The whole cluster as `status` shows it: agents, controllers, allocations, and what is wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mbcasctl.cluster import agents as asking
from mbcasctl.cluster import readiness
from mbcasctl.cluster.agents import AgentAnswer
from mbcasctl.cluster.installing import option_of, variant_of
from mbcasctl.cluster.objects import Deployment, Lease, Worker
from mbcasctl.cluster.reach import Cluster
from mbcasctl.cluster.readiness import Readiness
from mbcasd.errors import ApiError
from mbcasd.kube import names
from mbcasd.kube.install import VERSION_LABEL
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import Namespace, PodAllocation

# A picture older than this means that an agent's loops stand still; clocks of machines differ by a second or two.
STALE_S = 15.0

# A leader renews every two seconds and loses the lease after fifteen.
_LEASE_OVER_S = 20.0
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """One node's agent."""

    node: str
    pod: str
    ready: bool
    version: str = ""
    run_mode: str = ""
    market_mode: str | None = None
    price: float | None = None
    need_milli: float | None = None
    given_milli: float | None = None
    capacity_milli: float | None = None
    managed: int | None = None  # containers
    unmanaged: int | None = None
    trouble: str = ""  # why it says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """The verdict on one cluster."""

    healthy: bool
    problems: tuple[str, ...]  # why it is not, most important first
    notes: tuple[str, ...]  # what else a person may want to look at
    place: str
    kubernetes: str
    installed: bool
    version: str = ""
    mode: str = ""
    readiness: Readiness | None = None
    leader: str = ""
    lease_age_s: float | None = None
    agents: tuple[AgentStatus, ...] = ()
    namespaces: tuple[str, ...] = ()  # opted in
    phases: Mapping[str, int] = field(default_factory=dict)  # PodAllocations by phase
    reasons: Mapping[str, int] = field(default_factory=dict)  # of those that are not applied
    original_milli: float = 0.0  # sum of the owners' limits of all pods with a PodAllocation
    wanted_milli: float = 0.0  # sum of what the agents decided for them


class Asked(NamedTuple):
    """The pods of MBCAS, and what the agents among them said."""

    workers: list[Worker]
    agents: list[Worker]
    answers: list[AgentAnswer]


def ask_agents(cluster: Cluster) -> Asked:
    """Find them and ask them.

    Raises:
        ApiAway, ApiRefused: They cannot be listed.
    """
    workers = cluster.workers()
    agents = asking.agents_of(workers)
    return Asked(workers, agents, asking.ask(cluster, agents))


def look(cluster: Cluster, namespace: str | None, asked: Asked | None = None) -> ClusterStatus:
    """Read everything that `status` shows.

    Args:
        cluster: Which.
        namespace: Count only the allocations of this one; None: all.
        asked: What `ask_agents` found a moment ago; None: ask.

    Raises:
        ApiAway, ApiRefused: The cluster does not answer, or does not let this person read it.
    """
    kubernetes = cluster.version().git_version
    daemon_set, deployment = cluster.agents(), cluster.controllers()
    either = daemon_set or deployment
    if either is None:
        return ClusterStatus(
            healthy=False,
            problems=("MBCAS is not installed: mbcasctl install",),
            notes=(),
            place=cluster.place,
            kubernetes=kubernetes,
            installed=False,
        )
    workers, found, answers = asked or ask_agents(cluster)
    allocations = cluster.allocations(namespace)
    lease, now_s = cluster.lease(), cluster.clock.wall_s()
    ready = readiness.judge(daemon_set, deployment, workers)
    agents = tuple(_agent(worker, answer, now_s) for worker, answer in zip(found, answers, strict=True))
    namespaces = opted_in(cluster)
    mode = "" if daemon_set is None else variant_of(daemon_set).mode
    problems = [*_problems_of_pods(ready, missing_agents=daemon_set is None, missing_controllers=deployment is None)]
    problems += _problems_of_lease(lease, now_s, wanted=ready.controllers_wanted)
    problems += _problems_of_allocations(allocations)
    notes = [f"{agent.node}: {agent.trouble}" for agent in agents if agent.trouble and agent.ready]
    notes += _notes_on_modes(mode, deployment)
    if not namespaces and not allocations:
        notes.append(f"no workload is managed: label a namespace with {names.MANAGED_LABEL}=true")
    for answer in answers:
        problems += [f"{answer.node}: {problem}" for problem in (answer.snapshot.problems if answer.snapshot else ())]
    return ClusterStatus(
        healthy=not problems,
        problems=tuple(problems),
        notes=tuple(notes),
        place=cluster.place,
        kubernetes=kubernetes,
        installed=True,
        version=either.metadata.labels.get(VERSION_LABEL, ""),
        mode=mode,
        readiness=ready,
        leader=(lease.spec.holder_identity or "") if lease else "",
        lease_age_s=_age_s(lease, now_s),
        agents=agents,
        namespaces=namespaces,
        phases=Counter(one.status.phase or "Pending" for one in allocations or ()),
        reasons=Counter(
            one.status.reason for one in allocations or () if one.status.phase != "Applied" and one.status.reason
        ),
        original_milli=sum(given.limit_milli for one in allocations or () for given in one.spec.original),
        wanted_milli=sum(given.limit_milli for one in allocations or () for given in one.spec.containers),
    )


def opted_in(cluster: Cluster) -> tuple[str, ...]:
    """The namespaces whose pods are managed."""
    selector = {"labelSelector": f"{names.MANAGED_LABEL}=true"}
    try:
        found = list_all(cluster.api, "/api/v1/namespaces", Namespace, selector)
    except ApiError:  # whoever may not list namespaces still sees the rest
        return ()
    return tuple(namespace.metadata.name for namespace in found)


def _agent(worker: Worker, answer: AgentAnswer, now_s: float) -> AgentStatus:
    snapshot, name = answer.snapshot, worker.metadata.name
    if snapshot is None:
        reason = readiness.why_not(worker) or answer.trouble
        return AgentStatus(node=answer.node, pod=name, ready=worker.is_ready, trouble=reason)
    managed = sum(row.managed for row in snapshot.workloads)
    stale_s = now_s - snapshot.taken_wall_s
    return AgentStatus(
        node=answer.node,
        pod=name,
        ready=worker.is_ready,
        version=snapshot.version,
        run_mode=snapshot.run_mode,
        market_mode=snapshot.market_mode,
        price=snapshot.price,
        need_milli=snapshot.need_milli,
        given_milli=snapshot.allocated_milli,
        capacity_milli=snapshot.capacity_milli,
        managed=managed,
        unmanaged=len(snapshot.workloads) - managed,
        trouble=f"it has not looked at its node for {stale_s:.0f} s, or its clock is wrong"
        if stale_s > STALE_S
        else "",
    )


def _problems_of_pods(ready: Readiness, *, missing_agents: bool, missing_controllers: bool) -> list[str]:
    problems = []
    if missing_agents:
        problems.append(f"the DaemonSet {names.AGENT} does not exist: mbcasctl upgrade")
    elif ready.agents_ready < ready.agents_wanted:
        problems.append(f"{ready.agents_wanted - ready.agents_ready} of {ready.agents_wanted} agents are not ready")
    if missing_controllers:
        problems.append(f"the Deployment {names.CONTROLLER} does not exist: mbcasctl upgrade")
    elif not ready.controllers_wanted:
        problems.append("the controllers are scaled to none, so no limit moves: mbcasctl upgrade")
    elif not ready.controllers_ready:
        problems.append("no controller is ready, so no limit moves")
    return [*problems, *ready.troubles]


def _problems_of_lease(lease: Lease | None, now_s: float, *, wanted: int) -> list[str]:
    age_s = _age_s(lease, now_s)
    if not wanted:
        return []
    if lease is None or not lease.spec.holder_identity:
        return ["no controller leads: nobody holds the lease"]
    if age_s is not None and age_s > _LEASE_OVER_S:
        return [f"no controller leads: {lease.spec.holder_identity} has not renewed its lease for {age_s:.0f} s"]
    return []


def _problems_of_allocations(allocations: Sequence[PodAllocation] | None) -> list[str]:
    if allocations is None:
        return ["PodAllocations are not defined: mbcasctl upgrade"]
    conflicts = [one for one in allocations if _is_true(one, "Conflict")]
    if not conflicts:
        return []
    named = ", ".join(f"{one.metadata.namespace}/{one.spec.pod_name}" for one in conflicts[:_MOST_NAMED])
    more = f" and {len(conflicts) - _MOST_NAMED} more" if len(conflicts) > _MOST_NAMED else ""
    return [f"somebody else changes the CPU of {named}{more}: left alone; see mbcasctl explain"]


def _notes_on_modes(agents: str, deployment: Deployment | None) -> list[str]:
    containers = () if deployment is None else deployment.spec.template.spec.containers
    controllers = option_of(containers[0], "--mode") if containers else ""
    if controllers and agents and controllers != agents:
        return [f"agents run in mode {agents}, controllers in {controllers}: mbcasctl upgrade --mode {agents}"]
    return []


def _is_true(allocation: PodAllocation, kind: str) -> bool:
    return any(condition.type == kind and condition.status == "True" for condition in allocation.status.conditions)


def _age_s(lease: Lease | None, now_s: float) -> float | None:
    try:
        renewed_s = datetime.fromisoformat((lease.spec.renew_time if lease else "") or "").timestamp()
    except ValueError:
        return None
    return now_s - renewed_s
