"""The client against a real API server: what it really says, and what it really does with what we say."""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from rigs.kernel import wait_until

from mbcasd.clock import SystemClock
from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.access import Access, TokenFile, from_kubeconfig, in_cluster
from mbcasd.kube.api import Api, PatchKind
from mbcasd.kube.events import Events
from mbcasd.kube.lease import Elector
from mbcasd.kube.listwatch import ListWatch, Patience
from mbcasd.kube.objects import Metadata, Pod

pytestmark = pytest.mark.control_plane


class ConfigMap(msgspec.Struct, frozen=True):
    metadata: Metadata
    data: dict[str, str] = {}


@pytest.fixture(params=["newest", "oldest"])
def plane(request):
    return request.getfixturevalue("control_plane" if request.param == "newest" else "control_plane_oldest")


@pytest.fixture
def namespace(plane):
    with plane.namespace() as name:
        yield name


@contextlib.contextmanager
def an_api(access):
    api = Api(access, clock=SystemClock(), user_agent="mbcas-tests")
    try:
        yield api
    finally:
        api.close()


@contextlib.contextmanager
def watching(api, path, kind=ConfigMap, **more):
    changes = []
    watch = ListWatch(
        api, path, kind, clock=SystemClock(), on_change=lambda key, item: changes.append((key[1], item)), **more
    )
    watch.start()
    try:
        yield watch, changes
    finally:
        watch.stop()
        assert not watch._thread.is_alive()


def maps(namespace, name=None):
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def a_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_list_in_pages_and_the_changes_after_it(plane, namespace):
    api = plane.api
    for number in range(25):
        api.post(maps(namespace), a_map(f"m{number:02}", v="0"))
    with watching(api, maps(namespace), page_size=10) as (watch, changes):
        assert watch.wait_synced(10)
        assert [name for _, name in watch.items if name.startswith("m")] == [f"m{number:02}" for number in range(25)]
        wait_until(lambda: watch.watches == 1, 5, "a watch is open")
        del changes[:]
        api.patch(maps(namespace, "m03"), {"data": {"v": "1"}}, PatchKind.MERGE)
        api.delete(maps(namespace, "m04"))
        api.post(maps(namespace), a_map("new", v="9"))
        wait_until(lambda: len(changes) == 3, 5, "the changes have arrived")
        assert [(name, item and item.data.get("v")) for name, item in changes] == [
            ("m03", "1"),
            ("m04", None),
            ("new", "9"),
        ]
        assert (watch.lists, watch.events, watch.failures) == (1, 3, 0)


def test_a_pod_that_leaves_the_selection_is_gone(plane, namespace):
    api = plane.api
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    api.post(f"/api/v1/namespaces/{namespace}/pods", pod)
    params = {"fieldSelector": "spec.nodeName="}
    with watching(api, f"/api/v1/namespaces/{namespace}/pods", Pod, params=params) as (watch, changes):
        wait_until(lambda: (namespace, "a") in watch.items, 5, "it waits for a node")
        wait_until(lambda: watch.watches == 1, 5, "a watch is open")
        binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node-1"}}
        api.post(f"/api/v1/namespaces/{namespace}/pods/a/binding", binding)
        wait_until(lambda: changes[-1] == ("a", None), 5, "it has left")
        assert dict(watch.items) == {}


def test_bookmarks_keep_a_quiet_watch_young(plane, namespace):
    api = plane.api
    # The server sends one shortly before a watch ends, or each minute.
    brief = Patience(watch_s=(4, 4))
    with watching(api, maps(namespace), params={"labelSelector": "mine=yes"}, patience=brief) as (watch, changes):
        assert watch.wait_synced(5)
        began_at = watch._version
        for number in range(5):
            api.post(maps(namespace), a_map(f"other{number}"))
        wait_until(lambda: watch.watches == 2, 10, "the next watch is open")
        assert int(watch._version) >= int(began_at) + 5
        assert (changes, watch.lists, watch.failures) == ([], 1, 0)


def test_it_goes_on_after_a_restart_of_the_server_and_from_a_version_that_was_forgotten_by_it(plane, namespace):
    patience = Patience(longest_s=2.0, lives_s=0.5)
    with an_api(plane.api.access) as api, watching(api, maps(namespace), patience=patience) as (watch, changes):
        assert watch.wait_synced(5)
        before = dict(watch.items)
        plane.stop_apiserver()
        try:
            wait_until(lambda: watch.failures >= 2, 20, "it is in trouble")
            assert "limits stay as they are; next try in" in watch.trouble
            assert dict(watch.items) == before
        finally:
            plane.start_apiserver()
        plane.api.post(maps(namespace), a_map("b"))
        wait_until(lambda: (namespace, "b") in watch.items, 30, "it goes on")
        assert watch.trouble is None

        # The new server has no history from before it was started.
        wait_until(lambda: watch._lines is not None and watch._has_lived(), 20, "a watch has lived")
        lists, seen = watch.lists, len(changes)
        watch._version = "1"
        watch._lines.cut()
        wait_until(lambda: watch.lists > lists, 10, "there is a new list")
        assert len(changes) == seen


def test_an_unknown_kind_is_empty_where_it_is_optional(plane):
    path = "/apis/autoscaling.k8s.io/v1/verticalpodautoscalers"
    with watching(plane.api, path, optional=True) as (watch, _):
        assert watch.wait_synced(5)
        assert (dict(watch.items), watch.trouble) == ({}, None)


def test_who_may_not_list_is_told_what_is_missing(plane, namespace):
    kubeconfig = plane.token_kubeconfig(namespace, "default")
    with (
        an_api(from_kubeconfig(kubeconfig, None, {})) as api,
        watching(api, f"/api/v1/namespaces/{namespace}/pods") as (watch, _),
    ):
        wait_until(lambda: watch.trouble is not None, 5, "it is refused")
        assert f'User "system:serviceaccount:{namespace}:default" cannot list resource "pods"' in watch.trouble
        with pytest.raises(ApiRefused) as caught:
            api.patch(f"/api/v1/namespaces/{namespace}/pods/a/resize", {}, PatchKind.STRATEGIC)
        assert (caught.value.code, caught.value.reason) == (403, "Forbidden")


def test_two_field_managers_own_a_field_each(plane, namespace):
    api = plane.api
    api.apply(maps(namespace, "shared"), a_map("shared", mine="1"), field_manager="mbcas-agent")
    api.apply(maps(namespace, "shared"), a_map("shared", yours="2"), field_manager="mbcas-controller")
    assert json.loads(api.get(maps(namespace, "shared")))["data"] == {"mine": "1", "yours": "2"}
    with pytest.raises(ApiRefused, match="conflict") as caught:
        api.apply(maps(namespace, "shared"), a_map("shared", yours="3"), field_manager="mbcas-agent", force=False)
    assert caught.value.code == 409
    assert caught.value.causes[0][:2] == ("FieldManagerConflict", ".data.yours")
    # What a manager says no more it owns no more.
    api.apply(maps(namespace, "shared"), a_map("shared"), field_manager="mbcas-agent")
    assert json.loads(api.get(maps(namespace, "shared")))["data"] == {"yours": "2"}


def a_running_pod(api, namespace, name):
    pod = {
        "metadata": {"name": name},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": "none",
                    "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
                }
            ]
        },
    }
    return json.loads(api.post(f"/api/v1/namespaces/{namespace}/pods", pod))


def test_a_strategic_patch_moves_one_limit_of_one_container(plane, namespace):
    api = plane.api
    pod = a_running_pod(api, namespace, "a")
    path = f"/api/v1/namespaces/{namespace}/pods/a/resize"

    def patch(uid, limit):
        body = {
            "metadata": {"uid": uid},
            "spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": limit}}}]},
        }
        return json.loads(api.patch(path, body, PatchKind.STRATEGIC))

    moved = patch(pod["metadata"]["uid"], "300m")
    assert moved["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "300m", "memory": "64Mi"},
        "requests": {"cpu": "100m", "memory": "64Mi"},
    }
    with pytest.raises(ApiRefused) as caught:
        patch("11111111-1111-1111-1111-111111111111", "400m")
    assert caught.value.code == 422
    assert caught.value.causes[0][1] == "metadata.uid"
    with pytest.raises(ApiRefused) as caught:
        patch(pod["metadata"]["uid"], "50m")
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")


def test_a_pods_way_in_follows_its_token_as_it_is_renewed(plane, namespace, tmp_path):
    (tmp_path / "token").write_text("not yet valid")
    (tmp_path / "ca.crt").write_bytes(plane.pki.ca.read_bytes())
    (tmp_path / "namespace").write_text(namespace)
    environ = {"KUBERNETES_SERVICE_HOST": plane.address, "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(environ, tmp_path)
    assert access.namespace == namespace
    with an_api(access) as api:
        with pytest.raises(ApiRefused) as caught:
            api.get("/apis/apps/v1")
        assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")
        # As the kubelet renews it: another file takes its name.
        (tmp_path / "renewed").write_text(plane.token(namespace, "default"))
        (tmp_path / "renewed").replace(tmp_path / "token")
        api.get("/apis/apps/v1")


def test_a_token_that_is_renewed_between_two_looks_costs_no_request(plane):
    tokens = iter(["expired", plane.pki.tokens["admin"]])
    with an_api(Access(server=plane.server, ca_file=plane.ca_file, token=lambda: next(tokens))) as api:
        api.get("/api/v1/namespaces")
        assert api.counts == {("GET", 401): 1, ("GET", 200): 1}


def test_a_client_certificate_is_an_identity_too(plane):
    pki = plane.pki
    access = Access(
        server=plane.server,
        ca_file=plane.ca_file,
        client_cert_file=str(pki.client_cert),
        client_key_file=str(pki.client_key),
    )
    with an_api(access) as api:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        who = json.loads(api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review))
        assert who["status"]["userInfo"]["username"] == "kube-apiserver"


def test_impersonation_is_passed_on(plane):
    token = plane.pki.tokens["admin"]
    access = Access(
        server=plane.server,
        ca_file=plane.ca_file,
        token=lambda: token,
        headers=(("Impersonate-User", "jane"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops")),
    )
    with an_api(access) as api, pytest.raises(ApiRefused, match='User "jane" cannot list'):
        api.get("/api/v1/pods")


def test_a_server_with_another_authority_is_not_trusted(plane, control_plane, control_plane_oldest):
    other = control_plane_oldest if plane is control_plane else control_plane
    with (
        an_api(Access(server=plane.server, ca_file=other.ca_file)) as api,
        pytest.raises(ApiAway, match="its certificate is not trusted"),
    ):
        api.get("/version")
    with an_api(Access(server=plane.server, ca_file=None, verify=False)) as api:
        assert b"gitVersion" in api.get("/version")


def test_the_name_in_the_certificate_may_be_another_one_than_in_the_url(plane):
    with an_api(Access(server=plane.server, ca_file=plane.ca_file, tls_server_name="kubernetes.default.svc")) as api:
        assert b"gitVersion" in api.get("/version")
    with (
        an_api(Access(server=plane.server, ca_file=plane.ca_file, tls_server_name="elsewhere.example")) as api,
        pytest.raises(ApiAway, match="its certificate is not trusted: Hostname mismatch"),
    ):
        api.get("/version")


def test_a_token_file_named_in_a_kubeconfig_is_read_again(plane, tmp_path):
    (tmp_path / "token").write_text(plane.pki.tokens["admin"])
    with an_api(Access(server=plane.server, ca_file=plane.ca_file, token=TokenFile(str(tmp_path / "token")))) as api:
        api.get("/api/v1/namespaces")
        (tmp_path / "token").write_text("another")
        with pytest.raises(ApiRefused):
            api.get("/api/v1/namespaces")


def test_of_two_candidates_one_leads_and_the_other_follows_when_it_leaves(plane, namespace):
    quick = {"duration_s": 30.0, "renew_deadline_s": 20.0, "retry_s": 0.2}
    both_led = []
    watching_both = threading.Event()

    with contextlib.ExitStack() as stack:
        electors = []
        for name in ("a", "b"):
            api = stack.enter_context(an_api(plane.api.access))
            elector = Elector(api, namespace, "mbcas-controller", name, clock=SystemClock(), **quick)
            stack.callback(elector.stop)
            electors.append(elector)
        a, b = electors

        def watch_both():
            while not watching_both.wait(0.001):
                if a.is_leader and b.is_leader:
                    both_led.append(time.monotonic())

        thread = threading.Thread(target=watch_both)
        thread.start()
        stack.callback(lambda: (watching_both.set(), thread.join()))
        a.start()
        wait_until(lambda: a.is_leader, 5, "a leads")
        b.start()
        wait_until(lambda: b.holder == "a", 5, "b has looked")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/mbcas-controller"
        spec = json.loads(plane.api.get(path))["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 30, 0)
        a.stop()
        # It was given back, so nobody waits for thirty seconds.
        wait_until(lambda: b.is_leader, 15, "b leads")
        assert b.transitions == 1
        b.stop()
        spec = json.loads(plane.api.get(path))["spec"]
        assert (spec.get("holderIdentity", ""), spec["leaseDurationSeconds"]) == ("", 1)
    assert both_led == []


def test_a_candidate_takes_over_from_one_that_was_killed(plane, namespace):
    quick = {"duration_s": 6.0, "renew_deadline_s": 1.5, "retry_s": 0.2}
    with an_api(plane.api.access) as first, an_api(plane.api.access) as second:
        a = Elector(first, namespace, "lease", "a", clock=SystemClock(), **quick)
        b = Elector(second, namespace, "lease", "b", clock=SystemClock(), **quick)
        a.start()
        wait_until(lambda: a.is_leader, 5, "a leads")
        b.start()
        first.close()  # nothing of a's comes through any more, as if it had been killed
        wait_until(lambda: not a.is_leader, 5, "a's time is up")
        assert not b.is_leader
        wait_until(lambda: b.is_leader, 20, "b leads")
        assert b.transitions == 1
        a.stop()
        b.stop()


def test_events_are_accepted_and_grow(plane, namespace):
    api = plane.api
    pod = a_running_pod(api, namespace, "talked-about")
    regarding = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": namespace,
        "name": "talked-about",
        "uid": pod["metadata"]["uid"],
    }
    events = Events(api, component="mbcas-controller", instance="mbcas-controller-0", clock=SystemClock())
    for _ in range(3):
        events.emit(regarding, reason="LimitRaised", note="main: 200m to 800m", action="Resize")
    events.emit(regarding, reason="Refused", note="é" * 1000, action="Resize", is_warning=True)
    events.emit(
        {"apiVersion": "v1", "kind": "Node", "name": f"node-of-{namespace}", "uid": "u"},
        reason="AgentStarted",
        note="hello",
        action="Start",
    )
    events.stop(10)
    assert (events.sent, events.dropped) == (5, 0)
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    got = {one["reason"]: one for one in json.loads(api.get(path))["items"]}
    assert set(got) == {"LimitRaised", "Refused"}
    assert got["LimitRaised"]["series"]["count"] == 3
    assert got["Refused"]["type"] == "Warning"
    # kubectl describe asks for the core kind: it is the same object.
    core = json.loads(
        api.get(
            f"/api/v1/namespaces/{namespace}/events",
            {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']},reason=LimitRaised"},
        )
    )
    assert [one["message"] for one in core["items"]] == ["main: 200m to 800m"]
    in_default = json.loads(api.get("/apis/events.k8s.io/v1/namespaces/default/events"))["items"]
    assert f"node-of-{namespace}" in {one["regarding"]["name"] for one in in_default}


def test_many_threads_patch_without_waiting_for_each_other(plane, namespace):
    api = plane.api
    for number in range(8):
        api.post(maps(namespace), a_map(f"m{number}"))

    def patch(number):
        api.patch(maps(namespace, f"m{number % 8}"), {"data": {"v": str(number)}}, PatchKind.MERGE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(patch, range(200)))
    found = json.loads(api.get(maps(namespace)))["items"]
    assert {one["data"]["v"] for one in found if one["metadata"]["name"].startswith("m")} <= {
        str(n) for n in range(200)
    }
