from math import inf, nan, nextafter

import pytest
from builders import a_bid

from mbcasd.allocation.market import check, clear
from mbcasd.errors import BadProblem
from mbcasd.model.market import Binding, Market, Mechanism, Mode, Options


def a_market(capacity, *bids, **more):
    return Market(capacity_milli=capacity, bids=bids, **more)


def bindings(market):
    return [got.binding for got in clear(market).allocations]


def test_the_mode_compares_caps_and_floors_with_the_capacity():
    bids = (a_bid("a"), a_bid("b"))  # floors 200, caps 1800

    assert clear(a_market(1800, *bids)).mode is Mode.UNCONGESTED
    assert clear(a_market(nextafter(1800, 0), *bids)).mode is Mode.CONGESTED
    assert clear(a_market(200, *bids)).mode is Mode.CONGESTED
    assert clear(a_market(nextafter(200, 0), *bids)).mode is Mode.OVERLOADED
    assert clear(a_market(0, *bids)).mode is Mode.OVERLOADED


def test_the_mode_is_decided_exactly_whatever_the_order_of_the_sum():
    # 0.1 ten times is more than 1 in exact numbers, less when added up one by one.
    tenths = [a_bid(f"w{i}", floor=0.1, cap=1) for i in range(10)]

    assert clear(a_market(1.0, *tenths)).mode is Mode.OVERLOADED


def test_the_price_is_zero_once_everybody_is_full_and_none_without_surplus():
    bids = (a_bid("a"), a_bid("b", weight=3))

    assert clear(a_market(2000, *bids)).price == 0
    assert clear(a_market(1800, *bids)).price == 0  # the right derivative
    # One ulp below: the last to be full has w / u = 1/800.
    assert clear(a_market(nextafter(1800, 0), *bids)).price == pytest.approx(1 / 800)
    assert clear(a_market(200, *bids)).price is None
    assert clear(a_market(0, *bids)).price is None


def test_floors_that_are_caps_leave_no_price_but_zero():
    assert clear(a_market(200, a_bid("a", cap=100), a_bid("b", cap=100))).price == 0


@pytest.mark.parametrize(("mechanism", "alpha"), [(Mechanism.KALAI_SMORODINSKY, 1.0), (Mechanism.ALPHA_FAIR, inf)])
def test_max_min_has_no_price(mechanism, alpha):
    market = a_market(500, a_bid("a"), a_bid("b"), mechanism=mechanism, options=Options(alpha=alpha))

    assert clear(market).price is None


def test_the_ratio_is_one_where_everybody_has_his_ideal_and_none_where_nothing_is_within_reach():
    def ratio(capacity, mechanism=Mechanism.KALAI_SMORODINSKY):
        return clear(a_market(capacity, a_bid("a"), a_bid("b"), mechanism=mechanism)).ratio

    assert ratio(1800) == ratio(5000) == 1
    assert ratio(200) is None
    assert ratio(100) is None  # overloaded: another rule
    assert ratio(1000, Mechanism.NASH) is None


def test_every_binding_has_its_name():
    market = a_market(
        1500,
        a_bid("interior"),
        a_bid("cap", cap=150),
        a_bid("fixed", cap=100),  # floor and cap at once: it has no more because it cannot use more
        a_bid("upper", upper_milli=200),
        a_bid("lower", weight=0.001, lower_milli=300),
        a_bid("floor", weight=0),
        options=Options(minimum_milli=10),
    )

    assert [binding.value for binding in bindings(market)] == ["interior", "cap", "cap", "upper", "lower", "floor"]


def test_the_minimum_binds_where_the_floor_is_lower():
    market = a_market(
        200, a_bid("tiny", floor=1, weight=1e-6), a_bid("big", floor=100), options=Options(minimum_milli=10)
    )

    assert [got.milli for got in clear(market).allocations] == pytest.approx([10, 190])
    assert bindings(market) == [Binding.MINIMUM, Binding.INTERIOR]


def test_a_minimum_above_the_cap_gives_the_cap():
    market = a_market(200, a_bid("tiny", floor=1, cap=5), a_bid("big"), options=Options(minimum_milli=10))

    assert [got.milli for got in clear(market).allocations] == [5, 195]


def test_a_lower_bound_below_the_floor_counts_as_the_floor():
    market = a_market(300, a_bid("a", lower_milli=50, weight=0), a_bid("b"))

    assert [got.milli for got in clear(market).allocations] == [100, 200]
    assert bindings(market)[0] is Binding.FLOOR


def test_an_upper_bound_below_the_floor_wins_over_it():
    # A floor of 400 is reached in steps: 150 now. The rest is not left idle.
    market = a_market(1000, a_bid("a", floor=400, upper_milli=150), a_bid("b"))

    assert [got.milli for got in clear(market).allocations] == [150, 850]
    assert bindings(market) == [Binding.UPPER, Binding.INTERIOR]


def test_an_upper_bound_wins_over_a_lower_one():
    market = a_market(1000, a_bid("a", lower_milli=600, upper_milli=300), a_bid("b"))

    assert [got.milli for got in clear(market).allocations] == [300, 700]


def test_lower_bounds_that_do_not_fit_give_way_and_the_floors_stay():
    # 400 + 400 > 500: without windows 300 of surplus is shared equally.
    market = a_market(500, a_bid("a", lower_milli=400), a_bid("b", lower_milli=400))

    assert [got.milli for got in clear(market).allocations] == [250, 250]
    assert clear(market).mode is Mode.CONGESTED


def test_upper_bounds_stay_when_lower_ones_give_way():
    market = a_market(
        500, a_bid("a", lower_milli=400, upper_milli=450, weight=9), a_bid("b", upper_milli=200), a_bid("c")
    )

    assert clear(market).allocations[0].milli <= 450
    market = a_market(
        900, a_bid("a", lower_milli=500, weight=9), a_bid("b", lower_milli=500), a_bid("c", upper_milli=110)
    )
    # 600 of surplus by 9 : 1 : 1; the third stops at 10, so 590 is shared 9 : 1.
    assert [got.milli for got in clear(market).allocations] == pytest.approx([631, 159, 110])


def test_floors_give_way_last():
    market = a_market(100, a_bid("a", lower_milli=400), a_bid("b"))

    assert [got.milli for got in clear(market).allocations] == [50, 50]
    assert bindings(market) == [Binding.INTERIOR, Binding.INTERIOR]


def test_an_overloaded_market_respects_upper_bounds():
    # Floors 100 and 300 of 200: 50 and 150, but the second may have 120 now; that leaves 80 for the first.
    market = a_market(200, a_bid("a"), a_bid("b", floor=300, upper_milli=120))

    assert [got.milli for got in clear(market).allocations] == [80, 120]
    assert bindings(market) == [Binding.INTERIOR, Binding.UPPER]


def test_with_a_frozen_window_a_bid_keeps_exactly_what_it_has():
    market = a_market(1000, a_bid("a", lower_milli=125, upper_milli=125), a_bid("b"), options=Options(quantum_milli=10))

    assert [got.milli for got in clear(market).allocations] == [125, 870]


def test_with_a_quantum_everything_is_a_multiple_of_it():
    market = a_market(1000, *(a_bid(name, floor=0, cap=900) for name in "abc"), options=Options(quantum_milli=10))
    clearing = clear(market)

    assert [got.milli for got in clearing.allocations] == [340, 330, 330]  # ties by position
    assert clearing.price == pytest.approx(3 / 1000)  # of the exact solution
    assert clearing.certificate.holds


def test_a_market_without_bids_clears_to_nothing():
    clearing = clear(a_market(1000))

    assert (clearing.allocations, clearing.mode, clearing.price) == ((), Mode.UNCONGESTED, 0)
    assert clearing.certificate.holds


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_a_thousand_bids_are_ordinary(mechanism):
    bids = [a_bid(f"w{i}", floor=i % 7, cap=10 + i * 37 % 400, weight=1 + i % 5) for i in range(1000)]
    clearing = clear(a_market(100_000, *bids, mechanism=mechanism, options=Options(alpha=2)))

    assert clearing.allocated_milli == pytest.approx(100_000, rel=1e-12)
    assert clearing.certificate.holds


@pytest.mark.parametrize(
    ("bid", "says"),
    [
        (a_bid("api", floor=900, cap=300), r"agents\[1\] \(api\): floor_milli 900 is above cap_milli 300"),
        (a_bid("api", floor=-1), r"agents\[1\] \(api\): floor_milli -1 must be a finite number and at least 0"),
        (a_bid("api", cap=inf), r"agents\[1\] \(api\): cap_milli inf must be a finite number"),
        (a_bid("api", cap=nan), r"agents\[1\] \(api\): cap_milli nan must be a finite number"),
        (a_bid("api", weight=-2), r"agents\[1\] \(api\): weight -2 must be"),
        (a_bid("api", lower_milli=-2), r"agents\[1\] \(api\): lower_milli -2 must be"),
        (a_bid("api", upper_milli=nan), r"agents\[1\] \(api\): upper_milli nan must be"),
        (a_bid("api", cap=1e200), r"agents\[1\] \(api\): cap_milli 1e\+200 is more than any machine has"),
        (a_bid("web"), r"agents\[1\] \(web\): name is already that of agents\[0\]"),
    ],
)
def test_a_bid_that_no_market_can_take_is_refused_with_its_path(bid, says):
    with pytest.raises(BadProblem, match=says):
        check(a_market(1000, a_bid("web"), bid))


@pytest.mark.parametrize(
    ("market", "says"),
    [
        (a_market(-1, a_bid()), "capacity_milli -1 must be"),
        (a_market(nan, a_bid()), "capacity_milli nan must be"),
        (a_market(1000), "agents: there must be at least one"),
        (a_market(1, a_bid(group="g"), group_weights={"g": -1}), r"groups\.g\.weight -1 must be"),
        (a_market(1, a_bid(), options=Options(minimum_milli=inf)), r"options\.minimum_milli inf must be"),
        (a_market(1, a_bid(), options=Options(quantum_milli=-1)), r"options\.quantum_milli -1 must be"),
        (a_market(1, a_bid(), options=Options(quantum_milli=1e-300)), r"options\.quantum_milli 1e-300 is too fine"),
        (a_market(1, a_bid(), options=Options(alpha=-1)), r"options\.alpha -1 must be"),
        (a_market(1, a_bid(), options=Options(alpha=nan)), r"options\.alpha nan must be"),
    ],
)
def test_a_market_that_makes_no_sense_is_refused(market, says):
    with pytest.raises(BadProblem, match=says):
        check(market)
    with pytest.raises(BadProblem, match=rf"problems\[3\]\.{says}"):
        check(market, "problems[3].")
