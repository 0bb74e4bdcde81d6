"""Requests that the controller is told to move, on a node that has no room for them yet, or never will."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from scenarios.daemons import Role, running
from scenarios.grounds import Grounds
from scenarios.mbcas import controller_flags
from scenarios.waiting import must, wait_until, watch_for
from scenarios.workloads import RunningPod

pytestmark = pytest.mark.node

MOVES_WITHIN_S = 30.0
# The kubelet tries again as soon as another pod is gone; the controller hears of it at once.
RESOLVES_WITHIN_S = 60.0


@pytest.fixture
def controller(ground: Grounds, tmp_path: Path) -> Iterator[Role]:
    with running("controller", tmp_path / "controller", *controller_flags(ground), "--mode", "enforce") as controller:
        yield controller


def calm(**cpu: str) -> dict[str, object]:
    return a_container(milli=1, **cpu)


def test_a_request_that_is_deferred_is_in_force_once_there_is_room(
    ground: Grounds, cluster: Cluster, namespace: str, controller: Role
) -> None:
    # The node has 2000m for requests: 1500m are taken, so 800m do not fit beside them.
    blocker = a_pod("blocker", calm(request="1500m", limit="1600m"), node="node-2")
    cluster.pods.start(namespace, blocker)
    web = RunningPod(cluster, namespace, a_pod("web", calm(request="100m", limit="450m"), node="node-2"))
    ground.decide(web.seen(), limitMilli=900, requestMilli=800)
    wait_until(lambda: web.phase() == "Pending Deferred", MOVES_WITHIN_S, "it is told", controller.words)
    conditions = {one["type"]: one["status"] for one in (web.allocation() or {})["status"]["conditions"]}
    assert conditions["ResizePending"] == "True"
    # All of it or nothing: the limit waits with the request.
    watch_for(2, lambda: must(web.quota_milli() == 450))

    cluster.pods.delete(namespace, "blocker")
    wait_until(lambda: web.quota_milli() == 900, RESOLVES_WITHIN_S, "it has its limit", controller.words)
    wait_until(lambda: web.phase() == "Applied Resized", MOVES_WITHIN_S, "it is told", controller.words)
    assert (web.request_milli(), web.limit_milli(), web.restarts()) == (800, 900, 0)
    conditions = {one["type"]: one["status"] for one in (web.allocation() or {})["status"]["conditions"]}
    assert conditions.get("ResizePending") != "True"


def test_a_request_that_no_node_has_is_refused_and_the_pod_left_alone(
    ground: Grounds, cluster: Cluster, namespace: str, controller: Role
) -> None:
    web = RunningPod(cluster, namespace, a_pod("web", calm(request="1000m", limit="2000m"), node="node-2"))
    ground.decide(web.seen(), limitMilli=4000, requestMilli=3000)
    wait_until(lambda: web.phase().startswith("Failed"), MOVES_WITHIN_S, "it is told", controller.words)

    assert web.phase() in {"Failed NodeCapacity", "Failed Infeasible"}
    watch_for(2, lambda: must(web.limit_milli() == 2000 and web.request_milli() == 1000))
