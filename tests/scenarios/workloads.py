"""A pod that runs, looked at from both sides: what the API says of it, and what the kernel does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.cluster import Cluster
from cluster.control_plane import MERGE_PATCH, STRATEGIC_PATCH
from cluster.pods import Pod, a_container, cgroup_of, runs

from mbcasd.units import parse_cpu_milli

NEED_FILE = "/tmp/need"


def a_worker(name: str = "main", *, needs_milli: int = 20, **more: Any) -> dict[str, Any]:
    """A container that needs so much CPU until `RunningPod.need` says otherwise."""
    return a_container(name, milli=needs_milli, env=[{"name": "BURN_FILE", "value": NEED_FILE}], **more)


class RunningPod:
    """One pod of a test cluster; its cgroups are found once, so that looking at them costs a file read."""

    def __init__(self, cluster: Cluster, namespace: str, pod: Pod) -> None:
        """Make it and wait until it runs."""
        self._cluster, self.namespace, self.name = cluster, namespace, pod["metadata"]["name"]
        self.path = f"/api/v1/namespaces/{namespace}/pods/{self.name}"
        cluster.pods.start(namespace, pod)
        self._look()

    @classmethod
    def found(cls, cluster: Cluster, namespace: str, name: str) -> "RunningPod":
        """One that somebody else made, a Deployment's perhaps, once it runs."""
        self = cls.__new__(cls)
        self._cluster, self.namespace, self.name = cluster, namespace, name
        self.path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        cluster.pods.wait_for(namespace, name, runs, "runs")
        self._look()
        return self

    def _look(self) -> None:
        # The kubelet reports what is in force a moment after the start; before that nothing can be resized.
        pod = self._cluster.pods.wait_for(self.namespace, self.name, _is_resizable, "can be resized")
        self.uid: str = pod["metadata"]["uid"]
        self._is_v2 = self._cluster.nodes[pod["spec"]["nodeName"]].is_v2
        root = self._cluster.cgroup_root(pod["spec"]["nodeName"])
        self._cgroups = {status["name"]: root / cgroup_of(pod, status["name"]) for status in _running(pod)}

    # --- the API's side -----------------------------------------------------------------------------------------

    def seen(self) -> Pod:
        """The pod as the API server has it."""
        return self._cluster.get(self.path)

    def limit_milli(self, container: str = "main") -> float | None:
        """The CPU limit in its spec; None: there is none."""
        return _cpu(self._container(container), "limits")

    def request_milli(self, container: str = "main") -> float | None:
        """The CPU request in its spec; None: there is none."""
        return _cpu(self._container(container), "requests")

    def _container(self, name: str) -> dict[str, Any]:
        spec = self.seen()["spec"]
        return next(one for one in [*spec.get("initContainers", []), *spec["containers"]] if one["name"] == name)

    def restarts(self) -> int:
        """How often any of its containers was started again."""
        return self._cluster.pods.restarts(self.namespace, self.name)

    def allocation(self) -> dict[str, Any] | None:
        """Its PodAllocation; None: there is none."""
        found = self._cluster.get(f"/apis/allocation.mbcas.io/v1alpha1/namespaces/{self.namespace}/podallocations")
        own = [one for one in found["items"] if one["spec"]["podUID"] == self.uid]
        assert len(own) <= 1, own
        return own[0] if own else None

    def phase(self) -> str:
        """The phase and reason of its PodAllocation, as "Applied" or "Failed QuotaExceeded"; "": nothing yet."""
        status = (self.allocation() or {}).get("status", {})
        return " ".join(filter(None, [status.get("phase"), status.get("reason")]))

    def resize(self, container: str = "main", **kinds: Mapping[str, str]) -> None:
        """Change its resources as a person with kubectl would: `limits={"cpu": "300m"}`."""
        change = {"spec": {"containers": [{"name": container, "resources": kinds}]}}
        code, answer = self._cluster.request("PATCH", f"{self.path}/resize", change, STRATEGIC_PATCH)
        assert code == 200, answer

    def mark(self, **metadata: Mapping[str, str | None]) -> None:
        """Change its `labels` or `annotations`; None removes one."""
        code, answer = self._cluster.request("PATCH", self.path, {"metadata": metadata}, MERGE_PATCH)
        assert code == 200, answer

    # --- the kernel's side --------------------------------------------------------------------------------------

    def quota_milli(self, container: str = "main") -> float | None:
        """The limit that the kernel enforces now; None: there is none."""
        cgroup = self._cgroups[container]
        if self._is_v2:
            quota, period = (cgroup / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) * 1000 / int(period)
        quota_usec = int((cgroup / "cpu.cfs_quota_us").read_text())
        return None if quota_usec < 0 else quota_usec * 1000 / int((cgroup / "cpu.cfs_period_us").read_text())

    def throttled_periods(self, container: str = "main") -> int:
        """How many periods the kernel has throttled it in."""
        lines = (self._cgroups[container] / "cpu.stat").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("nr_throttled ")).split()[1])

    def need(self, milli: int, container: str = "main") -> None:
        """Let it need so much CPU from the next tenth of a second on."""
        pid = (self._cgroups[container] / "cgroup.procs").read_text().split()[0]
        Path(f"/proc/{pid}/root{NEED_FILE}").write_text(f"{milli}\n")


def _running(pod: Pod) -> list[dict[str, Any]]:
    status = pod["status"]
    both = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return [one for one in both if "running" in one["state"]]


def _is_resizable(pod: Pod) -> bool:
    return runs(pod) and all(one.get("resources") is not None for one in _running(pod))


def _cpu(container: dict[str, Any], kind: str) -> float | None:
    quantity = container["resources"].get(kind, {}).get("cpu")
    return None if quantity is None else parse_cpu_milli(quantity)
