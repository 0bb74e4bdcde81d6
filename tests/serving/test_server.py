"""The server over real sockets."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mbcasd.errors import BrokenInput, ConfigError, NoSuchWorkload, ServingError
from mbcasd.serving import http, sockets
from mbcasd.serving import server as server_module
from mbcasd.serving.server import Routes, Server


@pytest.fixture
def reports():
    return []


@pytest.fixture
def routes(reports):
    def take(report):
        if report.workload == "nobody":
            raise NoSuchWorkload("there is no workload nobody")
        if report.workload == "both":
            raise BrokenInput("both means 2 workloads")
        reports.append(report)

    return Routes(
        metrics=lambda: b"mbcas_up 1\n",
        status=lambda: b'{"node":"n"}',
        healthy=lambda: (True, "last pass 0.1 s ago"),
        ready=lambda: (False, "no pass is through yet"),
        slo=take,
    )


@pytest.fixture
def server(routes):
    server = Server(routes)
    yield server
    server.close()


@pytest.fixture
def unix(server, tmp_path):
    path = tmp_path / "run" / "mbcasd.sock"
    server.listen_unix(path)
    return path


@pytest.fixture
def tcp(server):
    return server.listen_tcp("127.0.0.1:0")


def ask(where, request: bytes) -> bytes:
    family = socket.AF_INET if isinstance(where, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(where if isinstance(where, tuple) else str(where))
        client.sendall(request)
        return read_all(client)


def read_all(client) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def get(where, path, method="GET") -> tuple[int, bytes]:
    return split(ask(where, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))


def post(where, path, body: bytes) -> tuple[int, bytes]:
    return split(ask(where, f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body))


def split(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/metrics", 200, b"mbcas_up 1\n"),
        ("/status", 200, b'{"node":"n"}'),
        ("/status?pretty=1", 200, b'{"node":"n"}'),
        ("/healthz", 200, b"last pass 0.1 s ago\n"),
        ("/readyz", 503, b"no pass is through yet\n"),
    ],
)
def test_tcp_and_unix_give_the_same_answers(tcp, unix, path, status, body):
    assert get(tcp, path) == get(unix, path) == (status, body)


def test_prometheus_is_told_the_format(tcp):
    answer = ask(tcp, b"GET /metrics HTTP/1.1\r\n\r\n")

    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer


def test_head_has_the_length_and_no_body(tcp):
    answer = ask(tcp, b"HEAD /metrics HTTP/1.1\r\n\r\n")

    assert b"Content-Length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_an_unknown_route_names_those_that_exist(tcp, unix):
    status, body = get(tcp, "/metricz")
    assert status == 404
    assert b"GET /metrics, GET /healthz, GET /readyz, GET /status" in body
    assert b"POST /slo" not in body
    assert b"POST /slo" in get(unix, "/")[1]


def test_a_method_that_does_not_fit_says_which_would(tcp, unix):
    assert get(tcp, "/metrics", "DELETE")[0] == 405
    assert b"Allow: POST\r\n" in ask(unix, b"GET /slo HTTP/1.1\r\n\r\n")


def test_an_slo_report_reaches_the_daemon_through_the_unix_socket_only(tcp, unix, reports):
    body = b'{"workload": "shop/web", "p99_ms": 120}'

    assert post(tcp, "/slo", body)[0] == 404
    assert reports == []
    assert post(unix, "/slo", body) == (204, b"")
    assert [(report.workload, report.p99_s) for report in reports] == [("shop/web", 0.12)]


def test_a_bad_slo_report_is_refused_with_the_reason(unix, reports):
    status, body = post(unix, "/slo", b'{"workload": "shop/web", "p99_ms": -3}')
    assert (status, body.startswith(b"p99_ms -3 must be")) == (400, True)
    assert post(unix, "/slo", b'{"workload": "both", "violated": true}') == (400, b"both means 2 workloads\n")
    assert post(unix, "/slo", b'{"workload": "nobody", "violated": true}') == (404, b"there is no workload nobody\n")
    assert reports == []


def test_a_body_of_more_than_four_kilobytes_is_refused_and_the_answer_arrives(unix):
    status, body = post(unix, "/slo", b'{"workload": "' + b"w" * 20_000 + b'"}')

    assert (status, b"at most 4096" in body) == (400, True)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 505),
        (b"POST /slo HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /slo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 10_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ],
)
def test_what_is_not_a_request_is_refused(tcp, request_bytes, status):
    assert split(ask(tcp, request_bytes))[0] == status


def test_curl_understands_it(unix):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--unix-socket", unix, "http://localhost/metrics"],
        check=True,
        capture_output=True,
    )
    assert done.stdout == b"mbcas_up 1\n"


def test_a_slow_client_is_let_go_and_holds_up_nobody(tcp, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    with socket.create_connection(tcp) as slow:
        slow.sendall(b"GET /metr")
        assert get(tcp, "/healthz")[0] == 200
        slow.settimeout(10)
        assert split(read_all(slow))[0] == 408


def test_a_client_that_trickles_is_measured_by_the_whole_request(tcp, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_S", 0.3)
    began_s = time.monotonic()
    with socket.create_connection(tcp) as slow:
        slow.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - began_s < 10:
            slow.sendall(b"a")
            try:
                answer = slow.recv(100)
            except TimeoutError:
                continue
    assert b"408" in answer


def test_more_connections_than_there_are_places_are_turned_away(tcp, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_S", 5.0)
    crowd = [socket.create_connection(tcp) for _ in range(server_module.MOST_CONNECTIONS)]
    try:
        wait_until(lambda: get(tcp, "/healthz")[0] == 503)
    finally:
        for client in crowd:
            client.close()
    wait_until(lambda: get(tcp, "/healthz")[0] == 200)


def wait_until(fact, within_s=10.0):
    due_s = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < due_s
        time.sleep(0.01)


def test_many_scrapes_at_once_all_get_the_whole_answer():
    page = b"x" * 300_000
    server = Server(Routes(metrics=lambda: page, status=bytes, healthy=lambda: (True, ""), ready=lambda: (True, "")))
    try:
        where = server.listen_tcp("127.0.0.1:0")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: get(where, "/metrics"), range(80)))
        assert answers == [(200, page)] * 80
    finally:
        server.close()


def test_a_bug_in_a_route_is_answered_and_logged_and_the_server_goes_on(caplog):
    def broken():
        raise ZeroDivisionError

    server = Server(Routes(metrics=broken, status=bytes, healthy=lambda: (True, ""), ready=lambda: (True, "")))
    try:
        where = server.listen_tcp("127.0.0.1:0")
        status, body = get(where, "/metrics")
        assert (status, b"bug" in body) == (500, True)
        assert get(where, "/healthz")[0] == 200
    finally:
        server.close()
    assert "ZeroDivisionError" in caplog.text


def test_the_socket_is_for_its_owner_and_group(unix):
    assert stat.S_IMODE(unix.stat().st_mode) == 0o660


def test_close_removes_the_socket_and_the_folder_that_it_made(server, unix, tmp_path):
    server.close()

    assert list(tmp_path.iterdir()) == []
    assert [thread.name for thread in threading.enumerate() if thread.name == "http"] == []


def test_the_socket_of_a_dead_daemon_is_replaced(server, tmp_path):
    path = tmp_path / "mbcasd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()

    server.listen_unix(path)

    assert get(path, "/healthz")[0] == 200


def test_a_living_daemon_keeps_its_socket(routes, unix):
    second = Server(routes)
    with pytest.raises(ServingError, match="another mbcasd serves"):
        second.listen_unix(unix)
    second.close()

    assert get(unix, "/healthz")[0] == 200


def test_of_many_daemons_that_start_at_once_one_gets_the_socket(routes, tmp_path):
    path = tmp_path / "mbcasd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    servers = [Server(routes) for _ in range(8)]

    def start(server):
        try:
            server.listen_unix(path)
        except ServingError:
            return False
        return True

    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(start, servers)) == 1
        assert get(path, "/healthz")[0] == 200
    finally:
        for server in servers:
            server.close()
    assert not path.exists()


def test_a_socket_that_somebody_else_made_meanwhile_is_not_removed(server, unix):
    unix.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(unix))
        server.close()
        assert unix.exists()


def test_a_file_in_the_place_of_the_socket_is_left_alone(server, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")

    with pytest.raises(ConfigError, match="not a socket"):
        server.listen_unix(path)
    assert path.read_text() == "mine"


def test_a_path_that_the_kernel_does_not_take_is_refused(server, tmp_path):
    with pytest.raises(ConfigError, match="107 bytes"):
        server.listen_unix(tmp_path / ("a" * 120))


def test_a_place_where_no_socket_can_be_made_says_so(server, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ServingError, match="--socket"):
        server.listen_unix(tmp_path / "file" / "mbcasd.sock")


def test_a_port_in_use_is_said_before_anything_else_starts(server, tcp):
    with pytest.raises(ServingError, match="the port is in use"):
        server.listen_tcp(f"127.0.0.1:{tcp[1]}")


def test_an_address_of_another_host_is_refused(server):
    # TEST-NET-1 of RFC 5737: never ours.
    with pytest.raises(ConfigError, match="no such address"):
        server.listen_tcp("192.0.2.1:9102")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not")
def test_a_privileged_port_says_what_would_help():
    program = (
        "import os; os.setuid(65534)\n"
        "from mbcasd.serving import sockets\n"
        "try: sockets.listen_tcp('127.0.0.1:81')\n"
        "except Exception as err: print(type(err).__name__, err)\n"
    )
    # Where the kernel lets everybody have low ports there is nothing to say.
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd="/")
    assert first_free <= 81 or done.stdout.startswith("ServingError cannot listen on 127.0.0.1:81: permission denied")


@pytest.mark.parametrize("address", ["9102", "localhost", "localhost:", "a:b", "::1:9102", "h:70000", "h:-1", "h:١"])
def test_what_is_no_address_is_refused_with_an_example(address):
    with pytest.raises(ConfigError, match=r"write 127\.0\.0\.1:9102"):
        sockets.parse_address(address)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:9102", ("127.0.0.1", 9102)), ("[::1]:1", ("::1", 1)), (":9102", ("", 9102)), ("n:0", ("n", 0))],
)
def test_addresses_are_split(address, parts):
    assert sockets.parse_address(address) == parts
