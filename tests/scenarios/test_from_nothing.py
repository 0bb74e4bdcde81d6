"""From a cluster that has never heard of MBCAS and back: image, manifests and commands, as users have them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_pod
from scenarios.grounds import favour_pods
from scenarios.waiting import wait_until
from scenarios.workloads import RunningPod, a_worker

pytestmark = [pytest.mark.node, pytest.mark.binary]

PROJECT = Path(__file__).parents[2]
IMAGE = "localhost/mbcas:tested"
SYSTEM = "/api/v1/namespaces/mbcas-system"
PART_OF = "labelSelector=app.kubernetes.io%2Fpart-of%3Dmbcas"
# Built from what dist/ holds; unpacking it on two nodes takes the longest.
IMPORTED_WITHIN_S = 120
RUNS_WITHIN_S = "3m"


@pytest.fixture(scope="module")
def image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The project's container image, on every node."""
    archive = tmp_path_factory.mktemp("image") / "mbcas.tar"
    made = subprocess.run(
        [sys.executable, PROJECT / "packaging" / "image.py", "--name", IMAGE, "--output", archive],
        capture_output=True,
        text=True,
        check=False,
        timeout=IMPORTED_WITHIN_S,
    )
    assert made.returncode == 0, made.stderr
    cluster.import_image(archive)
    return IMAGE


@pytest.fixture
def clean(cluster: Cluster) -> Iterator[None]:
    """Whatever a test leaves is removed."""
    yield
    mbcasctl(cluster, "uninstall", "--force")


def mbcasctl(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", *words, "--kubeconfig", cluster.kubeconfig],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def agents(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The agents' pods by node."""
    found = cluster.get(f"{SYSTEM}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dagent")["items"]
    return {pod["spec"]["nodeName"]: pod for pod in found}


def agent_status(cluster: Cluster, node: str) -> dict[str, Any]:
    """What an agent tells through the API server's own proxy."""
    name = agents(cluster)[node]["metadata"]["name"]
    answer = cluster.get(f"{SYSTEM}/pods/{name}:9102/proxy/status")
    return json.loads(answer) if isinstance(answer, str) else answer


def words(cluster: Cluster) -> str:
    """The ends of all logs of MBCAS's pods."""
    names = [pod["metadata"]["name"] for pod in cluster.get(f"{SYSTEM}/pods")["items"]]
    return "\n".join(f"{name}:\n{cluster.pods.logs('mbcas-system', name)[-3000:]}" for name in names)


def is_managed(cluster: Cluster, node: str, pod: str) -> bool:
    return any(row["name"] == pod and row["managed"] for row in agent_status(cluster, node)["workloads"])


def objects_of_mbcas(cluster: Cluster) -> list[str]:
    """Every object of the cluster that is a part of MBCAS, of whatever kind."""
    found = []
    groups = cluster.get("/apis")["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    for root in roots:
        for kind in cluster.get(root)["resources"]:
            if "list" not in kind["verbs"] or "/" in kind["name"]:
                continue
            items = cluster.get(f"{root}/{kind['name']}?{PART_OF}")["items"]
            found += [f"{kind['name']} {item['metadata']['name']}" for item in items]
            if "mbcas" in kind["name"] or root.startswith("/apis/allocation.mbcas.io"):
                found.append(f"kind {kind['name']}")
    return found


@pytest.mark.usefixtures("clean")
def test_a_throttled_pod_has_what_it_needs_and_nothing_is_left_afterwards(
    cluster: Cluster, namespace: str, image: str
) -> None:
    favour_pods(cluster)
    assert objects_of_mbcas(cluster) == []
    web = RunningPod(cluster, namespace, a_pod("web", a_worker(request="200m", limit="200m"), node="node-1"))

    installed = mbcasctl(cluster, "install", "--mode", "enforce", "--image", image, "--timeout", RUNS_WITHIN_S)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert set(agents(cluster)) == set(cluster.nodes)
    wait_until(lambda: is_managed(cluster, "node-1", "web"), 60, "the agent has seen it")

    web.need(800)
    wait_until(lambda: web.throttled_periods() > 0, 10, "it is throttled")
    took_s = wait_until(lambda: (web.quota_milli() or 0) >= 800, 60, "it has 800m", lambda: words(cluster))
    wait_until(lambda: web.phase().startswith("Applied"), 30, "it is told", lambda: words(cluster))
    assert took_s <= 3.0, words(cluster)
    assert web.restarts() == 0
    assert (web.limit_milli() or 0) >= 800

    status = mbcasctl(cluster, "status")
    assert status.returncode == 0, status.stdout + status.stderr

    removed = mbcasctl(cluster, "uninstall")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert (web.quota_milli(), web.limit_milli(), web.request_milli(), web.restarts()) == (200, 200, 200, 0)
    assert objects_of_mbcas(cluster) == []
    assert cluster.request("GET", SYSTEM)[0] == 404
