"""What one clearing gave one workload, why, and what would give it more; from a receipt, by clearing again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mbcasd.allocation.market import clear
from mbcasd.errors import BadProblem
from mbcasd.model.decision import Receipt
from mbcasd.model.market import Bid, Binding, Clearing, Market, Mechanism

# Less than this is not worth advice: limits move in steps of 10m.
_WORTHWHILE_MILLI = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One workload's part in one clearing."""

    receipt_id: str
    holds: bool
    problems: tuple[str, ...]  # why the receipt does not hold
    decided_wall_s: float
    trigger: str
    mechanism: str
    mode: str
    price: float | None  # of its group, where it has one
    ratio: float | None
    workloads: int
    wanted_milli: float  # sum of what all asked for
    capacity_milli: float
    quantum_milli: float
    floor_milli: float
    asked_milli: float  # cap of the bid: the need within the contract
    weight: float
    lower_milli: float | None
    upper_milli: float | None
    group: str | None
    given_milli: float
    binding: str
    priced_milli: float | None  # floor + weight / price, before bounds and rounding; None: no such price


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Something that would give the workload more."""

    action: str
    gives_milli: float


def share_of(receipt: Receipt, name: str, decided_wall_s: float, problems: tuple[str, ...]) -> Share | None:
    """Find a workload's part; None where it made no bid.

    Args:
        receipt: Of the clearing.
        name: Of the bid.
        decided_wall_s: When it was decided.
        problems: What `receipts.verify` found.
    """
    market, clearing = receipt.market, receipt.clearing
    place = _place(market, name)
    if place is None:
        return None
    bid, allocation = market.bids[place], clearing.allocations[place]
    price = _price(clearing, bid)
    nash = clearing.mechanism in {Mechanism.NASH, Mechanism.PRIMAL_DUAL} and clearing.mode.value != "overloaded"
    return Share(
        receipt_id=receipt.receipt_id,
        holds=not problems,
        problems=problems,
        decided_wall_s=decided_wall_s,
        trigger=receipt.trigger,
        mechanism=clearing.mechanism.value,
        mode=clearing.mode.value,
        price=price,
        ratio=clearing.ratio,
        workloads=len(market.bids),
        wanted_milli=sum(each.cap_milli for each in market.bids),
        capacity_milli=clearing.capacity_milli,
        quantum_milli=market.options.quantum_milli,
        floor_milli=bid.floor_milli,
        asked_milli=bid.cap_milli,
        weight=bid.weight,
        lower_milli=bid.lower_milli,
        upper_milli=bid.upper_milli,
        group=bid.group,
        given_milli=allocation.milli,
        binding=allocation.binding.value,
        priced_milli=bid.floor_milli + bid.weight / price if nash and price else None,
    )


def remedies(market: Market, name: str, need_milli: float, cap_milli: float) -> tuple[Remedy, ...]:
    """What would give a workload more, each tried by clearing the same market with that one change.

    Args:
        market: Of the last clearing.
        name: Of the bid.
        need_milli: What it would use.
        cap_milli: The most that its contract allows.
    """
    place = _place(market, name)
    if place is None:
        return ()
    now_milli = clear(market).allocations[place].milli
    found = []
    for action, changed in _changes(market, place, need_milli, cap_milli):
        try:
            gives_milli = clear(changed).allocations[place].milli
        except BadProblem:
            continue
        if gives_milli >= now_milli + _WORTHWHILE_MILLI:
            found.append(Remedy(action=action, gives_milli=gives_milli))
    return tuple(found)


def _changes(market: Market, place: int, need_milli: float, cap_milli: float) -> Iterator[tuple[str, Market]]:
    bid = market.bids[place]
    if need_milli > cap_milli >= bid.cap_milli:
        yield f"raise its cap to {need_milli:.0f}m", _with(market, place, replace(bid, cap_milli=need_milli))
    heavier = bid.weight + 1 if bid.weight == int(bid.weight) else bid.weight * 2
    yield (
        f"raise its weight from {bid.weight:g} to {heavier:g}",
        _with(market, place, replace(bid, weight=heavier)),
    )
    clearing = clear(market)
    others = [
        (allocation.milli - other.floor_milli, other_place)
        for other_place, (other, allocation) in enumerate(zip(market.bids, clearing.allocations, strict=True))
        if other_place != place and allocation.binding is not Binding.FLOOR
    ]
    if others:
        surplus_milli, other_place = max(others)
        other = market.bids[other_place]
        lowered_milli = other.floor_milli + round(surplus_milli / 20) * 10
        capped = replace(other, cap_milli=lowered_milli, lower_milli=None, upper_milli=None)
        yield f"cap {other.name} at {lowered_milli:.0f}m", _with(market, other_place, capped)


def _with(market: Market, place: int, bid: Bid) -> Market:
    return replace(market, bids=(*market.bids[:place], bid, *market.bids[place + 1 :]))


def _place(market: Market, name: str) -> int | None:
    return next((place for place, bid in enumerate(market.bids) if bid.name == name), None)


def _price(clearing: Clearing, bid: Bid) -> float | None:
    if bid.group is not None:
        return next((group.price for group in clearing.groups if group.name == bid.group), None)
    return clearing.price
