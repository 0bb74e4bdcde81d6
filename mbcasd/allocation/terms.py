"""What a market allows before anything is shared: everybody's bounds, and which of them had to give way.

The statement of the problem, not its solution: solver, rounding and certificate all start from it.
"""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

from mbcasd.model.market import Market, Mode


class Terms(NamedTuple):
    """A market as columns, one value per bid, in the order of the bids.

    The letters of algorithms §1: d is `floor`, m is `cap`, w is `weight`. `start` is the disagreement point that
    counts: the floor, or the upper bound where that lies below. So `start <= low <= high <= cap`, and the lows
    fit into the capacity.
    """

    capacity_milli: float
    group: list[str | None]
    floor: list[float]
    cap: list[float]
    weight: list[float]
    start: list[float]
    low: list[float]
    high: list[float]
    mode: Mode
    starved: bool = False  # not even the floors fit: an overload rule divides, on claims instead of bids
    scant: bool = False  # and no more than the minima, scaled if they must be: the lows are the answer

    @property
    def grouped(self) -> bool:
        """Whether any bid belongs to a group; then all are cleared in two levels."""
        return self.group.count(None) < len(self.group)

    def reach_milli(self) -> list[float]:
        """Say how far above its start each could get if all others stayed at theirs: v = min(u, S)."""
        surplus_milli = max(0.0, -fsum((*self.start, -self.capacity_milli)))
        return [u if (u := m - d) < surplus_milli else surplus_milli for m, d in zip(self.cap, self.start, strict=True)]


def exceed(parts: Sequence[float], whole: float) -> bool:
    """Say whether the parts sum to more than the whole, exactly: the sign of `fsum` is never wrong."""
    return fsum((*parts, -whole)) > 0


def terms_of(market: Market) -> Terms:
    """Work out the bounds that hold in this clearing.

    A lower bound below the floor counts as the floor. An upper bound wins over everything below it, so a floor
    may be reached in steps. If the lows exceed the capacity, windows give way first, then the minimum, then the
    floors. The mode compares caps and floors with the capacity, whatever the windows.
    """
    bids = market.bids
    capacity_milli = market.capacity_milli
    group = [bid.group for bid in bids]
    floor = [bid.floor_milli for bid in bids]
    cap = [bid.cap_milli for bid in bids]
    weight = [bid.weight for bid in bids]
    upper = [bid.upper_milli for bid in bids]
    lower = [bid.lower_milli for bid in bids]

    start, high = floor, cap
    if upper.count(None) < len(bids):
        high = [m if u is None or u > m else u for m, u in zip(cap, upper, strict=True)]
        start = list(map(min, floor, high))

    if not exceed(cap, capacity_milli):
        mode = Mode.UNCONGESTED
    elif exceed(floor, capacity_milli):
        mode = Mode.OVERLOADED
    else:
        mode = Mode.CONGESTED
    starved = mode is Mode.OVERLOADED and (start is floor or exceed(start, capacity_milli))

    low = start
    if starved:
        return _claims(market, floor, cap, weight, start)
    minimum = market.options.minimum_milli
    if minimum > min(start, default=minimum):
        low = [d if d > minimum else min(minimum, h) for d, h in zip(start, high, strict=True)]
        if exceed(low, capacity_milli):
            return Terms(capacity_milli, group, floor, cap, weight, start, start, high, mode)
    if lower.count(None) < len(bids):
        raised = [d if lo is None or lo < d else min(lo, h) for d, lo, h in zip(low, lower, high, strict=True)]
        low = low if exceed(raised, capacity_milli) else raised
    return Terms(capacity_milli, group, floor, cap, weight, start, low, high, mode)


def _claims(market: Market, floor: list[float], cap: list[float], weight: list[float], start: list[float]) -> Terms:
    """State an overloaded market: nobody gets more than his floor, all rise from nothing.

    It is a claims problem (algorithms §1.4), and it is continuous with the congested market where the floors
    just fit. If not even the minima fit they are scaled, so that they sum to the capacity.
    """
    capacity_milli = market.capacity_milli
    low, high = [min(market.options.minimum_milli, d) for d in start], start
    scant = fsum((*low, -capacity_milli)) >= 0
    if exceed(low, capacity_milli):
        share = capacity_milli / fsum(low)
        low = [milli * share for milli in low]
    if scant:
        high = low
    group = [bid.group for bid in market.bids]
    nothing = [0.0] * len(start)
    return Terms(
        capacity_milli, group, floor, cap, weight, nothing, low, high, Mode.OVERLOADED, starved=True, scant=scant
    )
