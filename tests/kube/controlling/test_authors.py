"""The API server keeps count of who set what; the form is that of a real server."""

import msgspec

from mbcasd.kube.controlling.authors import authors_of


def an_entry(
    manager: str, fields: dict[str, object], kind: str = "f:containers", name: str = "app"
) -> dict[str, object]:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {kind: {f'k:{{"name":"{name}"}}': {".": {}, "f:resources": fields}}}},
    }


def a_pod_of(*entries: dict[str, object]) -> bytes:
    return msgspec.json.encode({"metadata": {"name": "web", "generation": 4, "managedFields": entries}})


LIMIT, REQUEST = {"f:limits": {"f:cpu": {}}}, {"f:requests": {"f:cpu": {}, "f:memory": {}}}


def test_limit_and_request_have_authors_of_their_own() -> None:
    authors = authors_of(a_pod_of(an_entry("kubectl-create", REQUEST), an_entry("mbcas-controller", LIMIT)))

    assert authors.generation == 4
    assert authors.limit_is_ours("app")
    assert not authors.request_is_ours("app")
    assert authors.requests == {"app": "kubectl-create"}


def test_memory_alone_is_no_cpu() -> None:
    assert authors_of(a_pod_of(an_entry("kubectl", {"f:limits": {"f:memory": {}}}))).limits == {}


def test_sidecars_stand_among_the_init_containers() -> None:
    authors = authors_of(a_pod_of(an_entry("vpa", LIMIT, "f:initContainers", "proxy")))

    assert authors.limits == {"proxy": "vpa"}


def test_a_status_that_the_kubelet_wrote_says_nothing() -> None:
    kubelet = {"manager": "kubelet", "subresource": "status", "fieldsV1": {"f:status": {"f:containerStatuses": {}}}}

    assert authors_of(a_pod_of(kubelet)).limits == {}


def test_a_pod_without_the_record_has_no_authors() -> None:
    assert authors_of(b'{"metadata": {"name": "web"}}').limits == {}
