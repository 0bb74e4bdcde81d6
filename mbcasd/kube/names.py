"""What things are called in a cluster: the one place that agent, controller, manifests and commands agree on."""

GROUP = "allocation.mbcas.io"
VERSION = "v1alpha1"
KIND = "PodAllocation"
PLURAL = "podallocations"

NAMESPACE = "mbcas-system"
AGENT = "mbcas-agent"  # DaemonSet, service account and field manager
CONTROLLER = "mbcas-controller"  # Deployment, service account, field manager and Lease
CONFIG_MAP = "mbcas-config"
CONFIG_FILE = "mbcasd.toml"

# The owner's words, on pods and namespaces.
MANAGED_LABEL = "mbcas.io/managed"  # "true" opts in; any other value opts out; a pod's own word wins
TARGET_LATENCY_ANNOTATION = "mbcas.io/target-latency-ms"
MIN_CPU_ANNOTATION = "mbcas.io/min-cpu"
MAX_CPU_ANNOTATION = "mbcas.io/max-cpu"
WEIGHT_ANNOTATION = "mbcas.io/weight"  # on a pod: relative in its namespace; on a namespace: its share
PRIORITY_MULTIPLIER_ANNOTATION = "mbcas.io/priority-multiplier"
COALITION_ANNOTATION = "mbcas.io/coalition"
SKIP_GUARANTEED_ANNOTATION = "mbcas.io/skip-guaranteed"
IGNORE_ANNOTATION = "mbcas.io/ignore"


def allocations_path(namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """The API's path of one, of a namespace's or of all PodAllocations."""
    path = f"/apis/{GROUP}/{VERSION}"
    if namespace is not None:
        path += f"/namespaces/{namespace}"
    path += f"/{PLURAL}"
    if name is not None:
        path += f"/{name}"
    return path if subresource is None else f"{path}/{subresource}"


def pods_path(namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """The API's path of one, of a namespace's or of all pods."""
    path = "/api/v1" if namespace is None else f"/api/v1/namespaces/{namespace}"
    path += "/pods"
    if name is not None:
        path += f"/{name}"
    return path if subresource is None else f"{path}/{subresource}"


def allocation_name(pod_name: str, pod_uid: str) -> str:
    """The name of a pod's PodAllocation: readable, and another one for every incarnation of the pod.

    A recreated pod of the same name (a StatefulSet's) must not meet the old one's object, which the garbage
    collector may not have removed yet.
    """
    return f"{pod_name[:240]}.{pod_uid[:8]}"
