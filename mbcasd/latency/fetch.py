"""One HTTP GET with bounds on everything: one deadline for all of it, a largest size, no redirects, no retries.

`http.client` alone limits each single read, so that a server that sends a byte now and then could hold the asking
thread for ever. It is imported with the first question: a daemon that asks nobody does not pay for it.
"""

import io
import socket
import time
from base64 import b64encode
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from mbcasd.errors import ConfigError


class Fetched(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    location: str = ""  # where a redirect points


class TooLarge(Exception):
    """The answer is longer than it may be."""


class NotHttp(Exception):
    """What came is no HTTP, or it broke off."""


class Address(NamedTuple):
    """A server, taken apart."""

    host: str
    port: int
    path: str  # in front of all that is asked for; without a closing slash
    secure: bool
    authorization: str = ""  # the header's value, from a name and password in the URL

    def __str__(self) -> str:
        """The URL without name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"


def parse_address(url: str, what: str) -> Address:
    """Take a URL apart.

    Raises:
        ConfigError: It is none; names the setting, `what`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as resolving it would, which must not fail in the thread that asks
    except ValueError as err:
        raise ConfigError(f"{what} is not a URL ({err}): write it as http://HOST:PORT") from err
    secure = parts.scheme == "https"
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not host or not plain or parts.query or parts.fragment:
        raise ConfigError(f"{what} is not a URL of a server: write it as http://HOST:PORT")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode('ascii')}"
    return Address(host, port or (443 if secure else 80), parts.path.rstrip("/"), secure, authorization)


def get(address: Address, target: str, *, within_s: float, most_bytes: int) -> Fetched:
    """Ask for one thing.

    Args:
        address: Whom.
        target: Path and query, ASCII, beginning with a slash; the address's own path goes in front.
        within_s: For connecting, asking and the whole answer (resolving a name is the system's own business).
        most_bytes: The longest body that is taken.

    Raises:
        TimeoutError: It took longer.
        TooLarge: The body is longer.
        NotHttp: What came is not an HTTP answer, or breaks off.
        OSError: Nobody is there, or the connection was lost.
    """
    from http.client import HTTPException, HTTPResponse, IncompleteRead

    ends_s = time.monotonic() + within_s
    with _connect(address, within_s) as connection:
        connection.sendall(_request(address, target))
        # HTTPResponse asks its socket for nothing but makefile().
        answer = HTTPResponse(cast("socket.socket", _UntilDeadline(connection, ends_s)))
        try:
            with answer:
                answer.begin()
                body = answer.read(most_bytes + 1)
                if len(body) > most_bytes:
                    raise TooLarge
                if answer.length:  # it takes a connection that ends early for the end when it is asked for a size
                    raise IncompleteRead(body, answer.length)
                return Fetched(answer.status, body, answer.getheader("Location") or "")
        except (HTTPException, ValueError) as err:  # ValueError: a chunk's size that is no number
            raise NotHttp(type(err).__name__) from err


def _connect(address: Address, within_s: float) -> socket.socket:
    connection = socket.create_connection((address.host, address.port), timeout=within_s)
    if not address.secure:
        return connection
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
    except BaseException:
        connection.close()
        raise


def _request(address: Address, target: str) -> bytes:
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [
        f"GET {address.path}{target} HTTP/1.1",
        f"Host: {host}:{address.port}",
        "User-Agent: mbcasd",
        "Accept: application/json",
        "Connection: close",
    ]
    if address.authorization:
        lines.append(f"Authorization: {address.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


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
