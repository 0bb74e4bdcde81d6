"""The engine on a node that behaves: what people are promised, second by second."""

import itertools
from dataclasses import replace

import pytest
from fakes.node import FakeNode, FakeWorkload, hungry, steady
from hypothesis import given
from hypothesis import strategies as st

from mbcasd import engine
from mbcasd.model.decision import HeldBy, Observation, RunMode
from mbcasd.model.market import Mode
from mbcasd.settings import EstimatorKind, GuardrailSettings, LoopSettings, MarketSettings, Settings


def local_settings(**more: object) -> Settings:
    return Settings(loops=LoopSettings(slow_loop_interval_s=5.0), **more)  # type: ignore[arg-type]


def test_a_throttled_worker_reaches_its_need_within_two_seconds() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings())

    node.run(2.0)

    # One thread can use one CPU: 200m × 1.3 × 1.69 × 2 … passes 1000m.
    assert node.limit("web") >= 1000


def test_the_first_raise_comes_within_three_tenths_of_a_second_of_the_first_stall() -> None:
    node = FakeNode({"web": FakeWorkload(lambda t: 100.0 if t < 5 else 1000.0, 200.0)}, settings=local_settings())

    node.run(6.0)

    raised_at_s = next(at_s for at_s, resize in node.resizes if not resize.is_decrease)
    assert 5.0 <= raised_at_s <= 5.3


def test_a_law_is_not_bothered_with_what_does_nothing_at_its_floor_and_answers_at_once_when_it_wakes() -> None:
    # The law itself goes no lower than 100m, whatever the contract allows.
    worker = FakeWorkload(lambda t: 0.0 if t < 60 else 1000.0, 400.0, floor_milli=10)
    node = FakeNode({"web": worker}, settings=local_settings())
    node.run(40.0)
    assert node.limit("web") == 100
    remembered = []
    for _ in range(19):  # what is idle is read once a second
        node.now_s += 1.0
        seen = Observation(samples={node.id("web"): worker.sample(node.now_s)})
        node.state, _ = engine.step(node.state, seen, node.now_s)
        remembered.append(node.state.pulses[node.id("web")].law)
    assert all(law is remembered[2] for law in remembered[2:])

    node.run(3.0)
    raised_at_s = next(at_s for at_s, resize in node.resizes if not resize.is_decrease)
    assert 60.0 <= raised_at_s <= 60.3


def test_what_is_not_needed_is_given_back_by_the_optimizer_within_two_of_its_passes() -> None:
    node = FakeNode({"web": steady(100, 1000)}, settings=local_settings())

    node.run(12.0)

    # Halved at most once per pass, and not below what it uses and its floor.
    assert node.limit("web") == pytest.approx(250, abs=10)
    assert all(at_s > 1.0 for at_s, _ in node.resizes)


def test_two_hungry_workers_share_the_surplus_by_weight() -> None:
    node = FakeNode(
        {"gold": hungry(500, weight=3, floor_milli=10), "iron": hungry(500, floor_milli=10)},
        capacity_milli=500.0,  # × overcommit 2 = 1000m of limits
        settings=local_settings(),
    )

    node.run(20.0)

    gold, iron = node.limit("gold"), node.limit("iron")
    assert gold is not None
    assert iron is not None
    # 1000 − 2 × 10 = 980 of surplus: 735 + 10 and 245 + 10.
    assert (gold - 10) / (iron - 10) == pytest.approx(3, rel=0.05)
    assert node.state.tracks[node.id("gold")].held_by is HeldBy.PRICE


@pytest.mark.parametrize("latency_s", [0.0, 0.2, 1.0])
def test_the_sum_of_limits_never_exceeds_the_bound_once_it_was_reached(latency_s: float) -> None:
    node = FakeNode(
        {f"w{i}": hungry(100, threads=2) for i in range(6)},
        capacity_milli=1000.0,
        settings=local_settings(),
        latency_s=latency_s,
    )

    node.run(30.0)

    assert max(node.sums_milli) <= 2000 + 1e-6
    assert max(node.sums_milli) >= 1900


def test_limits_above_the_bound_come_down_before_anything_is_raised() -> None:
    node = FakeNode({"big": steady(900, 3000), "small": hungry(100)}, capacity_milli=1000.0, settings=local_settings())

    node.run(6.0)

    assert [resize.is_decrease for _, resize in node.resizes[:1]] == [True]
    assert node.sums_milli[-1] <= 2000


def test_no_limit_goes_below_ten_millicores_even_when_floors_do_not_fit() -> None:
    node = FakeNode(
        {f"w{i}": hungry(100, floor_milli=100) for i in range(20)},
        capacity_milli=500.0,  # bound 1000m, floors 2000m: overloaded
        settings=local_settings(),
    )

    node.run(10.0)

    modes = {decision.clearing.mode for _, decision in node.decisions if decision.clearing}
    assert Mode.OVERLOADED in modes
    assert all((w.limit_milli or 0) >= 10 for w in node.workloads.values())
    assert node.sums_milli[-1] <= 1000


def test_nothing_is_lowered_within_the_cooldown_of_a_confirmed_change() -> None:
    node = FakeNode({"web": FakeWorkload(lambda t: 1000.0 if t < 2 else 50.0, 200.0)}, settings=local_settings())

    node.run(20.0)

    for (before_s, before), (after_s, after) in zip(node.resizes, node.resizes[1:], strict=False):
        if after.is_decrease:
            assert after_s - before_s >= 5.0 - 1e-6, (before, after)


def test_observe_mode_plans_but_starts_nothing() -> None:
    node = FakeNode({"web": hungry(200)}, run_mode=RunMode.OBSERVE, settings=local_settings())

    node.run(6.0)

    assert node.resizes == []
    assert node.limit("web") == 200
    assert any(decision.plan for _, decision in node.decisions)


def test_a_limit_that_somebody_else_set_is_reported_once_and_left_alone() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings())
    node.run(3.0)
    node.workloads["web"].limit_milli = 300.0
    asked = len(node.resizes)

    node.run(10.0)

    events = [event for _, decision in node.decisions for event in decision.events if event.kind == "drift"]
    assert len(events) == 1
    assert "left alone" in events[0].message
    assert node.limit("web") == 300
    assert len(node.resizes) == asked
    assert node.state.tracks[node.id("web")].held_by is HeldBy.OWNER


def test_a_reload_takes_a_drifted_workload_back_into_the_market() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings())
    node.run(3.0)
    node.workloads["web"].limit_milli = 300.0
    node.run(3.0)

    node.state = engine.reconfigure(node.state, node.config, node.now_s)
    node.run(3.0)

    assert node.limit("web") > 300


def test_where_changes_are_followed_a_limit_moved_outside_is_the_new_level() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings(), follows_changes=True)
    node.run(3.0)
    node.workloads["web"].limit_milli = 300.0

    node.run(10.0)

    events = [event for _, decision in node.decisions for event in decision.events if event.kind == "moved"]
    assert len(events) == 1
    assert "moved outside" in events[0].message
    assert node.limit("web") > 300


def test_a_group_gains_nothing_by_having_more_members() -> None:
    alone = {"one": hungry(100, floor_milli=10, group="small", group_weight=2.0)}
    crowd = {f"w{i}": hungry(100, floor_milli=10, group="large", group_weight=1.0) for i in range(4)}
    node = FakeNode({**alone, **crowd}, capacity_milli=410.0, settings=local_settings())

    node.run(20.0)

    # 2 × 410 − 5 × 10 = 770 of surplus, two thirds of it for the group with twice the weight.
    one, several = node.limit("one"), sum(node.limit(name) for name in crowd)
    assert one - 10 == pytest.approx(770 * 2 / 3, abs=15)
    assert several - 40 == pytest.approx(770 / 3, abs=30)


def test_a_refused_resize_is_reported_and_tried_again_later_and_later() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings(), refuse=lambda resize: "permission denied")

    node.run(30.0)

    asked_at_s = [at_s for at_s, _ in node.resizes]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(asked_at_s)]
    # 5, 10, 20 s between tries.
    assert gaps_s[0] >= 5
    assert gaps_s == sorted(gaps_s)
    assert node.limit("web") == 200


def test_a_recreated_cgroup_starts_afresh() -> None:
    node = FakeNode({"web": hungry(200)}, settings=local_settings())
    node.run(5.0)
    node.workloads["web"] = steady(10, 400, inode=2)

    node.run(2.0)

    assert node.state.tracks[node.id("web")].appeared_at_s > 5
    assert node.limit("web") == 400


def test_a_workload_that_appears_later_is_not_lowered_during_its_grace() -> None:
    node = FakeNode({"web": steady(10, 400)}, settings=local_settings())
    node.run(3.0)
    node.workloads["new"] = steady(10, 400)

    node.run(30.0)
    assert node.limit("new") == 400

    node.run(30.0)
    assert node.limit("new") < 400


def test_a_vanished_workload_gives_its_room_to_the_others() -> None:
    node = FakeNode(
        {"a": hungry(500), "b": hungry(500)},
        capacity_milli=500.0,
        settings=local_settings(),
    )
    node.run(5.0)
    del node.workloads["b"]

    node.run(5.0)

    assert node.limit("a") == pytest.approx(1000, abs=10)


def test_an_unlimited_workload_gets_a_limit_at_its_cap_at_most() -> None:
    node = FakeNode({"free": hungry(None, cap_milli=2000)}, settings=local_settings())

    node.run(6.0)

    assert node.limit("free") is not None
    assert node.limit("free") <= 2000


def test_the_guard_raises_for_a_law_that_is_slow() -> None:
    slow = local_settings()
    slow = replace(slow, demand=replace(slow.demand, estimator=EstimatorKind.USAGE))
    guarded = FakeNode({"web": hungry(200)}, settings=slow)
    unguarded = FakeNode({"web": hungry(200)}, settings=replace(slow, guardrail=GuardrailSettings(enabled=False)))

    guarded.run(10.0)
    unguarded.run(10.0)

    assert guarded.limit("web") > 1.5 * unguarded.limit("web")
    assert any(event.kind == "guard" for _, decision in guarded.decisions for event in decision.events)


def test_what_is_not_managed_takes_from_the_capacity_but_at_most_half() -> None:
    node = FakeNode({"web": hungry(200)}, capacity_milli=None, usage_milli=4000.0, settings=local_settings())

    node.run(60.0)

    # 4000m × 90 % = 3600m allocatable; 4000m − its own 1000m are used by others, but half stays.
    assert node.state.capacity.capacity_milli == pytest.approx(1800, rel=0.05)


def test_the_dead_band_spares_writes() -> None:
    node = FakeNode({"web": steady(930, 1000)}, settings=local_settings())

    node.run(30.0)

    assert node.resizes == []


def test_a_step_is_pure() -> None:
    node = FakeNode({"web": hungry(200), "db": steady(50)}, settings=local_settings())
    node.run(1.0)
    seen = Observation(samples={node.id(name): w.sample(9.0) for name, w in node.workloads.items()})

    first = engine.step(node.state, seen, 9.0)
    second = engine.step(node.state, seen, 9.0)

    assert first == second


@given(
    wants=st.lists(st.floats(0, 3000), min_size=1, max_size=6),
    limits=st.lists(st.floats(10, 4000), min_size=6, max_size=6),
    weights=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    capacity=st.floats(100, 4000),
    overcommit=st.sampled_from([1.0, 2.0, 3.0]),
)
def test_bounds_hold_for_any_node(
    wants: list[float], limits: list[float], weights: list[float], capacity: float, overcommit: float
) -> None:
    node = FakeNode(
        {
            f"w{i}": FakeWorkload(lambda _, milli=milli: milli, round(limits[i]), threads=3, weight=weights[i])
            for i, milli in enumerate(wants)
        },
        capacity_milli=capacity,
        settings=local_settings(market=MarketSettings(overcommit=overcommit)),
    )
    began_milli = sum(w.limit_milli or 0 for w in node.workloads.values())

    node.run(8.0)

    bound_milli = capacity * overcommit
    # Above the bound only as far as the owners had gone already, and never upwards.
    assert all(total <= max(bound_milli, began_milli) + 1e-6 for total in node.sums_milli)
    assert all((w.limit_milli or 0) >= 10 for w in node.workloads.values())
