"""What holds for every law, whatever it is fed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import law_settings

from mbcasd.estimation.law import Law, LawSettings, LawState, Situation
from mbcasd.estimation.laws import LAWS
from mbcasd.model.demand import Advice, Proposal, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.settings import CostSettings, EstimatorKind, ForecastKind, Preset

milli = st.floats(10, 64_000)


@st.composite
def settings(draw: st.DrawFn) -> LawSettings:
    return law_settings(
        draw(st.sampled_from(WorkloadClass)),
        preset=draw(st.sampled_from(Preset)),
        cpus=draw(st.integers(1, 64)),
        period_s=draw(st.sampled_from([0.01, 0.1, 0.25, 1.0])),
        cost=CostSettings(
            cost_efficiency_mode=draw(st.booleans()), idle_decay=draw(st.booleans()), probe=draw(st.booleans())
        ),
        forecast=draw(st.sampled_from(ForecastKind)),
        window_s=draw(st.sampled_from([1.0, 5.0, 15.0])),
        stall_budget_ms=draw(st.one_of(st.none(), st.floats(0, 1000))),
        target_throttling_ratio=draw(st.floats(0, 1)),
    )


@st.composite
def steps(draw: st.DrawFn) -> tuple[tuple[Interval, Situation, float], ...]:
    """Intervals of any length, under limits that anybody moves, with what the market grants of each proposal."""
    now_s, seen = 0.0, []
    for _ in range(draw(st.integers(1, 30))):
        elapsed_s = draw(st.one_of(st.just(0.1), st.just(1.0), st.floats(1e-3, 100)))
        now_s += elapsed_s
        periods = draw(st.integers(0, int(elapsed_s * 10) + 1))
        pressure = st.one_of(st.none(), st.integers(0, int(elapsed_s * 1e6)))
        interval = Interval(
            now_s,
            elapsed_s,
            draw(st.integers(0, int(elapsed_s * 64e6))),
            periods,
            draw(st.integers(0, periods)),
            draw(st.one_of(st.just(0), st.integers(0, int(elapsed_s * 64e6)))),
            draw(pressure),
            draw(pressure),
        )
        floor, ceiling = draw(milli), draw(milli)
        situation = Situation(draw(milli), min(floor, ceiling), ceiling, draw(st.booleans()), draw(st.integers(1, 64)))
        seen.append((interval, situation, draw(st.floats(-1, 1))))
    return tuple(seen)


def play(
    law: Law, settings: LawSettings, steps: tuple[tuple[Interval, Situation, float], ...]
) -> list[tuple[LawState, Proposal]]:
    state, told = law.start(settings), []
    for interval, situation, share in steps:
        state, proposal = law.observe(state, interval, situation)
        told.append((state, proposal))
        if proposal.advice is not Advice.KEEP and share > 0:
            granted = situation.limit_milli + share * (proposal.need_milli - situation.limit_milli)
            state = law.settle(state, proposal, situation.limit_milli, granted, interval.ended_at_s)
    return told


def test_every_estimator_of_the_settings_has_a_law() -> None:
    assert set(LAWS) == set(EstimatorKind)


@pytest.mark.parametrize("kind", EstimatorKind)
@given(settings=settings(), steps=steps())
def test_a_need_is_a_number_within_the_contract_and_agrees_with_its_advice(
    kind: EstimatorKind, settings: LawSettings, steps: tuple[tuple[Interval, Situation, float], ...]
) -> None:
    for (_, situation, _), (_, proposal) in zip(steps, play(LAWS[kind], settings, steps), strict=True):
        assert math.isfinite(proposal.need_milli)
        assert situation.floor_milli <= proposal.need_milli <= situation.ceiling_milli
        if proposal.advice is Advice.RAISE:
            assert proposal.need_milli > situation.limit_milli
        elif proposal.advice is Advice.LOWER:
            assert proposal.need_milli < situation.limit_milli
        if situation.in_flight:
            assert proposal.advice is Advice.KEEP
        assert not proposal.urgent or proposal.advice is Advice.RAISE
        assert proposal.reason or proposal.advice is Advice.KEEP


@pytest.mark.parametrize("kind", EstimatorKind)
@given(settings=settings(), steps=steps())
def test_the_same_history_gives_the_same_answers_and_old_states_stay_as_they_were(
    kind: EstimatorKind, settings: LawSettings, steps: tuple[tuple[Interval, Situation, float], ...]
) -> None:
    law = LAWS[kind]
    first = play(law, settings, steps)
    frozen = [repr(told) for told in first]

    assert play(law, settings, steps) == first
    # Each state along the way can be taken up again, in any order.
    for index in reversed(range(len(steps) - 1)):
        law.observe(first[index][0], steps[index + 1][0], steps[index + 1][1])
    assert [repr(told) for told in first] == frozen


@pytest.mark.parametrize("kind", [EstimatorKind.REFLEX, EstimatorKind.CAPTAIN, EstimatorKind.TOBIT])
@given(pressure_usec=st.integers(0, 100_000), usage_ratio=st.floats(0, 0.4))
def test_pressure_alone_raises_no_limit(kind: EstimatorKind, pressure_usec: int, usage_ratio: float) -> None:
    law = LAWS[kind]
    state = law.start(law_settings())
    for tenth in range(1, 151):
        usage_usec = round(usage_ratio * 100_000)
        interval = Interval(tenth / 10, 0.1, usage_usec, 1, 0, 0, pressure_usec, pressure_usec)
        state, proposal = law.observe(state, interval, Situation(1000, 100, 4000, False, 4))
        assert proposal.advice is not Advice.RAISE
