import pytest
from seen import an_interval

from mbcasd.estimation import window
from mbcasd.model.readings import CpuSample, Interval

BEFORE = CpuSample(10.0, 1_000_000, 100, 10, 50_000, 70_000, 60_000)


def test_an_interval_is_the_difference_of_two_samples() -> None:
    after = CpuSample(10.5, 1_250_000, 105, 13, 80_000, 90_000, 75_000)

    interval = window.between(BEFORE, after)

    assert interval == Interval(10.5, 0.5, 250_000, 5, 3, 30_000, 20_000, 15_000)
    assert interval.usage_milli == 500
    assert interval.throttled_ratio == 0.6


@pytest.mark.parametrize(
    "counter", ["usage_usec", "periods", "throttled_periods", "throttled_usec", "some_usec", "full_usec"]
)
def test_a_counter_that_goes_back_is_a_reset_and_gives_nothing(counter: str) -> None:
    after = BEFORE._replace(read_at_s=11.0, **{counter: getattr(BEFORE, counter) - 1})

    assert window.between(BEFORE, after) is None


@pytest.mark.parametrize("read_at_s", [10.0, 9.0])
def test_no_elapsed_time_gives_nothing(read_at_s: float) -> None:
    assert window.between(BEFORE, BEFORE._replace(read_at_s=read_at_s, usage_usec=2_000_000)) is None


def test_pressure_that_appears_or_vanishes_is_unknown_and_costs_nothing_else() -> None:
    without = BEFORE._replace(some_usec=None, full_usec=None)
    later = BEFORE._replace(read_at_s=11.0, usage_usec=1_100_000)
    later_without = without._replace(read_at_s=11.0, usage_usec=1_100_000)

    for before, after in ((without, later), (BEFORE, later_without)):
        interval = window.between(before, after)

        assert interval is not None
        assert interval.usage_usec == 100_000
        assert interval.some_usec is None
        assert interval.full_usec is None


def test_pooled_intervals_add_up_and_end_with_the_last() -> None:
    first = an_interval(1.0, usage_ms=40, throttled=1, throttled_ms=20, some_ms=30, full_ms=10)
    second = an_interval(1.3, elapsed_s=0.3, usage_ms=60, periods=3, some_ms=5, full_ms=1)

    assert window.pool([first, second]) == an_interval(
        1.3, elapsed_s=0.4, usage_ms=100, periods=4, throttled=1, throttled_ms=20, some_ms=35, full_ms=11
    )


def test_pooled_pressure_is_known_only_where_all_parts_know_it() -> None:
    pooled = window.pool([an_interval(1.0, some_ms=3, full_ms=1), an_interval(1.1)])

    assert pooled.some_usec is None
    assert pooled.full_usec is None


def test_one_interval_pools_to_itself_and_none_is_refused() -> None:
    assert window.pool([an_interval()]) == an_interval()
    with pytest.raises(ValueError, match="no interval"):
        window.pool([])


def test_short_intervals_are_gathered_until_they_fill_a_second() -> None:
    gathered, complete = None, None
    for tenth in range(1, 11):
        assert complete is None
        gathered, complete = window.gather(gathered, an_interval(tenth / 10, usage_ms=10), 1.0)

    assert gathered is None
    assert complete is not None
    assert complete.usage_usec == 100_000
    assert complete.ended_at_s == 1.0
