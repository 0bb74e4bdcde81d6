"""A controller in this process on a real API server, and pods whose kubelet is the test."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from cluster.control_plane import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ControlPlane
from rigs.kernel import PATIENCE

from mbcasd.clock import SystemClock
from mbcasd.kube import access, names
from mbcasd.kube.api import Api
from mbcasd.kube.controlling.controller import ResizeController
from mbcasd.kube.controlling.verdict import Rules
from mbcasd.kube.events import Events
from mbcasd.kube.lease import Elector
from mbcasd.kube.objects import ContainerCpu
from mbcasd.settings import ResizeSettings

NODE = "no-kubelet"
SOON_S = 20.0


class Tally:
    """Counts incidents; fits `worker.Counts`."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def count(self, _namespace: str, _pod: str, kind: str, _duration_s: float | None) -> None:
        self.kinds[kind] += 1

    def forget(self, namespace: str, pod: str) -> None:
        pass

    def forget_all(self) -> None:
        pass


class Controlled:
    """One running controller."""

    def __init__(
        self, plane: ControlPlane, namespace: str, *, kubeconfig: str | None = None, identity: str = "a", **rules: Any
    ) -> None:
        clock = SystemClock()
        way_in = access.from_kubeconfig(kubeconfig or plane.kubeconfig, None, {})
        self.api = Api(way_in, clock=clock, user_agent="mbcasd/test controller")
        self.tally = Tally()
        self.events = Events(self.api, component=names.CONTROLLER, instance=identity, clock=clock)
        # The election is the test's own business, with rights of its own.
        admin = access.from_kubeconfig(plane.kubeconfig, None, {})
        self._election_api = Api(admin, clock=clock, user_agent="mbcasd/test election")
        elector = Elector(self._election_api, namespace, names.CONTROLLER, identity, clock=clock)
        settings = Rules(resize=ResizeSettings(**rules), is_enforcing=True)
        self.controller = ResizeController(
            self.api, elector, self.events, self.tally, rules=lambda: settings, clock=clock
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self.controller.start()
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.controller.tick()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.controller.stop()
        self.events.stop()
        self.api.close()
        self._election_api.close()

    @property
    def writes(self) -> int:
        """How many requests changed something, or tried to."""
        return sum(count for (method, _), count in self.api.counts.items() if method != "GET")


@contextlib.contextmanager
def controlling(plane: ControlPlane, namespace: str, **more: Any) -> Iterator[Controlled]:
    """A controller that leads and has seen everything."""
    running = Controlled(plane, namespace, **more)
    running.start()
    try:
        soon(lambda: running.controller.leads, "it leads")
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def a_namespace(plane: ControlPlane) -> Iterator[str]:
    """A fresh one; what is in it is deleted, as nobody else would and other controllers would go on with it."""
    with plane.namespace() as name:
        yield name
        plane.request("DELETE", names.allocations_path(name))
        plane.request("DELETE", f"{names.pods_path(name)}?gracePeriodSeconds=0")


class ControlledPod:
    """One pod on a node without a kubelet, and its PodAllocation."""

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        name: str = "web",
        *,
        containers: tuple[dict[str, Any], ...] = (),
        can_resize: bool = True,
        **spec: Any,
    ) -> None:
        self._plane, self._namespace, self.name = plane, namespace, name
        self.path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        make_node(plane)
        body = {
            "metadata": {"name": name},
            "spec": {
                "nodeName": NODE,
                "automountServiceAccountToken": False,
                "containers": list(containers) or [container()],
                **spec,
            },
        }
        self.uid: str = plane.create(f"/api/v1/namespaces/{namespace}/pods", body)["metadata"]["uid"]
        self.confirm(can_resize=can_resize)

    @property
    def seen(self) -> dict[str, Any]:
        return self._plane.get(self.path)

    def limit(self, name: str = "app") -> str:
        return self._container(name)["resources"]["limits"]["cpu"]

    def request(self, name: str = "app") -> str:
        return self._container(name)["resources"]["requests"]["cpu"]

    def _container(self, name: str) -> dict[str, Any]:
        spec = self.seen["spec"]
        return next(one for one in [*spec["containers"], *spec.get("initContainers", [])] if one["name"] == name)

    def confirm(self, *conditions: dict[str, str], can_resize: bool = True) -> None:
        """What a kubelet would write: without conditions, that all of the spec is in force."""
        pod = self.seen

        def status(one: dict[str, Any]) -> dict[str, Any]:
            return {
                "name": one["name"],
                "image": "x",
                "imageID": "x",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "containerID": "containerd://" + "a" * 64,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                **({"resources": one["resources"]} if can_resize else {}),
            }

        change: dict[str, Any] = {
            "phase": "Running",
            "observedGeneration": pod["metadata"]["generation"],
            "conditions": [{"status": "True", **one} for one in conditions],
        }
        if not conditions:
            change["containerStatuses"] = [status(one) for one in pod["spec"]["containers"]]
            change["initContainerStatuses"] = [status(one) for one in pod["spec"].get("initContainers", [])]
        self._expect("PATCH", f"{self.path}/status", {"status": change}, MERGE_PATCH)

    def resize(self, name: str = "app", *, by: str = "kubectl", **cpu: str) -> None:
        """Somebody resizes it: limit="700m"."""
        resources = {f"{kind}s": {"cpu": value} for kind, value in cpu.items()}
        change = {"spec": {"containers": [{"name": name, "resources": resources}]}}
        self._expect("PATCH", f"{self.path}/resize?fieldManager={by}", change, STRATEGIC_PATCH)

    def delete(self) -> None:
        self._expect("DELETE", f"{self.path}?gracePeriodSeconds=0")

    @property
    def allocation_path(self) -> str:
        return names.allocations_path(self._namespace, names.allocation_name(self.name, self.uid))

    def decide(self, *containers: ContainerCpu, original: tuple[ContainerCpu, ...] = (), **more: Any) -> None:
        """What the agent would write; `more` is of the spec."""
        decide(self._plane, self._namespace, self.name, self.uid, *containers, original=original, **more)

    @property
    def allocation(self) -> dict[str, Any] | None:
        code, answer = self._plane.request("GET", self.allocation_path)
        return answer if code == 200 else None

    @property
    def status(self) -> dict[str, Any]:
        return (self.allocation or {}).get("status", {})

    @property
    def phase(self) -> str:
        """Phase and reason of its PodAllocation."""
        return f"{self.status.get('phase', '')} {self.status.get('reason', '')}".strip()

    def events(self) -> list[tuple[str, str]]:
        """Reason and note of what people were told about it."""
        found = self._plane.get(f"/apis/events.k8s.io/v1/namespaces/{self._namespace}/events")["items"]
        return [(one["reason"], one["note"]) for one in found if one["regarding"].get("uid") == self.uid]

    def _expect(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        code, answer = self._plane.request(method, path, body, kind)
        assert code < 300, f"{method} {path}: {code} {answer}"
        return answer


def decide(
    plane: ControlPlane,
    namespace: str,
    pod: str,
    uid: str,
    *containers: ContainerCpu,
    original: tuple[ContainerCpu, ...] = (),
    node: str = NODE,
    **more: Any,
) -> None:
    """Write a PodAllocation as an agent does; by default the owner had set 200m and requested 100m."""
    owner = original or tuple(ContainerCpu(name=one.name, limit_milli=200, request_milli=100) for one in containers)
    name = names.allocation_name(pod, uid)
    body = {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "metadata": {
            "name": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}],
        },
        "spec": {
            "podName": pod,
            "podUID": uid,
            "nodeName": node,
            "containers": msgspec.to_builtins(containers),
            "original": msgspec.to_builtins(owner),
            **more,
        },
    }
    path = f"{names.allocations_path(namespace, name)}?fieldManager={names.AGENT}&force=true"
    code, answer = plane.request("PATCH", path, body, APPLY_PATCH)
    assert code < 300, f"PATCH {path}: {code} {answer}"


def container(name: str = "app", *, limit: str = "200m", request: str = "100m", **more: Any) -> dict[str, Any]:
    """One container of a Burstable pod."""
    resources = {"requests": {"cpu": request, "memory": "64Mi"}, "limits": {"cpu": limit, "memory": "128Mi"}}
    return {"name": name, "image": "x", "resources": resources, **more}


def make_node(plane: ControlPlane, cpu: str = "2") -> None:
    """A node with two CPUs, as far as the API knows; once."""
    code, answer = plane.request(
        "POST", "/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"kubernetes.io/os": "linux"}}}
    )
    assert code in {201, 409}, answer
    if code == 201:
        room = {"cpu": cpu, "memory": "4Gi", "pods": "110"}
        status = {"capacity": room, "allocatable": room, "nodeInfo": {"operatingSystem": "linux"}}
        code, answer = plane.request("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, MERGE_PATCH)
        assert code == 200, answer


def soon(fact: Callable[[], bool], what: str, within_s: float = SOON_S, show: Callable[[], object] = str) -> None:
    """Wait for a fact; fails with words when it takes too long."""
    ends_s = time.monotonic() + within_s * PATIENCE
    while not fact():
        assert time.monotonic() < ends_s, f"not within {within_s * PATIENCE:g} s: {what}; {json.dumps(show())}"
        time.sleep(0.02)
