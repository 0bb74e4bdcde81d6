"""The commands on a whole Kubernetes with real nodes, from the image that is shipped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from conftest import Ground
from scenarios.grounds import define_podallocations

from mbcasd.kube.access import from_kubeconfig
from mbcasd.kube.portforward import fetch

pytestmark = [pytest.mark.node, pytest.mark.binary]

PROJECT = Path(__file__).parents[3]
IMAGE = "localhost/mbcas:commands"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def on_nodes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """MBCAS in mode enforce on both nodes, installed by the command, and removed by it at the end."""
    archive = tmp_path_factory.mktemp("image") / "mbcas.tar"
    command = [sys.executable, PROJECT / "packaging" / "image.py", "--name", IMAGE, "--output", archive]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr
    cluster.import_image(archive)
    ground = Ground(cluster)
    # A definition that was left behind, as by an uninstall that was cut short, says nothing of the nodes.
    define_podallocations(cluster)
    done = ground.run("install", "--mode", "enforce", "--image", IMAGE, "--timeout", "90s")
    assert done.code == 0, done
    assert "could not be asked" not in done.err, done
    yield ground
    removed = ground.run("uninstall", "--force")
    assert removed.code == 0, removed


@pytest.fixture(scope="module")
def shop(cluster: Cluster, on_nodes: Ground) -> Iterator[str]:
    """A namespace with a pod that wants more than it may have, one with a sidecar, and one that is left alone."""
    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("web", a_container("app", limit="150m", milli=400), node="node-1"))
        sidecar = a_container("log", limit="50m", request="20m", milli=10, restartPolicy="Always")
        api = a_pod("api", a_container("app", limit="300m", milli=30), node="node-2", initContainers=[sidecar])
        cluster.pods.start(namespace, api)
        cluster.pods.start(namespace, a_pod("free", a_container("app", limit=None, milli=20), node="node-2"))
        _until(lambda: (cluster.pods.quota_milli(namespace, "web", "app") or 0) >= 400, "web has what it needs")
        yield namespace


def test_install_waited_until_every_pod_was_ready(on_nodes: Ground, cluster: Cluster) -> None:
    again = on_nodes.run("install", "--timeout", "60s", "-o", "json")

    assert again.code == 0, again
    ready = again.data["readiness"]
    assert (ready["agents_ready"], ready["agents_wanted"]) == (len(cluster.nodes), len(cluster.nodes))
    assert (ready["controllers_ready"], again.data["mode"]) == (2, "enforce")
    # Asked of the kubelets: these nodes have cgroup v1, one mount for each hierarchy.
    volumes = cluster.get("/apis/apps/v1/namespaces/mbcas-system/daemonsets/mbcas-agent")["spec"]["template"]["spec"]
    assert sum("hostPath" in volume for volume in volumes["volumes"]) == 3


def test_top_shows_every_nodes_workloads(on_nodes: Ground, shop: str) -> None:
    picture: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}

    def shows_the_kernels_limit() -> bool:
        picture.update(on_nodes.run("top", "--namespace", shop, "-o", "json").data)
        rows.update({f"{row['name']}:{row['container']}": row for row in picture["workloads"]})
        return rows["web:app"]["limit_milli"] >= 400 and rows["web:app"]["usage_milli"] > 100

    # An agent's picture is up to a second old.
    _until(shows_the_kernels_limit, "top shows what the kernel has")
    assert {name: row["node"] for name, row in rows.items()} == {
        "web:app": "node-1", "api:app": "node-2", "api:log": "node-2", "free:app": "node-2"
    }  # fmt: skip
    assert rows["web:app"]["owner_limit_milli"] == 150
    assert not rows["free:app"]["managed"]
    assert picture["problems"] == []
    screen = on_nodes.run("top", "--namespace", shop).out
    assert "2 nodes" in screen.splitlines()[0]
    assert "NODE" in screen


def test_status_is_healthy_and_shows_both_markets(on_nodes: Ground, shop: str) -> None:
    done = on_nodes.run("status", "-o", "json")

    assert done.code == 0, done
    assert [agent["node"] for agent in done.data["agents"]] == ["node-1", "node-2"]
    assert {agent["run_mode"] for agent in done.data["agents"]} == {"enforce"}
    assert done.data["leader"].startswith("mbcas-controller-")
    assert shop in done.data["namespaces"]
    assert "✓ healthy" in on_nodes.run("status").out


def test_doctor_is_content_and_names_who_is_left_alone(on_nodes: Ground, shop: str) -> None:
    done = on_nodes.run("doctor", "-o", "json")

    assert done.code == 0, done
    skipped = [finding["message"] for finding in done.data["cluster_findings"] if finding["check"] == "skipped"]
    assert any(f"{shop}/free:app" in message and "no CPU limit" in message for message in skipped), skipped


def test_explain_joins_the_agent_the_allocation_and_the_events(on_nodes: Ground, shop: str) -> None:
    data = on_nodes.run("explain", f"{shop}/web", "-o", "json").data
    assert data["node"] == "node-1"
    assert data["containers"][0]["workload"]["owner_limit_milli"] == 150
    assert (data["allocation"]["phase"], data["allocation"]["containers"][0]["owner_limit_milli"]) == ("Applied", 150)
    assert any(event["reason"] == "Resized" for event in data["events"])

    text = on_nodes.run("explain", f"{shop}/api").out
    assert f"{shop}/api:app on node-2" in text
    assert f"{shop}/api:log on node-2" in text


def test_what_explain_says_of_the_agents_own_record_is_true(on_nodes: Ground, shop: str, cluster: Cluster) -> None:
    missing = on_nodes.run("explain", f"{shop}/web", "-o", "json").data["containers"][0]["missing"][0]
    words = missing.partition("kubectl ")[2].split()
    kubectl = cluster._programs / "kubectl"
    if not kubectl.exists():
        pytest.skip("kubectl is not among the built programs")

    told = subprocess.run(
        [kubectl, "--kubeconfig", cluster.kubeconfig, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr
    assert "Without MBCAS" in told.stdout


def test_solve_clears_each_nodes_market_with_proof(on_nodes: Ground, shop: str) -> None:
    solutions = on_nodes.run("solve", "--from-cluster", "--dry-run", "-n", shop, "-o", "json").data["solutions"]

    assert [solution["node"] for solution in solutions] == ["node-1", "node-2"]
    assert all(solution["certificate"]["holds"] for solution in solutions)
    assert f"{shop}/web:app" in {given["name"] for given in solutions[0]["allocations"]}


def test_an_agent_answers_through_its_kubelet(on_nodes: Ground, cluster: Cluster) -> None:
    pods = cluster.get("/api/v1/namespaces/mbcas-system/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dagent")
    name = pods["items"][0]["metadata"]["name"]

    answer = fetch(from_kubeconfig(cluster.kubeconfig, None, {}), "mbcas-system", name, 9102, "/status", timeout_s=10)

    assert answer.status == 200
    assert json.loads(answer.body)["run_mode"] == "enforce"


def test_a_person_who_may_only_look_sees_allocations_instead_of_agents(on_nodes: Ground, shop: str) -> None:
    plane = on_nodes.plane
    rules = [
        {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["get", "list"]},
        {"apiGroups": ["allocation.mbcas.io"], "resources": ["podallocations"], "verbs": ["get", "list"]},
    ]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    plane.create(f"{rbac}/clusterroles", {"metadata": {"name": "only-looks"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": shop}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "only-looks"}
    binding = {"metadata": {"name": "only-looks"}, "subjects": [subject], "roleRef": role}
    plane.create(f"{rbac}/clusterrolebindings", binding)
    try:
        done = on_nodes.run("top", "-n", shop, "-o", "json", kubeconfig=plane.token_kubeconfig(shop, "default"))
        assert done.code == 0, done
        assert "web" in {row["name"] for row in done.data["workloads"]}
        assert "is silent" in done.data["problems"][0]
    finally:
        plane.request("DELETE", f"{rbac}/clusterrolebindings/only-looks")
        plane.request("DELETE", f"{rbac}/clusterroles/only-looks")


def test_kubectl_runs_it_as_a_plugin(on_nodes: Ground, cluster: Cluster, tmp_path: Path) -> None:
    kubectl = cluster._programs / "kubectl"
    if not kubectl.exists():
        pytest.skip("kubectl is not among the built programs")
    plugin = tmp_path / "kubectl-mbcas"
    plugin.symlink_to(PROJECT / "dist" / "mbcas" / "mbcasctl")
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": cluster.kubeconfig}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [kubectl, "mbcas", *words], capture_output=True, text=True, check=False, timeout=60, env=environ
        )

    assert run("status", "--help").stdout.startswith("Usage: kubectl mbcas status")
    status = json.loads(run("status", "--context", "test", "-o", "json").stdout)
    # The built program reaches the agents too.
    assert [agent["run_mode"] for agent in status["agents"]] == ["enforce", "enforce"]


def test_restore_gives_back_in_the_kernel_and_upgrade_goes_on(on_nodes: Ground, shop: str, cluster: Cluster) -> None:
    done = on_nodes.run("restore")
    assert done.code == 0, done
    assert cluster.pods.quota_milli(shop, "web", "app") == 150
    assert cluster.pods.quota_milli(shop, "api", "log") == 50

    resumed = on_nodes.run("upgrade", "--timeout", "60s")
    assert resumed.code == 0, resumed
    _until(lambda: (cluster.pods.quota_milli(shop, "web", "app") or 0) >= 400, "it moves again")
    assert cluster.pods.restarts(shop, "web") == 0


def _until(fact: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + WITHIN_S
    while not fact():
        assert time.monotonic() < ends_s, what
        time.sleep(0.1)
