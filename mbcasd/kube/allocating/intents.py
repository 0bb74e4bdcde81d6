"""What a pod's PodAllocation should say: from the pod as it is, what is written already and what was decided since.

Level, not edge: the same function serves a new decision, a changed setting, an opt-out and a restart. Whoever calls
it writes only what differs.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from mbcasd.kube import bounds, names
from mbcasd.kube.objects import AllocationSpec, ContainerCpu, PodAllocation
from mbcasd.model.resizing import ResizeStatus

# The seed's 90 to 95 % of the limit.
REQUEST_RATIO = 0.9
# A request of a Burstable container stays below its limit, whatever its share: equality could change the QoS class.
REQUEST_AT_MOST_RATIO = 0.95


class Standing(Enum):
    """What becomes of a pod's PodAllocation."""

    MANAGED = "managed"
    RELEASED = "released"  # what the owner had set comes back, then the object goes
    LEFT = "left"  # it stays as it is


class RequestRule(Enum):
    """What happens to a container's request when its limit moves."""

    KEEP = "keep"
    EQUAL = "equal"  # a Guaranteed pod's
    RATIO = "ratio"
    SHARE = "share"


class Seat(NamedTuple):
    """One container of a pod as its spec has it now, in millicores."""

    name: str
    limit_milli: int
    request_milli: int | None
    is_managed: bool = True
    gives_back: bool = False  # not managed, and what was moved goes back
    request_rule: RequestRule = RequestRule.KEEP


class PodFacts(NamedTuple):
    """One pod of this node: what its PodAllocation is made from."""

    namespace: str
    name: str
    uid: str
    standing: Standing
    seats: tuple[Seat, ...]  # the containers that have a limit
    why: str = ""  # released: the reason


class Intent(NamedTuple):
    """What a PodAllocation should say, as far as writing it anew depends on it."""

    containers: tuple[ContainerCpu, ...]
    original: tuple[ContainerCpu, ...]
    recommend_only: bool
    released: bool

    @classmethod
    def written(cls, allocation: PodAllocation) -> "Intent":
        """What one says."""
        spec = allocation.spec
        return cls(spec.containers, spec.original, spec.recommend_only, spec.released)


class Circumstances(NamedTuple):
    """What the decision was made in: said along with it, never a reason to write."""

    node_name: str
    mechanism: str = ""
    mode: str = ""
    price: float | None = None  # log-welfare per millicore
    reason: str = ""
    decision_time: str = ""  # RFC 3339


def intent_of(
    facts: PodFacts,
    known: PodAllocation | None,
    wanted: Mapping[str, int],
    shares: Mapping[str, int],
    *,
    recommends: bool,
) -> Intent | None:
    """Say what a pod's PodAllocation should say; None: nothing, or what it says already is left alone.

    Args:
        facts: The pod as it is.
        known: Its PodAllocation; None: there is none.
        wanted: Limits that were decided and not written yet, by container.
        shares: Requests that the share market gives, by container.
        recommends: The limits are only published.
    """
    if facts.standing is Standing.LEFT:
        return None
    if known is not None and (facts.standing is Standing.RELEASED or _is_outdated(facts, known)):
        return Intent.written(known)._replace(released=True)
    if facts.standing is Standing.RELEASED or (known is None and not wanted and not shares):
        return None
    original = {cpu.name: cpu for cpu in known.spec.original} if known is not None else {}
    held: dict[str, ContainerCpu] = {}
    if known is not None and not known.spec.released and known.spec.recommend_only == recommends:
        held = {cpu.name: cpu for cpu in known.spec.containers}
    containers = []
    for seat in facts.seats:
        if seat.is_managed:
            first = ContainerCpu(name=seat.name, limit_milli=seat.limit_milli, request_milli=seat.request_milli)
            owner = original.setdefault(seat.name, first)
            containers.append(_asked(seat, owner, held.get(seat.name), wanted.get(seat.name), shares.get(seat.name)))
        elif seat.gives_back and seat.name in held and seat.name in original:
            owner = original[seat.name]
            if seat.limit_milli != owner.limit_milli:
                containers.append(owner)
    if not containers:
        return None
    return Intent(tuple(containers), tuple(original.values()), recommend_only=recommends, released=False)


def body_of(facts: PodFacts, intent: Intent, around: Circumstances) -> dict[str, Any]:
    """The whole object for a server-side apply."""
    price_micro = None
    if around.price is not None:
        price_micro = max(0, min(bounds.PRICE_MICRO_MAX, round(around.price * 1e6)))
    return {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "metadata": {
            "name": names.allocation_name(facts.name, facts.uid),
            "namespace": facts.namespace,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": facts.name, "uid": facts.uid}],
        },
        "spec": AllocationSpec(
            pod_name=facts.name,
            pod_uid=facts.uid,
            node_name=around.node_name,
            containers=intent.containers,
            original=intent.original,
            mechanism=around.mechanism,
            mode=around.mode,
            price_micro=price_micro,
            reason=around.reason[: bounds.REASON_CHARS],
            recommend_only=intent.recommend_only,
            released=intent.released,
            decision_time=around.decision_time,
        ),
    }


def outcome_of(allocation: PodAllocation, generation: int) -> tuple[ResizeStatus, str] | None:
    """What the controller says became of a generation; None: nothing yet.

    APPLIED also where it could go only a part of the way (a LimitRange, the request): it will not go further. That
    all is in force as asked, the cgroup says sooner.
    """
    status = allocation.status
    if (status.observed_generation or 0) < generation:
        return None
    if status.phase == "Applied":
        return ResizeStatus.APPLIED, ""
    messages = {condition.type: condition.message for condition in status.conditions}
    if status.phase == "Failed":
        detail = messages.get("Applied") or status.reason or "the controller could not apply it"
        return (ResizeStatus.INFEASIBLE if status.reason == "Infeasible" else ResizeStatus.FAILED), detail
    if any(condition.type == "ResizePending" and condition.status == "True" for condition in status.conditions):
        return ResizeStatus.DEFERRED, messages["ResizePending"] or "the kubelet has no room yet"
    return None


def _asked(
    seat: Seat, owner: ContainerCpu, held: ContainerCpu | None, wanted_milli: int | None, share_milli: int | None
) -> ContainerCpu:
    """What a managed container should have: what was decided last, else what it has."""
    limit_milli = wanted_milli
    if limit_milli is None:
        limit_milli = held.limit_milli if held is not None else seat.limit_milli
    request_milli = None
    if seat.request_rule is RequestRule.EQUAL:
        request_milli = limit_milli
    elif seat.request_rule is RequestRule.RATIO:
        request_milli = int(limit_milli * REQUEST_RATIO)
    elif seat.request_rule is RequestRule.SHARE:
        before = held.request_milli if held is not None else None
        share = share_milli if share_milli is not None else before if before is not None else seat.request_milli
        request_milli = min(share or 0, int(limit_milli * REQUEST_AT_MOST_RATIO))
    elif held is not None and held.request_milli is not None and owner.request_milli != seat.request_milli:
        request_milli = owner.request_milli  # moved under an earlier policy, and not the owner's again yet
    else:
        limit_milli = max(limit_milli, seat.request_milli or 0)
    return ContainerCpu(name=seat.name, limit_milli=limit_milli, request_milli=request_milli)


def _is_outdated(facts: PodFacts, known: PodAllocation) -> bool:
    """Whether an object under which nothing was ever moved remembers another owner's value than there is now.

    What the owner had set cannot be changed in an object, so that one has to go before the next.
    """
    if known.status.containers or not known.spec.recommend_only:
        return False
    limits = {seat.name: seat.limit_milli for seat in facts.seats}
    return any(limits.get(cpu.name, cpu.limit_milli) != cpu.limit_milli for cpu in known.spec.original)
