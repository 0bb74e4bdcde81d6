"""Pods for tests: described in a line, started, waited for, and looked at in the kernel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cluster.archives import BURNER
from cluster.control_plane import ControlPlane
from cluster.node import Node
from cluster.polling import poll_until
from cluster.virtual_node import VirtualNode

RUNS_WITHIN_S = 60

Pod = dict[str, Any]


def a_container(
    name: str = "main",
    *,
    request: str | None = "100m",
    limit: str | None = "200m",
    threads: int = 1,
    milli: int = 1000,
    **more: Any,
) -> dict[str, Any]:
    """A container that burns so much in so many threads; `more` are fields of its spec, `image` and `command` too."""
    resources = {"requests": _cpu(request), "limits": _cpu(limit)}
    burns = {"image": BURNER, "args": [str(threads), str(milli)]}
    return {"name": name, "resources": resources, "imagePullPolicy": "Never"} | burns | more


def a_pod(
    name: str,
    *containers: Mapping[str, Any],
    node: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Pod:
    """A pod with these containers, or with the usual one; `spec` are more fields of its spec.

    With a node it is the scheduler's work that is left out, not its rules: the kubelet refuses what does not fit.
    """
    wanted = {"containers": list(containers) or [a_container()], "terminationGracePeriodSeconds": 1}
    if node is not None:
        wanted["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})},
        "spec": wanted | spec,
    }


class Pods:
    """What tests do with pods of a cluster."""

    def __init__(self, cluster: ControlPlane, nodes: Mapping[str, Node | VirtualNode]) -> None:
        self._cluster, self._nodes = cluster, nodes

    def start(self, namespace: str, pod: Pod, *, within_s: float = RUNS_WITHIN_S) -> Pod:
        """Make it and wait until all its containers run; returns it as it is then."""
        self._cluster.create(f"/api/v1/namespaces/{namespace}/pods", pod)
        return self.wait_for(namespace, pod["metadata"]["name"], runs, "runs", within_s=within_s)

    def get(self, namespace: str, name: str) -> Pod:
        return self._cluster.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def wait_for(
        self, namespace: str, name: str, fact: Callable[[Pod], bool], what: str, *, within_s: float = RUNS_WITHIN_S
    ) -> Pod:
        """Wait until this is true of it; returns it as it is then."""
        seen: Pod = {}
        patience = max(node.patience for node in self._nodes.values())

        def is_true() -> bool:
            code, found = self._cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
            seen.clear()
            seen.update(found)
            return code == 200 and fact(found)

        poll_until(
            is_true, within_s * patience, lambda: f"{namespace}/{name} {what}\n{seen}\n{self._events(namespace, name)}"
        )
        return seen

    def delete(self, namespace: str, name: str, *, within_s: float = RUNS_WITHIN_S) -> None:
        """Delete it and wait until it is gone."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._cluster.request("DELETE", path)
        poll_until(
            lambda: self._cluster.request("GET", path)[0] == 404, within_s, lambda: f"{namespace}/{name} is gone"
        )

    def logs(self, namespace: str, name: str, container: str | None = None) -> str:
        """All that it has written."""
        query = f"?container={container}" if container else ""
        code, text = self._cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log{query}")
        assert code == 200, text
        return text

    def quota_milli(self, namespace: str, name: str, container: str = "main") -> float | None:
        """The limit that the kernel enforces, in millicores; None: there is none."""
        node, path = self._cgroup(namespace, name, container)
        if node.is_v2:
            quota, period = node.read_cgroup(f"{path}/cpu.max").split()
            return None if quota == "max" else int(quota) * 1000 / int(period)
        quota_usec = int(node.read_cgroup(f"{path}/cpu.cfs_quota_us"))
        return None if quota_usec < 0 else quota_usec * 1000 / int(node.read_cgroup(f"{path}/cpu.cfs_period_us"))

    def throttled_periods(self, namespace: str, name: str, container: str = "main") -> int:
        """How many periods the kernel has counted in which it was throttled."""
        node, path = self._cgroup(namespace, name, container)
        stat = dict(line.split() for line in node.read_cgroup(f"{path}/cpu.stat").splitlines())
        return int(stat["nr_throttled"])

    def restarts(self, namespace: str, name: str) -> int:
        """How often containers of it were started again."""
        statuses = self.get(namespace, name)["status"]
        both = (*statuses.get("containerStatuses", ()), *statuses.get("initContainerStatuses", ()))
        return sum(status["restartCount"] for status in both)

    def _cgroup(self, namespace: str, name: str, container: str) -> tuple[Node | VirtualNode, str]:
        pod = self.get(namespace, name)
        return self._nodes[pod["spec"]["nodeName"]], cgroup_of(pod, container)

    def _events(self, namespace: str, name: str) -> Sequence[str]:
        events = self._cluster.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return [f"{event['reason']}: {event['message']}" for event in events if event["involvedObject"]["name"] == name]


def cgroup_of(pod: Pod, container: str) -> str:
    """Where a running container's cgroup is below its node's."""
    status = pod["status"]
    statuses = (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
    found = next(item["containerID"] for item in statuses if item["name"] == container)
    above = "kubepods" if status["qosClass"] == "Guaranteed" else f"kubepods/{status['qosClass'].lower()}"
    return f"{above}/pod{pod['metadata']['uid']}/{found.removeprefix('containerd://')}"


def runs(pod: Pod) -> bool:
    """Whether all containers of it run."""
    statuses = pod["status"].get("containerStatuses", ())
    return len(statuses) == len(pod["spec"]["containers"]) and all("running" in item["state"] for item in statuses)


def _cpu(quantity: str | None) -> dict[str, str]:
    return {} if quantity is None else {"cpu": quantity}
