import pytest
from builders import a_bid
from hypothesis import given
from markets import bids

from mbcasd.allocation.market import clear
from mbcasd.model.market import Binding, Market, Mechanism, Mode, Options


def a_market(capacity, *of, weights, **more):
    return Market(capacity_milli=capacity, bids=of, group_weights=weights, **more)


A_SMALL = a_bid("a0", floor=0, cap=100, group="a")
A_BIG = a_bid("a1", floor=0, cap=1000, group="a")
B_BIG = a_bid("b", floor=0, cap=1000, weight=2, group="b")


def test_groups_share_first_and_members_share_what_their_group_got():
    # 900 by 2 : 2 is 450 each; in a the first is full at 100, so the second has 350.
    clearing = clear(a_market(900, A_SMALL, A_BIG, B_BIG, weights={"a": 2, "b": 2}))

    assert [got.milli for got in clearing.allocations] == [100, 350, 450]
    assert clearing.price == pytest.approx(2 / 450)
    assert [(group.name, group.milli) for group in clearing.groups] == [("a", 450), ("b", 450)]
    assert clearing.groups[0].price == pytest.approx(1 / 350)
    assert clearing.certificate.holds


def test_without_groups_the_same_bids_share_otherwise():
    # Flat: 1 : 1 : 2 of 900, the first full: 800 by 1 : 2.
    flat = Market(
        capacity_milli=900,
        bids=(a_bid("x", floor=0, cap=100), a_bid("y", floor=0, cap=1000), a_bid("z", floor=0, cap=1000, weight=2)),
    )

    assert [got.milli for got in clear(flat).allocations] == pytest.approx([100, 266.67, 533.33], abs=0.01)


def test_splitting_a_pod_gains_nothing_inside_a_group():
    # Four namespaces of weight 1 share 2000; one has five pods instead of one.
    others = [a_bid(f"pod-{name}", floor=0, cap=2000, group=name) for name in "bcd"]
    split = [a_bid(f"a{i}", floor=0, cap=2000, group="a") for i in range(5)]

    assert sum(got.milli for got in clear(a_market(2000, *split, *others, weights={})).allocations[:5]) == 500


def test_a_bid_without_a_group_sits_at_the_first_table_with_its_own_weight():
    # The example of the design notes: 800 of surplus by 1 : 2.
    web = a_bid("web")
    api = a_bid("api", weight=3, lower_milli=500, upper_milli=700, group="prod")
    clearing = clear(a_market(1000, web, api, weights={"prod": 2}))

    assert [got.milli for got in clearing.allocations] == pytest.approx([100 + 800 / 3, 100 + 1600 / 3])
    assert [group.name for group in clearing.groups] == ["prod"]


def test_a_group_that_is_not_named_weighs_one_and_one_that_nobody_is_in_does_nothing():
    clearing = clear(a_market(800, A_BIG, B_BIG, weights={"b": 3, "ghost": 50}))

    assert [got.milli for got in clearing.allocations] == [200, 600]
    assert [group.name for group in clearing.groups] == ["a", "b"]


def test_windows_of_members_bound_their_group():
    # a may have 150 now, whatever its weight.
    small = a_bid("a", floor=0, cap=1000, upper_milli=150, group="a")
    clearing = clear(a_market(900, small, B_BIG, weights={"a": 9}))

    assert [got.milli for got in clearing.allocations] == [150, 750]
    assert clearing.allocations[0].binding is Binding.UPPER


def test_groups_whose_floors_do_not_fit_share_by_floors():
    # Claims 100 and 300 of 200, weights equal: 50 and 150; inside a 2 : 1 by floor x weight, at most the floor.
    market = a_market(
        200,
        a_bid("a0", floor=50, group="a", weight=2),
        a_bid("a1", floor=50, group="a"),
        a_bid("b", floor=300, group="b"),
        weights={},
    )
    clearing = clear(market)

    assert [got.milli for got in clearing.allocations] == pytest.approx([100 / 3, 50 / 3, 150])
    assert clearing.mode is Mode.OVERLOADED
    assert clearing.price == pytest.approx(2)  # tau = 200/400
    assert clearing.certificate.holds


def test_groups_are_cleared_by_nash_whatever_was_asked():
    market = a_market(900, A_SMALL, A_BIG, B_BIG, weights={}, mechanism=Mechanism.KALAI_SMORODINSKY)

    assert clear(market).mechanism is Mechanism.NASH
    assert clear(market).ratio is None


def test_a_group_of_weight_zero_waits():
    clearing = clear(a_market(1100, A_BIG, B_BIG, weights={"a": 0}))

    assert [got.milli for got in clearing.allocations] == [100, 1000]
    assert clearing.price == 0


@given(bids(most=8))
def test_one_group_around_everybody_changes_nothing(of):
    grouped = tuple(a_bid(b.name, floor=b.floor_milli, cap=b.cap_milli, weight=b.weight, group="g") for b in of)
    capacity = sum(b.floor_milli for b in of) / 2 + sum(b.cap_milli for b in of) / 2

    flat, nested = (clear(Market(capacity_milli=capacity, bids=some)) for some in (of, grouped))

    assert [g.milli for g in nested.allocations] == pytest.approx([g.milli for g in flat.allocations], abs=1e-6)


def test_a_quantum_is_kept_over_all_groups():
    market = a_market(1000, A_SMALL, A_BIG, B_BIG, weights={"a": 1, "b": 2}, options=Options(quantum_milli=10))
    clearing = clear(market)

    assert all(got.milli % 10 == 0 for got in clearing.allocations)
    assert clearing.allocated_milli == 1000
    assert sum(group.milli for group in clearing.groups) == 1000
    assert clearing.certificate.holds
