"""LimitRanges cut wishes before the API server would refuse them."""

import pytest

from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds
from mbcasd.kube.controlling.fitting import Wish, fit


def a_wish(limit: int = 900, request: int | None = 100, now: int = 200) -> Wish:
    return Wish(limit, request, now)


@pytest.mark.parametrize(
    ("bounds", "limit"),
    [
        (NO_BOUNDS, 900),
        (CpuBounds(container_max_milli=500), 500),
        (CpuBounds(container_max_milli=900), 900),
        (CpuBounds(container_ratio=4), 400),  # of a request of 100m
        (CpuBounds(container_ratio=2.555), 255),
        (CpuBounds(container_min_milli=1000), 1000),
        (CpuBounds(pod_max_milli=600), 600),
        (CpuBounds(pod_ratio=3), 300),
    ],
)
def test_one_container_is_held_by_each_kind_of_bound(bounds: CpuBounds, limit: int) -> None:
    fitted = fit({"app": a_wish()}, (0, 0), bounds)

    assert fitted.limits_milli == {"app": limit}
    assert bool(fitted.held) is (limit != 900)


def test_what_a_pod_may_have_is_shared_by_its_raises_in_proportion_to_the_wishes() -> None:
    # 900 + 300 + 100 of another container is 300 above 1000, so each raise ends at 900/1200 of what it should be.
    fitted = fit({"a": a_wish(), "b": a_wish(300)}, (100, 50), CpuBounds(pod_max_milli=1000))

    assert fitted.limits_milli == {"a": 675, "b": 225}
    assert sum(fitted.limits_milli.values()) + 100 <= 1000


def test_what_a_container_has_is_not_taken_for_a_bound_of_the_pod() -> None:
    fitted = fit({"a": a_wish(300, now=300), "b": a_wish(400)}, (0, 0), CpuBounds(pod_max_milli=100))

    assert fitted.limits_milli == {"a": 300, "b": 200}


def test_requests_of_other_containers_count_for_the_pods_ratio() -> None:
    # 2 × (100 + 250) = 700 for all; the others have 300 of it.
    fitted = fit({"app": a_wish()}, (300, 250), CpuBounds(pod_ratio=2))

    assert fitted.limits_milli == {"app": 400}


def test_without_a_request_no_ratio_can_be_kept() -> None:
    assert fit({"app": a_wish(request=None)}, (0, 0), CpuBounds(container_ratio=2)).limits_milli == {"app": 900}


def test_people_are_told_which_bound_it_was() -> None:
    (sentence,) = fit({"app": a_wish()}, (0, 0), CpuBounds(container_max_milli=500)).held

    assert sentence == "app gets 500m: a LimitRange allows no more per container"


def test_what_has_more_than_its_share_already_keeps_it_and_the_others_share_the_rest() -> None:
    # 1000 for 900 and 600 would be 600 and 400, but b has 500; so a gets the other 500.
    fitted = fit({"a": a_wish(), "b": a_wish(600, now=500)}, (0, 0), CpuBounds(pod_max_milli=1000))

    assert fitted.limits_milli == {"a": 500, "b": 500}
