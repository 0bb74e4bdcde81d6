import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import an_interval

from mbcasd.estimation import stall

# Five seconds on a two-CPU machine with kernel 6.18, measured: see the table of `test_measured_…`.
SECOND = {"elapsed_s": 1.0, "periods": 10}


def split(limit_milli: float | None, cpus: int, **interval: object) -> tuple[float, float, float]:
    found = stall.split(an_interval(**{**SECOND, **interval}), limit_milli, cpus)  # type: ignore[arg-type]
    assert found is not None
    return found.limit_ratio, found.neighbour_ratio, found.self_ratio


def test_measured_spinner_held_by_its_quota_waits_for_its_limit() -> None:
    # One spinner, quota 50 %: some 50.0, full 50.0, usage 50 %, all periods throttled. T = 1 - 0.5.
    shares = split(500, 2, usage_ms=500, throttled=10, throttled_ms=500, some_ms=500, full_ms=500)

    assert shares == pytest.approx((1, 0, 0))


def test_measured_spinner_beside_an_outsider_waits_for_its_neighbour() -> None:
    # The same pressure without a quota and without a throttled period.
    shares = split(None, 2, usage_ms=500, some_ms=500, full_ms=500)

    assert shares == pytest.approx((0, 1, 0))


def test_measured_two_spinners_on_two_cpus_wait_for_their_limit() -> None:
    # Quota 100 %: some 54.8, full 31.0, usage 99.6 %, 39 of 50 periods throttled; U + T = 2.
    limit, neighbour, own = split(
        1000, 2, elapsed_s=5.0, periods=50, usage_ms=4980, throttled=39, throttled_ms=5000, some_ms=2740, full_ms=1550
    )

    # T / 2 CPUs = 2.5 s of the 2.74 s
    assert limit == pytest.approx(2500 / 2740)
    assert neighbour == 0
    assert own == pytest.approx(240 / 2740)


def test_measured_two_spinners_on_one_cpu_wait_for_each_other() -> None:
    # No quota: some 100, full 0.4.
    shares = split(None, 1, usage_ms=996, some_ms=1000, full_ms=4)

    assert shares == pytest.approx((0, 0.004, 0.996))


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_k_threads_under_a_quota_are_limit_bound_on_any_number_of_cpus(threads: int) -> None:
    # U = L, T = k - L, and every CPU waits 1 - L/k of the time: some = full = 1 - L/k.
    limit = 0.5
    waited_ms = 1000 * (1 - limit / threads)
    shares = split(
        500, 8, usage_ms=500, throttled=10, throttled_ms=1000 * (threads - limit), some_ms=waited_ms, full_ms=waited_ms
    )

    assert shares == pytest.approx((1, 0, 0))


def test_a_rare_job_that_is_throttled_is_limit_bound_too() -> None:
    # One job of 25 ms at a limit of 200m: 20 ms run, then 80 ms held.
    shares = split(200, 4, usage_ms=25, periods=2, throttled=1, throttled_ms=80, some_ms=80, full_ms=80)

    assert shares == pytest.approx((1, 0, 0))


def test_limit_and_neighbour_share_what_both_caused() -> None:
    shares = split(500, 2, usage_ms=400, throttled=6, throttled_ms=300, some_ms=600, full_ms=600)

    # Six throttled periods with 50 ms each: 0.5 + 0.5 = one CPU at a time.
    assert shares == pytest.approx((0.5, 0.5, 0))


def test_more_threads_than_cpus_are_their_own_doing_even_under_a_quota() -> None:
    # Eight threads, two CPUs, limit 1: each CPU is held half of the time, and always has someone waiting.
    shares = split(1000, 2, usage_ms=1000, throttled=10, throttled_ms=1000, some_ms=1000, full_ms=500)

    assert shares == pytest.approx((0.5, 0, 0.5))


def test_without_pressure_nothing_is_known() -> None:
    assert stall.split(an_interval(throttled=1, throttled_ms=90), 1000, 4) is None
    assert stall.split(an_interval(some_ms=5), 1000, 4) is None


def test_who_never_waited_has_no_shares() -> None:
    assert split(1000, 4, usage_ms=300, some_ms=0, full_ms=0) == (0, 0, 0)


@given(
    usage_ms=st.floats(0, 8000),
    periods=st.integers(0, 20),
    throttled=st.integers(0, 20),
    throttled_ms=st.floats(0, 20_000),
    some_ms=st.floats(0, 1200),
    full_ms=st.floats(0, 1200),
    limit=st.one_of(st.none(), st.floats(10, 64_000)),
    cpus=st.integers(1, 64),
)
def test_shares_are_ratios_that_sum_to_one_whenever_it_waited(
    limit: float | None, cpus: int, some_ms: float, **interval: float
) -> None:
    found = stall.split(an_interval(elapsed_s=1.0, some_ms=some_ms, **interval), limit, cpus)  # type: ignore[arg-type]

    assert found is not None
    shares = (found.limit_ratio, found.neighbour_ratio, found.self_ratio)
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1 if found.stalled_s > 0 else 0)
