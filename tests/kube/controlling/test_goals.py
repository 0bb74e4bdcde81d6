"""What containers may have next: bounded, in steps, cooled down, in the same QoS class."""

from dataclasses import replace
from typing import Any

import pytest
from rigs.resizing import a_container, a_pod, cpu

from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds
from mbcasd.kube.controlling.goals import Next, next_values
from mbcasd.kube.controlling.pods import ResizablePod, containers_of
from mbcasd.kube.objects import ContainerCpu
from mbcasd.settings import ResizeSettings


def ahead(
    pod: ResizablePod, *wanted: ContainerCpu, bounds: CpuBounds = NO_BOUNDS, cooling: bool = False, **settings: Any
) -> Next:
    return next_values(pod, containers_of(pod), wanted, bounds, replace(ResizeSettings(), **settings), cooling=cooling)


def a_pod_of(limit: int, request: int = 100, *, memory: tuple[str, str] = ("64Mi", "128Mi")) -> ResizablePod:
    resources = {
        "requests": {"cpu": f"{request}m", "memory": memory[0]},
        "limits": {"cpu": f"{limit}m", "memory": memory[1]},
    }
    return a_pod(a_container(resources=resources))


SAME_MEMORY = ("64Mi", "64Mi")


def test_what_was_decided_is_what_comes_next() -> None:
    assert ahead(a_pod_of(200), cpu(300)) == Next(values=(cpu(300),))


@pytest.mark.parametrize(
    ("now", "to", "steps"),
    [
        (200, 1000, [400, 800, 1000]),
        (1000, 100, [500, 250, 130, 100]),  # 125 is rounded up: at most half is taken
        (10, 50, [20, 40, 50]),
        (15, 31, [30, 31]),
        (200, 400, [400]),
        (200, 210, [210]),
    ],
)
def test_far_targets_are_reached_in_steps(now: int, to: int, steps: list[int]) -> None:
    request = min(now, 10)
    taken = []
    while now != to:
        following = ahead(a_pod_of(now, request), cpu(to))
        now = following.values[0].limit_milli
        taken.append(now)
        assert following.is_step is (now != to)

    assert taken == steps


def test_a_factor_too_small_for_the_quantum_still_moves_by_one() -> None:
    assert ahead(a_pod_of(10, 5), cpu(100), max_step_factor=1.2).values == (cpu(20),)
    assert ahead(a_pod_of(30, 5), cpu(10), max_step_factor=1.2).values == (cpu(20),)


def test_never_less_than_the_minimum() -> None:
    assert ahead(a_pod_of(20, 5), cpu(10), minimum_milli=15).values == (cpu(15),)


def test_a_decrease_waits_for_the_cooldown_and_a_raise_beside_it_does_not() -> None:
    pod = a_pod(a_container(), a_container("other"))

    following = ahead(pod, cpu(150), cpu(300, name="other"), cooling=True)

    assert following.values == (cpu(200), cpu(300, name="other"))
    assert following.is_cooling


def test_a_request_that_is_kept_holds_its_limit_up() -> None:
    following = ahead(a_pod_of(200, 150), cpu(120))

    assert following.values == (cpu(150),)
    assert following.held == "app gets 150m: its request is that much"


def test_a_request_that_moves_stays_below_the_limit_of_each_step() -> None:
    assert ahead(a_pod_of(200), cpu(1000, 900)).values == (cpu(400, 400),)


def test_a_burstable_pod_with_equal_memory_never_gets_equal_cpu() -> None:
    pod = a_pod_of(200, 100, memory=SAME_MEMORY)

    kept, moved = ahead(pod, cpu(100)), ahead(pod, cpu(300, 300))

    assert kept.values == (cpu(110),)
    assert "would be Guaranteed" in kept.held
    assert moved.values == (cpu(300, 290),)


def test_where_another_container_keeps_the_class_equality_is_fine() -> None:
    resources = {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}
    same = a_container(
        resources={"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
    )

    assert ahead(a_pod(same, a_container("other", resources=resources)), cpu(100)).values == (cpu(100),)


def test_a_guaranteed_pod_moves_with_its_request() -> None:
    pod = a_pod_of(200, 200, memory=SAME_MEMORY)

    assert ahead(pod, cpu(1000, 1000)).values == (cpu(400, 400),)
    assert ahead(pod, cpu(300, 200)).values == (cpu(300, 300),)


def test_a_limit_range_is_kept_and_told() -> None:
    following = ahead(a_pod_of(400), cpu(700), bounds=CpuBounds(container_max_milli=500))

    assert following.values == (cpu(500),)
    assert "LimitRange" in following.held


def test_a_limit_above_a_new_maximum_comes_down_in_steps() -> None:
    following = ahead(a_pod_of(1000), cpu(1000), bounds=CpuBounds(container_max_milli=300))

    assert following.values == (cpu(500),)
