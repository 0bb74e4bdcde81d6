import contextlib
import json
import re
import threading
import time

import pytest
from fakes.api_server import ApiServer, a_port_where_nobody_listens
from rigs.kernel import wait_until

from mbcasd.clock import SteppedClock, SystemClock
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api
from mbcasd.kube.events import Events

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "web", "name": "api-0", "uid": "u-1"}
WHAT = {"reason": "LimitRaised", "note": "main: 200m to 800m", "action": "Resize"}


@contextlib.contextmanager
def reporting(answer=lambda request: request.answer(201), *, clock=None, **more):
    clock = clock or SteppedClock(1000.0)
    with ApiServer(answer) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        events = Events(api, component="mbcas-controller", instance="mbcas-controller-0", clock=clock, **more)
        try:
            yield server, events, clock
        finally:
            api.close()
            events.stop()
            assert not events._thread.is_alive()


def test_an_event_says_who_did_what_to_whom_and_why():
    with reporting() as (server, events, _):
        events.emit(POD, **WHAT)
        wait_until(lambda: events.sent == 1, 5, "it is sent")
        (request,) = server.requests
        sent = json.loads(request.body)
        name = sent["metadata"].pop("name")
        assert (request.method, request.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/web/events")
        assert re.fullmatch(r"api-0\.[0-9a-f]{16}", name)
        assert sent == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": "web"},
            "eventTime": "2023-11-14T22:13:20.000000Z",
            "reportingController": "mbcas-controller",
            "reportingInstance": "mbcas-controller-0",
            "action": "Resize",
            "reason": "LimitRaised",
            "regarding": POD,
            "note": "main: 200m to 800m",
            "type": "Normal",
        }


def test_the_same_again_makes_a_series_whose_count_is_told_now_and_then():
    with reporting(refresh_s=0.2, clock=SystemClock()) as (server, events, _):
        for _ in range(50):
            events.emit(POD, **WHAT, is_warning=True)
        wait_until(lambda: events.sent >= 3, 5, "the whole count is told")
        methods = [one.method for one in server.requests]
        assert methods == ["POST", "PATCH", "PATCH"]
        first, second, third = (json.loads(one.body) for one in server.requests)
        assert first["type"] == "Warning"
        assert server.requests[1].path.endswith(f"/events/{first['metadata']['name']}")
        assert [second["series"]["count"], third["series"]["count"]] == [2, 50]
        assert re.fullmatch(r".*\.\d{6}Z", third["series"]["lastObservedTime"])
        assert list(second) == ["series"]  # nothing else may change


def test_after_a_while_the_same_thing_is_news_again():
    with reporting() as (server, events, clock):
        events.emit(POD, **WHAT)
        wait_until(lambda: events.sent == 1, 5, "it is sent")
        clock.advance(400)
        events.emit(POD, **WHAT)
        wait_until(lambda: events.sent == 2, 5, "it is sent")
        assert [one.method for one in server.requests] == ["POST", "POST"]


def test_another_note_is_another_event():
    with reporting() as (server, events, _):
        events.emit(POD, **WHAT)
        events.emit(POD, **{**WHAT, "note": "main: 800m to 900m"})
        wait_until(lambda: events.sent == 2, 5, "both are sent")
        assert [one.method for one in server.requests] == ["POST", "POST"]


def test_one_object_cannot_fill_etcd_and_others_are_heard_all_the_same():
    with reporting() as (server, events, clock):
        for number in range(100):
            events.emit(POD, **{**WHAT, "note": f"note {number}"})
        wait_until(lambda: events.sent + events.dropped == 100, 5, "all were dealt with")
        assert (server.asked(), events.dropped) == (10, 90)
        events.emit({**POD, "name": "api-1", "uid": "u-2"}, **WHAT)
        wait_until(lambda: events.sent == 11, 5, "the other one's is sent")
        clock.advance(60)
        events.emit(POD, **{**WHAT, "note": "a minute later"})
        wait_until(lambda: events.sent == 12, 5, "one a minute passes")


def test_all_objects_together_have_a_budget():
    with reporting() as (server, events, _):
        for number in range(200):
            events.emit({**POD, "uid": f"u-{number}"}, **WHAT)
        wait_until(lambda: events.sent + events.dropped == 200, 5, "all were dealt with")
        assert (server.asked(), events.dropped) == (50, 150)


def test_an_object_of_the_cluster_has_its_events_in_the_default_namespace():
    with reporting() as (server, events, _):
        events.emit({"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "u"}, **WHAT)
        wait_until(lambda: events.sent == 1, 5, "it is sent")
        assert server.requests[0].path == "/apis/events.k8s.io/v1/namespaces/default/events"


@pytest.mark.parametrize("note", ["x" * 5000, "é" * 600, "ж" * 511 + "xé"])
def test_a_long_note_is_cut_between_two_characters(note):
    with reporting() as (server, events, _):
        events.emit(POD, **{**WHAT, "note": note})
        wait_until(lambda: events.sent == 1, 5, "it is sent")
        sent = json.loads(server.requests[0].body)["note"]
        assert len(sent.encode()) <= 1024
        assert sent.endswith("…")
        assert note.startswith(sent[:-1])


def test_nothing_waits_while_the_server_says_nothing():
    with reporting(lambda request: request.hold()) as (server, events, _):
        began_s = time.monotonic()
        for number in range(2000):
            events.emit({**POD, "uid": f"u-{number}"}, **WHAT)
        assert time.monotonic() - began_s < 5
        assert events.dropped >= 2000 - 500 - 1
        wait_until(lambda: server.asked() == 1, 5, "one is under way")


def test_a_server_that_is_away_is_left_alone_for_a_while(caplog):
    clock = SteppedClock(1000.0)
    access = Access(server=f"http://127.0.0.1:{a_port_where_nobody_listens()}", ca_file=None)
    api = Api(access, clock=SystemClock(), user_agent="test")
    events = Events(api, component="c", instance="i", clock=clock)
    for number in range(20):
        events.emit({**POD, "uid": f"u-{number}"}, **WHAT)
    wait_until(lambda: events.dropped == 20, 5, "all were dealt with")
    assert events.sent == 0
    assert sum(api.counts.values()) == 1
    clock.advance(2)
    events.emit({**POD, "uid": "late"}, **WHAT)
    wait_until(lambda: events.dropped == 21, 5, "it was tried")
    assert sum(api.counts.values()) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    events.stop()
    api.close()


def test_an_event_that_never_arrived_is_sent_whole_when_it_is_said_again():
    refusing = threading.Event()
    refusing.set()

    def answer(request):
        if refusing.is_set():
            request.refuse(403, "Forbidden", "namespace is being terminated")
        else:
            request.answer(201)

    with reporting(answer) as (server, events, _):
        events.emit(POD, **WHAT)
        wait_until(lambda: events.dropped == 1, 5, "it was refused")
        refusing.clear()
        events.emit(POD, **WHAT)
        wait_until(lambda: events.sent == 1, 5, "it is sent")
        assert [one.method for one in server.requests] == ["POST", "POST"]
        assert json.loads(server.requests[1].body)["series"]["count"] == 2


def test_an_event_that_was_removed_meanwhile_is_made_anew():
    def answer(request):
        if request.method == "PATCH":
            request.refuse(404, "NotFound")
        else:
            request.answer(201)

    with reporting(answer) as (server, events, _):
        events.emit(POD, **WHAT)
        events.emit(POD, **WHAT)
        wait_until(lambda: events.sent == 2, 5, "it is made anew")
        assert [one.method for one in server.requests] == ["POST", "PATCH", "POST"]


def test_stopping_sends_what_waits():
    with reporting() as (_, events, _):
        for number in range(20):
            events.emit({**POD, "uid": f"u-{number}"}, **WHAT)
        events.emit({**POD, "uid": "u-0"}, **WHAT)
        events.emit({**POD, "uid": "u-0"}, **WHAT)
        events.stop()
        assert events.sent == 22  # the last count, which was not told yet, included
        assert events._waiting.empty()


def test_stopping_waits_no_longer_than_it_may():
    with reporting(lambda request: request.hold()) as (server, events, _):
        events.emit(POD, **WHAT)
        wait_until(lambda: server.asked() == 1, 5, "one is under way")
        began_s = time.monotonic()
        events.stop(0.2)
        assert time.monotonic() - began_s < 4
