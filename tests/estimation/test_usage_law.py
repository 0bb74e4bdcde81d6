import pytest
from seen import Container, law_settings

from mbcasd.estimation import usage
from mbcasd.model.demand import Advice
from mbcasd.settings import CostSettings, ForecastKind


def a_container(limit: float = 1000, **settings: object) -> Container:
    return Container(usage.LAW, law_settings(**{"forecast": ForecastKind.OFF, **settings}), limit)  # type: ignore[arg-type]


def test_the_need_is_smoothed_use_and_five_percent() -> None:
    container = a_container()

    proposal = container.see(usage_ms=40, times=10)
    assert (proposal.advice, proposal.need_milli) == (Advice.LOWER, pytest.approx(420))
    # 0.3 of the way from 400 to 800, then five percent
    assert container.see(usage_ms=80, times=10, grants=False).need_milli == pytest.approx(520 * 1.05)


def test_samples_of_a_tenth_are_gathered_to_the_second_that_the_weights_mean() -> None:
    tenths, second = a_container(), a_container()
    for usage_ms in (20, 100):
        tenths.see(usage_ms=usage_ms / 2, times=5, grants=False)
        tenths.see(usage_ms=usage_ms * 1.5, times=5, grants=False)
        second.see(elapsed_s=1.0, usage_ms=usage_ms * 10, periods=10, grants=False)

    assert tenths.state.smoothed_milli == pytest.approx(second.state.smoothed_milli)


def test_it_cannot_discover_demand_above_the_limit_faster_than_its_headroom() -> None:
    container = a_container(100)

    for _ in range(30):
        # Ten CPUs' worth of work wait; it uses what it may.
        container.see(times=10, usage_ms=container.limit / 10, throttled=1, throttled_ms=300)

    # 5 % per second at the very most: the seed's rule as the requirements text has it.
    assert container.limit <= 100 * 1.05**30


def test_a_forecast_above_the_smoothed_use_is_what_it_needs() -> None:
    container = a_container(4000, forecast=ForecastKind.EWMA)
    for second in range(120):
        container.see(times=10, usage_ms=100 if second % 3 == 0 else 20, grants=False)

    proposal = container.see(times=10, usage_ms=20, grants=False)
    assert proposal.reason.startswith("forecast peak")
    assert proposal.need_milli > 900


def test_idle_decay_does_not_wait_for_the_half_life() -> None:
    container = a_container(cost=CostSettings(idle_decay=True))
    container.see(usage_ms=80, times=10)

    assert container.see(times=10).need_milli == 100


def test_nothing_is_proposed_between_two_seconds_or_while_a_resize_is_under_way() -> None:
    container = a_container()

    assert container.see(usage_ms=10, times=9).advice is Advice.KEEP
    assert container.see(usage_ms=10, in_flight=True, times=50).advice is Advice.KEEP
