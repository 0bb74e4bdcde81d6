"""Nested bargaining: groups share the node by group weight, members share what their group got.

So a namespace that splits one pod into five gains nothing: its weight was set by the operator, and pod weights
count only inside it. A bid without a group sits at the first table by itself, with its own weight.

Source: algorithms §1.8.
"""

from collections.abc import Callable, Mapping, Sequence
from math import fsum, inf, nextafter
from typing import NamedTuple

from mbcasd.allocation.clampfill import Fill
from mbcasd.allocation.mechanisms import Bargain, Outcome, settle
from mbcasd.allocation.terms import Terms, exceed
from mbcasd.model.market import OverloadRule


class Party(NamedTuple):
    """Who sits at the first table: a group with its members, or one bid."""

    name: str | None  # None: a bid without a group
    weight: float
    members: list[int]


class GroupOutcome(NamedTuple):
    """What one named group got, and the price inside it."""

    name: str
    members: list[int]
    price: float | None


def parties_of(
    names: Sequence[str | None], weights: Sequence[float], group_weights: Mapping[str, float]
) -> list[Party]:
    """Seat everybody at the first table, in order of first appearance. A group that is not named weighs 1."""
    parties: list[Party] = []
    seats: dict[str, Party] = {}
    for i, name in enumerate(names):
        if name is None:
            parties.append(Party(None, weights[i], [i]))
        elif name in seats:
            seats[name].members.append(i)
        else:
            seats[name] = Party(name, group_weights.get(name, 1.0), [i])
            parties.append(seats[name])
    return parties


def nested(
    terms: Terms,
    parties: Sequence[Party],
    rule: OverloadRule,
    rise: Callable[[Bargain], Fill] | None = None,
) -> tuple[Outcome, list[GroupOutcome]]:
    """Clear in two levels.

    Where not even the floors fit, both levels use the overload rule: a group's claim is the sum of its members'.

    Args:
        terms: The whole market.
        parties: From `parties_of`.
        rule: What to do with claims that exceed the capacity.
        rise: How to find the level; None: directly.

    Returns:
        The outcome of the whole, with the price of the first table, and that of each named group.
    """
    # Surplus is shared, not CPU: next to large floors the difference of two sums would lose its digits.
    surplus_milli = -fsum((*terms.start, -terms.capacity_milli))
    everyone = Bargain(
        surplus_milli,
        terms.weight,
        [0.0] * len(terms.start),
        [lo - d for lo, d in zip(terms.low, terms.start, strict=True)],
        [h - d for h, d in zip(terms.high, terms.start, strict=True)],
    )
    if terms.starved and rule is OverloadRule.PROPORTIONAL:
        everyone = everyone._replace(reach=terms.floor, q=1.0)

    def summed(column: Sequence[float]) -> list[float]:
        return [fsum(column[i] for i in party.members) for party in parties]

    first = everyone._replace(
        weight=[party.weight for party in parties],
        start=[0.0] * len(parties),
        low=summed(everyone.low),
        high=summed(everyone.high),
        reach=None if everyone.reach is None else summed(everyone.reach),
    )
    # Sums of sums are rounded twice, but whether everybody can be full is known exactly.
    if not exceed(terms.high, terms.capacity_milli):
        first = first._replace(total=inf)
    elif not exceed(first.high, surplus_milli):
        first = first._replace(total=nextafter(fsum(first.high), -inf))
    between = settle(first, rise=rise)
    surplus = list(everyone.low)
    steps = between.steps
    groups = []
    for party, share_milli, low, high in zip(parties, between.amounts, first.low, first.high, strict=True):
        if party.name is None:
            surplus[party.members[0]] = share_milli
            continue
        # Sums are rounded, but a group that stands at a bound stands there exactly.
        total = inf if share_milli >= high else -inf if share_milli <= low else share_milli
        inside = settle(everyone.seat(party.members, total), rise=rise)
        for i, milli in zip(party.members, inside.amounts, strict=True):
            surplus[i] = milli
        steps += inside.steps
        groups.append(GroupOutcome(party.name, party.members, inside.price))
    amounts = [min(max(d + s, lo), h) for d, s, lo, h in zip(terms.start, surplus, terms.low, terms.high, strict=True)]
    return Outcome(amounts, between.price, None, steps), groups
