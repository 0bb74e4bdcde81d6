from math import inf, log

import pytest
from builders import a_bid

from mbcasd.allocation.utility import nash_product, satisfaction


def test_satisfaction_runs_from_the_floor_to_the_cap():
    assert satisfaction(100, 100, 900) == 0
    assert satisfaction(300, 100, 900) == 0.25
    assert satisfaction(900, 100, 900) == 1


def test_without_a_range_one_is_satisfied_and_below_the_floor_not_at_all():
    assert satisfaction(100, 100, 100) == 1
    assert satisfaction(40, 100, 900) == 0


def test_the_nash_product_is_weighted_surplus():
    found = nash_product([a_bid("a"), a_bid("b", weight=2)], [300, 500])

    assert found.log_product == pytest.approx(log(200) + 2 * log(400))
    assert found.least_relative_surplus == 0.25
    assert found.counted == 2


def test_bids_without_range_or_weight_do_not_make_the_product_nothing():
    found = nash_product([a_bid("a"), a_bid("fixed", cap=100), a_bid("free", weight=0)], [300, 100, 100])

    assert found.log_product == pytest.approx(log(200))
    assert found.counted == 1


def test_one_without_surplus_makes_it_nothing_and_the_least_surplus_says_who_it_is_like():
    assert nash_product([a_bid("a"), a_bid("b")], [300, 100]) == (-inf, 0, 2)


def test_where_nobody_counts_there_is_no_least():
    assert nash_product([a_bid("fixed", cap=100)], [100]) == (0, None, 0)
