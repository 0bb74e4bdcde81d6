"""What the owner of a container asked for: requests, limits and annotations, merged with the node's rules."""

from collections.abc import Iterable, Mapping
from math import inf, isfinite
from typing import NamedTuple

from mbcasd.bidding.contract import matches
from mbcasd.kube import names
from mbcasd.kube.allocating.limitranges import CpuBounds
from mbcasd.kube.allocating.members import Member, cpu_milli, would_be_guaranteed
from mbcasd.kube.objects import ContainerCpu, Namespace, Pod
from mbcasd.model.demand import Contract
from mbcasd.model.identity import WorkloadId
from mbcasd.settings import RequestPolicy, Settings, WorkloadRule
from mbcasd.units import parse_cpu_milli

# Weights are relative; more than this is a mistake.
_WEIGHT_MAX = 1e6


class Terms(NamedTuple):
    """A contract, and what of the owner's words could not be taken."""

    contract: Contract
    complaints: tuple[str, ...] = ()


def contract_of(
    pod: Pod,
    member: Member,
    members: tuple[Member, ...],
    *,
    original: Mapping[str, ContainerCpu],
    namespace: Namespace | None,
    bounds: CpuBounds,
    settings: Settings,
    request_policy: RequestPolicy,
    node_milli: float,
) -> Terms:
    """Say what a container is owed.

    The floor is the request, since a limit can never be below it, unless the owner or a rule names more; a quantum
    more where limit = request would make the pod Guaranteed, which the API refuses. A Guaranteed pod's request moves
    with its limit, so its floor is the baseline, as on a plain host. The cap is the least of what the owner, a rule,
    the namespace's LimitRanges and the node allow, but never below the floor.

    Args:
        pod: Whose container it is.
        member: The container.
        members: All of the pod.
        original: What the owner had set before the pod was first moved, by container; else the spec counts.
        namespace: For its share; None: not known.
        bounds: Of the namespace's LimitRanges.
        settings: Rules, baseline, quantum and minimum.
        request_policy: What happens to this pod's requests.
        node_milli: Nobody can use more.

    Returns:
        A contract with minimum <= floor <= cap, and one complaint for each annotation that cannot be read.
    """
    complaints: list[str] = []
    annotations = pod.metadata.annotations
    identity = WorkloadId(pod.metadata.namespace, pod.metadata.name, member.name)
    rule = _rule(settings.workloads, identity)
    owned = {one.name: _owned(one, original.get(one.name)) for one in members}
    owner_limit_milli, owner_request_milli = owned[member.name]

    floors = [
        settings.resize.minimum_milli,
        _cpu(annotations, names.MIN_CPU_ANNOTATION, complaints, otherwise=0.0),
        rule.floor_milli or 0.0,
        bounds.container_min_milli,
    ]
    if pod.status.qos_class == "Guaranteed":
        floors.append(min(settings.market.baseline_cpu_per_pod_milli, owner_limit_milli))
    else:
        floors.append(float(owner_request_milli))
        if request_policy is RequestPolicy.KEEP:
            floors.append(float(member.request_milli or 0))
    floor_milli = max(floors)
    moving = frozenset(one.name for one in members if one.limit_milli is not None)
    if floor_milli <= (member.request_milli or 0) and would_be_guaranteed(pod, members, moving):
        floor_milli += settings.market.quantum_milli or 1.0

    caps = [
        node_milli,
        _cpu(annotations, names.MAX_CPU_ANNOTATION, complaints, otherwise=inf),
        rule.cap_milli if rule.cap_milli is not None else inf,
        bounds.cap_milli(member.name, owned),
        _pod_limit_milli(pod),
    ]
    weight = _number(annotations, names.WEIGHT_ANNOTATION, complaints, otherwise=rule.weight)
    multiplier = _number(annotations, names.PRIORITY_MULTIPLIER_ANNOTATION, complaints, otherwise=1.0)
    group_weight = _group_weight(namespace, complaints)
    return Terms(
        Contract(
            floor_milli=floor_milli,
            cap_milli=max(floor_milli, min(caps)),
            weight=weight * multiplier,
            workload_class=rule.workload_class,
            owner_limit_milli=owner_limit_milli or None,
            group=pod.metadata.namespace if group_weight is not None else None,
            group_weight=group_weight if group_weight is not None else 1.0,
            slo_p99_s=_latency_s(annotations, complaints, otherwise=rule.slo_p99_s),
        ),
        tuple(complaints),
    )


def _latency_s(annotations: Mapping[str, str], complaints: list[str], otherwise: float | None) -> float | None:
    """The p99 latency that the pod's users expect, in seconds; None: nobody named one."""
    if names.TARGET_LATENCY_ANNOTATION not in annotations:
        return otherwise
    milliseconds = _number(annotations, names.TARGET_LATENCY_ANNOTATION, complaints, otherwise=0.0)
    return milliseconds / 1000 if milliseconds else otherwise


def _rule(rules: Iterable[WorkloadRule], identity: WorkloadId) -> WorkloadRule:
    """The first that means the container, or its pod."""
    pod = WorkloadId(identity.namespace, identity.name)
    found = (rule for rule in rules if matches(rule, identity) or matches(rule, pod))
    return next(found, WorkloadRule(match="*"))


def _owned(member: Member, original: ContainerCpu | None) -> tuple[int, int]:
    """Limit and request that the owner had set, in millicores; 0: none."""
    limit_milli, request_milli = (
        (member.limit_milli, member.request_milli)
        if original is None
        else (original.limit_milli, original.request_milli)
    )
    return limit_milli or 0, request_milli or 0


def _pod_limit_milli(pod: Pod) -> float:
    """The limit of the pod as a whole, which no container's may exceed."""
    milli = cpu_milli(pod.spec.resources, "limits") if pod.spec.resources is not None else None
    return inf if milli is None else float(milli)


def _group_weight(namespace: Namespace | None, complaints: list[str]) -> float | None:
    """The namespace's share; None: its pods bargain each for itself."""
    if namespace is None or names.WEIGHT_ANNOTATION not in namespace.metadata.annotations:
        return None
    found: list[str] = []
    weight = _number(namespace.metadata.annotations, names.WEIGHT_ANNOTATION, found, otherwise=0.0)
    complaints += (f"namespace {namespace.metadata.name}: {complaint}" for complaint in found)
    return weight or None


def _cpu(annotations: Mapping[str, str], name: str, complaints: list[str], otherwise: float) -> float:
    text = annotations.get(name)
    if text is None:
        return otherwise
    try:
        return parse_cpu_milli(text)
    except ValueError as err:
        complaints.append(f"annotation {name} is ignored: {err}")
        return otherwise


def _number(annotations: Mapping[str, str], name: str, complaints: list[str], otherwise: float) -> float:
    text = annotations.get(name)
    if text is None:
        return otherwise
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if isfinite(number) and 0 < number <= _WEIGHT_MAX:
        return number
    complaints.append(f"annotation {name} is ignored: {text!r} is not a number above 0 and up to {_WEIGHT_MAX:g}")
    return otherwise
