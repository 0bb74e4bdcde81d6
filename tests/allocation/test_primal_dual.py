from itertools import pairwise
from math import exp, log

import pytest
from builders import a_bid
from hypothesis import given
from hypothesis import strategies as st
from markets import bids, capacities

from mbcasd.allocation.market import clear
from mbcasd.allocation.primal_dual import next_log_price
from mbcasd.model.market import Market, Mechanism


@st.composite
def priced(draw):
    of = draw(bids(most=30, windows=True))
    return Market(capacity_milli=draw(capacities(of, overloaded=False)), bids=of, mechanism=Mechanism.PRIMAL_DUAL)


@given(priced())
def test_it_agrees_with_the_direct_solution(market):
    by_price = clear(market)
    direct = clear(Market(capacity_milli=market.capacity_milli, bids=market.bids))

    assert [g.milli for g in by_price.allocations] == pytest.approx(
        [g.milli for g in direct.allocations], rel=1e-9, abs=1e-9
    )
    assert by_price.certificate.holds


def test_it_counts_the_answers_it_heard():
    market = Market(capacity_milli=1000, bids=(a_bid("a", cap=200), a_bid("b")), mechanism=Mechanism.PRIMAL_DUAL)

    assert 1 < clear(market).steps < 10


# u = (200, 600, 800), S = 700: at the solution 500 of 700 goes to interior parties, a share of 0.714.
ROOMS = (200.0, 600.0, 800.0)


def follow(gain, rounds, log_price):
    """Demand after each price, all weights 1."""
    heard = []
    for _ in range(rounds):
        demand = sum(min(u, exp(-log_price)) for u in ROOMS)
        heard.append(demand)
        log_price = next_log_price(log_price, demand, 700.0, gain)
    return heard


@given(st.floats(0.05, 1), st.floats(-12, 2))
def test_up_to_a_gain_of_one_the_plain_rule_never_overshoots(gain, log_price):
    heard = follow(gain, 60, log_price)

    # Demand comes closer from its own side, always.
    sides = [demand - 700 for demand in heard]
    assert all(abs(after) <= abs(before) + 1e-9 for before, after in pairwise(sides))
    assert all(after * sides[0] >= -1e-6 for after in sides)


def test_the_plain_rule_finds_the_price_alone():
    assert follow(1.0, 120, log(3 / 700))[-1] == pytest.approx(700, rel=1e-9)


def test_the_plain_rule_is_stable_to_two_over_the_interior_share_and_no_further():
    # 2 / 0.714 = 2.8.
    assert follow(2.2, 300, log(1 / 260))[-1] == pytest.approx(700, rel=1e-9)
    late = follow(3.0, 300, log(1 / 260))[-2:]
    assert min(late) < 650
    assert max(late) > 750
