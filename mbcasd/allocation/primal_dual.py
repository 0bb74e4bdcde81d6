"""The same market cleared by a price alone: tâtonnement on the logarithm of the price.

A seller names a price, everyone answers with what he would take, the price moves. Nobody but the parties knows
weights and caps, so this is how prices that couple several nodes are found. On one node it must, and does, agree
with the direct solution.

Moving the logarithm by the relative excess is global, monotone and never overshoots: a price that is raised by a
factor lowers demand by at most that factor (algorithms §1.6 has the proof). Moving the price itself by the excess
takes up to thousands of rounds.
"""

from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from mbcasd.allocation.clampfill import Fill
from mbcasd.allocation.mechanisms import Bargain, Outcome, rise_together, settle
from mbcasd.allocation.terms import Terms, exceed

# Weights and amounts beyond this, or as small, make prices that no float can step between.
_LARGEST = 1e100
# Demand meets supply to this, relative; sums of a thousand floats are off by less.
_CLEARED = 1e-14
# 500 random markets needed at most 324 rounds of the plain rule (algorithms §1.6); leaping needs about five.
_MOST_ROUNDS = 10_000


def primal_dual(terms: Terms) -> Outcome:
    """Clear by tâtonnement; `steps` counts its rounds. Agrees with `mechanisms.nash`."""
    bargain = Bargain(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high)
    return settle(bargain, rise=tatonnement)


def next_log_price(log_price: float, demand: float, supply: float, gain: float = 1.0) -> float:
    """Move the price against the excess: up while more is demanded than there is, down while less.

    Args:
        log_price: The price that was named.
        demand: What was demanded at it above all starts; positive.
        supply: What there is above all starts; positive.
        gain: At most 1 is monotone; it stays stable up to 2 / (share of the supply that goes to interior parties).
    """
    return log_price + gain * (demand - supply) / max(demand, supply)


def tatonnement(bargain: Bargain) -> Fill:
    """Name prices until demand meets supply.

    After each answer the seller also knows the price that would clear if nobody changed sides, and names that one
    if it brings demand closer. So the last rounds are exact instead of ever smaller.

    Args:
        bargain: Positive weights, highs that sum to more than the total. Where it has claims, whoever claims more
            weighs more in proportion.
    """
    weight = bargain.weight
    if bargain.q:
        weight = [w * v for w, v in zip(weight, bargain.reach or (), strict=True)]
    supply = -fsum((*bargain.start, -bargain.total))
    ordinary = all(1 / _LARGEST < value < _LARGEST for value in (min(weight), max(weight), supply))
    if ordinary and exceed((bargain.total,), fsum(bargain.low)):
        columns = zip(bargain.start, bargain.low, bargain.high, weight, strict=True)
        level, rounds = _find_level(supply, [_Buyer(w, lo - d, h - d) for d, lo, h, w in columns])
        amounts = [
            min(max(d + w * level, lo), h)
            for w, d, lo, h in zip(weight, bargain.start, bargain.low, bargain.high, strict=True)
        ]
        return Fill(amounts, level, log(level), rounds)
    # Nothing above the lows, so there is no price to look for; or it lies where no float can step.
    return rise_together(bargain)


class _Buyer(NamedTuple):
    """One party, in surplus: what it takes at a price is weight/price, within bounds."""

    weight: float
    least: float
    most: float

    def wants(self, level: float) -> float:
        """What it takes at a price of 1/level."""
        return min(max(self.weight * level, self.least), self.most)


def _find_level(supply: float, buyers: Sequence[_Buyer]) -> tuple[float, int]:
    """Name prices until demand meets supply; return 1/price and the number of answers that were heard."""
    level = supply / fsum(buyer.weight for buyer in buyers)
    excess = _excess(buyers, level, supply)
    rounds = 1
    while abs(excess) > _CLEARED * supply and rounds < _MOST_ROUNDS:
        step = exp(-next_log_price(-log(level), supply + excess, supply))
        offers = [(_excess(buyers, named, supply), named) for named in (step, _leap(buyers, level, supply))]
        rounds += len(offers)
        # Of two that are equally close the leap is named: on a plateau it goes further.
        closest, next_level = min(reversed(offers), key=lambda offer: abs(offer[0]))
        # In exact numbers every step brings demand closer, or leaves it where all are at bounds.
        if abs(closest) > abs(excess) or next_level == level:
            break
        excess, level = closest, next_level
    # Not everybody can be full, by however little; so the level is not above the last one at which somebody fills.
    return min(level, max(buyer.most / buyer.weight for buyer in buyers if buyer.most > buyer.least)), rounds


def _excess(buyers: Sequence[_Buyer], level: float, supply: float) -> float:
    return fsum((*(buyer.wants(level) for buyer in buyers), -supply))


def _leap(buyers: Sequence[_Buyer], level: float, supply: float) -> float:
    """The level that would clear if those who are inside their bounds stayed inside, and only those moved.

    Where nobody is inside, the level at which the next one would be.
    """
    inside = [buyer.weight for buyer in buyers if buyer.least <= buyer.weight * level < buyer.most]
    held = [buyer.wants(level) for buyer in buyers if not buyer.least <= buyer.weight * level < buyer.most]
    rest = -fsum((*held, -supply))
    if inside:
        leap = rest / fsum(inside)
    elif rest > 0:
        leap = min(
            (buyer.least / buyer.weight for buyer in buyers if buyer.weight * level < buyer.least), default=level
        )
    else:
        leap = max((buyer.most / buyer.weight for buyer in buyers if buyer.weight * level >= buyer.most), default=level)
    return leap if leap > 0 else level
