"""status, doctor, top, explain and solve where no agent runs: all that they know is what the API server has."""

import time
from collections.abc import Iterator

import pytest
from cluster.control_plane import ControlPlane
from conftest import Ground, a_moved_fleet, resize
from scenarios.fleet import Fleet

pytestmark = pytest.mark.control_plane

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
VPA_CRD = {
    "metadata": {"name": "verticalpodautoscalers.autoscaling.k8s.io", "annotations": {
        "api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797"}},
    "spec": {
        "group": "autoscaling.k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "verticalpodautoscalers", "kind": "VerticalPodAutoscaler", "singular": "vpa"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    },
}  # fmt: skip


def messages(report: dict) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in report["cluster_findings"]:
        found.setdefault(finding["check"], []).append(f"{finding['level']}: {finding['message']}")
    return found


@pytest.fixture(scope="module")
def moved(plane: ControlPlane) -> Iterator[Fleet]:
    """MBCAS without a single pod of its own; the last of three moved pods was changed by a person."""
    ground = Ground(plane)
    with a_moved_fleet(ground) as fleet:
        since = {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "somebody else set 333m"}
        condition = {"type": "Conflict", "status": "True", "reason": "ChangedByOther", **since}
        status = {"phase": "Failed", "reason": "ChangedByOther", "conditions": [condition]}
        ground.merge(f"{fleet.allocation_path(2)}/status", {"status": status})
        resize(ground, fleet, 2, 333, manager="a-person")
        done = ground.run("install", "--no-wait", "--mode", "enforce")
        assert done.code == 0, done
        yield fleet
        assert ground.run("uninstall", "--force").code == 0


@pytest.fixture
def there(moved: Fleet, plane: ControlPlane) -> Ground:
    """The cluster with all that."""
    return Ground(plane)


@pytest.fixture(scope="module")
def bare() -> Iterator[Ground]:
    """A cluster that has never heard of MBCAS."""
    with ControlPlane() as plane:
        yield Ground(plane)


def test_doctor_says_how_a_cluster_without_mbcas_is(bare: Ground) -> None:
    done = bare.run("doctor", "-o", "json")

    assert done.code == 0, done
    assert done.data["node"] == ""
    found = messages(done.data)
    assert found["version"] == [f"ok: Kubernetes {bare.plane.version}: pods/resize"]
    assert found["permissions"] == ["ok: permissions of this kubeconfig suffice for install"]
    assert found["clock"] == ["ok: its clock and this machine's agree"]
    assert found["installed"] == ["warning: MBCAS is not installed"]


def test_doctor_finds_who_else_has_a_say(moved: Fleet, there: Ground) -> None:
    inside = f"namespaces/{moved.namespace}"
    there.plane.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", VPA_CRD)
    vpas = f"/apis/autoscaling.k8s.io/v1/{inside}/verticalpodautoscalers"
    _until(lambda: there.exists(vpas))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pod"}
    vpa = {"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler", "metadata": {"name": "pod-vpa"}}
    there.plane.create(vpas, vpa | {"spec": {"targetRef": target, "updatePolicy": {"updateMode": "Recreate"}}})
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    hpa = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": [metric]}
    hpas = f"/apis/autoscaling/v2/{inside}/horizontalpodautoscalers"
    there.plane.create(hpas, {"metadata": {"name": "pod"}, "spec": hpa})
    bounds = {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}
    there.plane.create(f"/api/v1/{inside}/limitranges", {"metadata": {"name": "bounds"}, "spec": bounds})
    there.plane.request("DELETE", f"{POLICIES}/mbcas-own-pods")

    done = there.run("doctor", "-o", "json")

    assert done.code == 3
    found = messages(done.data)
    where = moved.namespace
    assert found["vpa"] == [f"warning: VPA pod-vpa (mode Recreate) also resizes {where}/pod"]
    assert found["hpa"] == ["ok: 1 HPA by CPU utilisation: requests of their pods are not changed"]
    assert found["limitrange"] == [
        f"ok: LimitRange {where}/bounds bounds what MBCAS may give: at most 2 of CPU per container"
    ]
    assert found["policies"] == ["problem: admission policies that are missing or deny nothing: mbcas-own-pods"]
    assert found["crd"] == ["ok: PodAllocation v1alpha1 is established, as version 0.1.0 has it"]
    assert "problem: no controller is ready, so no limit moves" in found["running"]
    assert found["managed"] == [f"ok: 1 namespace is opted in: {where}"]


def test_doctor_tells_what_it_may_not_read(there: Ground) -> None:
    with there.plane.namespace(managed=False) as namespace:
        kubeconfig = there.plane.token_kubeconfig(namespace, "default")
        done = there.run("doctor", "-o", "json", kubeconfig=kubeconfig)

    found = messages(done.data)
    assert done.code == 0, done
    assert "the definition of PodAllocations" in found["unreadable"][0]
    assert "may look, but not install" in found["permissions"][0]


def test_an_api_server_that_is_away_is_told_in_a_sentence(there: Ground) -> None:
    away = there.plane.kubeconfig_with("none", server="https://127.0.0.1:1")

    for command in ("status", "top", "restore", "uninstall", "install"):
        done = there.run(command, kubeconfig=away)
        assert done.code == 1, command
        assert "connection refused" in done.err
        assert "Traceback" not in done.err
    assert there.run("doctor", kubeconfig=away).code == 3


def test_status_counts_what_the_api_server_has(moved: Fleet, there: Ground) -> None:
    done = there.run("status", "-o", "json", "--namespace", moved.namespace)

    assert done.code == 3
    status = done.data
    assert (status["mode"], status["namespaces"], status["phases"]) == (
        "enforce",
        [moved.namespace],
        {"Pending": 2, "Failed": 1},
    )
    assert (status["original_milli"], status["wanted_milli"]) == (600, 1500)
    assert "no controller leads: nobody holds the lease" in status["problems"]


def test_top_shows_allocations_where_no_agent_answers(moved: Fleet, there: Ground) -> None:
    done = there.run("top", "--namespace", moved.namespace)

    assert done.code == 0, done
    rows = [line for line in done.out.splitlines() if "pod-0000" in line]
    assert len(rows) == 3
    assert "shown from PodAllocations" in done.out
    first = there.run("top", "--namespace", moved.namespace, "-o", "json").data["workloads"][0]
    assert (first["name"], first["owner_limit_milli"], first["target_milli"]) == ("pod-00000", 200, 500)


def test_explain_tells_what_was_decided_and_what_became_of_it(moved: Fleet, there: Ground) -> None:
    done = there.run("explain", "pod-00001")

    assert done.code == 0, done
    assert " owner     web: 200m (request 100m)" in done.out
    assert " decided   web: 500m" in done.out
    assert "throttled in 43 % of the periods" in done.out
    assert f"the agent on {moved.namespace}-0 is silent" in done.out
    data = there.run("explain", f"{moved.namespace}/pod-00001:web", "-o", "json").data
    assert (data["pod"], data["allocation"]["phase"]) == (f"{moved.namespace}/pod-00001", "Pending")


def test_explain_names_the_nearest_where_nothing_fits(moved: Fleet, there: Ground) -> None:
    done = there.run("explain", "pod-0000")

    assert (done.code, done.out) == (2, "")
    assert f"did you mean {moved.namespace}/pod-00000" in done.err


def test_solve_states_the_market_of_each_node(moved: Fleet, there: Ground) -> None:
    done = there.run("solve", "--from-cluster", "--dry-run", "-o", "json")

    assert done.code == 0, done
    (solution,) = done.data["solutions"]
    assert solution["node"] == f"{moved.namespace}-0"
    # 1000 CPUs less a tenth, twice: everybody gets what was decided for it.
    assert (solution["capacity_milli"], solution["mode"]) == (1_800_000, "uncongested")
    assert [given["milli"] for given in solution["allocations"]] == [500, 500, 500]
    assert "its agent is silent" in done.err
    assert there.run("solve", "--from-cluster", "-n", "elsewhere").code == 1


def test_a_conflict_is_a_problem_that_status_and_doctor_name(moved: Fleet, there: Ground) -> None:
    name = f"{moved.namespace}/pod-00002"
    assert f"somebody else changes the CPU of {name}: left alone" in there.run("status").out
    assert f"somebody else changes the CPU of {name}" in there.run("doctor").out.replace("\n    ", " ")
    explained = there.run("explain", name).out
    assert "ChangedByOther: somebody else resized the pod" in explained
    assert "conflict  ChangedByOther: somebody else set 333m" in explained


def test_looking_for_mbcas_where_it_is_not_names_the_remedy(bare: Ground) -> None:
    for words in (["top"], ["explain", "web"], ["solve", "--from-cluster"]):
        done = bare.run(*words)
        assert done.code == 1, done
        assert "MBCAS is not installed" in done.err
    assert bare.run("status").code == 3


def _until(fact) -> None:
    ends_s = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < ends_s
        time.sleep(0.05)
