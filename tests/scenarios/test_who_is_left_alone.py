"""Pods that must not be resized are not, whatever they would like to have, and the agent says why of each."""

from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from scenarios.grounds import ALLOCATIONS, Grounds
from scenarios.mbcas import mbcas, why_not
from scenarios.waiting import wait_until, watch_for
from scenarios.workloads import RunningPod, a_worker

pytestmark = pytest.mark.node

MOVES_WITHIN_S = 30.0


def hungry(**more: Any) -> dict[str, Any]:
    return a_container(milli=300, **{"limit": "50m", "request": "10m", **more})


def same(cpu: str) -> dict[str, Any]:
    both = {"cpu": cpu, "memory": "32Mi"}
    return {"resources": {"requests": both, "limits": both}}


# name of the pod: (the pod, a word of the reason)
LEFT_ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "guaranteed": (a_pod("guaranteed", hungry(**same("50m")), node="node-1"), "Guaranteed"),
    "best-effort": (a_pod("best-effort", hungry(limit=None, request=None), node="node-1"), "BestEffort"),
    "without-limit": (a_pod("without-limit", hungry(limit=None), node="node-1"), "no CPU limit"),
    "restarts": (
        a_pod(
            "restarts",
            hungry(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            node="node-1",
        ),
        "resizePolicy",
    ),
    "critical": (
        a_pod("critical", hungry(), node="node-1", priorityClassName="system-cluster-critical"),
        "priority class",
    ),
    "labelled-out": (a_pod("labelled-out", hungry(), node="node-1", labels={"mbcas.io/managed": "false"}), "opted out"),
    "ignored": (a_pod("ignored", hungry(), node="node-1", annotations={"mbcas.io/ignore": "true"}), "opted out"),
}


def test_each_kind_is_left_alone_with_its_reason(
    ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for pod, _ in LEFT_ALONE.values():
        cluster.create(pods, pod)
    with cluster.namespace(managed=False) as elsewhere, mbcas(ground, tmp_path) as both:
        cluster.create(f"/api/v1/namespaces/{elsewhere}/pods", a_pod("unasked", hungry(), node="node-1"))
        witness = RunningPod(cluster, namespace, a_pod("witness", a_worker(), node="node-1"))
        witness.need(500)
        wait_until(lambda: (witness.quota_milli() or 0) >= 500, MOVES_WITHIN_S, "others are moved", both.words)
        for name, (_, word) in LEFT_ALONE.items():
            wait_until(
                lambda name=name, word=word: word in why_not(both.agent, name), 15, f"{name}: {word}", both.words
            )
        wait_until(lambda: "not opted in" in why_not(both.agent, "unasked"), 15, "unasked", both.words)

        before = {name: cluster.get(f"{pods}/{name}")["metadata"]["generation"] for name in LEFT_ALONE}
        watch_for(3)
        assert before == {name: cluster.get(f"{pods}/{name}")["metadata"]["generation"] for name in LEFT_ALONE}
        found = cluster.get(f"{ALLOCATIONS}/podallocations")["items"]
        assert {one["spec"]["podName"] for one in found} == {"witness"}
