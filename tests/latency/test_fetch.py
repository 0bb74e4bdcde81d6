"""One question over HTTP, against a server that is real, on loopback, and does what it should not."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes.metric_server import MetricServer, a_metric_server, http, says
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbcasd.errors import ConfigError
from mbcasd.latency import fetch
from mbcasd.latency.fetch import NotHttp, TooLarge, get, parse_address

WITHIN_S = 0.5


@pytest.fixture
def server():
    with a_metric_server() as running:
        yield running


def ask(server: MetricServer, *, within_s: float = WITHIN_S, path: str = "") -> fetch.Fetched:
    return get(parse_address(server.url + path, "url"), "/x?query=a", within_s=within_s, most_bytes=1000)


def test_an_answer_comes_with_status_and_body(server: MetricServer) -> None:
    server.behaviour = says(http("hello", "418 I'm a teapot"))

    assert ask(server) == (418, b"hello", "")
    assert server.heads[0].startswith("GET /x?query=a HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.heads[0]


def test_an_answer_in_chunks_is_put_together(server: MetricServer) -> None:
    server.behaviour = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert ask(server).body == b"abcde"


def test_an_answer_that_ends_with_the_connection_is_whole(server: MetricServer) -> None:
    server.behaviour = says(b"HTTP/1.0 200 OK\r\n\r\nabc")

    assert ask(server).body == b"abc"


def test_a_path_in_the_url_stands_in_front(server: MetricServer) -> None:
    ask(server, path="/prometheus/")

    assert server.heads[0].startswith("GET /prometheus/x?query=a ")


def test_a_name_and_password_in_the_url_are_sent_and_never_shown(server: MetricServer) -> None:
    address = parse_address(f"http://me:s%20cret@127.0.0.1:{server.port}", "url")

    get(address, "/x", within_s=WITHIN_S, most_bytes=1000)

    assert "Authorization: Basic bWU6cyBjcmV0\r\n" in server.heads[0]  # me:s cret
    assert "cret" not in str(address)


def test_a_redirect_is_not_followed(server: MetricServer) -> None:
    server.behaviour = says(http("", "302 Found", headers=f"Location: {server.url}/elsewhere\r\n"))

    assert ask(server).status == 302
    assert len(server.heads) == 1


def test_a_body_that_is_too_long_is_not_read_to_its_end(server: MetricServer) -> None:
    def endless(connection: socket.socket, _query: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    server.behaviour = endless

    with pytest.raises(TooLarge):
        ask(server, within_s=10)


def dripping(head: bytes):
    """A server that sends a byte every 50 ms, and would for a minute."""

    def behaviour(connection: socket.socket, _query: str) -> None:
        connection.sendall(head)
        for _ in range(1200):
            connection.sendall(b"x")
            time.sleep(0.05)

    return behaviour


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_the_deadline_holds_for_all_of_it_also_against_drops(server: MetricServer, head: bytes) -> None:
    server.behaviour = dripping(head)
    began_s = time.monotonic()

    with pytest.raises(TimeoutError):
        ask(server)

    assert time.monotonic() - began_s < WITHIN_S + 1


def test_a_server_that_takes_the_connection_and_says_nothing_costs_the_deadline(server: MetricServer) -> None:
    server.behaviour = lambda _connection, _query: time.sleep(5)
    began_s = time.monotonic()

    with pytest.raises(TimeoutError):
        ask(server)

    assert time.monotonic() - began_s < WITHIN_S + 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
    ],
)
def test_what_is_no_http_or_breaks_off_is_refused(server: MetricServer, answer: bytes) -> None:
    server.behaviour = says(answer)

    with pytest.raises((NotHttp, ConnectionError)):
        ask(server)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    rest=st.binary(max_size=200),
)
def test_no_answer_whatsoever_raises_anything_else(server: MetricServer, head: bytes, rest: bytes) -> None:
    server.behaviour = says(head + rest)

    with contextlib.suppress(NotHttp, TooLarge, OSError):
        ask(server)


def test_where_nobody_listens_that_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        get(parse_address(f"http://127.0.0.1:{port}", "url"), "/", within_s=WITHIN_S, most_bytes=10)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
        + ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        with pytest.raises(ssl.SSLError, match="certificate"):
            get(parse_address(url, "url"), "/", within_s=2, most_bytes=10)
        thread.join(2)


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "http://",
        "http://a..b",
        "http://" + "a" * 70,
        "ftp://host",
        "http://host:port",
        "http://host:99999",
        "http://h ost",
    ]
    + ["http://höst", "http://host/?a=b", "http://host/#x", "http://[::1", "http://host\r\nX: y"],
)
def test_what_is_no_url_of_a_server_is_refused_with_the_settings_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"guardrail\.prometheus_url"):
        parse_address(url, "guardrail.prometheus_url")


def test_addresses_are_taken_apart() -> None:
    assert parse_address("https://host/a/", "u")[:4] == ("host", 443, "/a", True)
    assert parse_address("http://[::1]:9090", "u")[:4] == ("::1", 9090, "", False)
    assert str(parse_address("http://u:p@[::1]:9090/x", "u")) == "http://[::1]:9090/x"


def test_who_never_asks_does_not_pay_for_the_client() -> None:
    code = "import sys, mbcasd.latency.sources; sys.exit('http.client' in sys.modules or 'ssl' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
