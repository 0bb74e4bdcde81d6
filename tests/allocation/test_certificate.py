"""The certificate must be able to fail: every test but the first few corrupts a clearing and wants it refused."""

import ast
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest
from builders import a_bid
from hypothesis import assume, given
from hypothesis import strategies as st
from markets import markets

from mbcasd.allocation import certificate, conditions
from mbcasd.allocation.certificate import check
from mbcasd.allocation.market import clear
from mbcasd.model.market import Clearing, Market, Mechanism, Mode, Options, OverloadRule

BIDS = (a_bid("a", cap=300), a_bid("b", cap=700, weight=2), a_bid("c"), a_bid("idle", weight=0))
KINDS = {
    "nash": {},
    "primal-dual": {"mechanism": Mechanism.PRIMAL_DUAL},
    "ks": {"mechanism": Mechanism.KALAI_SMORODINSKY},
    "ks untruncated": {"mechanism": Mechanism.KALAI_SMORODINSKY, "options": Options(truncate_ideal=False)},
    **{
        f"alpha {alpha}{'' if normalised else ' raw'}": {
            "mechanism": Mechanism.ALPHA_FAIR,
            "options": Options(alpha=alpha, normalised=normalised),
        }
        for alpha in (0, 0.5, 2, 100, inf)
        for normalised in (True, False)
    },
}


def a_market(capacity=1000, *of, **more):
    return Market(capacity_milli=capacity, bids=of or BIDS, **more)


def with_amounts(clearing: Clearing, *amounts) -> Clearing:
    """The same clearing, other amounts, the claimed sum adjusted."""
    got = tuple(a._replace(milli=x) for a, x in zip(clearing.allocations, amounts, strict=True))
    return replace(clearing, allocations=got, allocated_milli=sum(amounts))


def moved(clearing, giver, taker, milli):
    amounts = [a.milli for a in clearing.allocations]
    amounts[giver] -= milli
    amounts[taker] += milli
    return with_amounts(clearing, *amounts)


def test_it_does_not_import_what_it_checks():
    solvers = {"clampfill", "mechanisms", "primal_dual", "groups", "market", "rounding"}
    for module in (certificate, conditions):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.rpartition(".")[2] for name in imported if name.startswith("mbcasd.allocation")} & solvers


@pytest.mark.parametrize("more", KINDS.values(), ids=KINDS)
def test_what_was_cleared_holds(more):
    for capacity in (0, 300, 400, 1000, 1900, 2300, 2800, 5000):
        market = a_market(capacity, **more)
        clearing = clear(market)
        assert clearing.certificate.holds, capacity
        assert check(market, clearing) == clearing.certificate


@pytest.mark.parametrize("more", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("capacity", [1000, 2300, 300])
def test_a_thousandth_of_a_millicore_in_the_wrong_place_is_found(more, capacity):
    market = a_market(capacity, **more)
    clearing = clear(market)

    for giver, taker in ((0, 1), (1, 0), (2, 1), (1, 3), (3, 2)):
        assert not check(market, moved(clearing, giver, taker, 1e-3)).holds


@pytest.mark.parametrize("more", KINDS.values(), ids=KINDS)
def test_a_price_that_is_a_millionth_off_is_found(more):
    market = a_market(**more)
    clearing = clear(market)

    if clearing.price is not None:
        assert (
            not check(market, replace(clearing, price=clearing.price * (1 + 1e-6))).holds
            or more.get("options", Options()).alpha == 0
        )
        assert not check(market, replace(clearing, price=clearing.price * 2)).holds
        assert not check(market, replace(clearing, price=None)).holds
    else:
        assert not check(market, replace(clearing, price=0.005)).holds
    if clearing.ratio is not None:
        assert not check(market, replace(clearing, ratio=clearing.ratio * (1 + 1e-6))).holds
        assert not check(market, replace(clearing, ratio=None)).holds


@pytest.mark.parametrize("price", [nan, inf, -1.0, 0.0])
def test_a_price_that_is_none_is_found(price):
    market = a_market()

    assert not check(market, replace(clear(market), price=price)).holds


def test_a_price_where_everybody_is_full_is_found():
    market = a_market(5000)

    assert not check(market, replace(clear(market), price=1e-6)).holds
    assert not check(market, replace(clear(market), price=None)).holds


def test_idle_capacity_is_found():
    market = a_market()
    clearing = clear(market)

    assert not check(market, with_amounts(clearing, *(a.milli * 0.999 for a in clearing.allocations))).holds


def test_more_than_there_is_is_found():
    market = a_market()
    clearing = clear(market)

    assert not check(market, with_amounts(clearing, *(a.milli * 1.001 for a in clearing.allocations))).holds


@pytest.mark.parametrize("amount", [nan, inf, -1.0])
def test_amounts_that_are_no_numbers_are_found(amount):
    market = a_market()
    amounts = [a.milli for a in clear(market).allocations]

    assert not check(market, with_amounts(clear(market), amount, *amounts[1:])).holds


def test_other_names_or_another_order_are_found():
    market = a_market()
    clearing = clear(market)

    assert not check(market, replace(clearing, allocations=clearing.allocations[::-1])).holds
    assert not check(market, replace(clearing, allocations=clearing.allocations[1:])).holds


def test_a_false_mode_or_sum_or_capacity_is_found():
    market = a_market()
    clearing = clear(market)

    assert not check(market, replace(clearing, mode=Mode.OVERLOADED)).holds
    assert not check(market, replace(clearing, allocated_milli=999)).holds
    assert not check(market, replace(clearing, capacity_milli=1001)).holds


def test_another_mechanisms_answer_is_not_this_ones():
    nash, ks = a_market(), a_market(mechanism=Mechanism.KALAI_SMORODINSKY)
    answer = clear(ks)

    assert not check(nash, answer).holds
    assert not check(nash, replace(answer, price=clear(nash).price, ratio=None)).holds
    assert not check(ks, replace(clear(nash), price=None, ratio=answer.ratio)).holds


def test_one_overload_rules_answer_is_not_the_others():
    proportional = a_market(200)
    awards = replace(proportional, options=Options(overload_rule=OverloadRule.CEA))
    bids = (a_bid("a"), a_bid("b", floor=600))
    proportional, awards = replace(proportional, bids=bids), replace(awards, bids=bids)
    for one, other in ((proportional, awards), (awards, proportional)):
        assert check(one, clear(one)).holds
        assert not check(other, clear(one)).holds


def test_a_window_that_was_ignored_is_found():
    without = a_market(1000, a_bid("a"), a_bid("b"))
    within = a_market(1000, a_bid("a", upper_milli=300), a_bid("b"))

    assert not check(within, clear(without)).holds


GROUPED = Market(
    capacity_milli=900,
    bids=(
        a_bid("a0", floor=0, cap=100, group="a"),
        a_bid("a1", floor=0, cap=1000, group="a"),
        a_bid("b0", floor=0, cap=1000, weight=2, group="b"),
        a_bid("b1", floor=0, cap=1000, group="b"),
    ),
    group_weights={"a": 2, "b": 2},
)


def test_groups_are_checked_between_and_inside():
    clearing = clear(GROUPED)

    assert check(GROUPED, clearing).holds
    assert not check(GROUPED, moved(clearing, 1, 2, 1e-3)).holds  # between
    assert not check(GROUPED, moved(clearing, 2, 3, 1e-3)).holds  # inside b
    assert not check(GROUPED, replace(clearing, price=clearing.price * 1.001)).holds
    for field, value in (("price", 1.0), ("price", None), ("milli", 449.0), ("name", "c")):
        forged = (replace(clearing.groups[0], **{field: value}), clearing.groups[1])
        assert not check(GROUPED, replace(clearing, groups=forged)).holds
    assert not check(GROUPED, replace(clearing, groups=())).holds


def test_the_flat_answer_is_not_the_nested_one():
    flat = replace(GROUPED, bids=tuple(replace(bid, group=None) for bid in GROUPED.bids))

    assert not check(GROUPED, clear(flat)).holds


def test_rounding_may_move_less_than_a_step_and_no_more():
    market = a_market(1000, *BIDS[:3], options=Options(quantum_milli=10))
    clearing = clear(market)

    assert check(market, clearing).holds
    assert not check(market, moved(clearing, 0, 1, 20)).holds
    assert not check(market, moved(clearing, 2, 0, 20)).holds


@given(markets(wild=False), st.data())
def test_whatever_moves_by_a_millicore_is_found_or_was_nobodys_concern(market, data):
    """Between two bids of a clearing that holds, one millicore moved in either direction never holds."""
    assume(len(market.bids) > 1)
    clearing = clear(market)
    giver, taker = data.draw(st.permutations(range(len(market.bids))).map(lambda order: order[:2]))

    assert check(market, clearing).holds
    assert not check(market, moved(clearing, giver, taker, 1.0)).holds


@given(markets())
def test_every_clearing_carries_a_proof_that_holds(market):
    clearing = clear(market)

    assert clearing.certificate.holds
    assert clearing.certificate.max_residual <= 1e-9
