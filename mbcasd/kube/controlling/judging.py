"""Whose values stand in a pod: the owner's, MBCAS's, or those of somebody who has resized it since. Pure.

A value is MBCAS's if the status says so (written once a resize is confirmed), if this leader remembers it, or, where
a leader was killed in between, if the API server's record says that a controller of MBCAS set it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mbcasd.kube.controlling.authors import NOBODY
from mbcasd.kube.controlling.pods import ContainerNow
from mbcasd.kube.controlling.verdict import Memory
from mbcasd.kube.objects import ContainerCpu, PodAllocation


class Stranger(NamedTuple):
    """One value that somebody else has set."""

    container: str
    what: str  # "limit" or "request"
    milli: int | None
    author: str  # field manager

    def __str__(self) -> str:
        """A clause for people."""
        value = "away" if self.milli is None else f"to {self.milli}m"
        return f"{self.author} has set the {self.what} of {self.container} {value}"


class Judgement(NamedTuple):
    """What is known of the values in a pod."""

    strangers: tuple[Stranger, ...]
    requests: frozenset[str]  # containers whose request MBCAS sets or has set; the others' are their owners' alone
    must_ask: bool  # a value is there that nobody expects, and who set it is not known yet


def judge(
    allocation: PodAllocation,
    containers: Mapping[str, ContainerNow],
    generation: int,
    memory: Memory,
    *,
    giving_back: bool,
) -> Judgement:
    """Look for values that neither the owner's record, nor MBCAS, nor the decision explain.

    Args:
        allocation: The decision, the owner's values, and what MBCAS had set.
        containers: The pod's.
        generation: Of the pod's spec.
        memory: What this leader has set, and whom it has asked.
        giving_back: The decision's values are a wish that nobody carried out: that they stand there proves nothing.
    """
    authors = memory.authors if memory.authors is not None and memory.authors.generation == generation else None
    strangers: list[Stranger] = []
    requests: set[str] = set()
    must_ask = False
    for owner in allocation.spec.original:
        now = containers.get(owner.name)
        if now is None:
            continue
        explained = _explained(allocation, memory, owner, giving_back=giving_back)
        moves_request = any(cpu.request_milli is not None for cpu in _mentions(allocation, memory, owner.name))
        if moves_request:
            requests.add(owner.name)
        limit_is_known = now.limit_milli in {cpu.limit_milli for cpu in explained}
        request_is_known = now.request_milli in {
            cpu.request_milli for cpu in (explained if moves_request else (owner,))
        }
        if limit_is_known and request_is_known:
            continue
        if authors is None:
            must_ask = True
            continue
        if not limit_is_known and not authors.limit_is_ours(owner.name):
            strangers.append(Stranger(owner.name, "limit", now.limit_milli, authors.limits.get(owner.name, NOBODY)))
        if not request_is_known and authors.request_is_ours(owner.name):
            requests.add(owner.name)
        elif not request_is_known and moves_request:
            strangers.append(
                Stranger(owner.name, "request", now.request_milli, authors.requests.get(owner.name, NOBODY))
            )
    return Judgement(tuple(strangers), frozenset(requests), must_ask)


def _explained(
    allocation: PodAllocation, memory: Memory, owner: ContainerCpu, *, giving_back: bool
) -> tuple[ContainerCpu, ...]:
    """The values that a container may have without anybody else having set them."""
    wishes = () if giving_back else allocation.spec.containers
    ours = (cpu for cpu in (*allocation.status.containers, *memory.patched, *wishes) if cpu.name == owner.name)
    return (owner, *ours)


def _mentions(allocation: PodAllocation, memory: Memory, container: str) -> tuple[ContainerCpu, ...]:
    """All that was decided, confirmed or asked for this container."""
    everything = (*allocation.spec.containers, *allocation.status.containers, *memory.patched)
    return tuple(cpu for cpu in everything if cpu.name == container)
