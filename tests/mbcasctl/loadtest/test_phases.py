import pytest

from mbcasctl.loadtest import phases
from mbcasctl.loadtest.phases import PHASES, Phase
from mbcasctl.loadtest.workloads import WORKER_A, WORKER_B
from mbcasd.errors import ConfigError


def test_the_four_phases_are_those_of_the_requirements():
    # Warm-up 2 min at 10 rps, saturation 5 min at 50, contention 5 min at 100, bursty 3 min with spikes.
    assert [(p.name, p.duration_s, p.rate_rps) for p in PHASES] == [
        ("warm-up", 120, 10),
        ("saturation", 300, 50),
        ("contention", 300, 100),
        ("bursty", 180, 50),
    ]
    assert PHASES[-1].spike_rate_rps is not None
    assert phases.total_s(PHASES) == 15 * 60


def test_a_phase_without_spikes_has_one_rate():
    assert list(Phase(name="x", duration_s=60, rate_rps=7).segments()) == [(0.0, 60, 7)]


def test_a_spike_ends_each_stretch_and_the_last_stretch_may_be_cut_off():
    bursty = Phase(name="x", duration_s=25, rate_rps=1, spike_rate_rps=9, spike_every_s=10, spike_s=3)

    assert list(bursty.segments()) == [(0, 7, 1), (7, 10, 9), (10, 17, 1), (17, 20, 9), (20, 25, 1)]
    assert [bursty.rate_at(s) for s in (0, 6.9, 7, 9.9, 10, 24)] == [1, 1, 9, 9, 1, 1]


def test_scaling_keeps_the_pattern():
    bursty = PHASES[-1].scaled(time_scale=0.1, rate_scale=0.5)

    # 180 s -> 18 s with a spike of 0.8 s every 3 s; 50 -> 25 and 150 -> 75 rps.
    assert bursty.duration_s == pytest.approx(18)
    assert (bursty.spike_every_s, bursty.spike_s) == (pytest.approx(3), pytest.approx(0.8))
    assert (bursty.rate_rps, bursty.spike_rate_rps) == (25, 75)


def test_the_default_rate_keeps_contention_below_what_fixed_limits_give_the_workers():
    for cpus in (1, 2, 4):
        rate_rps = 100 * phases.default_rate_scale(cpus)
        for worker in (WORKER_A, WORKER_B):
            need_milli = rate_rps * worker.mean_cpu_s * 1000
            assert 0.6 < need_milli / (worker.reference_milli * cpus / 4) < 0.9


def test_the_default_rate_is_never_more_than_all_of_it():
    assert phases.default_rate_scale(64) == 1


def test_phases_are_picked_by_name_in_the_order_of_the_test():
    assert [p.name for p in phases.select(["bursty", "warm-up"])] == ["warm-up", "bursty"]
    assert phases.select([]) == PHASES


def test_an_unknown_phase_is_refused_with_the_names_that_exist():
    with pytest.raises(ConfigError, match=r"'warmup' is no phase; there are warm-up, saturation, contention, bursty"):
        phases.select(["warmup"])


@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_a_demo_takes_about_the_time_that_it_was_given(seconds):
    half = phases.for_demo(seconds, rate_scale=0.14)

    assert [p.name for p in half] == [p.name for p in PHASES]
    assert seconds - 8 <= 2 * phases.total_s(half) <= seconds
    # Two spikes that a person can watch, however short the phase.
    assert len([1 for _, _, rate in half[-1].segments() if rate == half[-1].spike_rate_rps]) == 2
