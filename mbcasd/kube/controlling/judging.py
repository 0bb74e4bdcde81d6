"""Whose values stand in a pod: the owner's, MBCAS's, or those of somebody who has resized it since. Pure.

A value is MBCAS's if the status says so (written once a resize is confirmed), if this leader remembers it, or, where
a leader was killed in between, if the API server's record says that a controller of MBCAS set it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mbcasd.kube.controlling.authors import NOBODY
from mbcasd.kube.controlling.pods import ContainerNow
from mbcasd.kube.controlling.verdict import Memory
from mbcasd.kube.objects import PodAllocation


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
    must_ask = False
    explained = (*allocation.status.containers, *memory.patched, *(() if giving_back else allocation.spec.containers))
    for owner in allocation.spec.original:
        now = containers.get(owner.name)
        if now is None:
            continue
        known = [owner, *(cpu for cpu in explained if cpu.name == owner.name)]
        if now.limit_milli not in {cpu.limit_milli for cpu in known}:
            if authors is None:
                must_ask = True
            elif not authors.limit_is_ours(now.name):
                strangers.append(Stranger(now.name, "limit", now.limit_milli, authors.limits.get(now.name, NOBODY)))
        if sets_request(allocation, memory, now.name) and now.request_milli not in {cpu.request_milli for cpu in known}:
            if authors is None:
                must_ask = True
            elif not authors.request_is_ours(now.name):
                strangers.append(
                    Stranger(now.name, "request", now.request_milli, authors.requests.get(now.name, NOBODY))
                )
    return Judgement(tuple(strangers), must_ask)


def sets_request(allocation: PodAllocation, memory: Memory, container: str) -> bool:
    """Whether MBCAS sets, or has set, this container's request; else it is the owner's alone, whatever it is."""
    return any(
        cpu.name == container and cpu.request_milli is not None
        for cpu in (*allocation.spec.containers, *allocation.status.containers, *memory.patched)
    )
