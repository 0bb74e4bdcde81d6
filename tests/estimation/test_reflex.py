import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import Container, a_situation, an_interval, law_settings

from mbcasd.estimation import reflex
from mbcasd.model.demand import Advice, WorkloadClass
from mbcasd.settings import CostSettings, Preset

# Made by the simulator that the law was found with: `reflex-vectors.json` beside algorithms.md.
VECTORS = json.loads((Path(__file__).parents[1] / "data/reflex/reflex-vectors.json").read_text())["vectors"]

HUNGRY = {"usage_ms": 100, "throttled": 1, "throttled_ms": 300}
QUIET = {"usage_ms": 30}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_law_decides_as_its_reference_does(vector: dict[str, Any]) -> None:
    config = vector["config"]
    preset = Preset.HL if config["avg"] == 5 else Preset.K
    settings = law_settings(preset=preset, period_s=config["period_ms"] / 1000, stall_budget_ms=config["theta_ms"])
    container = Container(
        reflex.LAW, settings, config["limit"] * 1000, floor=config["floor"] * 1000, ceiling=config["ceil"] * 1000
    )
    for repeat, (usage_ms, throttled, throttled_ms, full_ms, *in_flight) in vector["samples_run_length"]:
        container.see(
            times=repeat,
            usage_ms=usage_ms,
            throttled=throttled,
            throttled_ms=throttled_ms,
            some_ms=full_ms if config["psi"] else None,
            full_ms=full_ms if config["psi"] else None,
            in_flight=bool(in_flight),
        )

    decisions = [[round(at_s * 10) - 1, p.need_milli / 1000, p.advice.value] for at_s, p in container.proposals]
    assert decisions == vector["decisions"]
    assert container.limit / 1000 == vector["final_limit_cores"]
    assert container.state.debt_ms == pytest.approx(vector["final_debt_ms"], abs=2e-3)
    assert container.state.streak == vector["final_streak"]


def theta_ms(workload_class: WorkloadClass, preset: Preset, cpus: int = 4, *, wide: bool = False, **more: Any) -> float:
    return reflex.stall_budget_ms(law_settings(workload_class, preset=preset, cpus=cpus, **more), wide=wide)


def test_the_stall_budget_goes_by_preset_and_class() -> None:
    latency, standard, batch = WorkloadClass.LATENCY, WorkloadClass.STANDARD, WorkloadClass.BATCH

    assert [theta_ms(each, Preset.K) for each in (latency, standard, batch)] == [40, 80, 400]
    assert [theta_ms(each, Preset.H) for each in (latency, standard, batch)] == [40, 80, 400]
    assert [theta_ms(each, Preset.HL) for each in (latency, standard, batch)] == [0, 40, 400]
    assert theta_ms(standard, Preset.H, wide=True) == 150
    assert theta_ms(standard, Preset.K, wide=True) == 80


def test_no_budget_exceeds_what_the_cpus_could_ever_owe() -> None:
    assert theta_ms(WorkloadClass.STANDARD, Preset.H, cpus=1, wide=True) == 100
    assert theta_ms(WorkloadClass.BATCH, Preset.K, cpus=2) == 200
    assert theta_ms(WorkloadClass.STANDARD, Preset.K, cpus=2, stall_budget_ms=800.0) == 200
    assert theta_ms(WorkloadClass.BATCH, Preset.K, stall_budget_ms=30.0) == 30


def test_cost_mode_doubles_the_budget_unless_it_was_set_by_hand() -> None:
    cost = CostSettings(cost_efficiency_mode=True)

    assert theta_ms(WorkloadClass.STANDARD, Preset.K, cost=cost) == 160
    assert theta_ms(WorkloadClass.STANDARD, Preset.K, cost=cost, stall_budget_ms=50.0) == 50


def test_a_workload_that_uses_two_cpus_gets_the_wider_budget_on_a_host_with_burst() -> None:
    narrow = Container(reflex.LAW, law_settings(preset=Preset.H), 2000)
    wide = Container(reflex.LAW, law_settings(preset=Preset.H), 2000)
    narrow.see(usage_ms=90, times=10)
    wide.see(usage_ms=180, times=10)

    # 100 ms of debt are more than 80 and less than 150.
    assert narrow.see(usage_ms=90, throttled=1, throttled_ms=100).advice is Advice.RAISE
    assert wide.see(usage_ms=180, throttled=1, throttled_ms=100).advice is Advice.KEEP


def test_a_container_held_by_the_price_keeps_its_debt_and_its_streak_does_not_grow() -> None:
    held = Container(reflex.LAW, law_settings(), 1000)

    for _ in range(50):
        proposal = held.see(grants=False, **HUNGRY)

        # Not 2.0 after a while, however long it has to wait.
        assert (proposal.advice, proposal.need_milli, proposal.urgent) == (Advice.RAISE, 1300, True)
    assert held.state.streak == 0
    assert held.state.debt_ms == pytest.approx(600)


def test_a_part_of_what_was_asked_counts_as_a_raise() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    proposal = container.see(grants=False, **HUNGRY)

    container.settle(proposal, 1100)

    assert container.state.debt_ms == 150
    assert container.see(**HUNGRY).advice is Advice.KEEP  # 0.1 s later
    assert container.see(**HUNGRY).need_milli == 1860  # 1.3² × 1100 = 1859, in steps of 10m


def test_a_raise_that_ended_as_a_cut_was_none() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    proposal = container.see(grants=False, **HUNGRY)
    before = container.state

    assert container.settle(proposal, 900) == before


def test_a_cut_by_the_market_is_no_decrease_to_roll_back() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    container.see(usage_ms=90, times=5)

    container.limit = 400  # the market's doing: nothing was proposed, nothing is settled

    assert container.see(**HUNGRY).need_milli == 520


def test_at_its_ceiling_it_does_not_call_for_the_market() -> None:
    container = Container(reflex.LAW, law_settings(), 1000, ceiling=1000)

    for _ in range(20):
        proposal = container.see(**HUNGRY)
        assert (proposal.advice, proposal.need_milli, proposal.urgent) == (Advice.KEEP, 1000, False)


def test_a_limit_above_the_ceiling_asks_for_the_ceiling() -> None:
    container = Container(reflex.LAW, law_settings(), 3000, ceiling=1000)

    assert container.see(**HUNGRY).need_milli == 1000


def test_a_limit_that_others_move_is_simply_the_limit() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    container.see(usage_ms=40, times=9)
    container.limit = 2000

    assert container.see(usage_ms=40).need_milli == 1000  # half of what is in force now


@pytest.mark.parametrize("usage_ms", [0, 20, 50, 80, 95])
def test_pressure_that_no_throttling_follows_is_the_neighbours_and_never_drives_the_limit_up(usage_ms: float) -> None:
    container = Container(reflex.LAW, law_settings(), 1000)

    container.see(usage_ms=usage_ms, some_ms=100, full_ms=95, times=600)

    # Where a quota may have been used up, so many samples are believed as a period spans, here two.
    raises = [proposal for _, proposal in container.proposals if proposal.advice is Advice.RAISE]
    assert len(raises) <= 2
    assert container.limit <= 1300


def test_pressure_counts_again_once_throttling_was_seen() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    container.see(grants=False, usage_ms=95, some_ms=100, full_ms=95, times=20)
    assert container.see(usage_ms=95, some_ms=100, full_ms=95).advice is Advice.KEEP

    container.see(grants=False, usage_ms=95, throttled=1, throttled_ms=5, some_ms=5, full_ms=5)

    assert container.see(usage_ms=95, some_ms=100, full_ms=95).advice is Advice.RAISE


def test_pressure_that_fills_the_time_exceeds_even_a_batch_budget() -> None:
    # Pressure is wall time: four waiting CPUs show 100 ms per sample, not 400.
    container = Container(reflex.LAW, law_settings(WorkloadClass.BATCH), 500)

    container.see(usage_ms=50, throttled=1, throttled_ms=350, some_ms=90, full_ms=90, times=3)

    assert [proposal.advice for _, proposal in container.proposals] == [Advice.RAISE]


def test_one_second_counts_as_ten_samples() -> None:
    tenths = Container(reflex.LAW, law_settings(), 1000)
    seconds = Container(reflex.LAW, law_settings(), 1000)

    for second in range(12):
        usage_ms = 50 + 10 * second
        tenths.see(grants=False, times=10, usage_ms=usage_ms, throttled=1, throttled_ms=20)
        seconds.see(
            grants=False,
            elapsed_s=1.0,
            usage_ms=10 * usage_ms,
            periods=10,
            throttled=10,
            throttled_ms=200,
        )

    assert seconds.state.debt_ms == pytest.approx(tenths.state.debt_ms)
    assert seconds.state.peaks_cores == pytest.approx(tenths.state.peaks_cores)
    assert reflex._unpack(seconds.state.recent)[-1] == pytest.approx(reflex._unpack(tenths.state.recent)[-1])
    assert len(seconds.state.recent) == len(tenths.state.recent) == reflex._RECENT_BYTES
    assert seconds.see(elapsed_s=1.0, usage_ms=100).advice is Advice.KEEP


def test_an_idle_container_seen_once_per_second_is_lowered_and_raised_like_a_busy_one() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)

    container.see(elapsed_s=1.0, usage_ms=100, periods=2)
    assert container.limit == 500
    # It wakes up: a second with 600 ms of stall owes 2 × 60 × (1 - 2⁻¹⁰) = 120 ms.
    proposal = container.see(elapsed_s=1.0, usage_ms=500, periods=10, throttled=9, throttled_ms=600)
    assert (proposal.advice, proposal.need_milli) == (Advice.RAISE, 1000)


@given(
    stall_ms_per_s=st.floats(0, 4000),
    parts=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=6),
)
def test_how_often_a_steady_stall_is_seen_does_not_change_the_debt(stall_ms_per_s: float, parts: list[float]) -> None:
    whole = Container(reflex.LAW, law_settings(), 1000)
    cut = Container(reflex.LAW, law_settings(), 1000)

    whole.see(grants=False, elapsed_s=sum(parts), throttled=0, throttled_ms=stall_ms_per_s * sum(parts))
    for part_s in parts:
        cut.see(grants=False, elapsed_s=part_s, throttled=0, throttled_ms=stall_ms_per_s * part_s)

    assert cut.state.debt_ms == pytest.approx(whole.state.debt_ms, rel=1e-3, abs=0.05)


@pytest.mark.parametrize("late_s", [-0.004, 0.0, 0.004])
def test_a_sample_a_little_early_or_late_is_on_time(late_s: float) -> None:
    container = Container(reflex.LAW, law_settings(), 1000)

    container.see(elapsed_s=0.1 + late_s, **HUNGRY)
    container.see(elapsed_s=0.1 + late_s, **HUNGRY)
    container.see(elapsed_s=0.1 - 2 * late_s, **HUNGRY)

    assert [round(at_s, 1) for at_s, _ in container.proposals] == [0.1, 0.3]


def test_a_tick_of_the_usage_counter_in_a_very_short_interval_is_no_peak() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    container.see(usage_ms=4, elapsed_s=0.001)
    container.see(usage_ms=10, times=9)

    # 4 ms in 1 ms would be four CPUs and forbid a decrease for ten seconds.
    assert container.see(usage_ms=10).need_milli == 500


def test_the_ten_second_maximum_forgets_after_ten_seconds() -> None:
    container = Container(reflex.LAW, law_settings(), 1000)
    container.see(usage_ms=90)

    container.see(usage_ms=10, times=99)
    assert container.proposals == []  # 0.9 is above 0.85 of the limit, for as long as it is remembered
    container.see(usage_ms=10, times=10)
    assert [(round(at_s), p.need_milli) for at_s, p in container.proposals] == [(11, 500)]


def test_idle_decay_does_not_wait_for_the_maximum() -> None:
    container = Container(reflex.LAW, law_settings(cost=CostSettings(idle_decay=True)), 1000)
    container.see(usage_ms=90, times=20)

    container.see(usage_ms=0, times=10)

    assert [p for _, p in container.proposals][-1].need_milli == 100


def test_probing_shaves_a_percent_per_calm_second_until_it_stalls() -> None:
    container = Container(reflex.LAW, law_settings(cost=CostSettings(probe=True)), 1000)

    for _ in range(50):
        container.see(usage_ms=95, grants=False)
    shaved = [p.need_milli for _, p in container.proposals]
    assert shaved == [990, 990, 980, 970, 960]  # 0.99, 0.9801, 0.970, 0.961, 0.951: rounded up
    container.see(usage_ms=95, throttled=1, throttled_ms=10)
    assert container.state.calm_blocks == -1
    assert container.see(usage_ms=95, times=9).advice is Advice.KEEP


def test_nothing_is_proposed_while_a_resize_is_under_way() -> None:
    state = reflex.start(law_settings())
    for tenth in range(100):
        interval = an_interval(tenth / 10, usage_ms=100, throttled=1, throttled_ms=300)
        state, proposal = reflex.observe(state, interval, a_situation(in_flight=True))
        assert proposal.advice is Advice.KEEP


def test_its_floor_is_a_tenth_of_a_cpu_unless_the_ceiling_is_lower() -> None:
    small = Container(reflex.LAW, law_settings(), 200, floor=10)
    tiny = Container(reflex.LAW, law_settings(), 50, floor=10, ceiling=50)

    small.see(times=200)
    assert small.limit == 100
    tiny.see(times=200, **HUNGRY)
    assert tiny.limit == 50
