import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from pictures import a_picture, a_row, a_shop

from mbcasctl.sources import DEFAULT_SOCKET, daemon, open_source, problems
from mbcasctl.sources.record import RecordSource
from mbcasd import __version__
from mbcasd.errors import ConfigError, SourceError
from mbcasd.serving.routes import Routes
from mbcasd.serving.server import Server

PICTURE = a_picture(*a_shop(), a_row("unlimited", limit_milli=None, owner_limit_milli=None), problems=("something",))
BODY = msgspec.json.encode(PICTURE)


def an_answer(body: bytes = BODY, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def listening(where: socket.socket, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server that treats each connection as `behave` does, on a thread that ends with the test."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = where.accept()
                with connection, suppress(OSError):
                    behave(connection)

    where.listen()
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            where.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        where.close()
        assert not thread.is_alive()


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return behave


@contextmanager
def on_socket(path: Path, behave: Callable[[socket.socket], None]) -> Iterator[str]:
    where = socket.socket(socket.AF_UNIX)
    where.bind(str(path))
    with listening(where, behave):
        yield str(path)


@contextmanager
def on_tcp(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    where = socket.create_server(("127.0.0.1", 0))
    with listening(where, behave):
        yield where.getsockname()[1]


def test_a_picture_comes_over_a_unix_socket_as_it_was_sent(tmp_path) -> None:
    with on_socket(tmp_path / "s", answering(an_answer())) as path:
        source = open_source(socket=path)

        assert source.snapshot() == PICTURE
        assert source.snapshot() == PICTURE  # each time anew
        assert source.place == path


@pytest.mark.parametrize(
    "form", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:{}/", "http://127.0.0.1:{}/status"]
)
def test_a_picture_comes_over_tcp_however_the_address_is_written(form: str) -> None:
    with on_tcp(answering(an_answer())) as port:
        assert open_source(url=form.format(port)).snapshot() == PICTURE


def test_the_daemons_own_server_is_understood(tmp_path) -> None:
    well = (True, "")
    server = Server(Routes(metrics=bytes, status=lambda: BODY, healthy=lambda: well, ready=lambda: well))
    server.listen_unix(tmp_path / "s")
    host, port = server.listen_tcp("127.0.0.1:0")
    try:
        assert open_source(socket=str(tmp_path / "s")).snapshot() == PICTURE
        assert open_source(url=f"{host}:{port}").snapshot() == PICTURE
    finally:
        server.close()


def test_a_prefix_of_a_proxy_is_kept() -> None:
    asked = []

    def behave(connection: socket.socket) -> None:
        asked.append(connection.recv(4096).split(b"\r\n")[0])
        connection.sendall(an_answer())

    with on_tcp(behave) as port:
        open_source(url=f"http://127.0.0.1:{port}/node-1/mbcas").snapshot()

    assert asked == [b"GET /node-1/mbcas/status HTTP/1.1"]


def test_chunks_and_an_answer_without_a_length_are_understood(tmp_path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (
        f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    )
    until_closed = b"HTTP/1.0 200 OK\r\n\r\n" + BODY
    for at, answer in enumerate((chunked, until_closed)):
        with on_socket(tmp_path / f"s{at}", answering(answer)) as path:
            assert open_source(socket=path).snapshot() == PICTURE


def test_fields_of_a_newer_daemon_are_left_out() -> None:
    newer = json.loads(BODY) | {"version": "9.0.0", "coalitions": [1], "price_eur": 3}
    newer["workloads"][0]["colour"] = "blue"

    assert problems.decode_answer("there", 200, json.dumps(newer).encode()).version == "9.0.0"


def test_a_picture_of_another_version_that_cannot_be_read_names_both() -> None:
    older = json.loads(BODY) | {"version": "9.0.0\x1b[2J"}
    del older["capacity_milli"]

    with pytest.raises(SourceError, match=rf"version 9\.0\.0\\x1b\[2J, this is mbcasctl {__version__}.*capacity_milli"):
        problems.decode_answer("there", 200, json.dumps(older).encode())


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, b"", "something other than a daemon of MBCAS listens there"),
        (503, b"", "too many readers at once: try again"),
        (500, b"", "HTTP status 500 instead of its picture"),
        (200, b"", "not like a daemon of MBCAS"),
        (200, b"<html>", "not like a daemon of MBCAS"),
        (200, b"\xff\xfe", "not like a daemon of MBCAS"),
        (200, b"[]", "not like a daemon of MBCAS"),
        (200, b'{"node": 3}', "not like a daemon of MBCAS"),
    ],
)
def test_an_answer_that_is_no_picture_says_what_it_is(status: int, body: bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        problems.decode_answer("there", status, body)


def test_nobody_there_says_how_to_start_a_daemon(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"no daemon answers on .*/none: start one with `mbcasd local --parent PATH`"):
        open_source(socket=str(tmp_path / "none")).snapshot()


def test_a_left_over_socket_and_a_plain_file_are_told_apart(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "s"))
    (tmp_path / "file").touch()

    with pytest.raises(SourceError, match="any more"):
        open_source(socket=str(tmp_path / "s")).snapshot()
    with pytest.raises(SourceError, match="is not a socket"):
        open_source(socket=str(tmp_path / "file")).snapshot()
    with pytest.raises(SourceError, match="no daemon answers"):
        open_source(socket=str(tmp_path / "file" / "s")).snapshot()


def test_no_permission_names_who_may(tmp_path) -> None:
    place = tmp_path / "s"
    place.touch()
    os.chown(place, -1, 12) if os.geteuid() == 0 else None
    denied = PermissionError(13, "Permission denied")

    assert "permission denied. Run it as root: sudo mbcasctl" in problems.no_socket(str(tmp_path / "hidden"), denied)
    if os.geteuid() == 0:
        assert "sudo usermod -aG man $USER" in problems.no_socket(str(place), denied)


def test_a_port_where_nobody_listens_says_how_to_open_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(
        SourceError, match=f"no daemon answers on http://127.0.0.1:{port}: start it with --metrics-address"
    ):
        open_source(url=f"127.0.0.1:{port}").snapshot()


def silent(connection: socket.socket) -> None:
    """Half open: takes the connection and never answers."""
    connection.settimeout(10)
    while connection.recv(4096):
        pass


def dripping(connection: socket.socket) -> None:
    """A byte now and then, for ever."""
    for byte in an_answer() * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


@pytest.mark.parametrize("behave", [silent, dripping])
def test_a_server_that_never_finishes_holds_nobody_for_longer_than_the_deadline(tmp_path, behave) -> None:
    with on_socket(tmp_path / "s", behave) as path:
        began_s = time.monotonic()
        with pytest.raises(SourceError, match=r"gave no whole answer within 0\.2 s"):
            daemon.over_socket(path, timeout_s=0.2).snapshot()
        assert time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "broke the connection off"),
        (an_answer()[:-10], "broke the connection off"),
        (b"HTTP/1.1 200 OK\r\nContent-", "not like a daemon"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"\x00" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broke the connection off"),
    ],
)
def test_garbage_is_named_as_such(tmp_path, answer: bytes, says: str) -> None:
    with on_socket(tmp_path / "s", answering(answer)) as path, pytest.raises(SourceError, match=says):
        daemon.over_socket(path).snapshot()


@pytest.mark.parametrize(
    "url", ["", "http://", "ftp://host", "http://host:99999", "http://ho st", "http://[::1", "host:port"]
)
def test_what_is_no_address_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ConfigError, match="write it as http://HOST:9102"):
        open_source(url=url)


def test_a_host_alone_means_the_usual_port_and_a_url_the_usual_one_of_its_scheme() -> None:
    assert open_source(url="node-1").place == "http://node-1:9102"
    assert open_source(url="http://node-1").place == "http://node-1:80"
    assert open_source(url="https://node-1").place == "https://node-1:443"
    assert open_source(url="http://[::1]:9102").place == "http://[::1]:9102"


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    for path in ("", "/" + "x" * 200):
        with pytest.raises(ConfigError, match="1 to 107 bytes"):
            open_source(socket=path)


def test_one_place_at_a_time_and_the_daemons_socket_without_any() -> None:
    with pytest.raises(ConfigError, match="--socket and --url exclude each other"):
        open_source(socket="/s", url="h")
    assert open_source().place == DEFAULT_SOCKET
    assert isinstance(open_source(record="r.db"), RecordSource)


def test_a_record_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="there is no record at"):
        open_source(record=str(tmp_path / "none.db")).snapshot()
