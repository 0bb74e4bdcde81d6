"""The solver against exact rationals that were computed in another way (`tests/oracle.py`)."""

from fractions import Fraction
from math import inf, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import markets
from oracle import solve

from mbcasd.allocation.market import clear
from mbcasd.model.market import Clearing, Market, Mechanism, Mode

# Prices beyond are no floats.
LARGEST = Fraction(10**300)


def agree(market: Market) -> Clearing:
    clearing, answer = clear(market), solve(market)
    assert clearing.mode is answer.mode
    for got, expected in zip(clearing.allocations, answer.amounts, strict=True):
        assert got.milli == pytest.approx(float(expected), rel=1e-9, abs=1e-9)
    # Never more than there is; what is added up exactly is off by the rounding of each amount.
    given_milli = sum(Fraction(got.milli) for got in clearing.allocations)
    assert given_milli <= Fraction(market.capacity_milli) * (1 + Fraction(1, 10**14)) + Fraction(1, 10**300)
    return clearing


def prices_agree(got: float | None, exact: Fraction | None) -> None:
    if exact is None:
        assert got is None
    elif exact > LARGEST:
        assert got is None or got > LARGEST
    else:
        assert got == pytest.approx(float(exact), rel=1e-9, abs=0)


@settings(max_examples=300)
@given(markets(mechanisms=(Mechanism.NASH,)))
def test_nash_with_windows_and_overload_is_exact_with_its_price(market):
    clearing = agree(market)

    prices_agree(clearing.price, solve(market).price)


@settings(max_examples=200)
@given(markets(mechanisms=(Mechanism.PRIMAL_DUAL,), wild=False))
def test_prices_found_by_tatonnement_are_exact(market):
    clearing = agree(market)

    prices_agree(clearing.price, solve(market).price)


@settings(max_examples=300)
@given(markets(mechanisms=(Mechanism.KALAI_SMORODINSKY,)))
def test_kalai_smorodinsky_is_exact_with_its_ratio(market):
    clearing, answer = agree(market), solve(market)

    if clearing.ratio is not None and answer.level:
        assert clearing.ratio == pytest.approx(float(answer.level), rel=1e-9)


@settings(max_examples=300)
@given(markets(mechanisms=(Mechanism.ALPHA_FAIR,)))
def test_alpha_fairness_is_exact_with_its_price(market):
    clearing, answer = agree(market), solve(market)

    alpha = market.options.alpha
    if alpha == inf and clearing.mode is not Mode.OVERLOADED:
        assert clearing.price is None
    elif alpha != inf and clearing.mode is Mode.CONGESTED and answer.level and answer.price:
        log_price = -alpha * (log(answer.level.numerator) - log(answer.level.denominator))
        if abs(log_price) < 690:  # beyond, no float holds it
            assert log(clearing.price) == pytest.approx(log_price, rel=0, abs=1e-9)


@settings(max_examples=200)
@given(markets(wild=False, windows=True, groups=True))
def test_groups_are_exact(market):
    clearing, answer = agree(market), solve(market)

    for group in clearing.groups:
        exact = answer.group_prices[group.name]
        # At an edge the sums of a group are rounded, and the price may be that of the other side.
        if exact and group.price:
            assert group.price == pytest.approx(float(exact), rel=1e-6)


@given(markets(mechanisms=(Mechanism.ALPHA_FAIR,), wild=False), st.booleans())
def test_the_largest_total_is_exact(market, normalised):
    from dataclasses import replace

    market = replace(market, options=replace(market.options, alpha=0.0, normalised=normalised))
    # One ulp decides who comes first; the oracle sees differences that floats cannot.
    whole = replace(
        market,
        capacity_milli=float(round(market.capacity_milli)),
        bids=tuple(
            replace(
                b,
                floor_milli=float(round(b.floor_milli)),
                cap_milli=float(round(b.floor_milli) + round(b.cap_milli - b.floor_milli)),
                weight=float(max(1, round(b.weight))),
            )
            for b in market.bids
        ),
    )

    agree(whole)
