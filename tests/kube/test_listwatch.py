import contextlib
import logging
import random
import threading
import time
from itertools import count

import pytest
from fakes.api_server import ApiServer, a_port_where_nobody_listens
from rigs.kernel import wait_until

from mbcasd.clock import SystemClock
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api
from mbcasd.kube.listwatch import ListWatch, Patience
from mbcasd.kube.objects import Namespace, Pod

PODS = "/api/v1/pods"
QUICK = Patience(first_s=0.02, longest_s=0.1, silence_s=0.5, lives_s=0.15, list_s=1, answer_s=1, absent_s=0.05)


def a_pod(name, version, **more):
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"u-{name}", "resourceVersion": str(version)}, **more}


def a_list(*pods, version, more=""):
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(pods)}


def quiet(request):
    """A watch on which nothing happens."""
    request.begin_stream()
    request.hold()


class World:
    """A scripted API: what a list says, and what watches do one after the other (the last one for ever)."""

    def __init__(self, *watches, listed=None):
        self.listed = listed or [a_list(a_pod("a", 1), a_pod("b", 2), version=10)]
        self.watches = list(watches) or [quiet]
        self._lists, self._opened = count(), count()
        self.lock = threading.Lock()

    def __call__(self, request):
        with self.lock:
            script = self.watches if request.is_watch else self.listed
            number = next(self._opened if request.is_watch else self._lists)
            step = script[min(number, len(script) - 1)]
        if callable(step):
            step(request)
        else:
            request.answer(200, step)


@contextlib.contextmanager
def watching(world, *, kind=Pod, patience=QUICK, tls=None, **more):
    changes = []
    with ApiServer(world) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        watch = ListWatch(
            api,
            PODS,
            kind,
            clock=SystemClock(),
            patience=patience,
            on_change=lambda key, item: changes.append((key[1], item.metadata.resource_version if item else None)),
            **more,
        )
        watch.start()
        try:
            yield server, watch, changes
        finally:
            watch.stop()
            api.close()
            assert not watch._thread.is_alive()


def names(watch):
    return sorted(name for _, name in watch.items)


def test_what_is_there_is_listed_and_then_watched_from_that_version():
    with watching(World(), params={"fieldSelector": "spec.nodeName=n"}) as (server, watch, changes):
        assert watch.wait_synced(5)
        wait_until(lambda: server.asked(watch=True) == 1, 5, "a watch is open")
        assert names(watch) == ["a", "b"]
        assert changes == [("a", "1"), ("b", "2")]
        asked, opened = server.requests
        assert asked.query == {"fieldSelector": "spec.nodeName=n", "limit": "500"}
        timeout_s = int(opened.query.pop("timeoutSeconds"))
        assert 240 <= timeout_s <= 300
        assert opened.query == {
            "fieldSelector": "spec.nodeName=n",
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "10",
        }
        assert watch.trouble is None
        assert watch.last_heard_s is not None


def test_changes_arrive_and_the_next_watch_begins_after_the_last_of_them():
    def three(request):
        request.begin_stream()
        request.event("ADDED", a_pod("c", 11))
        request.event("MODIFIED", a_pod("a", 12))
        request.event("DELETED", a_pod("b", 13))
        request.end_stream()

    with watching(World(three, quiet)) as (server, watch, changes):
        wait_until(lambda: server.asked(watch=True) == 2, 5, "the next watch is open")
        assert changes[2:] == [("c", "11"), ("a", "12"), ("b", None)]
        assert names(watch) == ["a", "c"]
        assert server.requests[-1].query["resourceVersion"] == "13"
        assert (watch.lists, watch.watches, watch.events, watch.failures) == (1, 2, 3, 0)


def test_a_bookmark_moves_the_version_on_without_a_change():
    def bookmark(request):
        request.begin_stream()
        request.event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "99"}})
        request.end_stream()

    with watching(World(bookmark, quiet)) as (server, _, changes):
        wait_until(lambda: server.asked(watch=True) == 2, 5, "the next watch is open")
        assert server.requests[-1].query["resourceVersion"] == "99"
        assert len(changes) == 2


def test_a_long_list_comes_in_pages():
    pages = [
        a_list(a_pod("a", 1), version=10, more="2nd"),
        a_list(a_pod("b", 2), version=10, more="3rd"),
        a_list(a_pod("c", 3), version=10),
    ]
    with watching(World(listed=pages), page_size=1) as (server, watch, _):
        assert watch.wait_synced(5)
        assert names(watch) == ["a", "b", "c"]
        assert [one.query.get("continue") for one in server.requests[:3]] == [None, "2nd", "3rd"]


def test_a_list_whose_continuation_has_expired_begins_anew_and_deletes_nothing_before_it_is_whole():
    def expired(request):
        request.refuse(410, "Expired", "the provided continue parameter is too old")

    pages = [
        a_list(a_pod("a", 1), version=10, more="2nd"),
        expired,
        a_list(a_pod("a", 1), version=20, more="2nd"),
        a_list(a_pod("b", 2), version=20),
    ]
    with watching(World(listed=pages)) as (server, watch, changes):
        assert watch.wait_synced(5)
        assert names(watch) == ["a", "b"]
        assert changes == [("a", "1"), ("b", "2")]
        wait_until(lambda: server.asked(watch=True) == 1, 5, "a watch is open")
        assert (server.requests[-1].query["resourceVersion"], watch.failures) == ("20", 0)


@pytest.mark.parametrize("how", ["in band", "as an answer"])
def test_a_version_too_old_leads_to_a_new_list_at_once_and_to_its_differences(how):
    def too_old(request):
        if how == "in band":
            request.begin_stream()
            request.event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            request.end_stream()
        else:
            request.refuse(410, "Expired")

    listed = [
        a_list(a_pod("kept", 1), a_pod("changed", 2), a_pod("gone", 3), version=10),
        a_list(a_pod("kept", 1), a_pod("changed", 15), a_pod("new", 16), version=20),
    ]
    slow = Patience(first_s=30)  # a wait would be noticed
    with watching(World(too_old, quiet, listed=listed), patience=slow) as (server, watch, changes):
        wait_until(lambda: server.asked(watch=True) == 2, 5, "the next watch is open")
        assert changes[3:] == [("changed", "15"), ("new", "16"), ("gone", None)]
        assert (watch.lists, watch.failures, watch.trouble) == (2, 0, None)


def test_versions_that_are_always_too_old_do_not_make_it_run_in_circles():
    with watching(World(lambda request: request.refuse(410, "Expired"))) as (server, watch, _):
        wait_until(lambda: watch.failures >= 4, 5, "it has failed some times")
        # One failure is forgiven, then each costs a wait of at least 0.02, 0.04, 0.08 s.
        assert server.asked(watch=True) <= watch.failures + 2
        assert "refuses pods" in watch.trouble


def test_too_many_requests_are_answered_by_the_wait_that_was_asked_for():
    def too_many(request):
        request.refuse(429, "TooManyRequests", "slow down", Retry_After="1")

    with watching(World(too_many, quiet)) as (server, watch, _):
        wait_until(lambda: watch.failures == 1, 5, "it was refused")
        began_s = time.monotonic()
        assert watch.trouble == ("API server refuses pods (slow down), limits stay as they are; next try in 1 s (1st)")
        wait_until(lambda: server.asked(watch=True) == 2, 5, "it came again")
        assert time.monotonic() - began_s >= 0.9
        assert watch.lists == 1  # the version is still good


@pytest.mark.parametrize("code", [500, 503])
def test_a_server_in_trouble_is_tried_again_from_the_same_version(code):
    with watching(World(lambda request: request.refuse(code), quiet)) as (server, watch, _):
        wait_until(lambda: server.asked(watch=True) == 2, 5, "it came again")
        assert [one.query["resourceVersion"] for one in server.requests if one.is_watch] == ["10", "10"]
        assert (watch.lists, watch.failures) == (1, 1)


@pytest.mark.parametrize("code", [400, 403, 404, 504])
def test_any_other_refusal_of_a_watch_leads_to_a_new_list(code):
    # 504 with "Too large resource version": etcd was restored from a backup.
    with watching(World(lambda request: request.refuse(code), quiet)) as (_, watch, _):
        wait_until(lambda: watch.watches == 2, 5, "it came again")
        assert (watch.lists, watch.failures) == (2, 1)


def test_an_error_within_a_watch_leads_to_a_new_list():
    def error(request):
        request.begin_stream()
        request.event("ADDED", a_pod("c", 11))
        request.event("ERROR", {"kind": "Status", "code": 500, "message": "unable to decode"})
        request.hold()

    with watching(World(error, quiet)) as (_, watch, _):
        wait_until(lambda: watch.watches == 2, 5, "it came again")
        assert (watch.lists, watch.failures) == (2, 1)


@pytest.mark.parametrize("line", [b'{"type":"ADDED","object":{"metad\n', b"\xff\xfe\n", b"[]\n", b'{"type":"ADDED"}\n'])
def test_a_corrupt_line_is_counted_and_leads_to_a_new_list(line):
    def corrupt(request):
        request.begin_stream()
        request.piece(line)
        request.hold()

    with watching(World(corrupt, quiet)) as (_, watch, _):
        wait_until(lambda: watch.watches == 2, 5, "it came again")
        assert (watch.lists, watch.corrupt) == (2, 1)


def test_a_list_that_is_none_is_tried_again():
    with watching(World(listed=[b"<html>", a_list(version=1)])) as (_, watch, _):
        assert watch.wait_synced(5)
        assert (watch.lists, watch.corrupt) == (2, 1)


def test_one_object_of_an_unknown_form_does_not_hide_the_others():
    odd = a_pod("odd", 5, spec={"containers": "none"})
    listed = [a_list(a_pod("a", 1), odd, version=10)]

    def changes_oddly(request):
        request.begin_stream()
        request.event("MODIFIED", {**a_pod("a", 11), "status": []})
        request.event("ADDED", a_pod("c", 12))
        request.hold()

    with watching(World(changes_oddly, listed=listed)) as (_, watch, changes):
        wait_until(lambda: "c" in names(watch), 5, "the next event has come")
        # What is known of it stays.
        assert changes == [("a", "1"), ("c", "12")]
        assert (watch.unreadable, watch.corrupt, watch.failures) == (2, 0, 0)


def test_an_object_that_became_unreadable_meanwhile_stays_as_it_was():
    def too_old(request):
        request.refuse(410, "Expired")

    listed = [a_list(a_pod("a", 1), version=10), a_list(a_pod("a", 5, spec=[]), version=20)]
    with watching(World(too_old, quiet, listed=listed)) as (_, watch, changes):
        wait_until(lambda: watch.watches == 2, 5, "it came again")
        assert changes == [("a", "1")]
        assert watch.get(("ns", "a")).metadata.resource_version == "1"


def test_a_server_that_is_not_there_is_told_once_and_tried_less_and_less_often(caplog):
    caplog.set_level(logging.INFO, logger="mbcasd.kube.listwatch")
    access = Access(server=f"http://127.0.0.1:{a_port_where_nobody_listens()}", ca_file=None)
    api = Api(access, clock=SystemClock(), user_agent="test")
    watch = ListWatch(api, PODS, Pod, clock=SystemClock(), patience=QUICK)
    watch.start()
    wait_until(lambda: watch.failures >= 4, 10, "it has failed four times")
    assert watch.trouble.startswith(
        "API server not reachable (connection refused), limits stay as they are; next try in"
    )
    assert watch.trouble.endswith(f"({watch.failures}th)")
    assert not watch.synced
    with ApiServer(World(), port=int(access.server.rpartition(":")[2])):
        assert watch.wait_synced(5)
        wait_until(lambda: watch.trouble is None, 5, "the trouble is over")
        watch.stop()
    api.close()
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "pods: API server not reachable (connection refused), limits stay as they are",
        "pods: API server answers again after 0 s",
    ]


def test_what_is_known_stays_while_the_server_is_away():
    world = World()
    with watching(world) as (server, watch, changes):
        assert watch.wait_synced(5)
        wait_until(lambda: watch.watches == 1, 5, "a watch is open")
        server.close()
        wait_until(lambda: watch.trouble is not None, 5, "it is in trouble")
        assert names(watch) == ["a", "b"]
        assert watch.synced
        # Meanwhile b was deleted and c made, and the new server does not know the old version.
        again = World(
            lambda request: request.refuse(410),
            quiet,
            listed=[a_list(a_pod("a", 1), a_pod("c", 30), version=40)],
        )
        with ApiServer(again, port=server.port):
            wait_until(lambda: names(watch) == ["a", "c"], 5, "the differences have come")
            assert changes[2:] == [("c", "30"), ("b", None)]
            wait_until(lambda: watch.trouble is None, 5, "the trouble is over")
            watch.stop()


def test_a_server_that_closes_every_watch_at_once_is_not_run_down():
    def close_at_once(request):
        request.begin_stream()
        request.end_stream()

    with watching(World(close_at_once)) as (server, watch, _):
        wait_until(lambda: watch.failures >= 5, 5, "it has failed some times")
        assert server.asked(watch=True) <= watch.failures + 1
        assert "closes the watch at once" in watch.trouble
        assert watch.lists == 1


@pytest.mark.parametrize("how", ["ended", "broken off"])
def test_a_server_that_closes_watches_after_one_event_is_not_run_down_either(how):
    numbers = count(11)

    def one_event(request):
        request.begin_stream()
        request.event("MODIFIED", a_pod("a", next(numbers)))
        if how == "ended":
            request.end_stream()
        else:
            request.hang_up()

    with watching(World(one_event), patience=Patience(first_s=0.1)) as (server, watch, _):
        began_s, before = time.monotonic(), server.asked(watch=True)
        wait_until(lambda: server.asked(watch=True) >= before + 5, 10, "some watches were opened")
        # Counting begins within a pause, so that of five watches only the last four follow a whole one.
        assert time.monotonic() - began_s >= 4 * 0.1 * 0.9
        assert (watch.failures, watch.trouble) == (0, None)


def test_a_watch_that_has_lived_is_followed_by_the_next_one_at_once_and_forgives_old_failures():
    def lives(request):
        request.begin_stream()
        request._closing.wait(0.2)
        request.end_stream()

    refuses = [lambda request: request.refuse(500)] * 3
    slow = Patience(first_s=0.02, longest_s=0.1, lives_s=0.15)
    with watching(World(*refuses, lives, quiet), patience=slow) as (server, watch, _):
        wait_until(lambda: server.asked(watch=True) == 5, 5, "the fifth watch is open")
        assert (watch.failures, watch._backoff.failures, watch.trouble) == (3, 0, None)


def test_a_watch_that_falls_silent_is_taken_up_again_without_a_list():
    with watching(World(quiet)) as (server, watch, _):
        wait_until(lambda: server.asked(watch=True) == 2, 5, "another watch is open")
        assert (watch.lists, watch.failures, watch.trouble) == (1, 0, None)


def test_a_watch_whose_answer_never_begins_is_trouble():
    with watching(World(lambda request: request.hold()), patience=Patience(first_s=0.1, answer_s=0.2)) as (_, watch, _):
        wait_until(lambda: watch.trouble is not None, 5, "it is in trouble")
        assert "no answer in time" in watch.trouble


def test_a_kind_that_the_server_does_not_have_is_empty_where_that_is_allowed_and_asked_for_again():
    def missing(request):
        request.refuse(404, "NotFound", "the server could not find the requested resource")

    with watching(World(listed=[missing, missing, a_list(a_pod("a", 1), version=2)]), optional=True) as (_, watch, _):
        assert watch.wait_synced(5)
        assert (dict(watch.items), watch.trouble) == ({}, None)
        wait_until(lambda: names(watch) == ["a"], 5, "the kind has come")


def test_an_optional_kind_that_vanishes_takes_its_objects_along():
    def missing(request):
        request.refuse(404, "NotFound")

    world = World(missing, quiet, listed=[a_list(a_pod("a", 1), version=2), missing])
    with watching(world, optional=True) as (_, watch, changes):
        wait_until(lambda: ("a", None) in changes, 5, "it is gone")
        assert dict(watch.items) == {}


def test_a_missing_kind_is_trouble_where_it_is_needed():
    with watching(World(listed=[lambda request: request.refuse(404, "NotFound", "not found")])) as (_, watch, _):
        wait_until(lambda: watch.failures >= 1, 5, "it was refused")
        assert not watch.synced
        assert "refuses pods (not found)" in watch.trouble


def test_objects_of_the_cluster_are_kept_under_an_empty_namespace():
    listed = [{"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "default"}}]}]
    with watching(World(listed=listed), kind=Namespace) as (_, watch, _):
        assert watch.wait_synced(5)
        assert list(watch.items) == [("", "default")]


def test_a_change_of_nothing_that_we_read_need_not_be_told():
    def hpa_like(request):
        request.begin_stream()
        request.event("MODIFIED", {**a_pod("a", 11), "unread": {"currentReplicas": 3}})
        request.event("MODIFIED", a_pod("a", 12, spec={"nodeName": "n"}))
        request.event("MODIFIED", a_pod("a", 13, spec={"nodeName": "n"}))
        request.event("DELETED", a_pod("a", 14))
        request.hold()

    with watching(World(hpa_like), versions_matter=False) as (_, watch, changes):
        wait_until(lambda: watch.events == 4, 5, "all have come")
        wait_until(lambda: changes[-1] == ("a", None), 5, "it is gone")
        assert changes == [("a", "1"), ("b", "2"), ("a", "12"), ("a", None)]


def test_an_empty_list_may_be_null():
    with watching(World(listed=[{"metadata": {"resourceVersion": "1"}, "items": None}])) as (_, watch, _):
        assert watch.wait_synced(5)
        assert dict(watch.items) == {}


def test_a_snapshot_does_not_change_while_it_is_looked_at():
    numbers = count(11)

    def many(request):
        request.begin_stream()
        for number in numbers:
            request.event("ADDED", a_pod(f"p{number}", number))
            if request._closing.is_set() or number > 3000:
                break
        request.hold()

    with watching(World(many)) as (_, watch, _):
        assert watch.wait_synced(5)
        wait_until(lambda: len(watch.items) > 100, 5, "events pour in")
        for _ in range(50):
            seen = watch.items
            size = len(seen)
            assert sum(1 for _ in seen) == size == len(seen)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_listener_is_raised_at_whoever_asks():
    with ApiServer(World()) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")

        def buggy(key, item):
            raise KeyError("oops")

        watch = ListWatch(api, PODS, Pod, clock=SystemClock(), on_change=buggy, patience=QUICK)
        watch.start()
        wait_until(lambda: not watch._thread.is_alive(), 5, "the thread has ended")
        with pytest.raises(RuntimeError, match="watching pods ended") as caught:
            watch.items  # noqa: B018
        assert isinstance(caught.value.__cause__, KeyError)
        assert "bug" in watch.trouble
        watch.stop()
        api.close()


@pytest.mark.parametrize("stage", ["list", "watch head", "watch", "wait"])
def test_it_stops_at_once_whatever_it_is_doing(stage):
    held = lambda request: request.hold()  # noqa: E731
    world = {
        "list": World(listed=[held]),
        "watch head": World(held),
        "watch": World(quiet),
        "wait": World(lambda request: request.refuse(500)),
    }[stage]
    with ApiServer(world) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        watch = ListWatch(api, PODS, Pod, clock=SystemClock(), patience=Patience(first_s=60, longest_s=60, join_s=30))
        watch.start()
        wait_until(lambda: watch.watches or (stage == "list" and server.asked()), 5, "it is busy")
        wait_until(lambda: stage != "wait" or watch.failures, 5, "it waits")
        began_s = time.monotonic()
        api.close()
        watch.stop()
        assert not watch._thread.is_alive()
        assert time.monotonic() - began_s < 10


def test_a_watch_of_a_server_that_closes_connections_falls_silent_and_stops_like_any_other():
    def closing(request):
        request.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        request.event_unframed("ADDED", a_pod("c", 11))
        request.hold()

    with watching(World(closing, quiet)) as (server, watch, _):
        wait_until(lambda: "c" in names(watch), 5, "the event has come")
        wait_until(lambda: server.asked(watch=True) == 2, 5, "another watch is open")  # after 0.5 s of silence
        assert watch.failures == 0
    with watching(World(closing), patience=Patience(join_s=30)) as (_, watch, _):
        wait_until(lambda: "c" in names(watch), 5, "the event has come")
        began_s = time.monotonic()
        watch.stop()
        assert time.monotonic() - began_s < 10


def test_it_can_be_stopped_before_it_was_started():
    api = Api(Access(server="http://127.0.0.1:1", ca_file=None), clock=SystemClock(), user_agent="test")
    ListWatch(api, PODS, Pod, clock=SystemClock()).stop()
    api.close()


def breaks_off(request, data=b""):
    request.raw(data)
    request.hang_up()


def says_gone(request):
    request.event("ERROR", {"kind": "Status", "code": 410})
    request.end_stream()


ENDINGS = (
    breaks_off,
    says_gone,
    lambda request: request.end_stream(),
    lambda request: breaks_off(request, b"zzz\r\n"),
    lambda request: (request.piece(b'{"type": "MOD\n'), request.hang_up()),
)


class ChaoticWorld:
    """A history of changes, told by lists that lag and by watches that end in every way there is."""

    FIRST = 100  # version of the first change

    def __init__(self, changes, seed):
        self._dice = random.Random(seed)
        self.history = [
            (self.FIRST + number, f"p{self._dice.randrange(40)}", self._dice.random() < 0.3)
            for number in range(changes)
        ]
        self._reached = 0

    def state(self, upto):
        """What there is after so many changes: name to version."""
        there = {}
        for version, name, is_gone in self.history[:upto]:
            there.pop(name, None)
            if not is_gone:
                there[name] = version
        return there

    def __call__(self, request):
        if request.is_watch:
            self._watch(request, int(request.query["resourceVersion"]) - self.FIRST + 1)
            return
        self._reached = min(len(self.history), self._reached + self._dice.randrange(5))
        pods = [a_pod(name, version) for name, version in self.state(self._reached).items()]
        request.answer(200, a_list(*pods, version=self.FIRST - 1 + self._reached))

    def _watch(self, request, begin):
        request.begin_stream()
        known = self.state(begin)
        upto = min(len(self.history), begin + self._dice.randrange(1, 40))
        for version, name, is_gone in self.history[begin:upto]:
            if not is_gone:
                request.event("MODIFIED" if name in known else "ADDED", a_pod(name, version))
                known[name] = version
            elif known.pop(name, None):
                request.event("DELETED", a_pod(name, version))
            else:
                request.event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
        self._reached = max(self._reached, upto)
        if upto == len(self.history):
            request.hold()
        else:
            self._dice.choice(ENDINGS)(request)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_whatever_the_connection_does(seed):
    world = ChaoticWorld(changes=400, seed=seed)
    expected = world.state(400)
    followed = {}

    def follow(key, item):
        if item is None:
            del followed[key[1]]
        else:
            followed[key[1]] = int(item.metadata.resource_version)

    quick = Patience(first_s=0.001, longest_s=0.01, silence_s=5, lives_s=1)
    with ApiServer(world) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        watch = ListWatch(api, PODS, Pod, clock=SystemClock(), on_change=follow, patience=quick)
        watch.start()
        wait_until(lambda: followed == expected, 20, "all changes have arrived")
        assert {name: int(item.metadata.resource_version) for (_, name), item in watch.items.items()} == expected
        assert watch.watches > 10
        api.close()
        watch.stop()
