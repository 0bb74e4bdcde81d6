from collections.abc import Callable
from statistics import NormalDist, mean

import cfs_model
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from seen import Container, a_situation, an_interval, law_settings

from mbcasd.estimation import tobit, window
from mbcasd.estimation.target import target_ratio
from mbcasd.model.demand import Advice, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.settings import CostSettings, ForecastKind

K_05 = tobit.deviations_for(0.05)


def seen(limit: float, f: float, u: float, *, periods: int = 150, parallelism: float = 4.0) -> Interval:
    """Some periods at a limit in CPUs, a share `f` of them throttled, with use `u` per period relative to the limit."""
    throttled = round(f * periods)
    return an_interval(
        elapsed_s=periods / 10,
        periods=periods,
        throttled=throttled,
        usage_ms=u * limit * 100 * periods,
        throttled_ms=throttled * 100 * max(0.0, parallelism - limit),
    )


def need(limit: float, interval: Interval, deviations: float = K_05) -> float:
    return tobit.need_milli(interval, limit * 1000, deviations, 0.1) / 1000


@pytest.mark.parametrize("tail", [0.5, 0.3, 0.1, 0.05, 0.01, 1e-3, 1e-6])
def test_deviations_are_those_of_the_normal_distribution(tail: float) -> None:
    assert tobit.deviations_for(tail) == pytest.approx(NormalDist().inv_cdf(1 - tail), abs=1e-8)


@pytest.mark.parametrize("u", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("target", [0.02, 0.1, 0.3])
def test_a_workload_throttled_at_its_target_needs_its_limit(u: float, target: float) -> None:
    assert need(1.0, seen(1.0, target, u), tobit.deviations_for(target)) == pytest.approx(1.0)


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_use_and_throttled_time_add_up_to_the_threads(threads: int) -> None:
    # k CPU-bound threads under a limit of 0.5: U = L, T = k - L.
    jobs = [(0.0, 1000.0)] * threads
    *_, last = cfs_model.run(jobs, 0.5, 10, threads=threads)

    assert (last.usage_usec + last.throttled_usec) / 1e7 == pytest.approx(threads)
    assert last.throttled_periods == last.periods == 100


@given(st.floats(0.01, 0.99), st.integers(0, 299), st.integers(1, 150))
def test_more_throttling_never_means_less_need(u: float, throttled: int, more: int) -> None:
    assume(throttled + more <= 300)
    less = need(1.0, seen(1.0, throttled / 300, u, periods=300))

    assert need(1.0, seen(1.0, (throttled + more) / 300, u, periods=300)) >= less - 1e-9


@given(st.integers(0, 7), st.floats(0, 0.99), st.floats(0.001, 0.01))
def test_more_use_never_means_less_need_while_throttling_is_below_its_target(
    throttled: int, u: float, more: float
) -> None:
    # Above the target it is the other way round, rightly: the same throttling with more use is a narrower spread.
    assert need(1.0, seen(1.0, throttled / 150, u + more)) >= need(1.0, seen(1.0, throttled / 150, u)) - 1e-9


@pytest.mark.parametrize("times", [2, 10, 100])
def test_how_many_periods_were_seen_does_not_matter(times: int) -> None:
    short, long = seen(1.0, 0.1, 0.6), seen(1.0, 0.1, 0.6, periods=150 * times)

    assert need(1.0, long) == pytest.approx(need(1.0, short))


@pytest.mark.parametrize("parallelism", [1.0, 1.5, 4.0, 64.0])
@pytest.mark.parametrize("u", [0.3, 0.9, 1.0, 1.05])
@pytest.mark.parametrize("f", [0.5, 0.8, 1.0])
def test_a_saturated_workload_grows_but_never_beyond_twice_its_limit(f: float, u: float, parallelism: float) -> None:
    assert 1.1 <= need(1.0, seen(1.0, f, u, parallelism=parallelism)) <= 2.0


@given(st.floats(0.01, 1), st.floats(0, 1.0), st.floats(1, 8))
def test_the_parallelism_that_was_seen_bounds_the_need(f: float, u: float, parallelism: float) -> None:
    assert need(1.0, seen(1.0, f, u, parallelism=parallelism)) <= max(1.1, parallelism) + 1e-6


@pytest.mark.parametrize("periods", [0, 1, 2, 150])
@pytest.mark.parametrize("throttled", [0, 1, 150])
@pytest.mark.parametrize("usage_ms", [0, 100, 15_000, 40_000])
def test_the_need_is_a_number_at_every_edge(periods: int, throttled: int, usage_ms: float) -> None:
    interval = an_interval(elapsed_s=15.0, periods=periods, throttled=throttled, usage_ms=usage_ms)

    assert 0 <= need(1.0, interval) <= 2.0


@given(st.integers(0, 20), st.floats(0, 1))
def test_waiting_for_neighbours_raises_nothing(periods: int, u: float) -> None:
    interval = an_interval(elapsed_s=2.0, periods=periods, usage_ms=u * 100 * periods, some_ms=1900, full_ms=1800)

    assert need(1.0, interval) <= 1.0


# Means of windows of 15 s at 1 % throttling, relative to the true need of the same 300 s (algorithms §3.3 states
# −17 … 0 % at and below it, +34 … +43 % at 1.5 times it, and promises −20 … +45 %).
@pytest.mark.parametrize("share", [0.6, 0.8, 1.0, 1.5])
@pytest.mark.parametrize("generator", cfs_model.GENERATORS, ids=lambda generator: generator.__name__)
def test_it_recovers_the_true_need_of_six_kinds_of_load(
    generator: Callable[[int, float], cfs_model.Jobs], share: float
) -> None:
    duration_s, target = 300, 0.01
    jobs = generator(7, duration_s)
    true_cores = cfs_model.true_need_cores(jobs, duration_s, target)
    samples = list(cfs_model.run(jobs, share * true_cores, duration_s))
    windows = [window.between(samples[end - 150], samples[end]) for end in range(150, len(samples), 150)]

    needs = [need(share * true_cores, each, tobit.deviations_for(target)) for each in windows if each is not None]

    if generator is cfs_model.steady and share < 1:
        # Without any spread it is saturated below its need, and only known to need more: it doubles.
        assert mean(needs) == pytest.approx(2 * share * true_cores, rel=0.01)
    else:
        assert 0.80 <= mean(needs) / true_cores <= 1.45


def test_targets_go_by_class_and_cost_mode() -> None:
    classes = (WorkloadClass.LATENCY, WorkloadClass.STANDARD, WorkloadClass.BATCH)

    assert [target_ratio(law_settings(each)) for each in classes] == pytest.approx([0.02, 0.05, 0.10])
    cheap = CostSettings(cost_efficiency_mode=True)
    assert target_ratio(law_settings(cost=cheap)) == 0.10
    assert target_ratio(law_settings(target_throttling_ratio=0.0)) > 0


def a_container(limit: float = 1000, **settings: object) -> Container:
    return Container(tobit.LAW, law_settings(forecast=ForecastKind.OFF, **settings), limit)  # type: ignore[arg-type]


def test_a_saturated_workload_is_raised_within_a_second() -> None:
    container = a_container()

    container.see(usage_ms=100, throttled=1, throttled_ms=300, times=10)

    (at_s, proposal) = container.proposals[-1]
    assert (round(at_s, 1), proposal.advice, proposal.urgent, proposal.need_milli) == (1.0, Advice.RAISE, True, 2000)


def test_a_decrease_waits_for_a_full_window() -> None:
    container = a_container()

    container.see(usage_ms=20, times=300)

    first = container.proposals[0]
    assert round(first[0]) == 15
    assert first[1].advice is Advice.LOWER
    assert 500 < first[1].need_milli <= 900


def test_a_limit_that_moves_in_the_window_discards_it() -> None:
    container = a_container()
    container.see(usage_ms=100, throttled=1, throttled_ms=300, times=9)

    container.limit = 1500
    container.see(usage_ms=100, throttled=1, throttled_ms=300)

    assert container.state.window == ()
    assert container.state.gathered is None
    assert container.proposals == []


def test_a_resize_under_way_discards_the_window() -> None:
    container = a_container()
    container.see(usage_ms=100, throttled=1, throttled_ms=300, times=9)

    container.see(in_flight=True, usage_ms=100, throttled=1, throttled_ms=300, times=20)

    assert container.proposals == []
    assert container.state.window == ()


def test_the_correction_learns_from_throttling_but_not_from_what_the_market_withholds() -> None:
    # 8 % throttled: above the target of 5 %, not enough evidence for a raise with the limit at its ceiling.
    free, held = a_container(), a_container()
    free.ceiling = 1000
    for second in range(16):
        for tenth in range(10):
            throttled = int((second * 10 + tenth) % 12 == 0)
            free.see(usage_ms=70, throttled=throttled, throttled_ms=40 * throttled)
        held.see(grants=False, times=10, usage_ms=100, throttled=1, throttled_ms=200)

    start = tobit.start(law_settings()).deviations
    assert free.state.deviations == pytest.approx(start + 0.5 * 13 / 150 - 0.5 * 0.05, abs=0.01)
    assert held.state.deviations == start


def test_a_forecast_above_the_estimate_is_what_it_needs() -> None:
    settings = law_settings(forecast=ForecastKind.EWMA)
    container = Container(tobit.LAW, settings, 1000)
    for second in range(60):
        container.see(grants=False, times=10, usage_ms=30 if second % 5 else 95)

    peaks = [p.need_milli for _, p in container.proposals]
    assert all(peak <= 2000 for peak in peaks)
    assert "forecast" in container.see(grants=False, times=10, usage_ms=95).reason


def test_idle_decay_needs_no_full_window() -> None:
    container = a_container(cost=CostSettings(idle_decay=True))

    container.see(times=10)

    assert container.limit == 100


def test_without_a_quota_elapsed_time_counts_as_periods() -> None:
    state = tobit.start(law_settings(forecast=ForecastKind.OFF))
    for second in range(1, 17):
        state, proposal = tobit.observe(
            state, an_interval(second, elapsed_s=1.0, periods=0, usage_ms=100), a_situation(4000)
        )

    assert proposal.advice is Advice.LOWER
