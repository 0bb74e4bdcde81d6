"""The definition of PodAllocations, tried on real API servers: what it takes, refuses, shows and selects."""

import http.client
import json
import ssl

import pytest
from deploy.installation import an_allocation, said

from mbcasd.kube.names import allocations_path

pytestmark = pytest.mark.control_plane

A_STATUS = {
    "phase": "Applied",
    "containers": [{"name": "main", "limitMilli": 400}],
    "totalLimitMilli": 400,
    "observedGeneration": 1,
    "lastAppliedTime": "2026-01-01T00:00:00Z",
    "conditions": [{"type": "Applied", "status": "True", "reason": "Resized", "message": "in force"}],
}


def cpu(name: str = "main", limit: int = 200, **more: int) -> dict[str, object]:
    return {"name": name, "limitMilli": limit, **more}


GOOD = {
    "the least there is": {},
    "everything there is": {
        "mechanism": "nash",
        "mode": "congested",
        "priceMicro": 4286,
        "reason": "price",
        "recommendOnly": True,
        "released": True,
        "decisionTime": "2026-01-01T00:00:00Z",
        "totalLimitMilli": 400,
    },
    "a request equal to the limit": {"containers": [cpu(limit=300, requestMilli=300)]},
    "an original without a request": {"original": [cpu()]},
    "fewer containers than originals": {"original": [cpu(), cpu("sidecar")]},
    "two containers": {
        "containers": [cpu(limit=300), cpu("sidecar", 50)],
        "original": [cpu(), cpu("sidecar")],
        "totalLimitMilli": 350,
    },
    "the smallest limit": {"containers": [cpu(limit=10)]},
    "the largest limit": {"containers": [cpu(limit=512_000)]},
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
def test_what_agents_write_is_accepted(installation, namespace, spec):
    code, answer = installation.apply(
        an_allocation(namespace, **spec), manager="mbcas-agent", token=installation.agent, dry_run=True
    )

    assert code == 201, answer
    assert answer["spec"].items() >= spec.items()


BAD = {
    "a request above the limit": ({"containers": [cpu(requestMilli=201)]}, "requestMilli is above limitMilli"),
    "a limit below the kernel's": ({"containers": [cpu(limit=9)]}, "should be greater than or equal to 10"),
    "a limit above the bound": ({"containers": [cpu(limit=512_001)]}, "should be less than or equal to 512000"),
    "a fraction of a millicore": ({"containers": [cpu(limit=200.5)]}, "must be of type integer"),
    "a quantity": ({"containers": [cpu(limit="200m")]}, "expected numeric"),
    "a negative request": ({"containers": [cpu(requestMilli=-1)]}, "should be greater than or equal to 0"),
    "no container": ({"containers": []}, "should have at least 1 items"),
    "no original": ({"original": []}, "should have at least 1 items"),
    "a container twice": ({"containers": [cpu(), cpu()]}, "duplicate"),
    "a container without an original": ({"containers": [cpu("other")]}, "each of containers must be in original"),
    "too many containers": (
        {"containers": [cpu(f"c{n}") for n in range(65)], "original": [cpu(f"c{n}") for n in range(65)]},
        "must have at most 64 items",
    ),
    "a total that is none": ({"totalLimitMilli": 401}, "totalLimitMilli is not the sum of containers"),
    "an unknown mode": ({"mode": "crowded"}, "Unsupported value"),
    "an unknown field": ({"ceilingMilli": 3}, "field not declared in schema"),
    "a reason without end": ({"reason": "x" * 257}, "may not be more than 256"),
    "a time that is none": ({"decisionTime": "yesterday"}, "must be of type date-time"),
    "a node without a name": ({"nodeName": ""}, "should be at least 1 chars long"),
    "a pod that is not the name's": ({"podName": "web-1"}, "the name must be podName and the first eight characters"),
}


@pytest.mark.parametrize(("spec", "words"), BAD.values(), ids=BAD.keys())
def test_nonsense_is_refused_with_the_reason(installation, namespace, spec, words):
    code, answer = installation.apply(
        an_allocation(namespace, **spec), manager="mbcas-agent", token=installation.agent, dry_run=True
    )

    # Server-side apply answers 500 to what it cannot merge into the schema, before anything is validated.
    assert code == (500 if said(answer).startswith("failed to create typed patch object") else 422)
    assert words in said(answer)


@pytest.mark.parametrize("field", ["podName", "podUID", "nodeName", "containers", "original"])
def test_nothing_that_is_needed_may_be_missing(installation, namespace, field):
    allocation = an_allocation(namespace)
    del allocation["spec"][field]

    code, answer = installation.apply(allocation, manager="mbcas-agent", token=installation.agent)

    # A policy that reads the field may be quicker than the schema to notice.
    assert code in {403, 422}, answer
    assert field in said(answer) or "ownerReferences" in said(answer)


def test_a_pods_long_name_is_cut_in_the_objects_name(installation, namespace):
    allocation = an_allocation(namespace, "p" * 253)

    code, answer = installation.apply(allocation, manager="mbcas-agent", token=installation.agent)

    assert code == 201, answer
    assert len(answer["metadata"]["name"]) == 249  # 240 + a dot + 8


@pytest.fixture
def written(installation, namespace):
    """A PodAllocation that exists."""
    allocation = an_allocation(namespace)
    code, answer = installation.apply(allocation, manager="mbcas-agent", token=installation.agent)
    assert code == 201, answer
    return allocation


CHANGES = {
    "the pod's UID": ({"podUID": "11111111-0000-0000-0000-000000000000"}, "podUID cannot be changed"),
    "the owner's limit": (
        {"original": [cpu(limit=201, requestMilli=100)]},
        "what the owner had set cannot be changed or removed",
    ),
    "the owner's request": (
        {"original": [cpu(requestMilli=99)]},
        "what the owner had set cannot be changed or removed",
    ),
    "that there was a request": ({"original": [cpu()]}, "what the owner had set cannot be changed or removed"),
    "away one of the owner's containers": (
        {"containers": [cpu("new")], "original": [cpu("new")]},
        "what the owner had set cannot be changed or removed",
    ),
}


@pytest.mark.parametrize(("spec", "words"), CHANGES.values(), ids=CHANGES.keys())
def test_what_identifies_a_pod_and_its_owners_values_stay(installation, namespace, written, spec, words):
    changed = an_allocation(namespace, **spec)
    if uid := spec.get("podUID"):
        changed["metadata"]["ownerReferences"][0]["uid"] = uid

    code, answer = installation.apply(changed, manager="mbcas-agent", token=installation.agent)

    assert code == 422, answer
    assert words in said(answer)


def test_a_container_that_is_managed_later_brings_its_own_original(installation, namespace, written):
    both = [cpu(requestMilli=100), cpu("late", 50)]

    code, answer = installation.apply(
        an_allocation(namespace, original=both), manager="mbcas-agent", token=installation.agent
    )

    assert code == 200, answer


def test_agent_and_controller_own_a_half_each(installation, namespace, written):
    status = {**written, "status": A_STATUS}
    del status["spec"]
    status["metadata"] = {"name": written["metadata"]["name"], "namespace": namespace}

    code, reported = installation.apply(
        status, manager="mbcas-controller", subresource="status", token=installation.controller
    )
    assert code == 200, reported
    code, decided = installation.apply(
        an_allocation(namespace, limit=500), manager="mbcas-agent", token=installation.agent
    )
    assert code == 200, decided

    owners = {entry["manager"]: sorted(entry["fieldsV1"]) for entry in decided["metadata"]["managedFields"]}
    assert owners == {"mbcas-agent": ["f:metadata", "f:spec"], "mbcas-controller": ["f:status"]}
    assert decided["spec"]["containers"] == [cpu(limit=500)]
    assert decided["status"]["phase"] == "Applied"
    # Only what was decided counts as a new generation.
    assert (reported["metadata"]["generation"], decided["metadata"]["generation"]) == (1, 2)


def test_the_same_again_changes_nothing(installation, namespace, written):
    path = installation.path(written)
    before = installation.get(path)["metadata"]["resourceVersion"]

    code, answer = installation.apply(written, manager="mbcas-agent", token=installation.agent)

    assert (code, answer["metadata"]["resourceVersion"]) == (200, before)


def test_a_second_manager_is_told_of_the_conflict(installation, namespace, written):
    code, answer = installation.apply(
        an_allocation(namespace, limit=500), manager="somebody", token=installation.agent, force=False
    )

    assert code == 409, answer
    assert 'conflict with "mbcas-agent"' in said(answer)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Done"}, "Unsupported value"),
        ({"totalLimitMilli": 7}, "totalLimitMilli is not the sum of containers"),
        ({"conditions": [{"type": "Applied", "status": "Perhaps"}]}, "Unsupported value"),
        ({"conditions": [{"type": "A", "status": "True"}, {"type": "A", "status": "False"}]}, "duplicate"),
        ({"conditions": [{"type": f"T{n}", "status": "True"} for n in range(9)]}, "must have at most 8 items"),
        ({"observedGeneration": -1}, "should be greater than or equal to 0"),
    ],
)
def test_a_status_that_is_none_is_refused(installation, namespace, written, status, words):
    whole = {**written, "metadata": {"name": written["metadata"]["name"], "namespace": namespace}, "status": status}
    del whole["spec"]

    code, answer = installation.apply(
        whole, manager="mbcas-controller", subresource="status", token=installation.controller
    )

    assert code in {422, 500}, answer
    assert words in said(answer)


def test_a_node_lists_and_watches_its_own(installation, namespace):
    for pod, node in (("near", "node-1"), ("far", "node-2")):
        agent = installation.agent if node == "node-1" else installation.agent_on("node-2")
        code, answer = installation.apply(an_allocation(namespace, pod, node=node), manager="mbcas-agent", token=agent)
        assert code == 201, answer
    selector = "fieldSelector=spec.nodeName%3Dnode-1"

    listed = installation.get(f"{allocations_path(namespace)}?{selector}")
    assert [item["spec"]["podName"] for item in listed["items"]] == ["near"]

    context = ssl.create_default_context(cafile=installation.ca_file)
    connection = http.client.HTTPSConnection(installation.address, 6443, timeout=20, context=context)
    query = f"watch=1&{selector}&resourceVersion=0&timeoutSeconds=1"
    connection.request(
        "GET", f"{allocations_path(namespace)}?{query}", headers={"Authorization": f"Bearer {installation.agent}"}
    )
    events = [json.loads(line) for line in connection.getresponse().read().splitlines()]
    connection.close()
    assert [(event["type"], event["object"]["spec"]["podName"]) for event in events] == [("ADDED", "near")]


def test_people_see_the_columns_that_matter(installation, namespace):
    allocation = an_allocation(
        namespace,
        containers=[cpu(limit=300), cpu("sidecar", 50)],
        original=[cpu(), cpu("sidecar")],
        totalLimitMilli=350,
        reason="price",
    )
    installation.apply(allocation, manager="mbcas-agent", token=installation.agent)
    status = {"phase": "Failed", "reason": "QuotaExceeded", "containers": [cpu(limit=210)], "totalLimitMilli": 210}
    reported = {**allocation, "metadata": {"name": allocation["metadata"]["name"], "namespace": namespace}}
    del reported["spec"]
    code, answer = installation.apply(
        {**reported, "status": status}, manager="mbcas-controller", subresource="status", token=installation.controller
    )
    assert code == 200, answer

    table = installation.table(allocations_path(namespace))
    columns = {column["name"]: column["priority"] for column in table["columnDefinitions"]}
    cells = dict(zip(columns, table["rows"][0]["cells"], strict=True))

    assert [name for name, rank in columns.items() if rank == 0] == [
        *("Name", "Node", "Pod", "Desired", "Applied", "Phase", "Reason", "Age")
    ]
    assert (cells["Node"], cells["Pod"], cells["Desired"], cells["Applied"]) == ("node-1", "web-0", 350, 210)
    assert (cells["Phase"], cells["Reason"], cells["Held by"]) == ("Failed", "QuotaExceeded", "price")


def test_it_goes_by_a_short_name(installation):
    resources = installation.get("/apis/allocation.mbcas.io/v1alpha1")["resources"]

    assert next(one["shortNames"] for one in resources if one["name"] == "podallocations") == ["pa"]
