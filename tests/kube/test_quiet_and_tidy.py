"""What all parts of the client have in common: in trouble they are quiet, and at the end nothing of them is left."""

import json
import threading
import time
from pathlib import Path

import pytest
from fakes.api_server import ApiServer, a_port_where_nobody_listens
from rigs.kernel import wait_until

from mbcasd.clock import SystemClock
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api
from mbcasd.kube.events import Events
from mbcasd.kube.lease import Elector
from mbcasd.kube.listwatch import ListWatch
from mbcasd.kube.objects import Pod

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "web", "name": "api-0", "uid": "u-1"}
WATCHES = 6  # as many as an agent has


class Client:
    """All of it, as a role has it."""

    def __init__(self, access):
        clock = SystemClock()
        self.api = Api(access, clock=clock, user_agent="test")
        self.watches = [ListWatch(self.api, "/api/v1/pods", Pod, clock=clock) for _ in range(WATCHES)]
        self.elector = Elector(self.api, "ns", "lease", "me", clock=clock)
        self.events = Events(self.api, component="c", instance="i", clock=clock)
        for part in (*self.watches, self.elector):
            part.start()

    def talk(self):
        self.events.emit(POD, reason="R", note=f"at {time.monotonic()}", action="A")

    def stop(self):
        self.elector.stop()
        self.api.close()
        for watch in self.watches:
            watch.stop()
        self.events.stop()


def open_sockets():
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # the listing's own
            continue
    return sum(link.startswith("socket:") for link in links)


def list_and_watch(request):
    if request.is_watch:
        request.begin_stream()
        request.hold()
    elif request.path == "/api/v1/pods":
        request.answer(200, {"metadata": {"resourceVersion": "5"}, "items": []})
    elif request.method == "GET":
        request.refuse(404, "NotFound")
    else:
        request.answer(200, json.loads(request.body))


def refuse(request):
    request.refuse(403, "Forbidden", "no")


def overloaded(request):
    request.refuse(429, "TooManyRequests", "later", Retry_After="1")


def close_at_once(request):
    request.hang_up()


def answer_nothing(request):
    request.hold()


def nonsense(request):
    request.answer(200, b"<html>welcome</html>")


def empty_watches(request):
    if request.is_watch:
        request.begin_stream()
        request.end_stream()
    else:
        list_and_watch(request)


def too_old(request):
    if request.is_watch:
        request.refuse(410, "Expired")
    else:
        list_and_watch(request)


@pytest.mark.parametrize(
    "answer", [refuse, overloaded, close_at_once, nonsense, empty_watches, too_old, answer_nothing]
)
def test_a_server_in_any_trouble_gets_few_requests(answer):
    with ApiServer(answer) as server:
        client = Client(server.access())
        due_s = time.monotonic() + 2.0
        wait_until(lambda: client.talk() or time.monotonic() >= due_s, 5, "some time has passed")
        # In 2 s a thread tries at 0 and 0.8 s, with at most two requests each (a list and a watch), and a read that
        # met a closed connection is sent once more; the lease is looked at twice, events are tried a few times.
        assert server.asked() <= WATCHES * 2 * 2 * 2 + 12
        client.stop()


def test_a_server_that_is_not_there_gets_few_requests():
    client = Client(Access(server=f"http://127.0.0.1:{a_port_where_nobody_listens()}", ca_file=None))
    due_s = time.monotonic() + 2.0
    wait_until(lambda: client.talk() or time.monotonic() >= due_s, 5, "some time has passed")
    assert sum(client.api.counts.values()) <= WATCHES * 3 + 6
    client.stop()


@pytest.mark.parametrize("answer", [list_and_watch, refuse, close_at_once, answer_nothing, empty_watches])
def test_nothing_is_left_of_it_at_the_end(answer):
    with ApiServer(answer) as server:
        threads, sockets = threading.active_count(), open_sockets()
        for _ in range(5):
            before = server.asked()
            client = Client(server.access())
            wait_until(lambda asked=before: server.asked() >= asked + WATCHES, 5, "all are busy")
            client.talk()
            began_s = time.monotonic()
            client.stop()
            assert time.monotonic() - began_s < 15
        wait_until(lambda: threading.active_count() <= threads + 1, 10, "all threads have ended")
        wait_until(lambda: open_sockets() <= sockets + 1, 10, "all sockets are closed")
