"""The first scenario once more, on a node whose only hierarchy is cgroup v2: a virtual machine that joins the cluster.

The machine is emulated, some ten to twenty times slower than this one: what is asserted on is what happens, and the
time is printed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.control_plane import MERGE_PATCH
from cluster.pods import a_pod, cgroup_of
from scenarios import recoveries
from scenarios.waiting import wait_until
from scenarios.workloads import NEED_FILE, a_worker

pytestmark = [pytest.mark.node_v2, pytest.mark.binary]

PROJECT = Path(__file__).parents[2]
IMAGE = "localhost/mbcas:on-v2"
SYSTEM = "/api/v1/namespaces/mbcas-system"
PATIENCE = 20
# The other nodes have cgroup v1; a cluster with both kinds has agents of its own for each.
ONLY_THERE = """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target: {kind: DaemonSet, name: mbcas-agent}
    path: only-there.yaml
"""
SELECTS = "- {{op: add, path: /spec/template/spec/nodeSelector/kubernetes.io~1hostname, value: {node}}}\n"


def mbcasctl(cluster: Cluster, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mbcasctl", *words, "--kubeconfig", cluster.kubeconfig],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def installed(cluster: Cluster, node_v2: str, tmp_path: Path) -> Iterator[None]:
    """MBCAS in mode enforce, with its only agent on that node and its controllers on the others."""
    archive = tmp_path / "mbcas.tar"
    command = [sys.executable, PROJECT / "packaging" / "image.py", "--name", IMAGE, "--output", archive]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    cluster.import_image(archive)
    code, answer = cluster.request("PATCH", f"/api/v1/nodes/{node_v2}", {"spec": {"unschedulable": True}}, MERGE_PATCH)
    assert code == 200, answer
    component = tmp_path / "only-there"
    component.mkdir()
    (component / "kustomization.yaml").write_text(ONLY_THERE)
    (component / "only-there.yaml").write_text(SELECTS.format(node=node_v2))
    try:
        mbcasctl(
            cluster,
            *("install", "--mode", "enforce", "--cgroup", "v2", "--image", IMAGE, "--component", str(component)),
            *("--timeout", "5m"),
        )
        yield
    finally:
        mbcasctl(cluster, "uninstall", "--force")


def phase(cluster: Cluster, namespace: str) -> str:
    found = cluster.get(f"/apis/allocation.mbcas.io/v1alpha1/namespaces/{namespace}/podallocations")["items"]
    return found[0].get("status", {}).get("phase", "") if found else ""


def is_managed(cluster: Cluster, agent: dict[str, Any], pod: str) -> bool:
    answer = cluster.get(f"{SYSTEM}/pods/{agent['metadata']['name']}:9102/proxy/status")
    status = json.loads(answer) if isinstance(answer, str) else answer
    return any(row["name"] == pod and row["managed"] for row in status["workloads"])


def need(cluster: Cluster, pod: dict[str, Any], milli: int) -> None:
    """Let the pod's worker need so much."""
    node = cluster.nodes[pod["spec"]["nodeName"]]
    pid = node.read_cgroup(f"{cgroup_of(pod, 'main')}/cgroup.procs").split()[0]
    node.run("sh", "-c", f"echo {milli} > /proc/{pid}/root{NEED_FILE}")


@pytest.mark.usefixtures("installed")
def test_a_throttled_pod_has_what_it_needs_on_cgroup_v2_too(cluster: Cluster, namespace: str, node_v2: str) -> None:
    pods = cluster.pods
    web = pods.start(namespace, a_pod("web", a_worker(request="200m", limit="200m"), node=node_v2))
    (agent,) = cluster.get(f"{SYSTEM}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dagent")["items"]
    assert agent["spec"]["nodeName"] == node_v2
    assert pods.quota_milli(namespace, "web") == 200
    wait_until(lambda: is_managed(cluster, agent, "web"), 60 * PATIENCE, "the agent has seen it")

    need(cluster, web, 800)
    wait_until(lambda: pods.throttled_periods(namespace, "web") > 0, 10 * PATIENCE, "it is throttled")
    took_s = wait_until(lambda: (pods.quota_milli(namespace, "web") or 0) >= 800, 3 * PATIENCE, "it has 800m")
    wait_until(lambda: phase(cluster, namespace) == "Applied", 3 * PATIENCE, "it is told")
    recoveries.note("agent", "a throttled pod on cgroup v2, emulated", took_s)
    assert pods.restarts(namespace, "web") == 0

    mbcasctl(cluster, "uninstall")
    wait_until(lambda: pods.quota_milli(namespace, "web") == 200, 3 * PATIENCE, "it has what its owner had set")
    assert cluster.request("GET", SYSTEM)[0] == 404
