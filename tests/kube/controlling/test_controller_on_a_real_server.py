"""The controller against a real API server, of the newest and of the oldest Kubernetes; the test is the kubelet."""

import time
from collections.abc import Iterator

import msgspec
import pytest
from cluster.control_plane import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ControlPlane
from rigs.controlled import Controlled, ControlledPod, a_namespace, container, controlling, make_node, soon
from rigs.resizing import cpu
from scenarios.grounds import define_podallocations

from mbcasd.errors import ApiRefused
from mbcasd.kube import names
from mbcasd.kube.api import PatchKind
from mbcasd.kube.controlling import outcomes
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.patches import resize_body
from mbcasd.kube.controlling.pods import ResizablePod

pytestmark = pytest.mark.control_plane


@pytest.fixture(scope="module", params=["newest", "oldest"])
def plane(request: pytest.FixtureRequest) -> ControlPlane:
    found: ControlPlane = request.getfixturevalue(
        "control_plane" if request.param == "newest" else "control_plane_oldest"
    )
    define_podallocations(found)
    make_node(found)
    return found


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    with a_namespace(plane) as name:
        yield name


@pytest.fixture
def controlled(plane: ControlPlane, namespace: str) -> Iterator[Controlled]:
    with controlling(plane, namespace) as running:
        yield running


def is_newest(plane: ControlPlane) -> bool:
    return plane.request("GET", "/version")[1]["minor"] >= "36"


def test_a_decision_is_in_the_pod_and_in_the_status_and_nothing_else_has_changed(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    before = pod.seen["spec"]

    pod.decide(cpu(300))
    soon(lambda: pod.limit() == "300m", "the limit is asked for")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")

    after = pod.seen["spec"]
    after["containers"][0]["resources"]["limits"]["cpu"] = "200m"
    assert after == before
    status = pod.status
    assert status["containers"] == [{"name": "app", "limitMilli": 300}]
    assert status["totalLimitMilli"] == 300
    assert status["observedGeneration"] == 1
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Applied", "True")]
    soon(lambda: [reason for reason, _ in pod.events()] == ["Resized"], "people are told")
    assert controlled.writes == 3  # patch, status, event


def test_when_nothing_changes_nothing_is_asked_for(plane: ControlPlane, namespace: str, controlled: Controlled) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(300))
    soon(lambda: pod.limit() == "300m", "the limit is asked for")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")
    soon(lambda: bool(pod.events()), "people are told")
    before = sum(controlled.api.counts.values())

    ends_s = time.monotonic() + 3
    while time.monotonic() < ends_s:
        time.sleep(0.1)

    assert sum(controlled.api.counts.values()) == before


def test_a_kubelets_deferral_is_told_and_ends_by_itself(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(500, 450))
    soon(lambda: pod.request() == "400m", "the first step is asked for")

    pod.confirm({"type": "PodResizePending", "reason": "Deferred", "message": "no room"})
    soon(lambda: pod.phase == "Pending Deferred", "it is told")
    pod.confirm()
    soon(lambda: pod.request() == "450m", "it goes on")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it ends well")

    soon(
        lambda: (
            [reason for reason, _ in pod.events()] == ["ResizeDeferred", "Resized"]
            or {reason for reason, _ in pod.events()} == {"ResizeDeferred", "Resized"}
        ),
        "people are told",
    )


def test_a_quota_refuses_and_the_pod_is_left_alone(plane: ControlPlane, namespace: str, controlled: Controlled) -> None:
    pod = ControlledPod(plane, namespace)
    hard = {"limits.cpu": "300m"}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    plane.create(path, {"metadata": {"name": "little"}, "spec": {"hard": hard}})
    status = {"status": {"hard": hard, "used": {"limits.cpu": "200m"}}}
    code, answer = plane.request("PATCH", f"{path}/little/status", status, MERGE_PATCH)
    assert code == 200, answer

    pod.decide(cpu(400))
    soon(lambda: pod.phase == "Failed QuotaExceeded", "it is told")

    assert pod.limit() == "200m"
    assert "exceeded quota: little" in pod.status["conditions"][0]["message"]
    ends_s = time.monotonic() + 2
    while time.monotonic() < ends_s:
        pod.confirm()  # whatever else happens to the pod, it is not asked again before its time
    assert controlled.tally.kinds["quota"] == 1
    soon(lambda: [reason for reason, _ in pod.events()] == ["ResizeRefused"], "people are told")


def test_a_limit_range_holds_it_without_a_refusal(plane: ControlPlane, namespace: str, controlled: Controlled) -> None:
    most = {"type": "Container", "max": {"cpu": "250m"}}
    plane.create(
        f"/api/v1/namespaces/{namespace}/limitranges", {"metadata": {"name": "most"}, "spec": {"limits": [most]}}
    )
    soon(lambda: bool(controlled.controller.views.ranges.items), "the controller has seen it")
    pod = ControlledPod(plane, namespace)

    pod.decide(cpu(400))
    soon(lambda: pod.limit() == "250m", "as much as is allowed")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Held", "it is told")

    assert controlled.tally.kinds["limit_range"] == 0


def test_more_than_the_node_has_is_refused_by_the_server_or_in_older_ones_by_the_kubelet(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace, containers=(container(limit="1900m", request="100m"),))

    pod.decide(cpu(3000, 2500), original=(cpu(1900, 100),))
    if is_newest(plane):
        soon(lambda: pod.phase == "Failed NodeCapacity", "it is told")
        assert pod.request() == "100m"
    else:
        soon(lambda: pod.request() == "2500m", "it is asked for")
        pod.confirm({"type": "PodResizePending", "reason": "Infeasible", "message": "not enough capacity: cpu"})
        soon(lambda: pod.phase == "Failed Infeasible", "it is told")


def test_somebody_elses_resize_is_told_by_name_and_not_fought(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(300))
    soon(lambda: pod.limit() == "300m", "the limit is asked for")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")

    pod.resize(limit="700m", by="vpa-updater")
    pod.confirm()
    soon(lambda: pod.phase == "Failed ChangedByOther", "it is told")
    pod.decide(cpu(400))
    soon(lambda: pod.status["observedGeneration"] == 2, "the new decision is seen")

    assert pod.limit() == "700m"
    conflict = next(one for one in pod.status["conditions"] if one["type"] == "Conflict")
    assert "vpa-updater has set the limit of app to 700m" in conflict["message"]
    assert controlled.tally.kinds["drift"] == 1
    pod.resize(limit="300m", by="vpa-updater")
    pod.confirm()
    soon(lambda: pod.limit() == "400m", "it matches again, so work goes on")


def test_a_killed_leaders_resize_is_told_from_a_strangers_by_the_servers_record(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    # A leader that was killed after its patch: no status says what it had set, and something else is decided since.
    pod.resize(limit="350m", by=names.CONTROLLER)
    pod.confirm()

    pod.decide(cpu(400))
    soon(lambda: pod.limit() == "400m", "work goes on")

    assert controlled.tally.kinds["drift"] == 0


def test_released_puts_back_what_the_owner_had_set_and_deletes_the_object(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(390, 150))
    soon(lambda: pod.limit() == "390m", "the limit is asked for")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")

    pod.decide(cpu(390, 150), released=True)
    soon(lambda: (pod.limit(), pod.request()) == ("200m", "100m"), "the owner's values are back")
    assert pod.allocation is not None
    pod.confirm()
    soon(lambda: pod.allocation is None, "the object is gone")

    soon(lambda: "Restored" in {reason for reason, _ in pod.events()}, "people are told")


def test_a_recommendation_moves_nothing_and_what_was_moved_goes_back(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    fresh, moved = ControlledPod(plane, namespace, "fresh"), ControlledPod(plane, namespace, "moved")
    moved.decide(cpu(300))
    soon(lambda: moved.limit() == "300m", "the limit is asked for")
    moved.confirm()
    soon(lambda: moved.phase == "Applied Resized", "it is told")

    fresh.decide(cpu(300), recommendOnly=True)
    moved.decide(cpu(300), recommendOnly=True)
    soon(lambda: moved.limit() == "200m", "the owner's value is back")
    moved.confirm()
    soon(lambda: moved.phase == "Applied Restored", "it is told")

    assert fresh.limit() == "200m"
    assert fresh.status == {}
    assert "containers" not in moved.status


def test_a_deleted_object_is_forgotten_and_its_pod_not_touched(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(300))
    soon(lambda: pod.limit() == "300m", "the limit is asked for")

    assert plane.request("DELETE", pod.allocation_path)[0] == 200
    key = namespace, names.allocation_name(pod.name, pod.uid)
    soon(lambda: controlled.controller.views.see(key) is None, "the controller has seen it")
    pod.confirm()

    assert pod.limit() == "300m"
    assert pod.allocation is None


def test_a_pod_that_is_made_again_under_its_name_is_not_touched(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    first = ControlledPod(plane, namespace)
    first.decide(cpu(300))
    soon(lambda: first.limit() == "300m", "the limit is asked for")
    first.delete()
    second = ControlledPod(plane, namespace)

    first.decide(cpu(350))
    other = ControlledPod(plane, namespace, "other")
    other.decide(cpu(300))
    soon(lambda: other.limit() == "300m", "a later one is done")

    assert second.limit() == "200m"


def test_a_patch_for_a_pod_that_was_made_again_is_refused_as_gone(plane: ControlPlane, namespace: str) -> None:
    first = ControlledPod(plane, namespace)
    old = msgspec.convert(first.seen, ResizablePod)
    first.delete()
    second = ControlledPod(plane, namespace)
    now = msgspec.convert(second.seen, ResizablePod)
    wrong = msgspec.structs.replace(
        old, metadata=msgspec.structs.replace(old.metadata, resource_version=now.metadata.resource_version)
    )

    assert outcome_of(plane, second, resize_body(wrong, (cpu(300),))) is Outcome.GONE
    second.delete()
    assert outcome_of(plane, second, resize_body(now, (cpu(300),))) is Outcome.GONE


def test_a_patch_that_was_held_up_on_its_way_is_refused_once_the_pod_has_changed(
    plane: ControlPlane, namespace: str
) -> None:
    pod = ControlledPod(plane, namespace)
    held_up = resize_body(msgspec.convert(pod.seen, ResizablePod), (cpu(300),))
    pod.resize(limit="250m", by=names.CONTROLLER)

    assert outcome_of(plane, pod, held_up) is Outcome.CONFLICT
    assert pod.limit() == "250m"


def outcome_of(plane: ControlPlane, pod: ControlledPod, body: object) -> Outcome:
    """What a resize means for the controller, asked of the server itself."""
    with controlling(plane, "default", identity="asker") as asker:
        try:
            asker.api.patch(f"{pod.path}/resize", body, PatchKind.STRATEGIC)
        except ApiRefused as err:
            return outcomes.of_error(err)
    return Outcome.ACCEPTED


def test_without_permission_it_says_so_and_goes_on_when_it_gets_it(plane: ControlPlane, namespace: str) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    plane.create(accounts, {"metadata": {"name": "little"}})
    rules = [
        {"apiGroups": [""], "resources": ["pods", "limitranges"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": [names.GROUP],
            "resources": [names.PLURAL, f"{names.PLURAL}/status"],
            "verbs": ["get", "list", "watch", "patch"],
        },
    ]
    role = f"little-{namespace}"
    subject = {"kind": "ServiceAccount", "name": "little", "namespace": namespace}
    group = "/apis/rbac.authorization.k8s.io/v1"
    plane.create(f"{group}/clusterroles", {"metadata": {"name": role}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    binding = {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}
    plane.create(f"{group}/clusterrolebindings", binding)
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(300))

    with controlling(plane, namespace, kubeconfig=plane.token_kubeconfig(namespace, "little")):
        soon(lambda: pod.phase == "Failed Forbidden", "it is told")
        assert 'cannot patch resource "pods/resize"' in pod.status["conditions"][0]["message"]
        rules.append({"apiGroups": [""], "resources": ["pods/resize"], "verbs": ["patch"]})
        code, answer = plane.request("PATCH", f"{group}/clusterroles/{role}", {"rules": rules}, MERGE_PATCH)
        assert code == 200, answer
        soon(lambda: pod.limit() == "300m", "it is done")

    for kind in ("clusterrolebindings", "clusterroles"):
        plane.request("DELETE", f"{group}/{kind}/{role}")


def test_a_node_that_cannot_resize_makes_it_infeasible(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace, can_resize=False)

    pod.decide(cpu(300))
    soon(lambda: pod.phase == "Failed Infeasible", "it is told")

    assert controlled.tally.kinds["infeasible"] == 1


def test_all_containers_and_sidecars_move_in_one_patch(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(
        plane,
        namespace,
        containers=(container(), container("calm")),
        initContainers=[container("proxy", restartPolicy="Always"), container("prepare")],
    )

    pod.decide(cpu(300), cpu(250, name="proxy"), cpu(200, name="calm"))
    soon(lambda: pod.limit() == "300m", "the limits are asked for")

    assert pod.limit("proxy") == "250m"
    assert pod.limit("calm") == "200m"
    assert controlled.writes == 1
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")


def test_of_two_controllers_one_writes_and_the_other_takes_over_with_what_it_knows(
    plane: ControlPlane, namespace: str
) -> None:
    pod = ControlledPod(plane, namespace)
    second = Controlled(plane, namespace, identity="b")
    try:
        with controlling(plane, namespace, identity="a") as first:
            second.start()
            pod.decide(cpu(300))
            soon(lambda: pod.limit() == "300m", "the limit is asked for")
            pod.confirm()
            soon(lambda: pod.phase == "Applied Resized", "it is told")
            assert second.controller.views.synced
            assert not second.controller.leads
            assert second.writes == 0
            assert first.tally.kinds["applied"] == 1

        pod.decide(cpu(350))
        soon(lambda: pod.limit() == "350m", "the second one has taken over")
    finally:
        second.stop()


def test_a_status_that_was_held_up_on_its_way_is_refused_once_another_one_stands(
    plane: ControlPlane, namespace: str, controlled: Controlled
) -> None:
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(200))
    soon(lambda: pod.phase == "Applied Resized", "it is told")
    allocation = pod.allocation
    assert allocation is not None
    pod.decide(cpu(300))
    late = {
        "apiVersion": allocation["apiVersion"],
        "kind": allocation["kind"],
        "metadata": {
            "name": allocation["metadata"]["name"],
            "uid": allocation["metadata"]["uid"],
            "resourceVersion": allocation["metadata"]["resourceVersion"],
        },
        "status": {"phase": "Failed"},
    }

    code, _ = plane.request(
        "PATCH", f"{pod.allocation_path}/status?fieldManager={names.CONTROLLER}&force=true", late, APPLY_PATCH
    )

    assert code == 409


def test_a_patch_without_containers_names_would_be_a_bug_of_ours(plane: ControlPlane, namespace: str) -> None:
    pod = ControlledPod(plane, namespace)
    code, answer = plane.request(
        "PATCH",
        f"{pod.path}/resize",
        {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}},
        STRATEGIC_PATCH,
    )

    assert outcomes.of_error(ApiRefused(code, answer.get("reason", ""), answer["message"])) is Outcome.BUG
