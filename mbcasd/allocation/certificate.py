"""Proof that a clearing is right, by code that knows nothing of how it was found.

A solver can be wrong in clever ways; its answer can be checked in stupid ones. At the optimum one number explains
everybody: put the reported price (or ratio) into each bid's first-order condition, clamp what follows to the bid's
bounds, and the allocation must come out, bid by bid, and sum to what there is. Where no price exists (max-min,
bids of weight 0) some common level must explain all who share.

The conditions, with surplus s = x - d:

    Nash              w / s = price, at least that at the upper bound, at most at the lower
    alpha-fair        w * v**(alpha - 1) / s**alpha = price, likewise
    Kalai–Smorodinsky s = w * v * ratio, within bounds
    overloaded        Nash with d = 0 and weight w * floor (or w, for equal awards)
    groups            Nash between the sums of the groups, and again inside each

Neither the primitive nor the mechanisms are imported; only the statement of the problem (`terms.py`) is shared.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import fsum, inf

from mbcasd.allocation.conditions import (
    TOLERANCE,
    Table,
    residuals_of_price,
    residuals_of_ratio,
    residuals_of_scarcity,
    residuals_of_totals,
)
from mbcasd.allocation.terms import Terms, exceed, terms_of
from mbcasd.model.market import Certificate, Clearing, GroupClearing, Market, Mechanism, OverloadRule


def check(market: Market, clearing: Clearing) -> Certificate:
    """Check a clearing against its market, as a stranger would who has nothing but the two.

    Everything is checked that is a number: names and their order, the mode, the sums that are claimed, the
    groups' shares, and all that `certify` checks. The certificate inside the clearing is not believed.
    """
    amounts = [allocation.milli for allocation in clearing.allocations]
    if [allocation.name for allocation in clearing.allocations] != [bid.name for bid in market.bids]:
        return Certificate(kind="feasible", holds=False, max_residual=inf)
    terms = terms_of(market)
    proof = certify(market, terms, amounts, clearing.price, clearing.ratio, clearing.groups)
    if proof.max_residual == inf:
        return proof
    shares: dict[str | None, list[float]] = {}
    for bid, milli in zip(market.bids, amounts, strict=True):
        shares.setdefault(bid.group, []).append(milli)
    claims = [
        (clearing.capacity_milli, market.capacity_milli),
        (clearing.allocated_milli, fsum(amounts)),
        *((group.milli, fsum(shares.get(group.name, ()))) for group in clearing.groups),
    ]
    worst = _worst([proof.max_residual, *(abs(said - true) / max(1.0, true) for said, true in claims)])
    holds = worst <= TOLERANCE and clearing.mode is terms.mode
    return Certificate(kind=proof.kind, holds=holds, max_residual=worst)


def certify(
    market: Market,
    terms: Terms,
    amounts: Sequence[float],
    price: float | None,
    ratio: float | None,
    groups: Sequence[GroupClearing] = (),
) -> Certificate:
    """Check that an allocation is optimal, and the price or ratio that goes with it.

    Args:
        market: What was to be divided.
        terms: Its bounds, from `terms_of`.
        amounts: What each bid got, in the order of the bids.
        price: What is claimed to be the price.
        ratio: What is claimed to be the common ratio.
        groups: With groups: what is claimed to be the price inside each.
    """
    quantum_milli = market.options.quantum_milli
    table = Table(
        total=market.capacity_milli,
        amounts=amounts,
        weight=terms.weight,
        start=terms.start,
        low=terms.low,
        high=terms.high,
        reach=None,
        p=1.0,
        q=0.0,
        slack=[quantum_milli] * len(amounts),
    )
    if terms.starved and market.options.overload_rule is OverloadRule.PROPORTIONAL:
        table = table._replace(reach=terms.floor, q=1.0)

    kind = "kkt"
    residuals: Iterator[float]
    if terms.scant:
        residuals = residuals_of_scarcity(table, [price, ratio, *(group.price for group in groups)])
    elif terms.grouped:
        residuals = _nested(market, terms, table, price, groups)
    elif terms.starved or market.mechanism in {Mechanism.NASH, Mechanism.PRIMAL_DUAL}:
        residuals = residuals_of_price(table, price)
    elif market.mechanism is Mechanism.KALAI_SMORODINSKY:
        kind = "ratio"
        ideal_milli = _surplus_milli(table) if market.options.truncate_ideal else inf
        residuals = residuals_of_ratio(table._replace(reach=_reach(terms, ideal_milli), q=1.0), ratio, price)
    else:
        residuals = _alpha_fair(market, terms, table, price)
    worst = _worst(residuals)
    if price is None and ratio is None and not exceed((market.capacity_milli,), fsum(terms.low)):
        kind = "feasible"
    return Certificate(kind=kind, holds=worst <= TOLERANCE, max_residual=worst)


def _alpha_fair(market: Market, terms: Terms, table: Table, price: float | None) -> Iterator[float]:
    alpha = market.options.alpha
    if market.options.normalised:
        table = table._replace(reach=_reach(terms, _surplus_milli(table)))
    if alpha == 0:
        return residuals_of_totals(table, price)
    q = 1 - 1 / alpha if market.options.normalised else 0.0
    return residuals_of_price(table._replace(p=1 / alpha, q=q), price, alpha)


def _nested(
    market: Market, terms: Terms, whole: Table, price: float | None, groups: Sequence[GroupClearing]
) -> Iterator[float]:
    """Check the first table, with the sums of the groups as parties, then each group's own."""
    seats: dict[int | str, list[int]] = {}
    for i, name in enumerate(terms.group):
        seats.setdefault(i if name is None else name, []).append(i)

    first = whole.map_columns(lambda column: [fsum(column[i] for i in party) for party in seats.values()])
    first = first._replace(
        weight=[whole.weight[key] if isinstance(key, int) else market.group_weights.get(key, 1.0) for key in seats],
        # Sums of sums are rounded twice.
        leeway=TOLERANCE * max(1.0, whole.total),
    )
    yield from residuals_of_price(first, price)
    prices = {group.name: group.price for group in groups}
    for key, party in seats.items():
        if isinstance(key, str):
            inside = whole.seat(party)
            share_milli = fsum(inside.amounts)
            leeway = TOLERANCE * max(1.0, share_milli) + fsum(inside.slack)
            if key not in prices:
                yield inf
            else:
                yield from residuals_of_price(inside._replace(total=share_milli, leeway=leeway), prices[key])


def _surplus_milli(table: Table) -> float:
    return max(0.0, -fsum((*table.start, -table.total)))


def _reach(terms: Terms, most_milli: float) -> list[float]:
    """How far above its start each could get: its range, or what there is to share."""
    return [min(m - d, most_milli) for m, d in zip(terms.cap, terms.start, strict=True)]


def _worst(residuals: Iterable[float]) -> float:
    """The largest; anything that is no number counts as infinite."""
    return max((r if r >= 0 else inf for r in residuals), default=0.0)
