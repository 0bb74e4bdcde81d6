"""The guardrail amends bids, and only for real shortages."""

import pytest

from mbcasd.guarding import throttling
from mbcasd.model.readings import Interval
from mbcasd.settings import GuardrailSettings

GUARD = GuardrailSettings()


def two_seconds(throttled: int, stalled_ms: float) -> Interval:
    return Interval(10.0, 2.0, 400_000, 20, throttled, int(stalled_ms * 1000))


def test_most_periods_throttled_with_real_time_lost_is_a_shortage() -> None:
    assert throttling.is_short(two_seconds(10, 200), GUARD)


def test_an_exact_fit_is_none() -> None:
    # Every period counts as throttled, yet no time is lost.
    assert not throttling.is_short(two_seconds(20, 0), GUARD)


def test_a_few_throttled_periods_are_the_estimators_business() -> None:
    assert not throttling.is_short(two_seconds(9, 500), GUARD)


@pytest.mark.parametrize(("throttled", "factor"), [(10, 1.2), (12, 1.3), (20, 2.0)])
def test_the_raise_grows_with_the_throttling_between_its_bounds(throttled: int, factor: float) -> None:
    # 1 + 3 × (f − 0.5): 1.0 → 1.2, 1.3, 2.5 → 2.
    assert throttling.raise_factor(two_seconds(throttled, 500), GUARD) == pytest.approx(factor)


def test_the_guarded_need_holds_for_the_cooldown_then_gives_way() -> None:
    guarded = throttling.trigger(None, 800.0, now_s=100.0)

    assert throttling.least_need_milli(guarded, GUARD, 129.0) == 800
    # 30 s of cooldown, then 10 % less per 15 s.
    assert throttling.least_need_milli(guarded, GUARD, 145.0) == pytest.approx(720)
    assert throttling.least_need_milli(guarded, GUARD, 100 + 30 + 120) == 0


def test_a_new_trigger_renews_the_guard() -> None:
    again = throttling.trigger(throttling.trigger(None, 800.0, 100.0), 900.0, 120.0)

    assert throttling.least_need_milli(again, GUARD, 149.0) == 900
    assert again.triggers == 2


def test_without_a_trigger_the_guard_asks_for_nothing() -> None:
    assert throttling.least_need_milli(None, GUARD, 0.0) == 0
