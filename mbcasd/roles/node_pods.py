"""The pods of a node, joined from both sides: what the API says of them, and where their cgroups are.

Containers are found by the id that the kubelet reports, checked against the UID in the path, so that every layout
and both cgroup drivers are alike. Everything is judged anew only when something about it has changed: the API's
objects are immutable values, so "the same object" is "nothing has changed".
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

from mbcasd.clock import Clock
from mbcasd.errors import SensingError
from mbcasd.kube.allocating.autoscalers import Autoscalers, index
from mbcasd.kube.allocating.contracts import contract_of
from mbcasd.kube.allocating.intents import PodFacts, RequestRule, Seat, Standing
from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds, LimitRange, bounds_of
from mbcasd.kube.allocating.members import Member, members_of
from mbcasd.kube.allocating.selection import Skipped, Subject, why_not
from mbcasd.kube.allocating.shares import Sharer
from mbcasd.kube.allocating.watches import NodeWatches
from mbcasd.kube.allocating.writer import AllocationWriter
from mbcasd.kube.objects import ContainerCpu, Pod, PodAllocation
from mbcasd.model.decision import RunMode, Workload
from mbcasd.model.demand import Contract
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.sensing import discovery
from mbcasd.sensing.reader import CgroupReader
from mbcasd.sensing.tree import CgroupTree
from mbcasd.settings import RequestPolicy, Settings

# The tree is looked through whenever the API says that a container came or went, and this often all the same.
SCAN_EVERY_S = 30.0

# The kubelet hashes a static pod's manifest instead of using the UID that the API shows.
_CONFIG_HASH = "kubernetes.io/config.hash"

_REQUEST_RULES = {
    RequestPolicy.KEEP: RequestRule.KEEP,
    RequestPolicy.RATIO: RequestRule.RATIO,
    RequestPolicy.SHARE: RequestRule.SHARE,
}


class _Verdict(NamedTuple):
    """What was found out about one container."""

    contract: Contract
    skipped: Skipped | None  # None: it is managed
    complaints: tuple[str, ...]


class _Judged(NamedTuple):
    """What was found out about one pod, and from what."""

    pod: Pod
    written: tuple[tuple[ContainerCpu, ...], bool]  # what its PodAllocation says that matters here
    unlimited: frozenset[str]  # its containers whose cgroups have no quota
    members: tuple[Member, ...]
    verdicts: dict[str, _Verdict]
    facts: PodFacts
    until_wall_s: float


class NodePods:
    """Says which workloads exist on this node, on what terms, and what their PodAllocations are made from."""

    def __init__(
        self,
        watches: NodeWatches,
        writer: AllocationWriter,
        tree: CgroupTree,
        *,
        kubepods: str | None,
        own_namespace: str,
        node_milli: float,
        run_mode: RunMode,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Join what `watches` and `writer` know with the cgroups of `tree`.

        Args:
            watches: The API's side.
            writer: Knows the PodAllocations.
            tree: The kernel's side.
            kubepods: The kubelet's cgroup; None: all that look like one.
            own_namespace: Whose pods are never managed.
            node_milli: All CPU that pods may use.
            run_mode: Observing, everything that was moved before goes back.
            settings: Rules.
            clock: For intervals and for ages.
        """
        self._watches, self._writer, self._tree, self._clock = watches, writer, tree, clock
        self._kubepods, self._own_namespace = kubepods, own_namespace
        self._node_milli, self._run_mode, self._settings = node_milli, run_mode, settings
        self._roots: tuple[str, ...] = ()
        self._found: dict[WorkloadId, CgroupRef] = {}
        self._containers_seen = -1
        self._scan_due_s = -inf
        self._rules_seen = -1
        self._autoscalers: Autoscalers = index((), ())
        self._bounds: dict[str, CpuBounds] = {}
        self._judged: dict[str, _Judged] = {}
        self._workloads: dict[WorkloadId, Workload] = {}
        self._described: tuple[object, ...] = ()  # what the last description was made from
        self._until_wall_s = inf  # when something has to be judged again though nothing has changed
        self.facts: tuple[PodFacts, ...] = ()

    def reconfigure(self, settings: Settings) -> None:
        """Take over changed settings: everything is judged anew."""
        self._settings = settings
        self._judged.clear()
        self._described = ()

    def discover(self) -> dict[WorkloadId, CgroupRef]:
        """List the containers of this node's pods that have a cgroup."""
        now_s, seen = self._clock.now_s(), self._watches.containers_seen
        if seen == self._containers_seen and now_s < self._scan_due_s:
            return self._found
        self._containers_seen, self._scan_due_s = seen, now_s + SCAN_EVERY_S
        wanted = dict(self._wanted())
        found: dict[WorkloadId, CgroupRef] = {}
        for root in self._look_for_roots():
            for place, ref in discovery.containers(self._tree, root).items():
                known = wanted.get(place.container_id or "")
                if known is not None and place.pod_uid in known[1]:
                    found[known[0]] = ref
        self._found = found
        return found

    def open(self, cgroup: CgroupRef) -> CgroupReader:
        """Start to watch a container that was found; raises as `CgroupTree.open`."""
        name = next((name for name, ref in self._found.items() if ref == cgroup), None)
        pod = self._watches.pods.items.get((name.namespace, name.name)) if name is not None else None
        # The quota of a pod with a limit of its own stays where it is, whatever its containers get.
        if pod is None or pod.spec.resources is not None:
            return self._tree.open(cgroup)
        return self._tree.open_container(cgroup)

    def describe(
        self, found: Mapping[WorkloadId, CgroupRef], limits: Mapping[WorkloadId, LimitReading]
    ) -> dict[WorkloadId, Workload]:
        """Give every container that was found its contract, or the reason why it is not managed."""
        state = (
            self._watches.synced,
            self._watches.rules_seen,
            self._watches.pods_seen,
            self._writer.objects_seen,
            [name for name, limit in limits.items() if limit.quota_usec is None],
            found,
        )
        if state == self._described and self._clock.wall_s() < self._until_wall_s:
            return self._workloads
        self._described = state
        self._renew_rules()
        unlimited: dict[tuple[str, str], frozenset[str]] = {}
        for name, limit in limits.items():
            if limit.quota_usec is None:
                key = (name.namespace, name.name)
                unlimited[key] = unlimited.get(key, frozenset()) | {name.container}
        self._judge_all(unlimited)
        pods = self._watches.pods.items
        workloads: dict[WorkloadId, Workload] = {}
        for name, cgroup in found.items():
            pod = pods.get((name.namespace, name.name))
            judged = self._judged.get(pod.metadata.uid) if pod is not None else None
            verdict = judged.verdicts.get(name.container) if judged is not None else None
            if verdict is None:
                continue
            before = self._workloads.get(name)
            if before is None or before.cgroup != cgroup or not _is_same(before, verdict):
                before = _workload(cgroup, verdict)
            workloads[name] = before
        self._workloads = workloads
        return workloads

    def sharers(self, limits: Mapping[WorkloadId, LimitReading]) -> tuple[tuple[Sharer, ...], float]:
        """The containers whose requests follow their shares, and the requests of everybody else on the node.

        Args:
            limits: In force.
        """
        sharers: list[Sharer] = []
        others_milli = 0.0
        for judged in self._judged.values():
            facts = judged.facts
            if judged.pod.status.phase in {"Succeeded", "Failed"}:
                continue
            sharing = {seat.name for seat in facts.seats if seat.is_managed and seat.request_rule is RequestRule.SHARE}
            for member in judged.members:
                limit = limits.get(WorkloadId(facts.namespace, facts.name, member.name))
                limit_milli = limit.limit_milli if limit is not None else None
                if member.name in sharing and facts.standing is Standing.MANAGED and limit_milli is not None:
                    contract = judged.verdicts[member.name].contract
                    sharers.append(Sharer(facts.uid, member.name, contract, limit_milli))
                else:
                    others_milli += member.request_milli or 0
        return tuple(sharers), others_milli

    def problems(self) -> Iterator[str]:
        """What a person should look at: words of owners that cannot be taken, and containers that were not found."""
        if self._watches.synced and not self._roots:
            yield (
                f"no kubelet's cgroup was found below {self._tree.mounts.cpu}: name it with --kubepods, or mount the "
                "host's hierarchies there"
            )
        for judged in self._judged.values():
            facts = judged.facts
            for complaint in dict.fromkeys(one for verdict in judged.verdicts.values() for one in verdict.complaints):
                yield f"{facts.namespace}/{facts.name}: {complaint}"
            for seat in facts.seats:
                name = WorkloadId(facts.namespace, facts.name, seat.name)
                if self._roots and seat.is_managed and facts.standing is Standing.MANAGED and name not in self._found:
                    yield f"{name}: its cgroup was not found below {', '.join(self._roots)}"

    def _wanted(self) -> Iterator[tuple[str, tuple[WorkloadId, frozenset[str]]]]:
        """Container id → whose it is, and the UIDs under which its pod's cgroup may go."""
        for (namespace, name), pod in self._watches.pods.items.items():
            uids = frozenset({pod.metadata.uid, pod.metadata.annotations.get(_CONFIG_HASH, pod.metadata.uid)})
            for member in members_of(pod):
                if member.container_id:
                    yield member.container_id, (WorkloadId(namespace, name, member.name), uids)

    def _look_for_roots(self) -> tuple[str, ...]:
        """Where the kubelet keeps its pods; looked for until it is there."""
        if self._kubepods is not None:
            self._roots = (self._kubepods,)
        elif not self._roots:
            self._roots = discovery.kubepods(self._tree)
        else:
            try:
                for root in self._roots:
                    self._tree.ref(root)
            except SensingError:
                self._roots = discovery.kubepods(self._tree)
        return self._roots

    def _renew_rules(self) -> None:
        """Sort autoscalers and LimitRanges anew when any has changed, and have everything judged by them."""
        seen = self._watches.rules_seen
        if seen == self._rules_seen:
            return
        self._rules_seen = seen
        self._autoscalers = index(self._watches.hpas.items.values(), self._watches.vpas.items.values())
        by_namespace: dict[str, list[LimitRange]] = {}
        for one in self._watches.limit_ranges.items.values():
            by_namespace.setdefault(one.metadata.namespace, []).append(one)
        self._bounds = {namespace: bounds_of(ranges) for namespace, ranges in by_namespace.items()}
        self._judged.clear()

    def _judge_all(self, unlimited: Mapping[tuple[str, str], frozenset[str]]) -> None:
        """Judge all pods of the node that are not as they were."""
        if not self._watches.synced:
            return
        now_wall_s = self._clock.wall_s()
        before, self._judged = self._judged, {}
        for key, pod in self._watches.pods.items.items():
            uid = pod.metadata.uid
            known = self._writer.known(uid)
            written = _what_matters(known)
            no_quota = unlimited.get(key, frozenset())
            judged = before.get(uid)
            if (
                judged is None
                or judged.pod is not pod
                or judged.written != written
                or judged.unlimited != no_quota
                or now_wall_s >= judged.until_wall_s
            ):
                judged = self._judge(pod, known, no_quota, now_wall_s)
            self._judged[uid] = judged
        self.facts = tuple(judged.facts for judged in self._judged.values())
        self._until_wall_s = min((judged.until_wall_s for judged in self._judged.values()), default=inf)

    def _judge(self, pod: Pod, known: PodAllocation | None, no_quota: frozenset[str], now_wall_s: float) -> _Judged:
        members = members_of(pod)
        namespace = self._watches.namespaces.get(("", pod.metadata.namespace))
        original = {cpu.name: cpu for cpu in known.spec.original} if known is not None else {}
        policy = self._settings.resize.request_policy
        if self._autoscalers.hpa_of(pod) is not None:
            policy = RequestPolicy.KEEP  # its requests are what the HPA measures by
        verdicts: dict[str, _Verdict] = {}
        for member in members:
            terms = contract_of(
                pod,
                member,
                members,
                original=original,
                namespace=namespace,
                bounds=self._bounds.get(pod.metadata.namespace, NO_BOUNDS),
                settings=self._settings,
                request_policy=policy,
                node_milli=self._node_milli,
            )
            skipped = why_not(
                Subject(
                    pod=pod,
                    member=member,
                    members=members,
                    namespace=namespace,
                    allocation=known,
                    autoscalers=self._autoscalers,
                    selection=self._settings.selection,
                    resize=self._settings.resize,
                    own_namespace=self._own_namespace,
                    quota_is_unlimited=member.name in no_quota,
                    now_wall_s=now_wall_s,
                )
            )
            verdicts[member.name] = _Verdict(terms.contract, skipped, terms.complaints if skipped is None else ())
        return _Judged(
            pod=pod,
            written=_what_matters(known),
            unlimited=no_quota,
            members=members,
            verdicts=verdicts,
            facts=self._facts(pod, members, verdicts, policy),
            until_wall_s=min((v.skipped.until_wall_s for v in verdicts.values() if v.skipped is not None), default=inf),
        )

    def _facts(
        self, pod: Pod, members: tuple[Member, ...], verdicts: Mapping[str, _Verdict], policy: RequestPolicy
    ) -> PodFacts:
        rule = RequestRule.EQUAL if pod.status.qos_class == "Guaranteed" else _REQUEST_RULES[policy]
        skips = [verdict.skipped for verdict in verdicts.values() if verdict.skipped is not None]
        standing, why = Standing.MANAGED, ""
        if len(skips) == len(verdicts):
            gives_back = bool(skips) and all(skip.gives_back for skip in skips)
            standing = Standing.RELEASED if gives_back else Standing.LEFT
            why = next((skip.sentence for skip in skips if skip.gives_back is gives_back), "")
        if self._run_mode is RunMode.OBSERVE and pod.metadata.deletion_timestamp is None:
            standing, why = Standing.RELEASED, "the agent of this node observes and moves nothing"
        seats = []
        for member in members:
            skipped = verdicts[member.name].skipped
            if member.limit_milli is not None:
                seats.append(
                    Seat(
                        name=member.name,
                        limit_milli=member.limit_milli,
                        request_milli=member.request_milli,
                        is_managed=skipped is None,
                        gives_back=skipped is not None and skipped.gives_back,
                        request_rule=rule,
                    )
                )
        return PodFacts(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, standing, tuple(seats), why)


def _what_matters(allocation: PodAllocation | None) -> tuple[tuple[ContainerCpu, ...], bool]:
    """The part of a PodAllocation by which a pod is judged."""
    if allocation is None:
        return (), False
    return allocation.spec.original, any(
        condition.type == "Conflict" and condition.status == "True" for condition in allocation.status.conditions
    )


def _workload(cgroup: CgroupRef, verdict: _Verdict) -> Workload:
    skipped = verdict.skipped
    return Workload(
        cgroup=cgroup,
        contract=verdict.contract,
        managed=skipped is None,
        unmanaged_reason="" if skipped is None else skipped.sentence,
    )


def _is_same(workload: Workload, verdict: _Verdict) -> bool:
    sentence = "" if verdict.skipped is None else verdict.skipped.sentence
    return workload.contract == verdict.contract and workload.unmanaged_reason == sentence
