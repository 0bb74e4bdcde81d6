"""What the latency guard's factor means to each law: less leniency, more CPU, and 1 is what it was before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import Container, a_situation, an_interval, law_settings

from mbcasd.estimation import captain, reflex, tobit, usage
from mbcasd.estimation.laws import LAWS
from mbcasd.model.demand import Advice
from mbcasd.settings import EstimatorKind, ForecastKind


def a_container(law, *, leniency: float, limit: float = 1000, **demand: object) -> Container:
    container = Container(law, law_settings(**demand), limit)
    container.leniency = leniency
    return container


@pytest.mark.parametrize(
    ("leniency", "stall_ms", "raises"),
    [(1, 79, False), (0.5, 39, False), (0.5, 41, True), (2, 150, False), (2, 161, True)],
)
def test_the_reflexs_stall_budget_is_multiplied(leniency: float, stall_ms: float, raises: bool) -> None:
    container = a_container(reflex.LAW, leniency=leniency)

    proposal = container.see(usage_ms=90, throttled=1, throttled_ms=stall_ms)

    # 80 ms by default.
    assert (proposal.advice is Advice.RAISE) is raises


def test_a_budget_beyond_what_can_be_exceeded_is_not_asked_for() -> None:
    container = a_container(reflex.LAW, leniency=1000)

    # 4 CPUs: 100 ms each.
    assert container.see(usage_ms=90, throttled=1, throttled_ms=401).advice is Advice.RAISE


@pytest.mark.parametrize(("leniency", "lowest"), [(1, 300), (4, 300), (0.25, 600)])
def test_the_reflex_leaves_headroom_above_the_peak_when_it_is_strict(leniency: float, lowest: float) -> None:
    container = a_container(reflex.LAW, leniency=leniency)

    container.see(usage_ms=30, times=600)

    # The peak of 300m, times 1/√leniency.
    assert container.limit == pytest.approx(lowest, abs=10)


def test_captain_aims_at_less_throttling() -> None:
    usual, strict = (a_container(captain.LAW, leniency=leniency, target_throttling_ratio=0.1) for leniency in (1, 0.1))
    for container in (usual, strict):
        # One of five periods: 20 %, less than three times 10 %, more than three times 1 %.
        for _ in range(20):
            container.see(usage_ms=50, times=4)
            container.see(usage_ms=100, throttled=1, throttled_ms=50)

    assert usual.limit <= 1000 < strict.limit


def test_tobit_adds_the_deviations_that_the_target_moved_by() -> None:
    usual, strict = (a_container(tobit.LAW, leniency=leniency) for leniency in (1, 0.1))
    for container in (usual, strict):
        for _ in range(40):
            container.see(usage_ms=50, times=9, grants=False)
            container.see(usage_ms=100, throttled=1, throttled_ms=20, grants=False)

    assert strict.proposals[-1][1].need_milli > usual.see(elapsed_s=1, periods=10).need_milli


@pytest.mark.parametrize(("leniency", "need"), [(1, 525), (0.5, 550), (0.1, 750), (2, 512.5)])
def test_usage_takes_a_larger_headroom(leniency: float, need: float) -> None:
    container = a_container(usage.LAW, leniency=leniency, forecast=ForecastKind.OFF)

    container.see(usage_ms=50, times=30)

    # 5 % of 500m, divided by the leniency.
    assert container.proposals[-1][1].need_milli == pytest.approx(need, rel=0.01)


@pytest.mark.parametrize("estimator", EstimatorKind)
@given(leniency=st.floats(0.01, 10), throttled=st.lists(st.booleans(), min_size=30, max_size=60))
def test_any_leniency_stays_within_the_contract(estimator, leniency, throttled) -> None:
    law = LAWS[estimator]
    state = law.start(law_settings())
    for i, is_throttled in enumerate(throttled):
        situation = a_situation(1000, leniency=leniency)
        ms = 60.0 if is_throttled else 0.0
        interval = an_interval(i * 0.1 + 0.1, usage_ms=100 - ms / 2, throttled=int(is_throttled), throttled_ms=ms)
        state, proposal = law.observe(state, interval, situation)
        assert 100 <= proposal.need_milli <= 4000
