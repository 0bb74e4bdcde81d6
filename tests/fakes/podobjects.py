"""Pods, namespaces and PodAllocations as the API writes them, decoded as the agent decodes them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mbcasd.kube.allocating.autoscalers import HorizontalPodAutoscaler, VerticalPodAutoscaler
from mbcasd.kube.objects import ContainerCpu, Namespace, Pod, PodAllocation

STARTED_AT = "2026-11-25T12:00:00Z"
STARTED_WALL_S = 1_795_608_000.0

Json = dict[str, Any]


def container_id(pod: str, container: str) -> str:
    """64 hexadecimal digits, the same for the same names."""
    return hashlib.sha256(f"{pod}/{container}".encode()).hexdigest()


def a_container(
    name: str = "app",
    *,
    request: str | None = "100m",
    limit: str | None = "200m",
    memory: tuple[str | None, str | None] = (None, None),
    cpu_policy: str | None = None,
    started: bool = True,
    started_at: str = STARTED_AT,
    resizable: bool = True,
    sidecar: bool = False,
) -> Json:
    """Spec and status of one container, told apart by `_pod`."""
    requests = {"cpu": request, "memory": memory[0]}
    limits = {"cpu": limit, "memory": memory[1]}
    resources = {
        "requests": {key: value for key, value in requests.items() if value is not None},
        "limits": {key: value for key, value in limits.items() if value is not None},
    }
    spec: Json = {"name": name, "resources": resources}
    if cpu_policy is not None:
        spec["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": cpu_policy}]
    if sidecar:
        spec["restartPolicy"] = "Always"
    status: Json = {"name": name, "started": started, "state": {"running": {"startedAt": started_at}}}
    if resizable:
        status["resources"] = resources
    return {"spec": spec, "status": status, "sidecar": sidecar}


def a_pod(
    *containers: Json,
    name: str = "web",
    namespace: str = "shop",
    uid: str = "",
    qos: str = "Burstable",
    phase: str = "Running",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owners: tuple[tuple[str, str], ...] = (),
    deleted: bool = False,
    **spec: Any,
) -> Pod:
    """A pod that runs, of these containers or of the usual one; owners are (kind, name)."""
    described = containers or (a_container(),)
    for one in described:
        one["status"]["containerID"] = f"containerd://{container_id(name, one['spec']['name'])}"
    metadata: Json = {
        "name": name,
        "namespace": namespace,
        "uid": uid or a_uid(name),
        "labels": dict(labels or {}),
        "annotations": dict(annotations or {}),
        "ownerReferences": [{"kind": k, "name": n, "uid": "u", "controller": True} for k, n in owners],
    }
    if deleted:
        metadata["deletionTimestamp"] = STARTED_AT
    ordinary = [one for one in described if not one["sidecar"]]
    sidecars = [one for one in described if one["sidecar"]]
    whole = {
        "metadata": metadata,
        "spec": {
            "nodeName": "node-1",
            "containers": [one["spec"] for one in ordinary],
            "initContainers": [one["spec"] for one in sidecars],
            **spec,
        },
        "status": {
            "phase": phase,
            "qosClass": qos,
            "containerStatuses": [one["status"] for one in ordinary],
            "initContainerStatuses": [one["status"] for one in sidecars],
        },
    }
    return msgspec.json.decode(json.dumps(whole), type=Pod)


def a_uid(name: str) -> str:
    """A UID for a pod of this name."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def a_namespace(
    name: str = "shop", *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> Namespace:
    """A namespace that opted in, unless its labels say otherwise."""
    marks = {"mbcas.io/managed": "true"} if labels is None else labels
    metadata = {"name": name, "labels": dict(marks), "annotations": dict(annotations or {})}
    return msgspec.json.decode(json.dumps({"metadata": metadata}), type=Namespace)


def an_allocation(
    pod: Pod,
    containers: Mapping[str, int | tuple[int, int]],
    original: Mapping[str, tuple[int, int | None]],
    *,
    generation: int = 1,
    status: Json | None = None,
    **spec: Any,
) -> PodAllocation:
    """A pod's PodAllocation; containers are limits or (limit, request), originals (limit, request)."""
    metadata = pod.metadata
    whole = {
        "metadata": {
            "name": f"{metadata.name}.{metadata.uid[:8]}",
            "namespace": metadata.namespace,
            "uid": f"pa-{metadata.uid}",
            "generation": generation,
            "resourceVersion": str(generation),
        },
        "spec": {
            "podName": metadata.name,
            "podUID": metadata.uid,
            "nodeName": "node-1",
            "containers": [_cpu(name, value) for name, value in containers.items()],
            "original": [_cpu(name, value) for name, value in original.items()],
            **spec,
        },
        "status": status or {},
    }
    return msgspec.json.decode(json.dumps(whole), type=PodAllocation)


def cpu(name: str, limit: int, request: int | None = None) -> ContainerCpu:
    """One entry of a PodAllocation."""
    return ContainerCpu(name=name, limit_milli=limit, request_milli=request)


def _cpu(name: str, value: int | tuple[int, int | None]) -> Json:
    limit, request = (value, None) if isinstance(value, int) else value
    return {"name": name, "limitMilli": limit} | ({} if request is None else {"requestMilli": request})


def an_hpa(kind: str = "Deployment", name: str = "web", namespace: str = "shop") -> HorizontalPodAutoscaler:
    """An HPA that scales this."""
    ref = {"apiVersion": "apps/v1", "kind": kind, "name": name}
    whole = {"metadata": {"name": "scaler", "namespace": namespace}, "spec": {"scaleTargetRef": ref, "maxReplicas": 3}}
    return msgspec.json.decode(json.dumps(whole), type=HorizontalPodAutoscaler)


def a_vpa(
    mode: str | None = None, policies: list[Json] | None = None, kind: str = "Deployment", name: str = "web"
) -> VerticalPodAutoscaler:
    """A VPA of this; its mode may be absent."""
    spec: Json = {"targetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name}}
    if mode is not None:
        spec["updatePolicy"] = {"updateMode": mode}
    if policies is not None:
        spec["resourcePolicy"] = {"containerPolicies": policies}
    whole = {"metadata": {"name": "web-vpa", "namespace": "shop"}, "spec": spec}
    return msgspec.json.decode(json.dumps(whole), type=VerticalPodAutoscaler)


DEPLOYED = a_pod(
    name="web-7d96dc987b-lkzxp", labels={"pod-template-hash": "7d96dc987b"}, owners=(("ReplicaSet", "web-7d96dc987b"),)
)
