"""What owners had set: kept through restarts, given back on opt-out, and theirs to change at any time."""

from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.control_plane import MERGE_PATCH
from cluster.pods import a_pod
from scenarios.grounds import ALLOCATIONS, Grounds
from scenarios.mbcas import Mbcas, mbcas
from scenarios.waiting import must, wait_until, watch_for
from scenarios.workloads import RunningPod, a_worker

pytestmark = pytest.mark.node

MOVES_WITHIN_S = 30.0


def a_moved_pod(cluster: Cluster, namespace: str, both: Mbcas) -> RunningPod:
    """One whose owner had set 200m and that MBCAS has given more."""
    web = RunningPod(cluster, namespace, a_pod("web", a_worker(limit="200m"), node="node-1"))
    web.need(400)
    wait_until(lambda: (web.quota_milli() or 0) >= 400, MOVES_WITHIN_S, "it is moved", both.words)
    wait_until(lambda: web.phase().startswith("Applied"), MOVES_WITHIN_S, "it is told", both.words)
    return web


@pytest.mark.parametrize("way", ["the pod's label", "the pod's annotation", "the namespace's label"])
def test_opting_out_puts_the_owners_value_back_and_forgets(
    way: str, ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with mbcas(ground, tmp_path) as both:
        web = a_moved_pod(cluster, namespace, both)
        if way == "the pod's label":
            web.mark(labels={"mbcas.io/managed": "false"})
        elif way == "the pod's annotation":
            web.mark(annotations={"mbcas.io/ignore": "true"})
        else:
            change = {"metadata": {"labels": {"mbcas.io/managed": "false"}}}
            code, answer = cluster.request("PATCH", f"/api/v1/namespaces/{namespace}", change, MERGE_PATCH)
            assert code == 200, answer
        wait_until(lambda: web.quota_milli() == 200, MOVES_WITHIN_S, "200m is back", both.words)
        wait_until(lambda: web.allocation() is None, MOVES_WITHIN_S, "nothing is left", both.words)

        assert (web.limit_milli(), web.request_milli(), web.restarts()) == (200, 100, 0)


def test_the_owners_value_survives_agents_and_controllers_that_are_killed(
    ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with mbcas(ground, tmp_path) as both:
        web = a_moved_pod(cluster, namespace, both)
        for daemon in both:
            daemon.kill()
            daemon.start()
        for daemon in both:
            daemon.wait_ready()
        web.need(1000)
        wait_until(lambda: (web.quota_milli() or 0) >= 600, 60, "it goes on", both.words)
        allocation = web.allocation()
        assert allocation is not None
        assert allocation["spec"]["original"] == [{"name": "main", "limitMilli": 200, "requestMilli": 100}]

        web.mark(labels={"mbcas.io/managed": "false"})
        wait_until(lambda: web.quota_milli() == 200, MOVES_WITHIN_S, "200m is back", both.words)


def test_a_rollout_with_another_template_is_the_new_original(
    ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    def template(limit: str) -> dict[str, object]:
        pod = a_pod("web", a_worker(limit=limit, needs_milli=400), node="node-1", labels={"app": "web"})
        del pod["metadata"]["name"]
        return pod

    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("200m")}
    cluster.create(path, {"metadata": {"name": "web"}, "spec": spec | {"strategy": {"type": "Recreate"}}})
    with mbcas(ground, tmp_path) as both:

        def moved(original_milli: int) -> bool:
            found = cluster.get(f"{ALLOCATIONS}/namespaces/{namespace}/podallocations")["items"]
            return [one["spec"]["original"][0]["limitMilli"] for one in found if "status" in one] == [original_milli]

        wait_until(lambda: moved(200), 60, "the first one is moved", both.words)
        code, answer = cluster.request("PATCH", f"{path}/web", {"spec": {"template": template("300m")}}, MERGE_PATCH)
        assert code == 200, answer
        wait_until(lambda: moved(300), 60, "the second one is moved, from 300m", both.words)


def test_somebody_elses_resize_is_told_and_not_fought(
    ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with mbcas(ground, tmp_path) as both:
        web = a_moved_pod(cluster, namespace, both)
        web.resize(limits={"cpu": "333m"})
        wait_until(lambda: web.phase() == "Failed ChangedByOther", MOVES_WITHIN_S, "it is told", both.words)
        watch_for(6, lambda: must(web.limit_milli() == 333))

        # Whoever deletes the object says: go on from here.
        allocation = web.allocation()
        assert allocation is not None
        code, answer = cluster.request(
            "DELETE", f"{ALLOCATIONS}/namespaces/{namespace}/podallocations/{allocation['metadata']['name']}"
        )
        assert code == 200, answer
        wait_until(lambda: (web.quota_milli() or 0) >= 400, MOVES_WITHIN_S, "it goes on", both.words)
        allocation = web.allocation()
        assert allocation is not None
        assert allocation["spec"]["original"] == [{"name": "main", "limitMilli": 333, "requestMilli": 100}]


def test_a_pod_that_is_made_again_under_its_name_is_another_one(
    ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with mbcas(ground, tmp_path) as both:
        first = a_moved_pod(cluster, namespace, both)
        cluster.pods.delete(namespace, "web")
        second = RunningPod(cluster, namespace, a_pod("web", a_worker(limit="250m"), node="node-1"))
        second.need(400)
        wait_until(lambda: (second.quota_milli() or 0) >= 400, MOVES_WITHIN_S, "it is moved", both.words)

        allocation = second.allocation()
        assert allocation is not None
        assert second.uid != first.uid
        assert allocation["spec"]["original"] == [{"name": "main", "limitMilli": 250, "requestMilli": 100}]
