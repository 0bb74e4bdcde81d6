"""Asks a running daemon for its `/status`, over its Unix socket or over TCP.

A request has one deadline for everything, so that neither a half-open connection nor a server that sends a byte
now and then can hold a command: `http.client` alone only limits each single read.
"""

import http.client
import io
import os
import socket
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from mbcasctl.sources import problems
from mbcasd.errors import ConfigError, SourceError
from mbcasd.model.snapshot import NodeSnapshot

TIMEOUT_S = 2.0
METRICS_PORT = 9102

# 10 000 workloads with their history are 12 MB; a server that sends more is none of ours.
MOST_BYTES = 64 * 1024 * 1024

# What `sun_path` of unix(7) holds, less the final zero byte.
LONGEST_SOCKET_PATH = 107


class DaemonSource:
    """One daemon; each snapshot is a connection of its own, so that a restart of the daemon heals by itself."""

    def __init__(
        self,
        place: str,
        connect: Callable[[float], socket.socket],
        explain: Callable[[OSError], str],
        *,
        host: str = "localhost",
        path: str = "/status",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Ask at `place`; `connect` takes seconds and gives a connected socket, `explain` words what prevents it."""
        self._place, self._connect, self._explain = place, connect, explain
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        self._timeout_s = timeout_s

    @property
    def place(self) -> str:
        """The path or the URL."""
        return self._place

    def snapshot(self) -> NodeSnapshot:
        """The daemon's picture of its node.

        Raises:
            SourceError: Nobody answers in time, or the answer is not a picture; the message says what to do.
        """
        ends_s = time.monotonic() + self._timeout_s
        try:
            connection = self._connect(self._timeout_s)
        except OSError as err:
            raise SourceError(self._explain(err)) from err
        with connection:
            try:
                connection.sendall(self._request.encode("ascii"))
                status, body = _read_answer(connection, ends_s)
            except TimeoutError as err:
                raise SourceError(
                    f"{self._place} took the connection, but gave no whole answer within {self._timeout_s:g} s"
                ) from err
            except (http.client.IncompleteRead, http.client.RemoteDisconnected) as err:
                raise SourceError(f"{self._place} broke the connection off in the middle of its answer") from err
            except http.client.HTTPException as err:
                raise SourceError(f"{self._place} does not speak HTTP: it is not a daemon of MBCAS") from err
            except OSError as err:
                raise SourceError(f"{self._place} broke the connection off ({err.strerror or err})") from err
        return problems.decode_answer(self._place, status, body)


def over_socket(path: str, *, timeout_s: float = TIMEOUT_S) -> DaemonSource:
    """A daemon on this host, by the path of its Unix socket.

    Raises:
        ConfigError: No socket can have such a path.
    """
    if not path or len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ConfigError(f"--socket {path!r}: a socket's path has 1 to {LONGEST_SOCKET_PATH} bytes")

    def connect(within_s: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(within_s)
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
        return connection

    return DaemonSource(path, connect, lambda err: problems.no_socket(path, err), timeout_s=timeout_s)


def over_url(url: str, *, timeout_s: float = TIMEOUT_S) -> DaemonSource:
    """A daemon anywhere, by the address that it was given with --metrics-address.

    `HOST` and `HOST:PORT` are enough; a URL with a path is taken as the place below which `/status` is found.

    Raises:
        ConfigError: It is not such a URL.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise ConfigError(f"--url {url!r} is not an address ({err}): write it as http://HOST:{METRICS_PORT}") from err
    path = parts.path.rstrip("/").removesuffix("/status") + "/status"
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or not (whole.isascii() and whole.isprintable())
        or " " in whole
    ):
        raise ConfigError(f"--url {url!r} is not an address: write it as http://HOST:{METRICS_PORT}")
    secure = parts.scheme == "https"
    if port is None:
        port = METRICS_PORT if "://" not in url else 443 if secure else 80

    def connect(within_s: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout=within_s)
        if not secure:
            return connection
        import ssl

        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)

    place = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return DaemonSource(
        place, connect, lambda err: problems.no_address(place, err), host=host, path=path, timeout_s=timeout_s
    )


def _read_answer(connection: socket.socket, ends_s: float) -> tuple[int, bytes]:
    """Status and body of the one answer, all of it before `ends_s` (monotonic).

    Raises:
        TimeoutError, HTTPException, OSError: It did not come, or is no HTTP.
    """
    # HTTPResponse asks its socket for nothing but makefile().
    answer = http.client.HTTPResponse(cast("socket.socket", _UntilDeadline(connection, ends_s)))
    with answer:
        answer.begin()
        body = answer.read(MOST_BYTES)
        if answer.length:  # http.client takes a connection that ends early for the end when it is asked for a size
            raise http.client.IncompleteRead(body, answer.length)
        return answer.status, body


class _UntilDeadline(io.RawIOBase):
    """A socket's bytes, until a moment in monotonic time."""

    def __init__(self, connection: socket.socket, ends_s: float) -> None:
        super().__init__()
        self._connection, self._ends_s = connection, ends_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"  # noqa: S101  for the reader: all that http.client asks for
        return io.BufferedReader(self)
