from math import floor, fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.allocation.rounding import to_quantum


def rounded(amounts, capacity, quantum, low=None, high=None):
    return to_quantum(amounts, low or [0.0] * len(amounts), high or [1e9] * len(amounts), capacity, quantum)


def test_the_largest_remainder_gets_what_is_left():
    # 3.4 + 3.1 + 3.5 = 10: floors sum to 9, the third lost most.
    assert rounded([3.4, 3.1, 3.5], 10, 1) == [3, 3, 4]


def test_ties_go_by_position():
    assert rounded([1000 / 3] * 3, 1000, 1) == [334, 333, 333]
    assert rounded([1000 / 6 * 2, 1000 / 3, 1000 - 2000 / 3], 1000, 1) == [334, 333, 333]  # the same but for noise


def test_a_number_a_bit_below_a_step_is_that_step():
    assert rounded([499.99999999999994, 500.00000000000006], 1000, 10) == [500, 500]
    assert rounded([0.1 + 0.2, 0.7], 1, 0.1) == pytest.approx([0.3, 0.7])


def test_the_capacity_is_rounded_down():
    assert fsum(rounded([333.0, 333.0, 333.0], 999, 10)) == 990


def test_what_is_not_wanted_is_not_handed_out():
    assert rounded([20.0, 30.0], 1000, 10) == [20, 30]


def test_bounds_off_the_grid_are_kept():
    # At its cap of 905 the first gets 900; the floor of 95 becomes 100.
    assert rounded([905.0, 95.0], 1000, 10, low=[0.0, 95.0], high=[905.0, 200.0]) == [900, 100]


def test_whoever_has_no_step_between_its_bounds_keeps_its_number():
    assert rounded([125.0, 875.0], 1000, 10, low=[125.0, 0.0], high=[125.0, 900.0]) == [125, 870]


def test_lower_bounds_that_do_not_fit_once_rounded_up_are_kept_exactly():
    # Both floors rounded up would be 40 of 30.
    got = rounded([15.0, 15.0], 30, 10, low=[15.0, 15.0])

    assert fsum(got) <= 30
    assert min(got) >= 15


def test_it_is_not_house_monotone_and_that_is_known():
    # Shares 2 : 10 : 10 of 16 and of 17 steps: (2, 7, 7) and (1, 8, 8).
    def shares(steps):
        return [steps * w / 22 for w in (2, 10, 10)]

    # Shares of 16: 1.45, 7.27, 7.27; of 17: 1.55, 7.73, 7.73.
    assert rounded(shares(16), 16, 1) == [2, 7, 7]
    assert rounded(shares(17), 17, 1) == [1, 8, 8]


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(0, 1)), min_size=1, max_size=12),
    st.sampled_from([0.1, 1.0, 7.0, 10.0]),
    st.floats(0, 50),
)
def test_bounds_and_capacity_are_kept_and_nobody_moves_by_a_step(parties, quantum, spare):
    low = [lo for lo, _, _ in parties]
    high = [lo + room for lo, room, _ in parties]
    amounts = [lo + room * share for lo, room, share in parties]
    capacity = fsum(amounts) + spare

    got = to_quantum(amounts, low, high, capacity, quantum)

    assert fsum(got) <= capacity * (1 + 1e-12) + 1e-9
    for x, lo, h, exact in zip(got, low, high, amounts, strict=True):
        assert lo - 1e-9 <= x <= h + 1e-9
        assert abs(x - exact) < quantum * (1 + 1e-8)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=12),
    st.sampled_from([1.0, 10.0]),
)
def test_with_bounds_on_the_grid_all_is_on_the_grid_and_all_is_used(parties, quantum):
    low = [lo * quantum for lo, _, _ in parties]
    high = [(lo + room) * quantum for lo, room, _ in parties]
    amounts = [lo * quantum + room * quantum * share for lo, room, share in parties]
    capacity = fsum(amounts)

    got = to_quantum(amounts, low, high, capacity, quantum)

    assert all(x % quantum == 0 for x in got)
    assert fsum(got) == floor(capacity / quantum + 1e-9) * quantum
