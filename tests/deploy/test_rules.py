"""The admission policies, asked with real tokens on real API servers: who may write what, and what a resize may do."""

import copy

import pytest
from deploy.installation import BURSTABLE, CONTROLLER, SYSTEM, a_resize, agent_pod, an_allocation, said

from mbcasd.kube.names import pods_path

pytestmark = pytest.mark.control_plane

MERGE = "application/merge-patch+json"


def refuses(answer, words: str) -> bool:
    code, told = answer
    return code in {403, 422} and "ValidatingAdmissionPolicy" in said(told) and words in said(told)


@pytest.fixture
def written(installation, namespace):
    """A PodAllocation of a pod on node-1."""
    allocation = an_allocation(namespace)
    code, answer = installation.apply(allocation, manager="mbcas-agent", token=installation.agent)
    assert code == 201, answer
    return allocation


def a_report(allocation):
    metadata = {key: allocation["metadata"][key] for key in ("name", "namespace")}
    return {**{k: allocation[k] for k in ("apiVersion", "kind")}, "metadata": metadata, "status": {"phase": "Pending"}}


# --- an agent and its node


def test_an_agent_writes_nothing_of_another_node(installation, namespace):
    foreign = an_allocation(namespace, node="node-2")

    answer = installation.apply(foreign, manager="mbcas-agent", token=installation.agent)

    assert refuses(answer, "this token is for node-1, not for node-2")


def test_an_agent_changes_nothing_of_another_node(installation, namespace, written):
    other = installation.agent_on("node-2")

    for limit in (300, 400):
        answer = installation.apply(an_allocation(namespace, limit=limit), manager="mbcas-agent", token=other)
        assert refuses(answer, "this token is for node-2")


def test_a_token_that_is_bound_to_nothing_is_refused(installation, namespace):
    unbound = installation.token(SYSTEM, "mbcas-agent")

    answer = installation.apply(an_allocation(namespace), manager="mbcas-agent", token=unbound)

    assert refuses(answer, "the agent's token names no node")


@pytest.mark.parametrize(
    "owner", [None, {"kind": "Pod", "name": "web-1"}, {"kind": "Pod", "uid": "00000000"}, {"kind": "ConfigMap"}]
)
def test_a_decision_belongs_to_its_pod_so_that_it_goes_with_it(installation, namespace, owner):
    allocation = an_allocation(namespace)
    references = allocation["metadata"]["ownerReferences"]
    allocation["metadata"]["ownerReferences"] = [] if owner is None else [{**references[0], **owner}]

    answer = installation.apply(allocation, manager="mbcas-agent", token=installation.agent)

    assert refuses(answer, "must have its pod")


def test_an_agent_writes_no_status_and_deletes_nothing(installation, namespace, written):
    report, path = a_report(written), installation.path(written)

    assert installation.apply(report, manager="a", subresource="status", token=installation.agent)[0] == 403
    assert installation.request("DELETE", path, token=installation.agent)[0] == 403


# --- who else writes


def test_nobody_else_makes_changes_or_reports_however_mighty(installation, namespace, written):
    mighty = installation.an_account("mighty", namespace, cluster_role="cluster-admin")
    other = an_allocation(namespace, "web-1")
    changed = an_allocation(namespace, limit=300)
    for token in (None, mighty):  # the administrator of the system:masters group, and one by RBAC
        assert refuses(installation.apply(other, manager="x", token=token), "only mbcas-agent makes PodAllocations")
        assert refuses(installation.apply(changed, manager="x", token=token), "only mbcas-agent writes the spec")
        reported = installation.apply(a_report(written), manager="x", subresource="status", token=token)
        assert refuses(reported, "only mbcas-controller writes the status")


def test_administrators_may_delete_and_take_off_finalizers(installation, namespace, written):
    path = installation.path(written)
    code, _ = installation.request("PATCH", path, {"metadata": {"finalizers": ["example.test/x"]}}, MERGE)
    assert code == 200
    assert installation.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)[0] == 200

    assert installation.request("DELETE", path)[0] == 200
    assert installation.request("GET", path)[0] == 404


def test_whoever_merely_has_the_right_to_delete_may_not(installation, namespace, written):
    rules = [{"apiGroups": ["allocation.mbcas.io"], "resources": ["*"], "verbs": ["*"]}]
    owner = installation.an_account("owner", namespace, rules=rules)

    answer = installation.request("DELETE", installation.path(written), token=owner)

    assert refuses(answer, "to let go of a pod, label it mbcas.io/managed=false")
    assert refuses(installation.apply(written, manager="x", token=owner), "only mbcas-agent writes the spec")


def test_whole_namespaces_of_them_can_be_collected(installation, written):
    collector = installation.an_account("collector", SYSTEM, cluster_role="system:controller:namespace-controller")

    assert installation.request("DELETE", installation.path(written), token=collector)[0] == 200


def test_the_controller_reports_and_deletes_but_decides_nothing(installation, namespace, written):
    path, token = installation.path(written), installation.controller

    assert installation.apply(written, manager="mbcas-controller", token=token)[0] == 403
    reported = installation.apply(a_report(written), manager="mbcas-controller", subresource="status", token=token)
    assert reported[0] == 200
    assert installation.request("DELETE", path, token=token)[0] == 200


# --- the controller and pods

GUARANTEED = {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
SIDECAR = {"name": "sidecar", "image": "x", "restartPolicy": "Always", "resources": BURSTABLE}


@pytest.fixture
def resize(installation, namespace):
    """Makes a pod and asks for its resize, as the controller; or as an administrator, to see that it is no nonsense."""

    def resize(*, where=namespace, by_administrator=False, pod=None, **wanted):
        name = f"pod-{len(installation.get(pods_path(where))['items'])}"
        installation.a_pod(where, name, **(pod or {}))
        token = None if by_administrator else installation.controller
        return installation.request(*a_resize((where, name), **wanted), token=token)

    return resize


@pytest.mark.parametrize("limit", ["150m", "200m", "10000m", "512"])
def test_the_controller_moves_cpu_limits_within_bounds(resize, limit):
    code, pod = resize(limit=limit)

    assert code == 200, pod
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "128Mi"


def test_the_controller_moves_requests_with_limits_and_sidecars_too(resize):
    both = {"requests": {"cpu": "300m"}, "limits": {"cpu": "300m"}}
    assert resize(pod={"resources": GUARANTEED}, resources=both)[0] == 200
    assert resize(pod={"resources": BURSTABLE}, resources={"requests": {"cpu": "150m"}})[0] == 200
    sidecars = {"spec": {"initContainers": [{"name": "sidecar", "resources": {"limits": {"cpu": "300m"}}}]}}
    assert resize(pod={"initContainers": [SIDECAR]}, body=sidecars)[0] == 200


ONLY_CPU = "MBCAS may only change CPU, where there is a value already"
FORBIDDEN = {
    "a limit below the kernel's": ({}, {"resources": {"requests": {"cpu": "9m"}, "limits": {"cpu": "9m"}}}, "from 10m"),
    "a limit above the bound": ({}, {"limit": "512001m"}, "to 512 CPUs"),
    "the memory limit": ({}, {"resources": {"limits": {"memory": "256Mi"}}}, ONLY_CPU),
    "the memory limit beside CPU": ({}, {"resources": {"limits": {"cpu": "300m", "memory": "256Mi"}}}, ONLY_CPU),
    "the memory request": ({}, {"resources": {"requests": {"memory": "32Mi"}}}, ONLY_CPU),
    "a limit that never goes away again": (
        {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
        {"limit": "300m"},
        ONLY_CPU,
    ),
    "memory of a sidecar": (
        {"initContainers": [SIDECAR]},
        {"body": {"spec": {"initContainers": [{"name": "sidecar", "resources": {"limits": {"memory": "1Gi"}}}]}}},
        ONLY_CPU,
    ),
    "the request of a container without a limit": (
        {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
        {"resources": {"requests": {"cpu": "150m"}}},
        "the CPU request of a container with a CPU limit",
    ),
}


@pytest.mark.parametrize(("pod", "wanted", "words"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_controller_may_change_nothing_but_cpu_within_bounds(resize, pod, wanted, words):
    assert resize(pod=pod, by_administrator=True, **wanted)[0] == 200, "this alone would be no proof"

    assert refuses(resize(pod=pod, **wanted), words)


def test_everything_else_in_a_resize_has_no_effect(installation, namespace, resize):
    body = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "image": "y", "resources": {"limits": {"cpu": "300m"}}}]},
    }

    code, pod = resize(body=body)

    assert code == 200, pod
    assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "300m"
    assert pod["spec"]["containers"][0]["image"] == "x"
    assert pod["metadata"].get("labels", {}) == {}
    assert pod["metadata"].get("annotations", {}) == {}


@pytest.mark.parametrize(
    ("namespace_label", "pod_label", "may"),
    [
        (None, None, False),
        ("true", None, True),
        (None, "true", True),
        # Opted out again: the owner's values must still be put back.
        ("false", None, True),
        (None, "false", True),
    ],
)
def test_it_may_only_where_the_owner_has_said_a_word(installation, resize, namespace_label, pod_label, may):
    with installation.namespace(managed=False) as where:
        if namespace_label is not None:
            labels = {"metadata": {"labels": {"mbcas.io/managed": namespace_label}}}
            installation.request("PATCH", f"/api/v1/namespaces/{where}", labels, MERGE)
        pod = {} if pod_label is None else {"labels": {"mbcas.io/managed": pod_label}}

        answer = resize(where=where, pod=pod, limit="300m")

    assert answer[0] == 200 if may else refuses(answer, "neither the pod nor its namespace carries the label")


def test_a_word_that_is_taken_away_leaves_the_way_back_open(installation, namespace):
    pod = (namespace, "web-0")
    installation.a_pod(*pod)
    moved = installation.request(*a_resize(pod, limit="300m"), token=installation.controller)
    assert moved[0] == 200
    unlabelled = {"metadata": {"labels": {"mbcas.io/managed": None}}}
    assert installation.request("PATCH", f"/api/v1/namespaces/{namespace}", unlabelled, MERGE)[0] == 200

    assert installation.request(*a_resize(pod, limit="200m"), token=installation.controller)[0] == 200
    installation.a_pod(namespace, "web-1")
    other = installation.request(*a_resize((namespace, "web-1"), limit="300m"), token=installation.controller)
    assert refuses(other, "and MBCAS has never resized it")


def test_a_cluster_may_turn_that_around(installation, resize):
    """The component for `selection.opt_in = false`."""
    with installation.opted_out(), installation.namespace(managed=False) as where:
        assert resize(where=where, limit="300m")[0] == 200
        assert refuses(resize(where="kube-system", limit="300m"), "of kube-system or of its own namespace")


def test_others_resize_as_ever(installation, resize):
    with installation.namespace(managed=False) as where:
        assert resize(where=where, by_administrator=True, resources={"limits": {"memory": "1Gi"}})[0] == 200


# --- pods of the namespace


def a_pod_here(change) -> dict:
    pod = copy.deepcopy(agent_pod())
    change(pod["spec"], pod["spec"]["containers"][0])
    return pod


def and_a_container_more(kind):
    def change(spec, first):
        more = {"name": "more", "image": "x", "securityContext": {"allowPrivilegeEscalation": True}}
        spec.setdefault(kind, []).append(more)

    return change


INTRUDERS = {
    "another path of the node": (
        lambda spec, _: spec["volumes"][0].update(hostPath={"path": "/etc"}),
        "may only be /sys/fs/cgroup or below",
    ),
    "a path that only looks like it": (
        lambda spec, _: spec["volumes"][0].update(hostPath={"path": "/sys/fs/cgroup2"}),
        "may only be /sys/fs/cgroup or below",
    ),
    "a writable mount": (
        lambda _, first: first["volumeMounts"][0].update(readOnly=False, recursiveReadOnly="Disabled"),
        "must be readOnly",
    ),
    "a hostPath of somebody else": (
        lambda spec, _: spec.update(serviceAccountName=CONTROLLER),
        "only the agent may have a hostPath volume",
    ),
    "processes of the node": (lambda spec, _: spec.update(hostPID=True), "may see the processes of its node"),
    "shared memory of the node": (lambda spec, _: spec.update(hostIPC=True), "may see the processes of its node"),
    "the network of the node": (lambda spec, _: spec.update(hostNetwork=True), "may use the network of its node"),
    "root": (lambda _, first: first["securityContext"].update(runAsUser=0), "must run as non-root"),
    "root, perhaps": (lambda spec, _: spec["securityContext"].pop("runAsNonRoot"), "must run as non-root"),
    "all privileges": (
        lambda _, first: first["securityContext"].update(privileged=True, allowPrivilegeEscalation=True),
        "no container may be privileged",
    ),
    "more privileges later": (
        lambda _, first: first["securityContext"].pop("allowPrivilegeEscalation"),
        "must set allowPrivilegeEscalation to false",
    ),
    "a capability": (
        lambda _, first: first["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
        "drop all capabilities and add none",
    ),
    "the usual capabilities": (
        lambda _, first: first["securityContext"].pop("capabilities"),
        "drop all capabilities and add none",
    ),
    "a writable root": (
        lambda _, first: first["securityContext"].update(readOnlyRootFilesystem=False),
        "must have a read-only root file system",
    ),
    "no seccomp": (
        lambda _, first: first["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "must have a seccomp profile",
    ),
    "an init container without rules": (and_a_container_more("initContainers"), "must set allowPrivilegeEscalation"),
    "a container without rules": (and_a_container_more("containers"), "must set allowPrivilegeEscalation"),
}


@pytest.mark.parametrize(("change", "words"), INTRUDERS.values(), ids=INTRUDERS.keys())
def test_a_pod_of_the_namespace_gets_nothing_but_the_one_exception(installation, change, words):
    answer = installation.request("POST", f"{pods_path(SYSTEM)}?dryRun=All", a_pod_here(change))

    # All rules are tried, and an intruder may break several.
    assert refuses(answer, words), answer


def test_nor_does_a_container_for_debugging(installation):
    bare = {"name": "shell", "image": "x", "targetContainerName": "agent"}
    strict = {"securityContext": {**agent_pod()["spec"]["containers"][0]["securityContext"]}}
    path = pods_path(SYSTEM, "agent-node-1", "ephemeralcontainers")
    patch, kind = {"spec": {"ephemeralContainers": [bare]}}, "application/strategic-merge-patch+json"

    assert refuses(installation.request("PATCH", path, patch, kind), "must set allowPrivilegeEscalation to false")
    patch["spec"]["ephemeralContainers"] = [bare | strict]
    assert installation.request("PATCH", path, patch, kind)[0] == 200


def test_the_pods_of_deploy_pass(installation):
    for cgroup in ("v1", "v2"):
        pod = agent_pod(cgroup)
        code, answer = installation.request("POST", f"{pods_path(SYSTEM)}?dryRun=All", pod)
        assert code == 201, answer


def test_pods_elsewhere_are_none_of_its_business(installation, namespace):
    bare = {"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "main", "image": "x"}], "hostPID": True}}

    assert installation.request("POST", pods_path(namespace), bare)[0] == 201
