"""The fault-injecting proxy before a real HTTPS server: every fault looks to a client as it should."""

import http.client
import http.server
import json
import socket
import threading
import time

import pytest
from faults import certificates
from faults.kinds import (
    AnswerLost,
    ClosedAtOnce,
    Cut,
    HalfOpen,
    OldOnesDead,
    Refused,
    Slow,
    Stall,
    expired_in_the_stream,
    too_many_requests,
)
from faults.proxy import Proxy, busiest_second
from rigs.kernel import wait_until

TEN = b"0123456789"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one\n", b"two\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.server.may_end.wait(10)
            self.wfile.write(b"0\r\n\r\n")
            return
        self._reply(TEN)

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.carried_out.append(body)
        self._reply(body)

    def _reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(certificate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = certificate.serving().wrap_socket(server.socket, server_side=True)
    server.carried_out, server.may_end = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.may_end.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["ends TLS", "passes bytes on"])
def proxy(request, server, certificate):
    ends_tls = request.param == "ends TLS"
    proxy = Proxy(
        server.server_address,
        serving=certificate.serving() if ends_tls else None,
        calling=certificates.calling(certificate.cert_file) if ends_tls else None,
    )
    yield proxy
    proxy.close()


@pytest.fixture
def http_proxy(server, certificate):
    proxy = Proxy(
        server.server_address,
        serving=certificate.serving(),
        calling=certificates.calling(certificate.cert_file),
    )
    yield proxy
    proxy.close()


@pytest.fixture
def connect(certificate):
    made = []

    def to(proxy, timeout_s=10.0):
        context = certificates.calling(certificate.cert_file)
        made.append(http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=timeout_s, context=context))
        return made[-1]

    yield to
    for connection in made:
        connection.close()


def get(connection, path="/ten"):
    connection.request("GET", path)
    return connection.getresponse().read()


def test_without_a_fault_a_connection_serves_many_requests(proxy, connect):
    client = connect(proxy)

    assert [get(client), get(client)] == [TEN, TEN]
    assert len(proxy.connects()) == 1


def test_refused_breaks_off_what_stands_and_lets_nobody_in_until_it_is_over(proxy, connect):
    client = connect(proxy)
    get(client)
    with proxy.suffering(Refused()):
        with pytest.raises((http.client.HTTPException, OSError)):
            get(client)
        with pytest.raises(ConnectionRefusedError):
            get(connect(proxy))

    assert get(connect(proxy)) == TEN


def test_what_is_broken_off_can_connect_again(proxy, connect):
    client = connect(proxy)
    get(client)
    proxy.break_off()

    with pytest.raises((http.client.HTTPException, OSError)):
        get(client)
    assert get(connect(proxy)) == TEN


def test_closed_at_once_accepts_and_closes(proxy, connect):
    with proxy.suffering(ClosedAtOnce()), pytest.raises((http.client.HTTPException, OSError)) as failed:
        get(connect(proxy))

    assert not isinstance(failed.value, ConnectionRefusedError | TimeoutError)
    assert get(connect(proxy)) == TEN
    assert len(proxy.connects()) == 2


def test_half_open_keeps_connections_and_forwards_nothing(proxy, connect):
    client = connect(proxy, timeout_s=0.3)
    get(client)
    with proxy.suffering(HalfOpen()):
        with pytest.raises(TimeoutError):
            get(client)
        with pytest.raises(TimeoutError):
            get(connect(proxy, timeout_s=0.3))

    assert get(connect(proxy)) == TEN


def test_after_a_fail_over_old_connections_are_dead_and_new_ones_work(proxy, connect):
    old = connect(proxy, timeout_s=0.3)
    get(old)
    proxy.inject(OldOnesDead())

    with pytest.raises(TimeoutError):
        get(old)
    assert get(connect(proxy)) == TEN


def test_a_stall_ends_by_itself_and_all_that_was_held_arrives(proxy, connect):
    client = connect(proxy)
    get(client)
    began_s = time.monotonic()
    proxy.inject(Stall(0.5))

    assert get(client) == TEN
    assert time.monotonic() - began_s >= 0.5


def test_slow_answers_trickle(http_proxy, connect):
    http_proxy.inject(Slow(bytes_per_s=20))
    began_s = time.monotonic()

    assert get(connect(http_proxy)) == TEN
    assert time.monotonic() - began_s >= 0.4  # ten bytes at twenty a second


def test_a_cut_answer_ends_in_the_middle(http_proxy, connect):
    client = connect(http_proxy)
    with http_proxy.suffering(Cut(after_bytes=4)), pytest.raises(http.client.IncompleteRead) as cut:
        get(client)

    assert cut.value.partial == b"0123"


def test_a_lost_answer_belongs_to_a_request_that_was_carried_out(http_proxy, connect, server):
    client = connect(http_proxy)
    http_proxy.inject(AnswerLost())
    client.request("PATCH", "/resize", body=b"{}")

    with pytest.raises((http.client.RemoteDisconnected, OSError)):
        client.getresponse()
    assert server.carried_out == [b"{}"]
    assert http_proxy.seen()[0].code == 200


def test_an_answer_of_its_own_never_reaches_the_server_and_hits_only_whom_it_is_for(http_proxy, connect, server):
    client = connect(http_proxy)
    http_proxy.inject(too_many_requests(7), of=lambda request: request.method == "PATCH")
    client.request("PATCH", "/resize", body=b"{}")
    answer = client.getresponse()

    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert json.loads(answer.read())["reason"] == "TooManyRequests"
    assert server.carried_out == []
    assert get(client) == TEN


def test_a_watch_can_be_told_in_the_stream_that_its_version_is_gone(http_proxy, connect):
    http_proxy.inject(expired_in_the_stream())

    assert json.loads(get(connect(http_proxy)))["object"]["code"] == 410


def test_a_stream_passes_piece_by_piece_and_ends_when_its_reader_leaves(http_proxy, connect):
    client = connect(http_proxy)
    client.request("GET", "/stream?watch=1")
    answer = client.getresponse()

    assert (answer.readline(), answer.readline()) == (b"one\n", b"two\n")  # while the server still waits
    answer.close()
    client.close()
    wait_until(lambda: http_proxy.connections[0].ended_at_s is not None, 5, "the proxy noticed")


def test_a_held_stream_goes_on_afterwards(http_proxy, connect, server):
    http_proxy.inject(HalfOpen(), of=lambda request: request.path == "/stream")
    client = connect(http_proxy)
    client.request("GET", "/stream")
    wait_until(lambda: bool(http_proxy.seen()) and http_proxy.seen()[0].fault == "held", 5, "it is held")
    assert http_proxy.seen()[0].forwarded_at_s is None
    http_proxy.heal()
    server.may_end.set()

    assert client.getresponse().read() == b"one\ntwo\n"


def test_requests_are_counted_by_method_path_and_second(http_proxy, connect):
    client = connect(http_proxy)
    for _ in range(3):
        get(client, "/ten?limit=5")
    request = http_proxy.seen()[0]

    assert (request.method, request.path, request.query, request.code) == ("GET", "/ten", "limit=5", 200)
    assert http_proxy.most_in_a_second() == 3
    assert http_proxy.most_in_a_second(lambda seen: seen.method == "PATCH") == 0


def test_the_busiest_second_is_any_second_not_one_of_the_clock():
    assert busiest_second([0.0, 0.9, 1.1, 1.8, 5.0]) == 3  # 0.9, 1.1 and 1.8
    assert busiest_second([]) == 0


def test_a_server_that_is_down_closes_the_connection(certificate, connect):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    proxy = Proxy(address, serving=certificate.serving(), calling=certificates.calling(certificate.cert_file))

    with pytest.raises((http.client.HTTPException, OSError)):
        get(connect(proxy))
    proxy.close()
