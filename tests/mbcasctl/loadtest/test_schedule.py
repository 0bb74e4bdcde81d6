import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasctl.loadtest.phases import PHASES, Phase
from mbcasctl.loadtest.schedule import MAX_REQUESTS, Arrivals, plan
from mbcasd.errors import ConfigError

A_PHASE = st.builds(
    Phase,
    name=st.sampled_from(["a", "b", "c"]),
    duration_s=st.floats(0.01, 20),
    rate_rps=st.floats(0, 50),
    spike_rate_rps=st.none() | st.floats(0, 100),
    spike_every_s=st.floats(1, 5),
    spike_s=st.floats(0, 1),
)


@given(st.lists(A_PHASE, max_size=4), st.integers(), st.sampled_from(Arrivals))
def test_arrivals_rise_and_lie_within_their_phase(phases, seed, arrivals):
    schedule = plan(phases, seed=seed, arrivals=arrivals)
    bounds_s = schedule.boundaries_s()

    assert list(schedule.offsets_s) == sorted(schedule.offsets_s)
    for offset_s, index in zip(schedule.offsets_s, schedule.phase_of, strict=True):
        assert bounds_s[index] <= offset_s <= bounds_s[index + 1] + 1e-9


def test_the_same_seed_draws_the_same_arrivals_and_another_seed_others():
    assert plan(PHASES, seed=7) == plan(PHASES, seed=7)
    assert plan(PHASES, seed=7).offsets_s != plan(PHASES, seed=8).offsets_s


def test_leaving_a_phase_out_does_not_move_the_arrivals_of_the_others():
    def within_bursty(schedule):
        last = len(schedule.phases) - 1
        start_s = schedule.boundaries_s()[last]
        pairs = zip(schedule.offsets_s, schedule.phase_of, strict=True)
        return [offset_s - start_s for offset_s, index in pairs if index == last]

    assert within_bursty(plan(PHASES, seed=1)) == pytest.approx(within_bursty(plan(PHASES[3:], seed=1)))


def test_poisson_arrivals_have_the_asked_rate_and_irregular_gaps():
    offsets_s = plan([Phase(name="x", duration_s=1000, rate_rps=20)], seed=3).offsets_s

    # 20 000 are expected; the standard deviation of a Poisson count is its root, 141.
    assert len(offsets_s) == pytest.approx(20_000, abs=5 * 141)
    gaps = [later - sooner for sooner, later in itertools.pairwise(offsets_s)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert spread == pytest.approx(mean, rel=0.05)  # an exponential's deviation is its mean


def test_uniform_arrivals_are_evenly_spaced():
    schedule = plan([Phase(name="x", duration_s=1, rate_rps=4)], seed=1, arrivals=Arrivals.UNIFORM)

    assert schedule.offsets_s == (0.125, 0.375, 0.625, 0.875)


def test_more_requests_than_memory_should_hold_are_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=f"6000000 requests are more than {MAX_REQUESTS}: use a smaller --scale"):
        plan([Phase(name="x", duration_s=60_000, rate_rps=100)], seed=1)


def test_no_phase_and_no_rate_give_no_arrivals():
    assert plan([], seed=1).offsets_s == ()
    assert plan([Phase(name="x", duration_s=10, rate_rps=0)], seed=1).offsets_s == ()
