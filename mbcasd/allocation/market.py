"""One market in, one clearing out: regime, mechanism, groups, rounding, proof."""

from collections.abc import Sequence
from itertools import repeat
from math import fsum, isfinite

from mbcasd.allocation.certificate import certify
from mbcasd.allocation.groups import GroupOutcome, nested, parties_of
from mbcasd.allocation.mechanisms import Outcome, alpha_fair, kalai_smorodinsky, nash, overload
from mbcasd.allocation.primal_dual import primal_dual, tatonnement
from mbcasd.allocation.rounding import to_quantum
from mbcasd.allocation.terms import Terms, terms_of
from mbcasd.errors import BadProblem
from mbcasd.model.market import Allocation, Binding, Clearing, GroupClearing, Market, Mechanism, check_bid

# An amount this close to a bound, relative, is held by it: what is left is rounding.
_AT_BOUND = 1e-12
# Sums and products of numbers beyond this leave the range of a float, and no machine has so many CPUs.
LARGEST = 1e100
# Beyond this many steps a float no longer counts every one.
_MOST_STEPS = 2**53


def check(market: Market, where: str = "") -> None:
    """Refuse a market that cannot be cleared as it was stated.

    Args:
        market: Any values of the right types.
        where: What stands before the path of a field, such as "problems[3].".

    Raises:
        BadProblem: With the path of the field, its value and what is wrong.
    """
    _check_number(f"{where}capacity_milli", market.capacity_milli)
    if not market.bids:
        raise BadProblem(f"{where}agents: there must be at least one")
    seen: dict[str, int] = {}
    for i, bid in enumerate(market.bids):
        path = f"{where}agents[{i}] ({bid.name})"
        check_bid(bid, path)
        for name in ("floor_milli", "cap_milli", "weight", "lower_milli", "upper_milli"):
            value = getattr(bid, name)
            if value is not None:
                _check_number(f"{path}: {name}", value)
        if bid.name in seen:
            raise BadProblem(f"{path}: name is already that of agents[{seen[bid.name]}]; names must be unique")
        seen[bid.name] = i
    for name, weight in market.group_weights.items():
        _check_number(f"{where}groups.{name}.weight", weight)
    options = market.options
    _check_number(f"{where}options.minimum_milli", options.minimum_milli)
    _check_number(f"{where}options.quantum_milli", options.quantum_milli)
    largest_milli = max(market.capacity_milli, *(bid.cap_milli for bid in market.bids))
    if 0 < options.quantum_milli < largest_milli / _MOST_STEPS:
        raise BadProblem(
            f"{where}options.quantum_milli {options.quantum_milli:g} is too fine for {largest_milli:g} millicores"
        )
    if not options.alpha >= 0:
        raise BadProblem(f'{where}options.alpha {options.alpha:g} must be a number of at least 0, or "inf"')


def _check_number(path: str, value: float) -> None:
    if not (isfinite(value) and value >= 0):
        raise BadProblem(f"{path} {value:g} must be a finite number and at least 0")
    if value > LARGEST:
        raise BadProblem(f"{path} {value:g} is more than any machine has; write at most {LARGEST:g}")


def clear(market: Market) -> Clearing:
    """Clear one market.

    Args:
        market: One that `check` accepts, or without any bids (then nothing is given, at a price of 0).

    Returns:
        Allocations in the order of the bids, with the regime, the price by the conventions of algorithms §6,
        what holds each bid, and the proof. With a quantum, bindings, price and ratio are those of the exact
        solution that was rounded.
    """
    terms = terms_of(market)
    outcome, groups = _solve(market, terms)
    amounts = outcome.amounts
    bindings = _bindings(market, terms, amounts)
    quantum_milli = market.options.quantum_milli
    if quantum_milli > 0:
        amounts = to_quantum(amounts, terms.low, terms.high, market.capacity_milli, quantum_milli)
    cleared_groups = tuple(
        GroupClearing(name=name, milli=fsum(amounts[i] for i in members), price=price)
        for name, members, price in groups
    )
    names = [bid.name for bid in market.bids]
    return Clearing(
        mechanism=_mechanism_in_force(market, terms),
        mode=terms.mode,
        capacity_milli=float(market.capacity_milli),
        allocated_milli=fsum(amounts),
        price=outcome.price,
        ratio=outcome.ratio,
        # Straight to the tuple: its own constructor, called by name, takes three times as long.
        allocations=tuple(map(tuple.__new__, repeat(Allocation), zip(names, amounts, bindings, strict=True))),
        groups=cleared_groups,
        certificate=certify(market, terms, amounts, outcome.price, outcome.ratio, cleared_groups),
        steps=outcome.steps,
    )


def _mechanism_in_force(market: Market, terms: Terms) -> Mechanism:
    """Groups are always cleared by nested Nash bargaining, directly or by price."""
    return Mechanism.NASH if terms.grouped and market.mechanism is not Mechanism.PRIMAL_DUAL else market.mechanism


def _solve(market: Market, terms: Terms) -> tuple[Outcome, Sequence[GroupOutcome]]:
    if not market.bids:
        return Outcome([], 0.0, None, 0), ()
    if terms.grouped:
        rise = tatonnement if market.mechanism is Mechanism.PRIMAL_DUAL else None
        parties = parties_of(terms.group, terms.weight, market.group_weights)
        if terms.scant:
            groups = [GroupOutcome(party.name, party.members, None) for party in parties if party.name is not None]
            return Outcome(terms.low, None, None, 0), groups
        return nested(terms, parties, market.options.overload_rule, rise)
    if terms.starved:
        return overload(terms, market.options.overload_rule), ()
    return _by_mechanism(market, terms), ()


def _by_mechanism(market: Market, terms: Terms) -> Outcome:
    options = market.options
    match market.mechanism:
        case Mechanism.NASH:
            return nash(terms)
        case Mechanism.PRIMAL_DUAL:
            return primal_dual(terms)
        case Mechanism.KALAI_SMORODINSKY:
            return kalai_smorodinsky(terms, truncate=options.truncate_ideal)
        case Mechanism.ALPHA_FAIR:
            return alpha_fair(terms, options.alpha, normalised=options.normalised)


def _bindings(market: Market, terms: Terms, amounts: Sequence[float]) -> list[Binding]:
    """Name what holds each bid; for one that is at both its bounds, the upper one: that is why it has no more."""
    floor, cap, start, low, high = terms.floor, terms.cap, terms.start, terms.low, terms.high
    # Where floors cannot be met, the floor is the most that anybody gets.
    at_high, at_low = (Binding.FLOOR, Binding.MINIMUM) if terms.starved else (Binding.CAP, Binding.FLOOR)
    interior, least, most = Binding.INTERIOR, 1 + _AT_BOUND, 1 - _AT_BOUND
    held = [
        at_high if x >= h * most else at_low if x <= lo * least else interior
        for x, lo, h in zip(amounts, low, high, strict=True)
    ]
    natural = floor if terms.starved else cap
    if terms.scant:
        return [Binding.FLOOR if x >= d else Binding.MINIMUM for x, d in zip(amounts, floor, strict=True)]
    if high is not natural:
        for i, binding in enumerate(held):
            if binding is at_high and high[i] < natural[i]:
                held[i] = Binding.UPPER
    if low is not start and not terms.starved:
        for i, binding in enumerate(held):
            if binding is Binding.FLOOR and low[i] > start[i]:
                lower = market.bids[i].lower_milli
                held[i] = Binding.MINIMUM if lower is None or lower < low[i] else Binding.LOWER
    return held
