"""The same market cleared by a price alone: tâtonnement on the logarithm of the price.

A seller names a price, everyone answers with what he would take, the price moves. Nobody but the parties knows
weights and caps, so this is how prices that couple several nodes are found. On one node it must, and does, agree
with the direct solution.

Moving the logarithm by the relative excess is global, monotone and never overshoots: a price that is raised by a
factor lowers demand by at most that factor (algorithms §1.6 has the proof). Moving the price itself by the excess
takes up to thousands of rounds.
"""

from math import exp, fsum, inf, log

from mbcasd.allocation.clampfill import Fill
from mbcasd.allocation.mechanisms import Bargain, Outcome, rise_together, settle
from mbcasd.allocation.terms import Terms

# A market whose weights differ by more has prices that no float can step between.
_WIDEST_WEIGHTS = 1e100
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
        bargain: Positive weights, highs that sum to more than the total.
    """
    total, weight, start, low = bargain[:4]
    supply = -fsum((*start, -total))
    if supply <= 0:
        return Fill(list(low), 0.0, -inf, 0)
    if max(weight) > _WIDEST_WEIGHTS * min(weight):
        return rise_together(bargain)

    log_price = log(fsum(weight)) - log(supply)
    level, amounts = exp(-log_price), _answer(bargain, exp(-log_price))
    excess = fsum((*amounts, -total))
    rounds = 1
    while abs(excess) > _CLEARED * max(total, supply) and rounds < _MOST_ROUNDS:
        step_level = exp(-next_log_price(-log(level), supply + excess, supply))
        # In exact numbers each step brings demand closer; where rounding stops that, the price is found.
        best = (abs(excess), level, amounts)
        for candidate in (step_level, _leap(bargain, level)):
            answer = _answer(bargain, candidate)
            rounds += 1
            best = min(best, (abs(fsum((*answer, -total))), candidate, answer))
        if best[1] == level:
            break
        level, amounts = best[1:]
        excess = fsum((*amounts, -total))
    return Fill(amounts, level, log(level), rounds)


def _answer(bargain: Bargain, level: float) -> list[float]:
    """What everyone takes at a price of 1/level: where his weight per millicore of surplus equals it."""
    _, weight, start, low, high, *_ = bargain
    return [min(max(d + w * level, low_), h) for w, d, low_, h in zip(weight, start, low, high, strict=True)]


def _leap(bargain: Bargain, level: float) -> float:
    """The level that would clear if those who are inside their bounds stayed inside, and only those moved."""
    total, weight, start, low, high = bargain[:5]
    held, pace = [], []
    for w, d, low_, h in zip(weight, start, low, high, strict=True):
        inside = low_ <= d + w * level < h
        held.append(d if inside else low_ if d + w * level < low_ else h)
        pace.append(w if inside else 0.0)
    slope = fsum(pace)
    leap = -fsum((*held, -total)) / slope if slope > 0 else level
    return leap if leap > 0 else level
