"""What the accounts of agents and controller may do on a real API server, asked for real: all they need, no more."""

import pytest
from deploy.installation import SYSTEM, an_allocation, said

pytestmark = pytest.mark.control_plane

CORE, APPS = "/api/v1", "/apis/apps/v1"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
ALLOCATIONS = "/apis/allocation.mbcas.io/v1alpha1"
MERGE = "application/merge-patch+json"

READ_BY_BOTH = [
    f"{CORE}/pods?fieldSelector=spec.nodeName%3Dnode-1",
    f"{CORE}/pods?watch=1&timeoutSeconds=1",
    f"{CORE}/namespaces",
    f"{CORE}/limitranges",
    f"{ALLOCATIONS}/podallocations",
]
READ_BY_AGENTS = [*READ_BY_BOTH, "/apis/autoscaling/v2/horizontalpodautoscalers"]


def an_event(namespace):
    return {
        "metadata": {"generateName": "mbcas-"},
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "type": "Normal",
        "reason": "Resized",
        "action": "Resize",
        "note": "x",
        "reportingController": "mbcas",
        "reportingInstance": "mbcas-0",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "web-0"},
    }


@pytest.mark.parametrize("path", READ_BY_AGENTS)
def test_an_agent_reads_what_owners_ask_for(installation, path):
    assert installation.request("GET", path, token=installation.agent)[0] == 200


@pytest.mark.parametrize("path", READ_BY_BOTH)
def test_the_controller_reads_what_it_acts_on(installation, path):
    assert installation.request("GET", path, token=installation.controller)[0] == 200


def test_an_agent_may_look_for_autoscalers_that_are_not_installed(installation):
    path = "/apis/autoscaling.k8s.io/v1/verticalpodautoscalers"

    assert installation.request("GET", path, token=installation.agent)[0] == 404


@pytest.mark.parametrize("account", ["agent", "controller"])
def test_both_tell_events_about_pods_anywhere(installation, namespace, account):
    token = getattr(installation, account)

    code, made = installation.request("POST", EVENTS.format(namespace=namespace), an_event(namespace), token=token)
    assert code == 201, made
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000001Z"}}
    path = f"{EVENTS.format(namespace=namespace)}/{made['metadata']['name']}"
    assert installation.request("PATCH", path, series, MERGE, token=token)[0] == 200


def test_the_controller_holds_its_lease_and_no_other(installation):
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15}
    token = installation.controller
    lease = {"metadata": {"name": "mbcas-controller"}, "spec": spec}
    code, made = installation.request("POST", LEASES, lease, token=token)
    assert code == 201, made
    assert installation.request("GET", f"{LEASES}/mbcas-controller", token=token)[0] == 200
    made["spec"]["holderIdentity"] = ""
    assert installation.request("PUT", f"{LEASES}/mbcas-controller", made, token=token)[0] == 200

    installation.create(LEASES, {"metadata": {"name": "other"}, "spec": spec})
    assert installation.request("GET", f"{LEASES}/other", token=token)[0] == 403
    elsewhere = LEASES.replace(SYSTEM, "kube-system")
    assert installation.request("POST", elsewhere, lease, token=token)[0] == 403


NOBODYS = [
    ("GET", f"{CORE}/secrets"),
    ("GET", f"{CORE}/namespaces/{SYSTEM}/secrets"),
    ("GET", f"{CORE}/configmaps"),
    ("GET", f"{CORE}/nodes"),
    ("GET", f"{CORE}/nodes/node-1"),
    ("GET", f"{CORE}/nodes/node-1/proxy/pods"),
    ("GET", f"{CORE}/serviceaccounts"),
    ("GET", f"{APPS}/deployments"),
    ("GET", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1/log"),
    ("GET", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1/exec"),
    ("POST", f"{CORE}/namespaces/{SYSTEM}/pods"),
    ("POST", f"{CORE}/namespaces/{SYSTEM}/serviceaccounts/mbcas-agent/token"),
    ("PATCH", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1"),
    ("PATCH", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1/status"),
    ("PUT", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1"),
    ("PUT", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1/resize"),
    ("DELETE", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1"),
    ("POST", f"{CORE}/namespaces/{SYSTEM}/pods/agent-node-1/eviction"),
    ("PATCH", f"{CORE}/namespaces/{SYSTEM}"),
    ("PATCH", f"{CORE}/namespaces/{SYSTEM}/configmaps/mbcas-config"),
    ("PATCH", f"{APPS}/namespaces/{SYSTEM}/daemonsets/mbcas-agent"),
    ("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/podallocations.allocation.mbcas.io"),
    ("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/mbcas-agent-own-node"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
]


@pytest.mark.parametrize("account", ["agent", "controller"])
@pytest.mark.parametrize(("method", "path"), NOBODYS, ids=[f"{method} {path}" for method, path in NOBODYS])
def test_neither_may_do_more(installation, account, method, path):
    body, kind = ({}, MERGE) if method == "PATCH" else ({"metadata": {"name": "x"}}, "application/json")

    code, answer = installation.request(method, path, body, kind, token=getattr(installation, account))

    assert code == 403, answer
    assert f"system:serviceaccount:{SYSTEM}:mbcas-{account}" in said(answer)


def test_an_agent_resizes_nothing(installation, namespace):
    installation.a_pod(namespace, "web-0")
    path = f"{CORE}/namespaces/{namespace}/pods/web-0/resize"

    code, answer = installation.request("PATCH", path, {}, MERGE, token=installation.agent)

    assert (code, "cannot patch resource" in said(answer)) == (403, True), answer


def test_who_may_view_a_namespace_sees_its_allocations_and_changes_none(installation, namespace):
    allocation = an_allocation(namespace)
    installation.apply(allocation, manager="mbcas-agent", token=installation.agent)
    # Without controllers nobody aggregates roles, so it is bound as it stands.
    viewer = installation.an_account("viewer", namespace, cluster_role="mbcas-view", namespaced=True)
    path = installation.path(allocation)

    assert installation.request("GET", path, token=viewer)[0] == 200
    assert installation.request("GET", f"{ALLOCATIONS}/podallocations", token=viewer)[0] == 403
    assert installation.request("PATCH", path, {}, MERGE, token=viewer)[0] == 403
    assert installation.request("DELETE", path, token=viewer)[0] == 403
