import pytest

from mbcasctl.loadtest.counters import Sight, between
from mbcasd.model.readings import CpuSample


def a_sight(at_s: float, *, usage_ms: float = 0, periods: int = 0, throttled: int = 0, limit: float | None = 500):
    sample = CpuSample(at_s, round(usage_ms * 1000), periods, throttled, throttled * 1000)
    return Sight(at_s, {"web": sample}, {"web": limit})


def test_counters_become_rates_between_the_nearest_sightings():
    sights = [
        a_sight(0),
        a_sight(10.1, usage_ms=1000, periods=100, throttled=10),
        a_sight(20.1, usage_ms=3000, periods=200, throttled=60),
        a_sight(30, usage_ms=9000, periods=300, throttled=99),
    ]
    web = between(sights, 10, 20)["web"]

    # 2000 ms of CPU within 10 s; 50 of 100 periods.
    assert web.usage_milli == pytest.approx(200)
    assert web.used_core_s == pytest.approx(2)
    assert web.throttled_ratio == 0.5
    assert web.throttled_s == pytest.approx(0.05)


def test_a_limit_holds_until_the_next_sighting():
    sights = [a_sight(0, limit=100), a_sight(1, limit=300), a_sight(4, limit=300)]
    web = between(sights, 0, 4)["web"]

    assert web.mean_limit_milli == pytest.approx((1 * 100 + 3 * 300) / 4)
    assert (web.max_limit_milli, web.limit_changes) == (300, 1)


def test_a_workload_that_was_unlimited_at_some_time_has_no_mean_limit():
    web = between([a_sight(0, limit=None), a_sight(1, limit=300)], 0, 1)["web"]

    assert (web.mean_limit_milli, web.max_limit_milli) == (None, None)


def test_one_sighting_says_nothing():
    assert between([a_sight(1)], 0, 2) == {}
    assert between([], 0, 2) == {}


def test_a_cgroup_that_never_wanted_to_run_was_not_throttled():
    assert between([a_sight(0), a_sight(1)], 0, 1)["web"].throttled_ratio == 0
