"""A pod, its PodAllocation, and a world of values in which verdicts are carried out without any cluster."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from mbcasd.kube import names
from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds
from mbcasd.kube.controlling import answered
from mbcasd.kube.controlling.authors import Authors
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.patches import resize_body
from mbcasd.kube.controlling.pods import ResizablePod, containers_of, qos_class
from mbcasd.kube.controlling.reconcile import reconcile
from mbcasd.kube.controlling.verdict import Action, Announcement, Incident, Instant, Memory, Rules, Seen, Verdict
from mbcasd.kube.objects import AllocationStatus, ContainerCpu, PodAllocation
from mbcasd.settings import ResizeSettings

UID = "11111111-2222-3333-4444-555555555555"
RULES = Rules(resize=ResizeSettings(), is_enforcing=True)


def cpu(limit: int, request: int | None = None, name: str = "app") -> ContainerCpu:
    """CPU of one container, in millicores."""
    return ContainerCpu(name=name, limit_milli=limit, request_milli=request)


def a_container(
    name: str = "app", *, limit: int | None = 200, request: int | None = 100, **more: Any
) -> dict[str, Any]:
    """One container of a pod's spec; by default of a Burstable pod."""
    limits = {} if limit is None else {"cpu": f"{limit}m"}
    requests = {} if request is None else {"cpu": f"{request}m"}
    resources = {"limits": {**limits, "memory": "128Mi"}, "requests": {**requests, "memory": "64Mi"}}
    return {"name": name, "image": "x", "resources": resources, **more}


def a_pod_json(*containers: dict[str, Any], sidecars: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    """A running pod as the API gives it, all that its spec says in force."""
    ordinary = containers or (a_container(),)
    pod: dict[str, Any] = {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": UID,
            "resourceVersion": "7",
            "generation": 1,
            **more.pop("metadata", {}),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": list(ordinary),
            "initContainers": [{**one, "restartPolicy": "Always"} for one in sidecars],
        },
        "status": {
            "phase": "Running",
            "observedGeneration": 1,
            "conditions": [],
            "containerStatuses": [_status(one) for one in ordinary],
            "initContainerStatuses": [_status(one) for one in sidecars],
            **more.pop("status", {}),
        },
    }
    pod["status"].setdefault("qosClass", qos_class(msgspec.convert(pod, ResizablePod), {}))
    assert not more
    return pod


def a_pod(*containers: dict[str, Any], **more: Any) -> ResizablePod:
    """The same as the controller keeps it."""
    return msgspec.convert(a_pod_json(*containers, **more), ResizablePod)


def an_allocation(
    *containers: ContainerCpu,
    original: tuple[ContainerCpu, ...] = (cpu(200, 100),),
    status: AllocationStatus | None = None,
    generation: int = 1,
    **more: Any,
) -> PodAllocation:
    """A decision about that pod; `more` is of its spec, as JSON names it."""
    name = names.allocation_name("web", UID)
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": "a-uid",
                "resourceVersion": "9",
                "generation": generation,
            },
            "spec": {
                "podName": "web",
                "podUID": UID,
                "nodeName": "node-1",
                "containers": [msgspec.to_builtins(one) for one in containers or (cpu(300),)],
                "original": [msgspec.to_builtins(one) for one in original],
                **more,
            },
            "status": msgspec.to_builtins(status or AllocationStatus()),
        },
        PodAllocation,
    )


def _status(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "resources": container["resources"],
    }


@dataclass
class World:
    """One pod and one PodAllocation, an API server that validates, and a kubelet that works when it is told to."""

    pod: dict[str, Any] | None = field(default_factory=a_pod_json)
    allocation: PodAllocation | None = field(default_factory=an_allocation)
    rules: Rules = RULES
    bounds: CpuBounds = NO_BOUNDS
    now_s: float = 1000.0
    memory: Memory = field(default_factory=Memory)
    limit_authors: dict[str, str] = field(default_factory=dict)  # container → who set its limit last
    request_authors: dict[str, str] = field(default_factory=dict)
    refuses: Outcome | None = None
    announced: list[Announcement] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    statuses_written: int = 0

    def __post_init__(self) -> None:
        self.pod = copy.deepcopy(self.pod)  # it is changed in place; another world may have been given the same

    def look(self) -> Verdict:
        """Decide once and carry it out."""
        assert self.allocation is not None
        pod = None if self.pod is None else msgspec.convert(self.pod, ResizablePod)
        seen = Seen(allocation=self.allocation, pod=pod, bounds=self.bounds)
        at = Instant(now_s=self.now_s, wall_s=1_700_000_000 + self.now_s)
        verdict = reconcile(seen, self.memory, self.rules, at)
        self._note(verdict)
        if verdict.action is Action.ASK_AUTHORS:
            assert self.pod is not None
            asked = Authors(self.pod["metadata"]["generation"], self.limit_authors, self.request_authors)
            self.memory = replace(verdict.memory, authors=asked)
            return self.look()
        if verdict.action is Action.RESIZE:
            assert pod is not None
            verdict = self._patch(seen, pod, verdict, at)
        if verdict.status is not None:
            self.allocation = msgspec.structs.replace(self.allocation, status=verdict.status)
            self.statuses_written += 1
        if verdict.action is Action.DELETE:
            self.allocation = None
        self.announced += verdict.announcements
        return verdict

    def _note(self, verdict: Verdict) -> None:
        self.memory = verdict.memory
        self.incidents += verdict.incidents

    def _patch(self, seen: Seen, pod: ResizablePod, verdict: Verdict, at: Instant) -> Verdict:
        assert self.pod is not None
        self.patches.append(resize_body(pod, verdict.resize))
        if self.refuses is not None:
            refused = answered.refused(seen, verdict.memory, self.refuses, "refused", verdict.resize, None, at)
            self._note(refused)
            return refused
        self.set({one.name: (one.limit_milli, one.request_milli) for one in verdict.resize}, by=names.CONTROLLER)
        generation = self.pod["metadata"]["generation"]
        self.memory = answered.accepted(verdict.memory, verdict.resize, generation, at)
        return Verdict(memory=self.memory, again_in_s=0.5)

    def set(self, values: dict[str, tuple[int, int | None]], *, by: str) -> None:
        """Somebody resizes the pod; fails as the API server would."""
        assert self.pod is not None
        before = msgspec.convert(self.pod, ResizablePod)
        for container in (*self.pod["spec"]["containers"], *self.pod["spec"]["initContainers"]):
            if container["name"] in values:
                limit, request = values[container["name"]]
                resources = {kind: dict(given) for kind, given in container["resources"].items()}
                if resources["limits"].get("cpu") != f"{limit}m":  # who sets the same again does not count
                    self.limit_authors[container["name"]] = by
                resources["limits"]["cpu"] = f"{limit}m"
                if request is not None:
                    if resources["requests"].get("cpu") != f"{request}m":
                        self.request_authors[container["name"]] = by
                    resources["requests"]["cpu"] = f"{request}m"
                container["resources"] = resources
        after = msgspec.convert(self.pod, ResizablePod)
        assert qos_class(after, {}) == before.status.qos_class
        for now in containers_of(after).values():
            assert (now.request_milli or 0) <= (now.limit_milli or 10**9)
        metadata = self.pod["metadata"]
        self.pod["metadata"] = {
            **metadata,
            "generation": metadata["generation"] + 1,
            "resourceVersion": str(int(metadata["resourceVersion"]) + 1),
        }

    def decide(self, *containers: ContainerCpu, **more: Any) -> None:
        """The agent decides something else."""
        assert self.allocation is not None
        spec = msgspec.structs.replace(
            self.allocation.spec, **({"containers": containers} if containers else {}), **more
        )
        metadata = msgspec.structs.replace(self.allocation.metadata, generation=self.allocation.metadata.generation + 1)
        self.allocation = msgspec.structs.replace(self.allocation, spec=spec, metadata=metadata)

    def kubelet(self, *conditions: dict[str, Any]) -> None:
        """The kubelet has seen the spec: without conditions it is in force, with any it is not."""
        assert self.pod is not None
        status = {**self.pod["status"], "observedGeneration": self.pod["metadata"]["generation"]}
        status["conditions"] = [{"status": "True", **one} for one in conditions]
        if not conditions:
            status["containerStatuses"] = [_status(one) for one in self.pod["spec"]["containers"]]
            status["initContainerStatuses"] = [_status(one) for one in self.pod["spec"]["initContainers"]]
        self.pod["status"] = status

    def settle(self, within_s: float = 300.0) -> None:
        """Let time pass with a healthy kubelet until nothing more is to be done."""
        ends_s = self.now_s + within_s
        while self.allocation is not None and self.now_s < ends_s:
            verdict = self.look()
            if self.pod is not None:
                self.kubelet()
            if verdict.again_in_s is None and verdict.status is None and verdict.action is Action.NOTHING:
                return
            self.now_s += verdict.again_in_s or 0.1

    @property
    def limit(self) -> int:
        """What the spec of the first container says, in millicores."""
        assert self.pod is not None
        return containers_of(msgspec.convert(self.pod, ResizablePod))["app"].limit_milli or 0

    @property
    def request(self) -> int:
        """The same for its request."""
        assert self.pod is not None
        return containers_of(msgspec.convert(self.pod, ResizablePod))["app"].request_milli or 0

    @property
    def status(self) -> AllocationStatus:
        """What the object says."""
        assert self.allocation is not None
        return self.allocation.status
