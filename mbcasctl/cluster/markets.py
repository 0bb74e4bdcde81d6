"""The markets of a cluster's nodes: as agents see them, or as PodAllocations tell where an agent is silent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct, field

from mbcasctl.cluster import agents
from mbcasctl.cluster.reach import Cluster
from mbcasctl.sources.asked import market_of
from mbcasd.errors import SourceError
from mbcasd.kube.objects import Identity, PodAllocation
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Bid, Market, Mechanism, Options
from mbcasd.settings import MarketSettings
from mbcasd.units import MILLI_PER_CPU, parse_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMarket:
    """What one node would clear now."""

    node: str
    market: Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Markets:
    """Those of all nodes that have one."""

    markets: tuple[NodeMarket, ...]
    notes: tuple[str, ...]  # where something is not as good as it could be


class _NodeStatus(Struct, frozen=True, rename="camel"):
    allocatable: Mapping[str, str] = field(default_factory=dict)


class _Node(Struct, frozen=True, rename="camel"):
    metadata: Identity
    status: _NodeStatus = field(default_factory=_NodeStatus)


def read_markets(cluster: Cluster, namespace: str | None) -> Markets:
    """State the market of every node with managed workloads; the answer is where each node is heading.

    Args:
        cluster: Which.
        namespace: Only nodes with workloads of this one; None: all.

    Raises:
        SourceError: MBCAS is not installed, or nothing is managed.
        ApiAway, ApiRefused: The cluster does not answer, or not this person.
    """
    allocations = cluster.allocations()
    if allocations is None:
        raise SourceError(f"MBCAS is not installed on {cluster.place}: mbcasctl install")
    markets, notes = [], []
    answers = agents.ask(cluster, agents.agents_of(cluster.workers()))
    heard = {answer.node: answer.snapshot for answer in answers if answer.snapshot is not None}
    for node, snapshot in heard.items():
        if _concerns(namespace, (row.namespace for row in snapshot.workloads if row.managed)):
            try:
                markets.append(NodeMarket(node=node, market=market_of(snapshot)))
            except SourceError as err:
                notes.append(str(err))
    silent = {answer.node: answer.trouble for answer in answers if answer.snapshot is None}
    for node in sorted({found.spec.node_name for found in allocations} - set(heard)):
        theirs = [found for found in allocations if found.spec.node_name == node]
        if _concerns(namespace, (found.metadata.namespace for found in theirs)):
            notes.append(
                f"{node}: its agent is silent ({silent.get(node, 'it does not run')}); each workload wants what it was "
                "given last, as PodAllocations tell, at weight 1"
            )
            markets.append(NodeMarket(node=node, market=_from_allocations(cluster, node, theirs)))
    if not markets:
        raise SourceError(f"{cluster.place}: no workload is managed there, so there is no market to solve")
    return Markets(markets=tuple(sorted(markets, key=lambda one: one.node)), notes=tuple(notes))


def _concerns(namespace: str | None, present: Iterable[str]) -> bool:
    return namespace is None or namespace in set(present)


def _from_allocations(cluster: Cluster, node: str, allocations: Sequence[PodAllocation]) -> Market:
    """Floor: the owner's request; cap: what was decided last; capacity: the node's, by the default settings."""
    settings = MarketSettings()
    bids = []
    for found in allocations:
        requests = {given.name: given.request_milli or 0 for given in found.spec.original}
        for wanted in found.spec.containers:
            floor_milli = min(requests.get(wanted.name, 0), wanted.limit_milli)
            name = str(WorkloadId(found.metadata.namespace, found.spec.pod_name, wanted.name))
            bids.append(Bid(name=name, floor_milli=floor_milli, cap_milli=wanted.limit_milli))
    known = cluster.find(f"/api/v1/nodes/{node}", _Node)
    given_milli = sum(bid.cap_milli for bid in bids)
    capacity_milli = given_milli
    if known is not None and "cpu" in known.status.allocatable:
        allocatable_milli = parse_quantity(known.status.allocatable["cpu"]) * MILLI_PER_CPU
        capacity_milli = allocatable_milli * (1 - settings.system_reserve_percent / 100) * settings.overcommit
    return Market(
        capacity_milli=capacity_milli,
        bids=tuple(bids),
        mechanism=Mechanism.NASH,
        options=Options(alpha=1.0),
    )
