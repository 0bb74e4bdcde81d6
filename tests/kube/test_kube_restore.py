"""Putting one pod's values back through a real API server; what a kubelet would say is written by the test."""

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from cluster.control_plane import MERGE_PATCH, STRATEGIC_PATCH, ControlPlane

from mbcasd.kube.objects import PodAllocation
from mbcasd.kube.restore import RestoredPod, RestoreResult, put_back

pytestmark = pytest.mark.control_plane

_numbers = itertools.count(1)


class Pods:
    """Pods on a node that exists only in the API."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.node = f"restore-{next(_numbers)}"
        plane.create("/api/v1/nodes", {"metadata": {"name": self.node}})
        room = {"cpu": "100", "memory": "1Ti", "pods": "100"}
        status = {"status": {"capacity": room, "allocatable": room, "nodeInfo": {"operatingSystem": "linux"}}}
        self.patch(f"/api/v1/nodes/{self.node}/status", status)

    def patch(self, path: str, body: object, kind: str = MERGE_PATCH) -> None:
        code, answer = self.plane.request("PATCH", path, body, kind)
        assert code == 200, answer

    def path(self, name: str = "web") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    def start(self, *, sidecar: bool = False) -> None:
        """`web` with container `app` (100m of 200m) and perhaps a sidecar `log` (20m of 50m), which run."""
        app = _container("app", "100m", "200m")
        init = [_container("log", "20m", "50m") | {"restartPolicy": "Always"}] if sidecar else []
        spec = {"nodeName": self.node, "containers": [app], "initContainers": init}
        pod = {"metadata": {"name": "web"}, "spec": spec | {"automountServiceAccountToken": False}}
        self.plane.create(f"/api/v1/namespaces/{self.namespace}/pods", pod)
        self.report()

    def report(self, phase: str = "Running", conditions: tuple[dict[str, Any], ...] = ()) -> None:
        """What the kubelet says: all that is in the spec is in force."""
        spec = self.plane.get(self.path())["spec"]
        status = {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": [_status(one) for one in spec["containers"]],
            "initContainerStatuses": [_status(one) for one in spec.get("initContainers", ())],
        }
        self.patch(f"{self.path()}/status", {"status": status})

    def resize(self, limits: dict[str, str], *, manager: str, init: bool = False) -> None:
        [(name, limit)] = limits.items()
        change = [{"name": name, "resources": {"limits": {"cpu": limit}}}]
        kind = "initContainers" if init else "containers"
        self.patch(f"{self.path()}/resize?fieldManager={manager}", {"spec": {kind: change}}, STRATEGIC_PATCH)
        self.report()

    def limits(self) -> dict[str, str]:
        spec = self.plane.get(self.path())["spec"]
        both = (*spec["containers"], *spec.get("initContainers", ()))
        return {one["name"]: one["resources"]["limits"]["cpu"] for one in both}

    def restore(self, *, told: int = 0, within_s: float = 0.3, uid: str | None = None, **more: Any) -> RestoredPod:
        """Put it back; `told` is what the status says that MBCAS set."""
        original = [{"name": "app", "limitMilli": 200, "requestMilli": 100}]
        original += [{"name": "log", "limitMilli": 50, "requestMilli": 20}] if "log" in self.limits() else []
        found = {
            "metadata": {"name": "web.1", "namespace": self.namespace},
            "spec": {
                "podName": "web",
                "podUID": uid or self.plane.get(self.path())["metadata"]["uid"],
                "nodeName": self.node,
                "containers": [{"name": "app", "limitMilli": 999}],
                "original": original,
            },
            "status": {"containers": [{"name": "app", "limitMilli": told}]} if told else {},
        }
        allocation = msgspec.convert(found, PodAllocation)
        return put_back(self.plane.api, allocation, confirmed_within_s=within_s, **more)


@pytest.fixture
def pods(control_plane: ControlPlane) -> Iterator[Pods]:
    with control_plane.namespace() as namespace:
        pods = Pods(control_plane, namespace)
        yield pods
        control_plane.request("DELETE", f"{pods.path()}?gracePeriodSeconds=0")
        control_plane.request("DELETE", f"/api/v1/nodes/{pods.node}")


def test_a_value_that_the_status_tells_of_goes_back(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="anybody")

    done = pods.restore(told=500)

    assert done.containers == (("app", 500, 200),)
    assert pods.limits() == {"app": "200m"}


def test_a_value_of_a_controller_that_could_not_tell_goes_back_too(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")

    assert pods.restore().result is RestoreResult.ACCEPTED
    assert pods.limits() == {"app": "200m"}


def test_somebody_elses_value_is_left_alone(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")
    pods.resize({"app": "333m"}, manager="a-person")

    done = pods.restore(told=500)

    assert done.result is RestoreResult.LEFT_ALONE
    assert done.detail == "somebody else has set app to 333m since; left as it is"
    assert pods.limits() == {"app": "333m"}


def test_sidecars_go_back_and_what_is_the_owners_is_not_touched(pods: Pods) -> None:
    pods.start(sidecar=True)
    pods.resize({"log": "80m"}, manager="mbcas-controller", init=True)

    done = pods.restore()

    assert done.containers == (("log", 80, 50),)
    assert pods.limits() == {"app": "200m", "log": "50m"}


def test_a_silent_kubelet_is_told_of(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")

    done = pods.restore()

    assert done.result is RestoreResult.ACCEPTED
    assert done.detail == "its kubelet has not confirmed it within 0.3 s"
    pods.report()
    assert pods.restore().result is RestoreResult.AS_OWNED


def test_what_the_kubelet_waits_for_is_told(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")
    pending = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room for 100m"}
    pods.report(conditions=(pending,))

    assert pods.restore().detail == "the kubelet has not put it in force yet: no room for 100m"


def test_a_pod_that_does_not_run_any_more_or_is_another_one_is_gone(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")

    assert pods.restore(uid="12345678-0000-0000-0000-000000000000").detail.startswith("it was made again")
    pods.report(phase="Succeeded")
    assert pods.restore().detail == "it has ended"
    assert pods.limits() == {"app": "500m"}


def test_a_dry_run_only_looks(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")

    assert pods.restore(dry_run=True).result is RestoreResult.WOULD
    assert pods.limits() == {"app": "500m"}


def test_a_refusal_is_told_without_the_name_that_stands_beside_it(pods: Pods) -> None:
    pods.start()
    pods.resize({"app": "500m"}, manager="mbcas-controller")
    bounds = {"limits": [{"type": "Container", "min": {"cpu": "300m"}}]}
    pods.plane.create(
        f"/api/v1/namespaces/{pods.namespace}/limitranges", {"metadata": {"name": "least"}, "spec": bounds}
    )

    done = pods.restore()

    assert done.result is RestoreResult.FAILED
    assert done.detail.startswith(("minimum cpu usage per Container is 300m", "[minimum cpu usage per Container"))


def _container(name: str, request: str, limit: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": request, "memory": "16Mi"}, "limits": {"cpu": limit, "memory": "32Mi"}}
    return {"name": name, "image": "x", "resources": resources}


def _status(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": "x",
        "imageID": "x",
        "containerID": "containerd://" + "0" * 64,
        "ready": True,
        "started": True,
        "restartCount": 0,
        "resources": container["resources"],
        "allocatedResources": container["resources"]["requests"],
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }
