import json
from math import inf

import msgspec
import pytest

from mbcasd.kube.allocating.limitranges import NO_BOUNDS, LimitRange, bounds_of


def ranges(*items):
    whole = {"metadata": {"name": "l", "namespace": "shop"}, "spec": {"limits": list(items)}}
    return bounds_of([msgspec.json.decode(json.dumps(whole), type=LimitRange)])


def test_a_container_has_a_maximum_a_minimum_and_a_ratio_to_its_request():
    bounds = ranges(
        {"type": "Container", "max": {"cpu": "500m"}, "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "4"}}
    )

    assert bounds.container_min_milli == 50
    assert bounds.cap_milli("app", {"app": (200, 100)}) == 400  # 4 × 100
    assert bounds.cap_milli("app", {"app": (200, 200)}) == 500


def test_what_a_pod_may_have_is_divided_by_what_the_owner_had_given():
    bounds = ranges({"type": "Pod", "max": {"cpu": "1"}})
    owned = {"app": (300, 100), "proxy": (100, 50)}

    caps = {name: bounds.cap_milli(name, owned) for name in owned}

    assert caps == {"app": 750, "proxy": 250}
    assert sum(caps.values()) == pytest.approx(1000)


def test_a_pods_ratio_counts_all_its_requests():
    bounds = ranges({"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}})
    # 2 × (100 + 100) = 400, three quarters of it for the larger one.
    assert bounds.cap_milli("app", {"app": (300, 100), "proxy": (100, 100)}) == 300


def test_of_several_the_strictest_counts_and_memory_does_not():
    bounds = ranges(
        {"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}},
        {"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    )
    assert bounds.cap_milli("app", {"app": (200, 100)}) == 1000
    assert bounds.container_min_milli == 0


def test_without_any_there_is_no_bound():
    assert bounds_of([]) == NO_BOUNDS
    assert NO_BOUNDS.cap_milli("app", {"app": (0, 0)}) == inf
