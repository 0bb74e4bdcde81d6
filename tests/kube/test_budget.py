from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.clock import SteppedClock
from mbcasd.kube.budget import Budget


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    budget = Budget(2.0, 3, clock=SteppedClock())
    assert [budget.reserve(60.0) for _ in range(6)] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]


def test_time_fills_it_up_again_but_not_above_the_burst():
    clock = SteppedClock()
    budget = Budget(2.0, 3, clock=clock)
    for _ in range(3):
        budget.reserve(0.0)
    clock.advance(1.0)
    assert [budget.reserve(0.0) for _ in range(3)] == [0.0, 0.0, None]
    clock.advance(3600.0)
    assert [budget.reserve(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, None]


def test_who_will_not_wait_takes_no_place():
    budget = Budget(1.0, 1, clock=SteppedClock())
    assert budget.reserve(0.0) == 0.0
    assert budget.reserve(0.5) is None
    assert budget.reserve(1.0) == 1.0


def test_threads_get_a_place_each():
    budget = Budget(1.0, 10, clock=SteppedClock())
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: budget.reserve(1000.0), range(100)))
    assert sorted(waits) == [0.0] * 10 + [pytest.approx(float(number)) for number in range(1, 91)]


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 50), st.integers(1, 10))
def test_no_span_of_time_has_more_than_burst_and_rate_allow(pauses_s, per_s, burst):
    clock = SteppedClock()
    budget = Budget(per_s, burst, clock=clock)
    goes_s = []
    for pause_s in pauses_s:
        clock.advance(pause_s)
        wait_s = budget.reserve(1e9)
        goes_s.append(clock.now_s() + wait_s)
    for first, begin_s in enumerate(goes_s):
        for last in range(first, len(goes_s)):
            assert last - first + 1 <= burst + (goes_s[last] - begin_s) * per_s + 1e-6
