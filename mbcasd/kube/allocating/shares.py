"""The slow market of requests: what the kernel weighs containers by when CPU is short.

Limits follow need and move fast; requests are shares of the node by weight and class, sum to no more than there is,
and move seldom, because each change is a signal to schedulers and people (request_policy `share`).

Source: algorithms §1.10.
"""

from collections.abc import Mapping
from math import fsum
from typing import NamedTuple

from mbcasd.allocation.market import clear
from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.market import Bid, Market, Options

# How often requests may move.
EVERY_S = 60.0

# A share that moves by less is left as it is.
DEAD_BAND_RATIO = 0.1

# Work that can wait counts little when CPU is short, however much of it there is (algorithms §5.6).
_CLASS_WEIGHTS = {WorkloadClass.LATENCY: 1.0, WorkloadClass.STANDARD: 1.0, WorkloadClass.BATCH: 0.2}


class Sharer(NamedTuple):
    """One container whose request follows its share."""

    uid: str  # of its pod
    container: str
    contract: Contract
    limit_milli: float  # in force: a request is never above it


def shares_of(
    sharers: tuple[Sharer, ...],
    before: Mapping[str, Mapping[str, int]],
    capacity_milli: float,
    quantum_milli: float,
) -> dict[str, dict[str, int]]:
    """Divide what the node has for requests.

    Args:
        sharers: All containers that take part.
        before: The shares that are in force, by UID and container.
        capacity_milli: Allocatable CPU less the requests of everybody else.
        quantum_milli: The step of a share.

    Returns:
        Requests in millicores by UID and container. The floors of contracts are kept, as each pod was admitted with
        its owner's request; a share within the dead-band of the one before stays, if all of them still fit.
    """
    if not sharers:
        return {}
    bids = tuple(
        Bid(
            name=f"{one.uid}/{one.container}",
            floor_milli=one.contract.floor_milli,
            cap_milli=max(one.contract.floor_milli, one.limit_milli),
            weight=one.contract.weight * _CLASS_WEIGHTS[one.contract.workload_class],
        )
        for one in sharers
    )
    floors_milli = fsum(bid.floor_milli for bid in bids)
    market = Market(
        capacity_milli=max(floors_milli, capacity_milli), bids=bids, options=Options(quantum_milli=quantum_milli)
    )
    fresh = [int(allocation.milli) for allocation in clear(market).allocations]
    old = [before.get(one.uid, {}).get(one.container) for one in sharers]
    kept = [
        was if was is not None and abs(now - was) < max(quantum_milli, DEAD_BAND_RATIO * was) else now
        for now, was in zip(fresh, old, strict=True)
    ]
    chosen = kept if sum(kept) <= market.capacity_milli else fresh
    shares: dict[str, dict[str, int]] = {}
    for one, milli in zip(sharers, chosen, strict=True):
        shares.setdefault(one.uid, {})[one.container] = milli
    return shares
