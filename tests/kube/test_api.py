import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from fakes.api_server import ApiServer, a_port_where_nobody_listens
from rigs.kernel import PATIENCE, wait_until

from mbcasd.clock import SystemClock
from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api, Budget, PatchKind

PODS = "/api/v1/pods"


def echo(request):
    request.answer(200, {"method": request.method, "path": request.path, "query": request.query})


def an_api(server, **more):
    access = server if isinstance(server, Access) else server.access()
    return Api(access, **{"clock": SystemClock(), "user_agent": "test/1", **more})


def read_all(connection):
    while connection.recv(1 << 20):
        pass


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextlib.contextmanager
def served(answer, **more):
    with ApiServer(answer) as server:
        api = an_api(server, **more)
        try:
            yield server, api
        finally:
            api.close()


def test_requests_arrive_as_they_were_meant():
    with served(echo) as (server, api):
        api.get(PODS, {"fieldSelector": "spec.nodeName=node 1&2"})
        api.post(PODS, {"a": 1})
        api.put(PODS, b'{"b":2}')
        api.delete(PODS, {"preconditions": {"uid": "u"}})
        api.delete(PODS)
        api.patch(PODS, {"c": 3}, PatchKind.STRATEGIC)
        api.apply(PODS, {"d": 4}, field_manager="mbcas-agent", params={"dryRun": "All"})

        got = [(one.method, one.query, one.body, one.headers.get("Content-Type")) for one in server.requests]
    assert got == [
        ("GET", {"fieldSelector": "spec.nodeName=node 1&2"}, b"", None),
        ("POST", {}, b'{"a":1}', "application/json"),
        ("PUT", {}, b'{"b":2}', "application/json"),
        ("DELETE", {}, b'{"preconditions":{"uid":"u"}}', "application/json"),
        ("DELETE", {}, b"", None),
        ("PATCH", {}, b'{"c":3}', "application/strategic-merge-patch+json"),
        (
            "PATCH",
            {"dryRun": "All", "fieldManager": "mbcas-agent", "force": "true"},
            b'{"d":4}',
            "application/apply-patch+yaml",
        ),
    ]
    assert {one.headers["User-Agent"] for one in server.requests} == {"test/1"}
    assert len({one.connection for one in server.requests}) == 1


def test_a_server_behind_a_path_is_asked_below_it():
    with ApiServer(echo) as server:
        api = an_api(server.access(server=f"{server.url}/k8s/clusters/c-1/"))
        assert json.loads(api.get(PODS))["path"] == f"/k8s/clusters/c-1{PODS}"
        api.close()


def test_a_refusal_says_all_that_the_server_said():
    def refuse(request):
        status = {
            "kind": "Status",
            "code": 403,
            "reason": "Forbidden",
            "message": "node didn't have enough allocatable resources",
            "details": {"name": "bur", "causes": [{"reason": "NodeCapacity"}]},
        }
        request.answer(403, status)

    with served(refuse) as (_, api), pytest.raises(ApiRefused, match="allocatable") as caught:
        api.get(PODS)
    refusal = caught.value
    assert (refusal.code, refusal.reason, refusal.causes) == (403, "Forbidden", (("NodeCapacity", "", ""),))
    assert refusal.retry_after_s is None


@pytest.mark.parametrize(
    ("header", "asked_s"), [("7", 7.0), ("-3", 0.0), ("99999", 300.0), ("nan", None), ("soon", None)]
)
def test_how_long_to_wait_is_handed_on(header, asked_s):
    with (
        served(lambda request: request.refuse(429, "TooManyRequests", Retry_After=header)) as (server, api),
        pytest.raises(ApiRefused) as caught,
    ):
        api.get(PODS)
    assert (caught.value.code, caught.value.retry_after_s) == (429, asked_s)
    assert server.asked() == 1  # it is handed on, not waited for


def test_a_date_to_come_back_at_is_understood():
    with (
        served(lambda request: request.refuse(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")) as (_, api),
        pytest.raises(ApiRefused) as caught,
    ):
        api.get(PODS)
    assert caught.value.retry_after_s == 0.0


def test_the_status_object_may_say_how_long_to_wait():
    body = {"kind": "Status", "code": 500, "details": {"retryAfterSeconds": 3}}
    with served(lambda request: request.answer(500, body)) as (_, api), pytest.raises(ApiRefused) as caught:
        api.get(PODS)
    assert caught.value.retry_after_s == 3.0


def test_a_gateways_page_is_quoted_in_one_line():
    with (
        served(lambda request: request.answer(502, b"<html>\n<h1>Bad Gateway</h1>\n" + b"x" * 5000)) as (_, api),
        pytest.raises(ApiRefused, match=r"^HTTP 502 Bad Gateway: <html> <h1>Bad Gateway</h1> x+$") as caught,
    ):
        api.get(PODS)
    assert len(str(caught.value)) < 300


def test_a_redirect_is_no_answer_of_an_api_server():
    with (
        served(lambda request: request.answer(302, b"", Location="https://login.example/")) as (server, api),
        pytest.raises(ApiAway, match=r"HTTP 302 to https://login.example/: is this an API server"),
    ):
        api.get(PODS)
    assert server.asked() == 1


def test_refused_connections_are_told_in_words():
    api = an_api(Access(server=f"http://127.0.0.1:{a_port_where_nobody_listens()}", ca_file=None))
    with pytest.raises(ApiAway, match=r"^API server not reachable \(connection refused\)$"):
        api.get(PODS)
    assert api.counts == {("GET", 0): 1}


def test_a_server_that_says_nothing_costs_the_timeout():
    with served(lambda request: request.hold()) as (server, api):
        began_s = time.monotonic()
        with pytest.raises(ApiAway, match="no answer in time"):
            api.patch(PODS, {}, PatchKind.MERGE, timeout_s=0.2)
        assert 0.2 <= time.monotonic() - began_s < 8
        assert server.asked() == 1


def test_an_answer_that_dribbles_in_is_given_up():
    def dribble(request):
        request.begin_stream()
        for _ in range(200):
            request.piece(b"x")
            if request._closing.wait(0.05):
                break

    began_s = time.monotonic()
    with served(dribble) as (_, api), pytest.raises(ApiAway, match=r"takes too long|no answer in time"):
        api.get(PODS, timeout_s=0.3)
    assert time.monotonic() - began_s < 5  # of the 10 that it would have taken


def test_a_request_that_is_tried_twice_has_its_time_once():
    def hang_up_late(request):
        request._closing.wait(0.6)
        request.hang_up()

    with served(hang_up_late) as (server, api):
        began_s = time.monotonic()
        with pytest.raises(ApiAway, match="no answer in time"):
            api.get(PODS, timeout_s=1.0)
        assert server.asked() == 2
        assert 1.0 <= time.monotonic() - began_s < 5


def test_an_answer_may_end_with_its_connection():
    def closing(request):
        request.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}")
        request.hang_up()

    def closing_with_length(request):
        request.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        request.hang_up()

    for answer in (closing, closing_with_length):
        with served(answer) as (_, api):
            assert api.get(PODS) == b"{}"
            assert api.patch(PODS, {}, PatchKind.MERGE) == b"{}"


def test_what_the_last_request_left_of_its_time_does_not_shorten_the_next():
    def slow_body(request):
        if request.method == "GET":
            request.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            request._closing.wait(0.3)
            request.raw(b"{}")
        else:
            request._closing.wait(0.3)
            request.answer()

    with served(slow_body) as (server, api):
        api.get(PODS, timeout_s=0.35 * PATIENCE + 0.3)
        api.patch(PODS, b"x" * 20_000_000, PatchKind.MERGE, timeout_s=30)
        assert server.served.connections == 1


def test_a_body_cut_short_is_no_answer():
    def cut_short(request):
        request.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        request.hang_up()

    with served(cut_short) as (_, api), pytest.raises(ApiAway, match="closed by the other end"):
        api.get(PODS)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_write_is_never_sent_twice(method):
    with served(lambda request: request.hang_up()) as (server, api):
        with pytest.raises(ApiAway):
            getattr(api, method)(PODS, {}, *([PatchKind.MERGE] if method == "patch" else []))
        assert server.asked() == 1


def test_a_read_that_meets_a_connection_closed_in_that_moment_is_sent_once_more():
    numbers = count(1)

    def hang_up_on_the_second(request):
        if next(numbers) == 2:
            request.hang_up()
        else:
            request.answer()

    with served(hang_up_on_the_second) as (server, api):
        api.get(PODS)
        api.get(PODS)
        assert server.asked() == 3
        assert api.counts == {("GET", 200): 2, ("GET", 0): 1}


def test_a_read_is_sent_twice_at_most():
    with served(lambda request: request.hang_up()) as (server, api):
        with pytest.raises(ApiAway, match="closed by the other end"):
            api.get(PODS)
        assert server.asked() == 2


def test_connections_closed_while_idle_are_replaced_without_a_word():
    with served(echo) as (server, api):
        api.get(PODS)
        server.close()
        with ApiServer(echo, port=server.port) as restarted:
            api.patch(PODS, {}, PatchKind.MERGE)
            assert restarted.asked() == 1


def test_what_was_given_up_is_not_delivered_later():
    # A listener that never reads: what the client sent lies in buffers, as behind a network that stalls.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        api = an_api(Access(server=f"http://127.0.0.1:{listening.getsockname()[1]}", ca_file=None))
        with pytest.raises(ApiAway):
            api.patch(PODS, b"x" * 50_000_000, PatchKind.MERGE, timeout_s=0.3)
        connection, _ = listening.accept()
        with connection, pytest.raises(ConnectionResetError):
            read_all(connection)
        api.close()


def test_an_answer_that_never_came_makes_the_other_kept_connections_suspicious():
    together = threading.Barrier(4)
    connections = []

    def answer(request):
        if request.path == "/silent":
            request.hold()
            return
        if request.path == "/together":
            together.wait(5 * PATIENCE)  # so that each is on a connection of its own
        connections.append(request.connection)
        request.answer()

    with served(answer) as (_, api):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(api.get, ["/together"] * 4))
        with pytest.raises(ApiAway):
            api.patch("/silent", {}, PatchKind.MERGE, timeout_s=0.2)
        api.get("/after")

        assert len(set(connections[:4])) == 4
        assert connections[4] not in connections[:4]


def test_a_token_that_was_renewed_meanwhile_is_used_after_a_401():
    tokens = iter(["old", "new"])

    def only_new(request):
        if request.headers["Authorization"] == "Bearer new":
            request.answer()
        else:
            request.refuse(401, "Unauthorized")

    with ApiServer(only_new) as server:
        api = an_api(server.access(token=lambda: next(tokens)))
        api.post(PODS, {})
        assert server.asked() == 2
        api.close()


def test_a_401_with_the_same_token_is_final():
    forgotten = []
    with ApiServer(lambda request: request.refuse(401, "Unauthorized", "who are you")) as server:
        api = an_api(server.access(token=lambda: "old", forget_token=lambda: forgotten.append(1)))
        with pytest.raises(ApiRefused, match="who are you") as caught:
            api.get(PODS)
        assert (caught.value.code, server.asked(), forgotten) == (401, 1, [1])
        api.close()


def test_a_401_is_followed_by_one_more_try_and_not_by_many():
    with ApiServer(lambda request: request.refuse(401)) as server:
        numbers = count()
        api = an_api(server.access(token=lambda: str(next(numbers))))
        with pytest.raises(ApiRefused):
            api.get(PODS)
        assert server.asked() == 2
        api.close()


def test_headers_of_impersonation_may_come_several_times():
    headers = (("Impersonate-User", "jane"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops"))
    groups = []

    def keep_groups(request):
        groups.extend(request._handler.headers.get_all("Impersonate-Group"))
        request.answer()

    with ApiServer(keep_groups) as server:
        api = an_api(server.access(headers=headers))
        api.get(PODS)
        api.close()
    assert ", ".join(groups) == "dev, ops"


def test_a_budget_spreads_requests():
    with served(echo, budget=Budget(50, 5, clock=SystemClock())) as (_, api):
        began_s = time.monotonic()
        for _ in range(15):
            api.get(PODS)
        # 5 at once, 10 more at 50 a second.
        assert time.monotonic() - began_s >= 0.19


def test_a_request_that_would_wait_longer_than_its_timeout_is_not_sent():
    with served(echo, budget=Budget(0.1, 1, clock=SystemClock())) as (server, api):
        api.get(PODS)
        with pytest.raises(ApiAway, match="budget"):
            api.get(PODS, timeout_s=0.5)
        assert server.asked() == 1


def test_lines_of_a_watch_come_one_by_one_also_in_odd_pieces():
    def in_pieces(request):
        request.begin_stream()
        for piece in (b'{"a"', b":1}\n", b'{"b":2}\n{"c"', b":3}\n\n", b'{"d":4}'):
            request.piece(piece)
        request.end_stream()

    with served(in_pieces) as (_, api), api.stream(PODS, {"watch": "true"}, timeout_s=5) as lines:
        assert list(lines) == [b'{"a":1}', b'{"b":2}', b'{"c":3}', b'{"d":4}']


def test_a_watch_that_falls_silent_ends():
    def one_line(request):
        request.begin_stream()
        request.piece(b"{}\n")
        request.hold()

    with served(one_line) as (_, api), api.stream(PODS, {}, timeout_s=0.2) as lines:
        reading = iter(lines)
        assert next(reading) == b"{}"
        with pytest.raises(ApiAway, match="no answer in time"):
            next(reading)


def test_a_watch_that_breaks_off_says_so():
    def break_off(request):
        request.begin_stream()
        request.piece(b"{}\n")
        request.hang_up()

    with (
        served(break_off) as (_, api),
        pytest.raises(ApiAway, match="closed by the other end"),
        api.stream(PODS, {}, timeout_s=5) as lines,
    ):
        list(lines)


def test_a_watch_that_is_refused_raises_on_opening():
    with (
        served(lambda request: request.refuse(410, "Expired", "too old")) as (_, api),
        pytest.raises(ApiRefused, match="too old"),
        api.stream(PODS, {}, timeout_s=5),
    ):
        pass


def test_a_watch_whose_answer_never_begins_is_given_up():
    with (
        served(lambda request: request.hold()) as (_, api),
        pytest.raises(ApiAway, match="no answer in time"),
        api.stream(PODS, {}, timeout_s=60, answer_timeout_s=0.2),
    ):
        pass


def test_a_line_without_end_is_not_kept():
    def endless(request):
        request.begin_stream()
        for _ in range(20):
            request.piece(b"x" * 1_000_000)
        request.hold()

    with (
        served(endless) as (_, api),
        api.stream(PODS, {}, timeout_s=5) as lines,
        pytest.raises(ApiAway, match="a line without end"),
    ):
        list(lines)


def test_a_watch_can_be_cut_from_another_thread():
    def quiet(request):
        request.begin_stream()
        request.hold()

    with served(quiet) as (_, api):
        opened, ended = threading.Event(), threading.Event()
        kept = []

        def watch():
            with contextlib.suppress(ApiAway), api.stream(PODS, {}, timeout_s=60) as lines:
                kept.append(lines)
                opened.set()
                list(lines)
            ended.set()

        threading.Thread(target=watch, daemon=True).start()
        assert opened.wait(5)
        kept[0].cut()
        assert ended.wait(10)


@pytest.mark.parametrize("stage", ["head", "body"])
def test_closing_the_client_ends_whatever_is_under_way(stage):
    def stall(request):
        if stage == "body":
            request.begin_stream()
        request.hold()

    with served(stall) as (server, api):
        ended = []

        def ask():
            try:
                api.get(PODS, timeout_s=60)
            except ApiAway as err:
                ended.append(str(err))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        wait_until(lambda: server.asked() == 1, 5, "the request has arrived")
        began_s = time.monotonic()
        api.close()
        thread.join(10)
        assert ended
        assert time.monotonic() - began_s < 10  # of the 60 that it would have waited
        with pytest.raises(ApiAway, match="closed"):
            api.get(PODS)


def test_many_threads_share_a_client_without_leaking_sockets():
    with served(echo) as (server, api):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: json.loads(api.get(f"/{number}"))["path"], range(400)))
        assert answers == [f"/{number}" for number in range(400)]
        assert server.served.connections <= 8 + 1
        before = open_files()
        for _ in range(50):
            with contextlib.suppress(ApiAway), api.stream(PODS, {}, timeout_s=5) as lines:
                next(iter(lines))
        wait_until(lambda: open_files() <= before + 2, 5, "no socket is left open")


def test_a_vanished_peer_is_noticed_by_the_kernel():
    with served(echo) as (_, api), api.stream(PODS, {}, timeout_s=100) as lines:
        opened = lines._socket
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle_s, between_s, probes = (
            opened.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle_s + between_s * probes <= 30
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert struct.unpack("ii", opened.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)
        assert opened.gettimeout() == 100


def test_the_way_in_from_a_pod_imports_neither_the_official_client_nor_yaml(tmp_path):
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("unread")
    script = f"""
import sys
from pathlib import Path
from mbcasd.clock import SystemClock
from mbcasd.kube import access, api, events, lease, listwatch, objects
found = access.in_cluster(
    {{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}}, Path({str(tmp_path)!r})
)
print(*sorted({{name.partition('.')[0] for name in sys.modules}}))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not {"kubernetes", "yaml", "requests", "pydantic", "aiohttp", "asyncio"} & set(ran.stdout.split())
    assert {"urllib3", "msgspec"} <= set(ran.stdout.split())
