"""The body of a resize: CPU of containers by name, for one pod in one state, and nothing else."""

from collections.abc import Iterable
from typing import Any

from mbcasd.kube.controlling.pods import ResizablePod, containers_of
from mbcasd.kube.objects import ContainerCpu


def resize_body(pod: ResizablePod, changes: Iterable[ContainerCpu]) -> dict[str, Any]:
    """Write a strategic merge patch for the resize subresource.

    The uid refuses it for a pod that was made again under the name; the resourceVersion for one that has changed
    since it was looked at, so that neither a patch that was held up on its way nor one decided from an old view can
    undo somebody's resize. Containers without a name would be a server error, memory in the same patch could fail
    and take the CPU with it, and a null request would become the limit: so none of that is written.
    """
    containers = containers_of(pod)
    spec: dict[str, list[dict[str, Any]]] = {}
    for cpu in changes:
        resources = {"limits": {"cpu": f"{cpu.limit_milli}m"}}
        if cpu.request_milli is not None:
            resources["requests"] = {"cpu": f"{cpu.request_milli}m"}
        kind = "initContainers" if containers[cpu.name].is_sidecar else "containers"
        spec.setdefault(kind, []).append({"name": cpu.name, "resources": resources})
    return {
        "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
        "spec": spec,
    }
