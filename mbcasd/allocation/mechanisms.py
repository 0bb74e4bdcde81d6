"""The ways to share what is there: each names its rates and hands the rest to the one primitive.

A mechanism takes the terms of a market and returns an `Outcome`. It rounds nothing, proves nothing and knows no
names; `market.py` does that. Letters as in algorithms §1: d floor, m cap, w weight, u = m - d range, S surplus,
v = min(u, S) the range within reach, t the common level.

Every rule here is `rate = w**p * v**q`, two exponents:

    Nash (1, 0)    Kalai–Smorodinsky (1, 1)    alpha-fair (1/alpha, 1 - 1/alpha), raw (1/alpha, 0)
    overloaded, with the claim d in place of v: proportional (1, 1), equal awards (1, 0)
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from math import exp, fsum, inf, isfinite, log
from typing import NamedTuple

from mbcasd.allocation.clampfill import Fill, clampfill, clampfill_by_logs
from mbcasd.allocation.terms import Terms, exceed
from mbcasd.model.market import OverloadRule

# A float holds rates up to exp(709); products of rates and millicores need some room.
_LARGEST_LOG_RATE = 300.0


class Outcome(NamedTuple):
    """What a mechanism gives, in the order of the bids."""

    amounts: list[float]
    price: float | None  # welfare per extra millicore; None: no such number (nothing to share, or no welfare)
    ratio: float | None  # Kalai–Smorodinsky only
    steps: int  # breakpoints passed, or rounds of tâtonnement


class Bargain(NamedTuple):
    """One table at which parties share one total, as columns, one value per party.

    The parties are bids, or groups of bids.
    """

    total: float
    weight: Sequence[float]
    start: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    reach: Sequence[float] | None = None  # v, or the claim; None where q is 0
    p: float = 1.0
    q: float = 0.0

    def seat(self, parties: Sequence[int], total: float) -> "Bargain":
        """Put some parties at a table of their own."""
        return self._replace(
            total=total,
            weight=[self.weight[i] for i in parties],
            start=[self.start[i] for i in parties],
            low=[self.low[i] for i in parties],
            high=[self.high[i] for i in parties],
            reach=None if self.reach is None else [self.reach[i] for i in parties],
        )

    def among(self, rising: Sequence[bool], amounts: Sequence[float], *, equal: bool) -> "Bargain":
        """Let only some parties rise, by weight or as equals; all others stay at the amounts they have.

        They stay at the table: to take off what they have would round what is left.
        """
        columns = zip(rising, amounts, self.start, self.high, strict=True)
        start_and_high = [(d, h) if rises else (x, x) for rises, x, d, h in columns]
        return self._replace(
            weight=[w if rises and not equal else 1.0 for rises, w in zip(rising, self.weight, strict=True)],
            start=[d for d, _ in start_and_high],
            low=amounts,
            high=[h for _, h in start_and_high],
            reach=self.reach and [v if rises else 1.0 for rises, v in zip(rising, self.reach, strict=True)],
        )


def nash(terms: Terms) -> Outcome:
    """Weighted Nash bargaining: maximise the sum of w * log(x - d).

    Whoever is held by nothing but the price has the same weight per millicore of surplus, hence rate = w.

    Source: algorithms §1.2.
    """
    return settle(Bargain(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high))


def kalai_smorodinsky(terms: Terms, *, truncate: bool) -> Outcome:
    """Weighted Kalai–Smorodinsky: everyone gets the same share of what he could get at best.

    With bounds and weights the max-min point is not unique; this is its leximin completion. Not truncated, the
    ideal is the cap itself, whether or not that much is there: a rule of its own, proportional to ranges.

    Source: algorithms §1.3.
    """
    reach = terms.reach_milli() if truncate else [m - d for m, d in zip(terms.cap, terms.start, strict=True)]
    bargain = Bargain(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high, reach, 1.0, 1.0)
    if not any(terms.weight):
        bargain = bargain._replace(weight=[1.0] * len(terms.weight))
    fill = share(bargain)
    if fill.log_level == -inf:
        return Outcome(fill.amounts, None, None, fill.steps)
    ratio = fill.level
    if fill.log_level == inf:
        # Everyone is satisfied. The smallest ratio that does it, so that it is continuous in the capacity.
        ratio = max(
            (
                (h - d) / v / w
                for h, d, v, w in zip(terms.high, terms.start, reach, bargain.weight, strict=True)
                if w > 0 and h > d
            ),
            default=inf,
        )
    return Outcome(fill.amounts, None, ratio if isfinite(ratio) else None, fill.steps)


def alpha_fair(terms: Terms, alpha: float, *, normalised: bool) -> Outcome:
    """Alpha-fairness: maximise the sum of w * z**(1 - alpha) / (1 - alpha), z the surplus, or its share of v.

    1 is Nash bargaining; infinity is max-min, normalised that is Kalai–Smorodinsky without weights; 0 is the
    largest total satisfaction. Rates are powers of 1/alpha, so below 1e-6 they magnify the rounding of weights
    and ranges beyond the usual exactness.

    Source: algorithms §1.5.
    """
    bargain = Bargain(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high)
    reach = terms.reach_milli() if normalised else None
    if alpha == 0:
        return _utilitarian(bargain._replace(reach=reach))
    p = 1 / alpha  # 0 for infinity
    q = 1 - p if normalised else 0.0
    if q:
        bargain = bargain._replace(reach=reach)
    outcome = settle(bargain._replace(p=p, q=q), alpha)
    return outcome._replace(price=None) if alpha == inf else outcome


def overload(terms: Terms, rule: OverloadRule) -> Outcome:
    """Divide what cannot even serve the floors: a claims problem.

    It is Nash bargaining with disagreement at nothing, the floor as cap and weight * floor as weight, so it has a
    price, and it is continuous with the congested market. Equal awards protect small floors instead.

    Source: algorithms §1.4.
    """
    bargain = Bargain(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high)
    if rule is OverloadRule.PROPORTIONAL:
        bargain = bargain._replace(reach=terms.floor, q=1.0)
    if terms.scant:
        return Outcome(list(terms.low), None, None, 0)
    return settle(bargain)


def settle(bargain: Bargain, alpha: float = 1.0, rise: Callable[[Bargain], Fill] | None = None) -> Outcome:
    """Share by common level and read the price off it.

    Args:
        bargain: Who shares what.
        alpha: The price is level**-alpha.
        rise: How to find the level; None: directly.

    Returns:
        The price is 0 once everyone with a positive weight is full, None while nobody has any surplus
        (algorithms §6).
    """
    if not any(bargain.weight):
        fill = share(bargain._replace(weight=[1.0] * len(bargain.weight)), rise)
        return Outcome(fill.amounts, 0.0, None, fill.steps)
    fill = share(bargain, rise)
    return Outcome(fill.amounts, price_at(fill, alpha), None, fill.steps)


def price_at(fill: Fill, alpha: float = 1.0) -> float | None:
    """Read the price off the level: level**-alpha; None where that is no number."""
    if fill.log_level == inf:
        return 0.0
    if fill.log_level == -inf:
        return None
    if alpha == 1 and fill.level > 0:
        price = 1 / fill.level
        return price if isfinite(price) else None
    try:
        return exp(-alpha * fill.log_level)
    except OverflowError:
        return None


def share(bargain: Bargain, rise: Callable[[Bargain], Fill] | None = None) -> Fill:
    """Share the total so that all rise together; parties of weight 0 come when all others are full.

    Who has no range is left out. In the second tier all weigh the same, so nothing that anybody can use is left
    idle. The level is that of the first tier, infinite once it is full.
    """
    rise = rise or rise_together
    weight, low, high, reach = bargain.weight, bargain.low, bargain.high, bargain.reach
    if not exceed(high, bargain.total):
        return Fill(list(high), inf, inf, 0)
    if min(weight) > 0 and (reach is None or min(reach) > 0):
        return rise(bargain)

    amounts = list(low)
    level, log_level, steps = inf, inf, 0
    for equal in (False, True):
        rising = [(w == 0) is equal and h > lo for w, lo, h in zip(weight, low, high, strict=True)]
        table = bargain.among(rising, amounts, equal=equal)
        if not exceed(table.high, table.total):
            fill = Fill(list(table.high), inf, inf, 0)
        elif table.reach is not None and min(table.reach) <= 0:
            fill = Fill(amounts, 0.0, -inf, 0)  # nothing is within reach: there is no surplus
        else:
            fill = rise(table)
        amounts = fill.amounts
        steps += fill.steps
        if not equal:
            level, log_level = fill.level, fill.log_level
        if fill.log_level < inf:
            break
    return Fill(amounts, level, log_level, steps)


def rise_together(bargain: Bargain) -> Fill:
    """Turn weights and reach, all positive, into rates and raise the level."""
    total, weight, start, low, high, reach, p, q = bargain
    if p == 1 and not q:
        return clampfill(total, weight, start, low, high)
    reach = weight if reach is None else reach  # then q is 0 and it does not matter
    largest = p * max(log(max(weight)), -log(min(weight))) + abs(q) * max(log(max(reach)), -log(min(reach)))
    if largest > _LARGEST_LOG_RATE:
        logs = [p * log(w) + q * log(v) for w, v in zip(weight, reach, strict=True)]
        return clampfill_by_logs(total, logs, start, low, high)
    if p == q == 1:
        rate = [w * v for w, v in zip(weight, reach, strict=True)]
    elif q:
        rate = [w**p * v**q for w, v in zip(weight, reach, strict=True)]
    else:
        rate = [w**p for w in weight]
    return clampfill(total, rate, start, low, high)


def _utilitarian(bargain: Bargain) -> Outcome:
    """Serve those first whose millicore counts most; equals share max-min.

    The price is what a millicore is worth to the one who would get the next.
    """
    weight, reach, low, high = bargain.weight, bargain.reach, bargain.low, bargain.high
    worth = list(weight) if reach is None else [w / v if v > 0 else 0.0 for w, v in zip(weight, reach, strict=True)]
    waiting = sorted((i for i in range(len(low)) if high[i] > low[i]), key=lambda i: -worth[i])
    amounts = list(low)
    surplus = fsum((*bargain.start, -bargain.total)) < 0
    steps = 0
    for value, tied in groupby(waiting, key=worth.__getitem__):
        served = set(tied)
        table = bargain.among([i in served for i in range(len(low))], amounts, equal=True)
        fill = share(table._replace(reach=None, q=0.0))
        amounts = fill.amounts
        steps += 1
        if fill.log_level < inf:
            return Outcome(amounts, value if surplus or value == 0 else None, None, steps)
    return Outcome(amounts, 0.0, None, steps)
