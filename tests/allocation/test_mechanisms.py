"""The worked examples of the design notes, with their arithmetic."""

from math import inf

import pytest
from builders import a_bid

from mbcasd.allocation.market import clear
from mbcasd.model.market import Binding, Market, Mechanism, Mode, Options, OverloadRule


def a_market(capacity, *bids, mechanism=Mechanism.NASH, **options):
    """Bids as (floor, cap) or (floor, cap, weight), or whole ones."""
    made = tuple(
        a_bid(f"w{i}", floor=bid[0], cap=bid[1], weight=(*bid, 1)[2]) if isinstance(bid, tuple) else bid
        for i, bid in enumerate(bids)
    )
    return Market(capacity_milli=capacity, bids=made, mechanism=mechanism, options=Options(**options))


def given(capacity, *bids, **more):
    return [got.milli for got in clear(a_market(capacity, *bids, **more)).allocations]


THREE = ((100, 300), (100, 700), (100, 900))


def test_nash_shares_surplus_by_weight():
    # 1000 - 3 x 100 = 700 of surplus, weights 1, 2, 1: 175 a weight, no cap in the way.
    clearing = clear(a_market(1000, (100, 300, 1), (100, 700, 2), (100, 900, 1)))

    assert [got.milli for got in clearing.allocations] == [275, 450, 275]
    assert clearing.price == pytest.approx(1 / 175)
    assert clearing.mode is Mode.CONGESTED
    assert clearing.certificate.holds


def test_what_a_capped_bid_cannot_use_goes_to_the_others():
    assert given(1000, (100, 150), (100, 900)) == [150, 850]


def test_three_times_the_weight_is_three_times_the_surplus():
    # 800 of surplus: 600 and 200.
    assert given(1000, (100, 900, 3), (100, 900, 1)) == [700, 300]


def test_kalai_smorodinsky_gives_everyone_the_same_share_of_what_he_could_get():
    # Ideals 500 and 100 of 500: 600 x 5/6 = 500.
    clearing = clear(a_market(500, (0, 1000), (0, 100), mechanism=Mechanism.KALAI_SMORODINSKY))

    assert [got.milli for got in clearing.allocations] == pytest.approx([500 * 5 / 6, 100 * 5 / 6])
    assert clearing.ratio == pytest.approx(5 / 6)
    assert clearing.price is None
    assert clearing.certificate.kind == "ratio"


def test_an_untruncated_ideal_shares_by_ranges():
    # 1100 of claims on 500: 454.5 and 45.5.
    got = given(500, (0, 1000), (0, 100), mechanism=Mechanism.KALAI_SMORODINSKY, truncate_ideal=False)

    assert got == pytest.approx([500 * 1000 / 1100, 500 * 100 / 1100])


def test_weighted_kalai_smorodinsky_is_completed_leximin():
    # S = 600, v = (100, 600): at weights 3 and 1 the first is full at ratio 1/3, the rest goes to the second.
    got = given(800, (100, 200, 3), (100, 900, 1), mechanism=Mechanism.KALAI_SMORODINSKY)

    assert got == [200, 600]


def test_the_alpha_fair_family_in_one_table():
    # Normalised, with weights 1, 2, 1; v = 200, 600, 700 of 700 (the third is truncated).
    bids = ((100, 300, 1), (100, 700, 2), (100, 900, 1))

    def shares(alpha):
        return given(1000, *bids, mechanism=Mechanism.ALPHA_FAIR, alpha=alpha)

    # alpha 2: rates are the square roots of w v.
    roots = [200**0.5, 1200**0.5, 700**0.5]
    assert shares(1) == given(1000, *bids) == [275, 450, 275]
    assert shares(2) == pytest.approx([100 + 700 * root / sum(roots) for root in roots])
    assert shares(2) == pytest.approx([231.57, 422.28, 346.15], abs=0.005)
    # Infinity: rates are v, weights vanish: 700/1500 of each.
    assert shares(inf) == pytest.approx([193.33, 380, 426.67], abs=0.005)


def test_alpha_one_is_nash_and_infinity_is_kalai_smorodinsky_without_weights():
    for normalised in (True, False):
        assert given(1000, *THREE, mechanism=Mechanism.ALPHA_FAIR, alpha=1, normalised=normalised) == given(
            1000, *THREE
        )
    assert given(1000, *THREE, mechanism=Mechanism.ALPHA_FAIR, alpha=inf) == given(
        1000, *THREE, mechanism=Mechanism.KALAI_SMORODINSKY
    )


def test_raw_alpha_means_nothing_without_weights():
    # Every alpha above 0 is max-min then: 200 is full, 250 each for the others.
    for alpha in (0.001, 0.5, 2, 7, inf):
        assert given(1000, *THREE, mechanism=Mechanism.ALPHA_FAIR, alpha=alpha, normalised=False) == pytest.approx(
            [300, 350, 350], rel=1e-9
        )


def test_scale_matters_to_every_alpha_but_one():
    # Surplus 100, utilities scaled by 1 and 4, which is the same as weights of 1 and 4**(1 - alpha).
    def shares(alpha):
        bids = ((0, 1e6), (0, 1e6, 4 ** (1 - alpha)))
        return given(100, *bids, mechanism=Mechanism.ALPHA_FAIR, alpha=alpha, normalised=False)

    assert shares(0.5) == pytest.approx([20, 80])
    assert shares(1) == pytest.approx([50, 50])
    assert shares(2) == pytest.approx([66.7, 33.3], abs=0.05)
    assert shares(4) == pytest.approx([73.9, 26.1], abs=0.05)


def test_alpha_zero_serves_the_smallest_ranges_first():
    # v = 200, 600, 700: the first is full, then the second takes what is left; its millicore is worth 1/600.
    clearing = clear(a_market(1000, *THREE, mechanism=Mechanism.ALPHA_FAIR, alpha=0))

    assert [got.milli for got in clearing.allocations] == [300, 600, 100]
    assert clearing.price == pytest.approx(1 / 600)


def test_alpha_zero_splits_ties_max_min():
    # All of weight 1 and raw: nobody's millicore is worth more. 60 is full, the others share.
    got = given(1000, (0, 60), (0, 900), (0, 900), mechanism=Mechanism.ALPHA_FAIR, alpha=0, normalised=False)

    assert got == [60, 470, 470]


@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 0.3, 30, 1e3, 1e6])
@pytest.mark.parametrize("normalised", [True, False])
def test_alphas_far_from_one_are_still_exact(alpha, normalised):
    clearing = clear(
        a_market(
            1000,
            (100, 300, 1),
            (100, 700, 2),
            (100, 900, 3),
            mechanism=Mechanism.ALPHA_FAIR,
            alpha=alpha,
            normalised=normalised,
        )
    )

    assert clearing.certificate.holds
    assert clearing.allocated_milli == pytest.approx(1000, rel=1e-12)


def test_the_alpha_fair_price_is_the_derivative_of_welfare():
    def welfare(capacity, alpha):
        bids = [(100, 300, 1), (100, 700, 2), (100, 900, 3)]
        got = given(capacity, *bids, mechanism=Mechanism.ALPHA_FAIR, alpha=alpha, normalised=False)
        return sum(w * (x - d) ** (1 - alpha) / (1 - alpha) for x, (d, _, w) in zip(got, bids, strict=True))

    for alpha in (0.5, 2, 3):
        market = a_market(
            1000,
            (100, 300, 1),
            (100, 700, 2),
            (100, 900, 3),
            mechanism=Mechanism.ALPHA_FAIR,
            alpha=alpha,
            normalised=False,
        )
        slope = (welfare(1000.01, alpha) - welfare(999.99, alpha)) / 0.02
        assert clear(market).price == pytest.approx(slope, rel=1e-6)


def test_overload_is_continuous_where_the_floors_just_fit():
    # One millicore short: t w d with weights 1 and 3 cuts only the first. The seed's rule jumped to 249.75.
    assert given(1000, (500, 900, 1), (500, 900, 3)) == [500, 500]
    assert given(999, (500, 900, 1), (500, 900, 3)) == pytest.approx([499, 500])


def test_proportional_overload_shares_by_floors_and_has_a_price():
    clearing = clear(a_market(600, (100, 900), (200, 900), (600, 900)))

    assert [got.milli for got in clearing.allocations] == pytest.approx([600 / 9, 1200 / 9, 3600 / 9])
    assert clearing.price == pytest.approx(1.5)  # tau = 600/900
    assert clearing.mode is Mode.OVERLOADED


def test_equal_awards_protect_small_floors():
    assert given(600, (100, 900), (200, 900), (600, 900), overload_rule=OverloadRule.CEA) == [100, 200, 300]


def test_nobody_gets_less_than_the_minimum_while_it_fits():
    clearing = clear(a_market(100, (10, 900), (600, 900), minimum_milli=10))

    # 10 each first; proportional would give the first 1.6.
    assert [got.milli for got in clearing.allocations] == [10, 90]
    assert [got.binding for got in clearing.allocations] == [Binding.FLOOR, Binding.INTERIOR]
    assert given(5, (100, 900), (100, 900), minimum_milli=10) == [2.5, 2.5]


def test_the_seeds_step_cap_belongs_into_the_solver():
    # Previous limits 600 and 400 may at most halve. Capped afterwards the sum would be 1033.
    market = a_market(
        1000,
        a_bid("w0", floor=0, cap=900, lower_milli=300),
        a_bid("w1", floor=0, cap=900, lower_milli=200),
        a_bid("w2", floor=0, cap=900, weight=2, upper_milli=450),
    )
    # t = 250 by weight 1 : 2 of what the first leaves; 2 x 233.3 is above 450, so 250 is left for the second.
    assert [got.milli for got in clear(market).allocations] == [300, 250, 450]


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_bids_of_weight_zero_wait_until_all_others_are_full(mechanism):
    bids = ((100, 300, 1), (100, 900, 0), (100, 900, 0))

    # 100 of surplus is not enough for the first: the others keep their floors.
    assert given(400, *bids, mechanism=mechanism, alpha=2) == [200, 100, 100]
    # 500 of surplus: 200 to the first, the rest is split equally, at a price of 0.
    clearing = clear(a_market(800, *bids, mechanism=mechanism, alpha=2))
    assert [got.milli for got in clearing.allocations] == [300, 250, 250]
    assert clearing.price in {0, None}
    assert clearing.certificate.holds


@pytest.mark.parametrize("mechanism", [Mechanism.NASH, Mechanism.PRIMAL_DUAL])
def test_weights_that_are_all_zero_are_equal_at_a_price_of_zero(mechanism):
    clearing = clear(a_market(1000, (0, 900, 0), (0, 100, 0), mechanism=mechanism))

    assert [got.milli for got in clearing.allocations] == [900, 100]
    clearing = clear(a_market(500, (0, 900, 0), (0, 100, 0), mechanism=mechanism))
    assert [got.milli for got in clearing.allocations] == [400, 100]
    assert clearing.price == 0
