from fractions import Fraction
from math import fsum, inf, log, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import Seat, raise_level

from mbcasd.allocation.clampfill import clampfill, clampfill_by_logs


def fill(total, *parties):
    """Parties as (rate, start, low, high)."""
    return clampfill(total, *(list(map(float, column)) for column in zip(*parties, strict=True)))


def test_all_rise_at_their_rates():
    # 300 to share at rates 1 and 2: level 100.
    found = fill(300, (1, 0, 0, 900), (2, 0, 0, 900))

    assert found.amounts == [100, 200]
    assert found.level == 100


def test_who_is_full_leaves_the_rest_to_the_others():
    found = fill(300, (1, 0, 0, 50), (2, 0, 0, 900))

    assert found.amounts == [50, 250]
    assert found.level == 125  # 250 / 2
    assert found.steps == 1


def test_a_low_above_the_start_is_left_only_when_the_level_reaches_it():
    # Low 200 is met at level 200; until then the others share what is left.
    assert fill(300, (1, 0, 200, 900), (1, 0, 0, 900)).amounts == [200, 100]
    assert fill(500, (1, 0, 200, 900), (1, 0, 0, 900)).amounts == [250, 250]


def test_more_than_all_can_take_is_a_legal_end():
    found = fill(1000, (1, 0, 0, 100), (1, 0, 0, 200))

    assert (found.amounts, found.level) == ([100, 200], inf)


def test_one_ulp_less_than_all_can_take_is_not_the_same():
    found = fill(nextafter(300, 0), (1, 0, 0, 100), (2, 0, 0, 200))

    assert found.amounts == pytest.approx([100, 200], rel=1e-15)
    assert found.level == pytest.approx(100, rel=1e-15)


def test_less_than_the_lows_gives_the_lows_at_the_level_where_the_first_would_rise():
    found = fill(10, (1, 0, 30, 100), (1, 0, 20, 20))

    assert (found.amounts, found.level) == ([30, 20], 30)


def test_of_a_range_of_levels_the_highest_is_reported():
    # The first is full at 10, the second rises from 50 on: with 60 every level between gives the same.
    found = fill(60, (1, 0, 0, 10), (1, 0, 50, 90))

    assert (found.amounts, found.level) == ([10, 50], 50)


def test_equal_breakpoints_and_empty_ranges_do_no_harm():
    found = fill(370, (1, 10, 10, 10), (1, 0, 0, 100), (1, 0, 0, 100), (2, 0, 0, 200), (1, 0, 0, 0))

    assert found.amounts == [10, 90, 90, 180, 0]


def test_a_party_without_range_does_not_hold_the_level():
    # All but a trace fits: the second is the last to be full, at 11. The first stands still at its level of 16.
    found = fill(12, (0.0625, 0, 1, 1), (1, 0, 10, 11), (1, 0, 4e-246, 4e-246))

    assert found.level == 11


def test_a_large_rate_that_leaves_does_not_take_the_digits_of_a_small_one():
    # 1e12 and 1e-3 side by side: subtracting the first from their sum would leave noise of 1e-4.
    found = fill(150, (1e12, 0, 0, 50), (1e-3, 0, 0, 900), (1e-3, 0, 0, 900))

    assert found.amounts == [50, 50, 50]


def test_a_large_amount_does_not_take_the_digits_of_a_small_one():
    # After 1e12 exactly 100 is left for two.
    assert fill(1e12 + 100, (1, 0, 0, 900), (1, 0, 0, 900), (1e12, 0, 0, 1e12)).amounts == [50, 50, 1e12]


@pytest.mark.parametrize("rate", [5e-324, 1e-310, 1e-200, 1e200, 1e300])
def test_rates_at_the_ends_of_the_range_of_floats_are_rates_too(rate):
    # The ordinary one is full long before (or after) the others move.
    found = fill(500, (rate, 0, 0, 900), (rate, 0, 0, 900), (1, 0, 0, 100))

    assert found.amounts == pytest.approx([200, 200, 100] if rate < 1 else [250, 250, 0], rel=1e-9)


def test_rates_given_by_logarithms_may_lie_thousands_apart():
    low = [0.0, 0.0, 0.0]
    found = clampfill_by_logs(250, [5000.0, 0.0, -5000.0], low, low, [100.0, 100.0, 100.0])

    assert found.amounts == [100, 100, 50]
    assert found.log_level == pytest.approx(5003.912, abs=1e-3)  # log 50 + 5000
    assert found.level == inf


parties = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([1.0, 2.0]), st.floats(1e-6, 1e6)),
        st.one_of(st.integers(0, 100).map(float), st.floats(0, 1e12, allow_subnormal=False)),
        st.one_of(st.just(0.0), st.integers(0, 100).map(float), st.floats(0, 1e6, allow_subnormal=False)),
        st.one_of(st.just(0.0), st.integers(0, 100).map(float), st.floats(0, 1e12, allow_subnormal=False)),
    ),
    min_size=1,
    max_size=15,
)


@given(parties, st.floats(-0.1, 1.1), st.sampled_from([-inf, 0, inf]))
def test_it_agrees_with_rationals(drawn, share, nudge):
    rate = [a for a, *_ in drawn]
    start = [c for _, c, _, _ in drawn]
    low = [c + above for _, c, above, _ in drawn]
    high = [lo + room for lo, (*_, room) in zip(low, drawn, strict=True)]
    total = max(0.0, fsum(low) + share * (fsum(high) - fsum(low)))
    total = nextafter(total, nudge) if nudge else total
    exact_lows = sum(map(Fraction, low))

    found = clampfill(total, rate, start, low, high)
    seats = [Seat(*map(Fraction, party)) for party in zip(rate, start, low, high, strict=True)]
    expected, level = raise_level(max(Fraction(total), exact_lows), seats)

    assert found.amounts == pytest.approx([float(x) for x in expected], rel=1e-9, abs=1e-9)
    assert all(lo <= x <= h for lo, x, h in zip(low, found.amounts, high, strict=True))
    assert found.level == (inf if level is None else pytest.approx(float(level), rel=1e-9, abs=1e-300))

    by_logs = clampfill_by_logs(total, [log(a) for a in rate], start, low, high)
    assert by_logs.amounts == pytest.approx(found.amounts, rel=1e-9, abs=1e-9)


@given(parties, st.floats(0, 1), st.floats(0, 1))
def test_more_to_hand_out_lowers_nobody(drawn, first, second):
    rate = [a for a, *_ in drawn]
    low = [c for _, c, _, _ in drawn]
    high = [c + room for _, c, _, room in drawn]
    less, more = sorted(fsum(low) + share * (fsum(high) - fsum(low)) for share in (first, second))

    before, after = (clampfill(total, rate, low, low, high).amounts for total in (less, more))

    assert all(b <= a + 1e-9 * max(1, a) for b, a in zip(before, after, strict=True))
