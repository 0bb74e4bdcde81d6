"""MBCAS on a cluster without its own pods: definition, accounts, rights and rules of `deploy/`, and tokens for them.

So the daemons of a test can run beside the cluster, where they are started, stopped and killed by their process id,
as the same accounts and under the same rules as in a pod.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from cluster.cluster import Cluster
from cluster.control_plane import APPLY_PATCH, ControlPlane
from cluster.pods import a_container, a_pod
from rigs.kernel import RAISED_SHARES
from scenarios.waiting import wait_until

from mbcasd.kube import manifests, names
from mbcasd.units import parse_cpu_milli

ALLOCATIONS = "/apis/allocation.mbcas.io/v1alpha1"
SYSTEM = "mbcas-system"
# What would start pods, or is about them.
LEFT_OUT = {"DaemonSet", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service", "Kustomization"}
# Every pod of this namespace is held to this by the policy mbcas-own-pods.
AS_THE_RULES_WANT = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
PLURALS = {
    "CustomResourceDefinition": "customresourcedefinitions",
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


def define_podallocations(plane: ControlPlane) -> None:
    """Let the API server know PodAllocations, and wait until it serves them."""
    for item in manifests.load("enforce"):
        if item["kind"] == "CustomResourceDefinition":
            _apply(plane, item)
    wait_until(lambda: plane.request("GET", f"{ALLOCATIONS}/podallocations")[0] == 200, 30, "they are served")


@contextlib.contextmanager
def prepared(cluster: Cluster) -> Iterator["Grounds"]:
    """All of `deploy/base` but its pods; taken away at the end, together with every PodAllocation."""
    items = [item for item in manifests.load("enforce") if item["kind"] not in LEFT_OUT]
    for item in sorted(items, key=lambda item: item["kind"] != "Namespace"):
        _apply(cluster, item)
    define_podallocations(cluster)
    try:
        yield Grounds(cluster)
    finally:
        for item in sorted(items, key=lambda item: item["kind"] == "Namespace"):
            cluster.request("DELETE", _path(item))
        wait_until(lambda: cluster.request("GET", f"/api/v1/namespaces/{SYSTEM}")[0] == 404, 60, "all is gone")


class Grounds:
    """Where daemons of a test get their kubeconfigs from."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        favour_pods(cluster)
        for node in cluster.nodes:
            # A token tells the node of the pod that it is bound to; so there has to be one.
            held = a_container(milli=1, securityContext=AS_THE_RULES_WANT)
            stand_in = a_pod(f"agent-{node}", held, node=node, serviceAccountName="mbcas-agent")
            cluster.pods.start(SYSTEM, stand_in)

    def agent_kubeconfig(self, node: str, server: str | None = None) -> str:
        """A file with which a process is the agent of this node."""
        token = self.cluster.token(SYSTEM, "mbcas-agent", pod=f"agent-{node}")
        return self.cluster.kubeconfig_with(token, namespace=SYSTEM, server=server)

    def decide(self, pod: dict[str, Any], **cpu_milli: int) -> None:
        """Write a PodAllocation as the pod's agent does, for a pod with one container: `limitMilli`, `requestMilli`."""
        metadata, node = pod["metadata"], pod["spec"]["nodeName"]
        container = pod["spec"]["containers"][0]
        owner = {
            kind: round(parse_cpu_milli(container["resources"][of]["cpu"]))
            for kind, of in (("limitMilli", "limits"), ("requestMilli", "requests"))
        }
        name = names.allocation_name(metadata["name"], metadata["uid"])
        body = {
            "apiVersion": f"{names.GROUP}/{names.VERSION}",
            "kind": names.KIND,
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
                ],
            },
            "spec": {
                "podName": metadata["name"],
                "podUID": metadata["uid"],
                "nodeName": node,
                "containers": [{"name": container["name"], **cpu_milli}],
                "original": [{"name": container["name"], **owner}],
                "mechanism": "nash",
                "mode": "congested",
                "reason": "a test has decided so",
                "decisionTime": "2026-01-01T00:00:00Z",
            },
        }
        path = names.allocations_path(metadata["namespace"], name)
        token = self.cluster.token(SYSTEM, "mbcas-agent", pod=f"agent-{node}")
        code, answer = self.cluster.request(
            "PATCH", f"{path}?fieldManager=mbcas-agent&force=true", body, APPLY_PATCH, token=token
        )
        assert code in {200, 201}, answer

    def controller_kubeconfig(self, server: str | None = None) -> str:
        """A file with which a process is the controller."""
        token = self.cluster.token(SYSTEM, "mbcas-controller")
        return self.cluster.kubeconfig_with(token, namespace=SYSTEM, server=server)


def favour_pods(cluster: Cluster) -> None:
    """Let pods have the CPU that their limits allow, so that a busy machine does not fool the tests."""
    cgroup = cluster.cgroup_root(next(iter(cluster.nodes))).parent
    for file, weight in (("cpu.shares", RAISED_SHARES), ("cpu.weight", 10_000)):
        if (cgroup / file).exists():
            (cgroup / file).write_text(str(weight))


def _path(item: dict[str, Any]) -> str:
    group = item["apiVersion"]
    metadata = item["metadata"]
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    return f"{root}{where}/{PLURALS[item['kind']]}/{metadata['name']}"


def _apply(plane: ControlPlane, item: dict[str, Any]) -> None:
    code, answer = plane.request("PATCH", f"{_path(item)}?fieldManager=tests&force=true", item, APPLY_PATCH)
    assert code < 300, answer
