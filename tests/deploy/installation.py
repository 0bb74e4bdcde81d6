"""MBCAS's objects on a real API server, and who asks it for what: administrators, agents, the controller, others."""

import copy
import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from cluster import programs
from cluster.control_plane import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ControlPlane
from cluster.polling import poll_until

from mbcasd.kube import manifests
from mbcasd.kube.names import allocation_name, allocations_path, pods_path

SYSTEM = "mbcas-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AGENT, CONTROLLER = "mbcas-agent", "mbcas-controller"
VERSIONS = (programs.NEWEST, programs.OLDEST)
# Policies are enforced some tenths of a second after they were made.
ENFORCED_WITHIN_S = 30

Answer = tuple[int, Any]


class Installation(ControlPlane):
    """A control plane of its own with everything of `deploy/`: its rules would bind the tests of others."""

    def __init__(self, tools: str) -> None:
        super().__init__(tools)
        try:
            for node in ("node-1", "node-2"):
                self._join(node)
            for thing in manifests.load("enforce"):
                code, answer = self.apply(thing, manager="install")
                assert code in {200, 201}, answer
                if thing["kind"] == "CustomResourceDefinition":
                    poll_until(self._allocations_are_served, ENFORCED_WITHIN_S, lambda: "the definition is served")
            self.agent = self.agent_on("node-1")
            self.controller = self.token(SYSTEM, CONTROLLER)
            poll_until(self._policies_are_enforced, ENFORCED_WITHIN_S, lambda: f"the policies refuse; {self._seen}")
        except BaseException:
            self.close()
            raise

    def apply(self, thing: dict[str, Any], *, manager: str, subresource: str = "", **more: Any) -> Answer:
        """Server-side apply with force, as administrator or with `token`; `dry_run` stores nothing."""
        params = {"fieldManager": manager, "force": str(more.pop("force", True)).lower(), "fieldValidation": "Strict"}
        if more.pop("dry_run", False):
            params["dryRun"] = "All"
        path = self.path(thing) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", f"{path}?{urlencode(params)}", thing, APPLY_PATCH, **more)

    def path(self, thing: dict[str, Any]) -> str:
        """Where an object is, as the server itself says it."""
        version = thing["apiVersion"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        kind = next(
            one for one in self.get(base)["resources"] if one["kind"] == thing["kind"] and "/" not in one["name"]
        )
        where = f"/namespaces/{thing['metadata']['namespace']}" if kind["namespaced"] else ""
        return f"{base}{where}/{kind['name']}/{thing['metadata']['name']}"

    def table(self, path: str) -> Any:
        """What kubectl would show."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection(self.address, 6443, timeout=30, context=trust)
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        connection.request(
            "GET", path, headers={"Authorization": f"Bearer {self.pki.tokens['admin']}", "Accept": accept}
        )
        shown = json.loads(connection.getresponse().read())
        connection.close()
        return shown

    def a_pod(self, namespace: str, name: str, *, node: str = "node-1", **more: Any) -> dict[str, Any]:
        """Make a pod that is bound to a node and runs, as far as the API server can know."""
        labels = more.pop("labels", {})
        resources = more.pop("resources", BURSTABLE)
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "x", "resources": resources}], **more}
        made = self.create(pods_path(namespace), {"metadata": {"name": name, "labels": labels}, "spec": spec})
        statuses = {
            key: [
                {
                    **dict.fromkeys(("image", "imageID"), "x"),
                    **dict.fromkeys(("ready", "started"), True),
                    "name": one["name"],
                    "restartCount": 0,
                    "resources": one.get("resources", {}),
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                }
                for one in made["spec"].get(containers, ())
            ]
            for key, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers"))
        }
        self._expect(
            "PATCH",
            pods_path(namespace, name, "status"),
            {"status": {"phase": "Running", **statuses}},
            STRATEGIC_PATCH,
        )
        return made

    def agent_on(self, node: str) -> str:
        """The token of an agent on this node: it is bound to a pod there, which rules hold like any other."""
        if self.request("GET", pods_path(SYSTEM, f"agent-{node}"))[0] == 200:
            return self.token(SYSTEM, AGENT, pod=f"agent-{node}")
        pod = copy.deepcopy(agent_pod())
        pod["metadata"]["name"] = f"agent-{node}"
        pod["spec"]["nodeName"] = node
        self.create(pods_path(SYSTEM), pod)
        return self.token(SYSTEM, AGENT, pod=f"agent-{node}")

    def an_account(
        self,
        name: str,
        namespace: str,
        *,
        cluster_role: str = "",
        rules: list[dict[str, Any]] | None = None,
        namespaced: bool = False,
    ) -> str:
        """The token of a new service account with a cluster role: its own or a given one, everywhere or there."""
        unique = f"{name}-{namespace}"
        self.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": unique}})
        if rules is not None:
            self.create(f"{RBAC}/clusterroles", {"metadata": {"name": unique}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role or unique}
        subject = {"kind": "ServiceAccount", "name": unique, "namespace": namespace}
        bindings = f"namespaces/{namespace}/rolebindings" if namespaced else "clusterrolebindings"
        binding = {"metadata": {"name": unique}, "roleRef": role, "subjects": [subject]}
        self.create(f"{RBAC}/{bindings}", binding)
        token = self.token(namespace, unique)
        # Authorizers hear of a binding a moment after it was made.
        wanted = {"verb": "get", "group": "allocation.mbcas.io", "resource": "podallocations", "namespace": namespace}
        review = {"spec": {"resourceAttributes": wanted}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        poll_until(
            lambda: self.request("POST", path, review, token=token)[1]["status"]["allowed"],
            ENFORCED_WITHIN_S,
            lambda: f"{unique} has its rights",
        )
        return token

    @contextmanager
    def opted_out(self) -> Iterator[None]:
        """The policies for `selection.opt_in = false`, for a while."""
        self._set_policies(opt_out=True)
        try:
            yield
        finally:
            self._set_policies(opt_out=False)

    def _set_policies(self, *, opt_out: bool) -> None:
        for thing in manifests.load("enforce", opt_out=opt_out):
            if thing["kind"] == "ValidatingAdmissionPolicy":
                code, answer = self.apply(thing, manager="install")
                assert code == 200, answer
        poll_until(
            lambda: (self._resize_of_probe()[0] == 200) == opt_out, ENFORCED_WITHIN_S, lambda: "they are enforced"
        )

    def _join(self, node: str) -> None:
        """Make a node of which only the API server knows."""
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        self.create("/api/v1/nodes", {"metadata": {"name": node, "labels": {"kubernetes.io/os": "linux"}}})
        status = {"status": {"capacity": room, "allocatable": room}}
        self._expect("PATCH", f"/api/v1/nodes/{node}/status", status, MERGE_PATCH)

    def _allocations_are_served(self) -> bool:
        return self.request("GET", allocations_path())[0] == 200

    def _policies_are_enforced(self) -> bool:
        """Whether each of the four refuses something that nothing else would."""
        foreign = an_allocation("default", "probe", node="elsewhere")
        asked = [
            self.apply(foreign, manager="probe", dry_run=True),
            self.apply(foreign, manager="probe", dry_run=True, token=self.agent),
            self.request("POST", f"{pods_path(SYSTEM)}?dryRun=All", {"metadata": {"name": "probe"}, "spec": BARE}),
            self._resize_of_probe(),
        ]
        self._seen = asked
        return all(code in {403, 422} and "ValidatingAdmissionPolicy" in answer["message"] for code, answer in asked)

    def _resize_of_probe(self) -> Answer:
        if self.request("GET", pods_path("default", "probe"))[0] == 404:
            # Without controllers nobody else makes it, and no pod is admitted without.
            for where in ("default", "kube-system"):
                self.request("POST", f"/api/v1/namespaces/{where}/serviceaccounts", {"metadata": {"name": "default"}})
            self.a_pod("default", "probe")
        return self.request(*a_resize(("default", "probe"), limit="300m", dry_run=True), token=self.controller)


BARE = {"containers": [{"name": "main", "image": "x"}], "serviceAccountName": AGENT}
BURSTABLE = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
POD_UID = "11111111-2222-3333-4444-555555555555"


def agent_pod(cgroup: manifests.CgroupVersion = "v2") -> dict[str, Any]:
    """A pod as the DaemonSet of `deploy/` makes it."""
    things = manifests.load("enforce", cgroup=cgroup)
    daemon_set = next(thing for thing in things if thing["kind"] == "DaemonSet")
    template: dict[str, Any] = daemon_set["spec"]["template"]
    metadata = {**template["metadata"], "name": "agent", "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def an_allocation(
    namespace: str, pod: str = "web-0", *, uid: str = POD_UID, node: str = "node-1", limit: int = 400, **spec: Any
) -> dict[str, Any]:
    """A PodAllocation as an agent writes it; `spec` are more or other fields of its spec."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
    return {
        "apiVersion": "allocation.mbcas.io/v1alpha1",
        "kind": "PodAllocation",
        "metadata": {"name": allocation_name(pod, uid), "namespace": namespace, "ownerReferences": [owner]},
        "spec": {
            "podName": pod,
            "podUID": uid,
            "nodeName": node,
            "containers": [{"name": "main", "limitMilli": limit}],
            "original": [{"name": "main", "limitMilli": 200, "requestMilli": 100}],
            **spec,
        },
    }


def a_resize(
    pod: tuple[str, str], *, limit: str | None = None, dry_run: bool = False, **more: Any
) -> tuple[str, str, dict[str, Any], str]:
    """What a controller asks for: method, path, body, type; `more` are fields of the container, or the body itself."""
    resources = more.pop("resources", {"limits": {"cpu": limit}})
    body = more.pop("body", {"spec": {"containers": [{"name": "main", "resources": resources, **more}]}})
    path = f"{pods_path(*pod, 'resize')}?fieldManager=mbcas-controller{'&dryRun=All' if dry_run else ''}"
    return "PATCH", path, body, STRATEGIC_PATCH


def said(answer: Any) -> str:
    """The words of a refusal."""
    causes = answer.get("details", {}).get("causes", ())
    return "\n".join([answer["message"], *(cause.get("message", "") for cause in causes)])
