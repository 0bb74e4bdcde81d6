"""Pods on nodes that exist only in the API: what a controller sees of a cluster, of any size.

The API server, etcd and every object are real, and so is each resize through `pods/resize`. Only what kubelets do is
done by one process that follows the pods and reports every new limit as in force: thousands of containers do not fit
on a machine, and where the controller is what is looked at nothing else is needed.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from mbcasd.units import parse_cpu_milli

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
ALLOCATIONS = "/apis/allocation.mbcas.io/v1alpha1/namespaces"
PROJECT = Path(__file__).parents[2]
WRITERS = 8
PODS_PER_NODE = 100
TROUBLE = (OSError, http.client.HTTPException, RuntimeError)


@dataclass(frozen=True, slots=True)
class Door:
    """How to get in as administrator."""

    server: str
    ca_file: str
    token: str


class Caller:
    """One kept connection to the API server; one thread uses it."""

    def __init__(self, door: Door) -> None:
        parts = urlsplit(door.server)
        context = ssl.create_default_context(cafile=door.ca_file)
        self._connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=context)
        self._token = door.token

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 400 and answer.status != 409:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:500]!r}")
        return data

    def lines(self, path: str) -> Iterable[bytes]:
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        yield from self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()


def each(door: Door, work: Callable[[Caller, int], object], count: int) -> float:
    """Do something for 0, 1, … count − 1 with a handful of connections; returns how long it took."""
    began_s = time.monotonic()
    here = threading.local()
    made: list[Caller] = []

    def one(i: int) -> None:
        if not hasattr(here, "caller"):
            here.caller = Caller(door)
            made.append(here.caller)
        work(here.caller, i)

    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(one, range(count), chunksize=16):
            pass
    for caller in made:
        caller.close()
    return time.monotonic() - began_s


class Fleet:
    """One namespace with so many pods, `pod-00000` and so on, each with one container `web`."""

    def __init__(self, door: Door, count: int, *, namespace: str = "fleet", limit_milli: int = 200) -> None:
        """Make namespace, nodes and pods; they run, as far as the API knows."""
        self.door, self.namespace, self.count = door, namespace, count
        self.original_milli = limit_milli
        self.uids = [""] * count
        self._make_nodes()
        self._make_pods()

    @staticmethod
    def pod_name(i: int) -> str:
        return f"pod-{i:05}"

    def pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def allocation_path(self, i: int) -> str:
        return f"{ALLOCATIONS}/{self.namespace}/podallocations/{self.pod_name(i)}.{self.uids[i][:8]}"

    def _make_nodes(self) -> None:
        """Nodes with more CPU than anybody asks for."""
        caller = Caller(self.door)
        labels = {"mbcas.io/managed": "true"}
        caller.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": labels}})
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        caller.call("POST", accounts, {"metadata": {"name": "default"}})
        room = {"cpu": "1000", "memory": "4Ti", "pods": "1000"}
        for i in range(0, self.count, PODS_PER_NODE):
            name = self._node(i)
            caller.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            status = {"capacity": room, "allocatable": room, "nodeInfo": {"operatingSystem": "linux"}}
            caller.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, MERGE)
        caller.close()

    def _node(self, i: int) -> str:
        return f"{self.namespace}-{i // PODS_PER_NODE}"

    def _make_pods(self) -> None:
        resources = {
            "requests": {"cpu": "100m", "memory": "16Mi"},
            "limits": {"cpu": f"{self.original_milli}m", "memory": "32Mi"},
        }

        def make(caller: Caller, i: int) -> None:
            containers = [{"name": "web", "image": "x", "resources": resources}]
            spec = {"nodeName": self._node(i), "containers": containers, "automountServiceAccountToken": False}
            pod = {"metadata": {"name": self.pod_name(i)}, "spec": spec}
            self.uids[i] = json.loads(caller.call("POST", self.pods_path(), pod))["metadata"]["uid"]
            path = f"{self.pods_path()}/{self.pod_name(i)}/status"
            caller.call("PATCH", path, {"status": {**_status(resources, 1), "phase": "Running"}}, MERGE)

        each(self.door, make, self.count)

    def decide_all(self, limit_milli: Callable[[int], int], count: int | None = None) -> float:
        """Write PodAllocations as agents do; returns how long it took."""
        return each(self.door, lambda caller, i: self.decide(caller, i, limit_milli(i)), count or self.count)

    def decide(self, caller: Caller, i: int, limit_milli: int, **more: object) -> None:
        """Write one PodAllocation as an agent does."""
        name, uid = self.pod_name(i), self.uids[i]
        body = {
            "apiVersion": "allocation.mbcas.io/v1alpha1",
            "kind": "PodAllocation",
            "metadata": {
                "name": f"{name}.{uid[:8]}",
                "namespace": self.namespace,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}],
            },
            "spec": {
                "podName": name,
                "podUID": uid,
                "nodeName": self._node(i),
                "containers": [{"name": "web", "limitMilli": limit_milli}],
                "original": [{"name": "web", "requestMilli": 100, "limitMilli": self.original_milli}],
                "mechanism": "nash",
                "mode": "congested",
                "priceMicro": 4285,
                "reason": "needs more than it has: throttled in 43 % of the periods",
                "decisionTime": "2026-01-01T00:00:00Z",
                **more,
            },
        }
        caller.call("PATCH", f"{self.allocation_path(i)}?fieldManager=mbcas-agent&force=true", body, APPLY)

    def limits_milli(self) -> list[float]:
        """The limits in the pods' specs, by number."""
        return self._resources_milli("limits")

    def is_applied(self, limit_milli: int) -> bool:
        """Whether every pod has this limit, and every PodAllocation says so of its last decision."""
        return set(self.limits_milli()) == {limit_milli} and all(
            (status := one.get("status", {})).get("phase") == "Applied"
            and status["observedGeneration"] == one["metadata"]["generation"]
            and status["containers"][0]["limitMilli"] == limit_milli
            for one in self.allocations()
        )

    def requests_milli(self) -> list[float]:
        """The requests in the pods' specs, by number."""
        return self._resources_milli("requests")

    def _resources_milli(self, kind: str) -> list[float]:
        caller = Caller(self.door)
        pods = json.loads(caller.call("GET", f"{self.pods_path()}?resourceVersion=0"))["items"]
        caller.close()
        return [
            parse_cpu_milli(pod["spec"]["containers"][0]["resources"][kind]["cpu"])
            for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"])
        ]

    def remove(self) -> None:
        """Take pods, PodAllocations and nodes away, without the controllers that would do it."""
        caller = Caller(self.door)
        caller.call("DELETE", f"{self.pods_path()}?gracePeriodSeconds=0")
        caller.call("DELETE", f"{ALLOCATIONS}/{self.namespace}/podallocations")
        for i in range(0, self.count, PODS_PER_NODE):
            caller.call("DELETE", f"/api/v1/nodes/{self._node(i)}")
        caller.close()

    def allocations(self) -> list[dict[str, Any]]:
        """The PodAllocations, by name."""
        caller = Caller(self.door)
        found = json.loads(caller.call("GET", f"{ALLOCATIONS}/{self.namespace}/podallocations"))["items"]
        caller.close()
        return sorted(found, key=lambda one: one["metadata"]["name"])


def _status(resources: dict[str, Any], generation: int) -> dict[str, Any]:
    """What a kubelet says of a container that runs with these resources."""
    container = {
        "name": "web",
        "image": "x",
        "imageID": "x",
        "containerID": "containerd://" + "0" * 64,
        "ready": True,
        "started": True,
        "restartCount": 0,
        "resources": resources,
        "allocatedResources": resources["requests"],
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }
    return {
        "qosClass": "Burstable",
        "startTime": "2026-01-01T00:00:00Z",
        "observedGeneration": generation,
        "containerStatuses": [container],
    }


# --- what kubelets do -----------------------------------------------------------------------------------------------


class Kubelets:
    """Reports every changed limit as in force, from a process of its own."""

    def __init__(self, fleet: Fleet) -> None:
        door = fleet.door
        argv = [sys.executable, __file__, door.server, door.ca_file, door.token, fleet.pods_path()]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(PROJECT)}
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it follows the pods from here on

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class _Metadata(msgspec.Struct):
    name: str = ""
    generation: int = 1
    resourceVersion: str = ""  # noqa: N815 - the API's name


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[_Pod]


class _Event(msgspec.Struct):
    type: str
    object: _Pod


class _Reporter:
    """Follows the pods below a path and reports what they were given, until killed; also when the server restarts."""

    def __init__(self, door: Door, path: str) -> None:
        self._door, self._path = door, path
        self._here = threading.local()
        self._pool = ThreadPoolExecutor(2)

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except TROUBLE:
                time.sleep(0.2)

    def _follow(self) -> None:
        listed = msgspec.json.decode(Caller(self._door).call("GET", self._path), type=_List)
        for pod in listed.items:
            self._look(pod)
        sys.stdout.write("following\n")
        sys.stdout.flush()
        decode = msgspec.json.Decoder(_Event).decode
        version = listed.metadata.resourceVersion
        for line in Caller(self._door).lines(f"{self._path}?watch=1&resourceVersion={version}"):
            event = decode(line)
            if event.type == "MODIFIED":
                self._look(event.object)

    def _look(self, pod: _Pod) -> None:
        if pod.status.get("observedGeneration") != pod.metadata.generation:
            self._pool.submit(self._report, pod)

    def _report(self, pod: _Pod) -> None:
        status = _status(pod.spec["containers"][0]["resources"], pod.metadata.generation)
        for _ in range(2):  # a connection that idled for 90 s has been closed by the server
            if not hasattr(self._here, "caller"):
                self._here.caller = Caller(self._door)
            try:
                self._here.caller.call("PATCH", f"{self._path}/{pod.metadata.name}/status", {"status": status}, MERGE)
            except TROUBLE:
                del self._here.caller
            else:
                return


if __name__ == "__main__":
    _Reporter(Door(*sys.argv[1:4]), sys.argv[4]).run()
