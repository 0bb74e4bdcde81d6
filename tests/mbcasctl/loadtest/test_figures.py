from hypothesis import given
from hypothesis import strategies as st

from mbcasctl.loadtest.figures import percentile, summarise


def test_percentiles_are_values_that_were_measured():
    hundred = [float(n) for n in range(1, 101)]

    assert [percentile(hundred, ratio) for ratio in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert percentile([3.0], 0.99) == 3


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values, ratio):
    ordered = sorted(values)
    answer = percentile(ordered, ratio)

    assert sum(1 for value in ordered if value <= answer) >= ratio * len(ordered) - 1e-6
    assert sum(1 for value in ordered if value < answer) <= ratio * len(ordered)


def test_requests_that_were_never_answered_count_with_the_time_until_the_test_gave_up():
    waits = summarise([0.010, 0.020, 0.150], [5.0])

    assert (waits.requests, waits.unanswered) == (4, 1)
    assert waits.max_ms == 5000
    assert waits.over_slo == 2  # 150 ms, and the one without an answer
    assert waits.over_slo_ratio == 0.5
    assert waits.mean_ms == (10 + 20 + 150 + 5000) / 4


def test_an_unanswered_request_misses_the_target_even_if_the_test_gave_up_early():
    assert summarise([], [0.05]).over_slo == 1


def test_nothing_asked_is_not_zero_waiting():
    waits = summarise([])

    assert (waits.requests, waits.p99_ms, waits.mean_ms, waits.over_slo_ratio) == (0, None, None, None)
