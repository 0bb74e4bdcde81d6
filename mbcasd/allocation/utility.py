"""How well off a clearing leaves each bid, and all of them together."""

from collections.abc import Sequence
from math import fsum, inf, log
from typing import NamedTuple

from mbcasd.model.market import Bid


class NashProduct(NamedTuple):
    """The welfare that Nash bargaining maximises, without the bids for which it says nothing."""

    log_product: float  # sum of weight * log(surplus in millicores); -inf if anyone who counts has no surplus
    least_relative_surplus: float | None  # the smallest satisfaction of those who count; None: nobody counts
    counted: int  # bids with a weight and a range


def satisfaction(milli: float, floor_milli: float, cap_milli: float) -> float:
    """Say how much of its range a bid got: 0 at the floor, 1 at the cap; 1 if there is no range.

    Below the floor (overloaded) it is 0.
    """
    if cap_milli <= floor_milli:
        return 1.0
    return min(1.0, max(0.0, (milli - floor_milli) / (cap_milli - floor_milli)))


def nash_product(bids: Sequence[Bid], amounts_milli: Sequence[float]) -> NashProduct:
    """Compute the log of the Nash product of an allocation.

    Bids without a range or without a weight are left out: nothing that a market does changes their factor. One
    who counts and got no more than its floor makes the product 0, which says little; so the smallest satisfaction
    stands beside it.

    Args:
        bids: The bids of the market.
        amounts_milli: What each got, in the same order.
    """
    counted = [
        (bid, milli)
        for bid, milli in zip(bids, amounts_milli, strict=True)
        if bid.weight > 0 and bid.cap_milli > bid.floor_milli
    ]
    least = min((satisfaction(milli, bid.floor_milli, bid.cap_milli) for bid, milli in counted), default=None)
    if any(milli <= bid.floor_milli for bid, milli in counted):
        return NashProduct(-inf, least, len(counted))
    return NashProduct(fsum(bid.weight * log(milli - bid.floor_milli) for bid, milli in counted), least, len(counted))
