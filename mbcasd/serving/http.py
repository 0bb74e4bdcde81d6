"""The little of HTTP/1.1 that a daemon needs: one small request, one answer, and the connection is closed.

The standard library's `http.server` would do, and brings email, TLS and urllib with it: 7 MB of a daemon that is to
stay under 40. What a client may do to us is bounded here: 8 kB of head, 4 kB of body, five seconds for all of it.
Source: RFC 9112.
"""

import socket
import time
from typing import NamedTuple

HEAD_BYTES = 8192
BODY_BYTES = 4096
REQUEST_S = 5.0
ANSWER_S = 5.0

_REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class Request(NamedTuple):
    """What was asked for."""

    method: str
    path: str  # without the query
    body: bytes = b""


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""  # the methods that would be, with 405


class Refused(Exception):
    """The request cannot be taken; carries the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = text(status, message)


class HungUp(Exception):
    """The client went away without asking for anything."""


def text(status: int, message: str) -> Answer:
    """Answer with a sentence."""
    return Answer(status, message.encode() + b"\n")


def read_request(connection: socket.socket) -> Request:
    """Read one request, all of it within `REQUEST_S`.

    Raises:
        Refused: It is too large, too slow or not HTTP.
        HungUp: There is nobody any more.
    """
    due_s = time.monotonic() + REQUEST_S
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        if len(buffer) > HEAD_BYTES:
            raise Refused(431, f"the head of the request is larger than {HEAD_BYTES} bytes")
        buffer += _receive(connection, due_s)
    head, _, body = buffer.partition(b"\r\n\r\n")
    method, path, length = _parse_head(head)
    if length > BODY_BYTES:
        raise Refused(400, f"the body has {length} bytes, at most {BODY_BYTES} are taken")
    while len(body) < length:
        body += _receive(connection, due_s)
    return Request(method, path, body[:length])


def _receive(connection: socket.socket, due_s: float) -> bytes:
    try:
        # One deadline for the whole request: a byte every four seconds does not hold a place for ever.
        connection.settimeout(max(0.001, due_s - time.monotonic()))
        received = connection.recv(HEAD_BYTES)
    except TimeoutError:
        raise Refused(408, f"the request was not complete after {REQUEST_S:g} s") from None
    except OSError as err:
        raise HungUp from err
    if not received:
        raise HungUp
    return received


def _parse_head(head: bytes) -> tuple[str, str, int]:
    first, *lines = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, "HTTP/1.1" | "HTTP/1.0"] if target.startswith("/"):
            pass
        case [_, _, version] if version.startswith("HTTP/") and not version.startswith("HTTP/1."):
            raise Refused(505, f"{version} is not spoken here, HTTP/1.1 is")
        case _:
            raise Refused(400, "this is not an HTTP request")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise Refused(411, "send the body with a Content-Length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise Refused(400, f"Content-Length {length[:20]!r} is not a number")
    return method, target.partition("?")[0], int(length)


def send_answer(connection: socket.socket, answer: Answer, *, head_only: bool = False) -> None:
    """Send an answer and say goodbye; a client that does not take it within `ANSWER_S` loses it."""
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        "Connection: close",
        "Cache-Control: no-store",
    ]
    if answer.status != 204:  # which has no body by definition
        lines.append(f"Content-Length: {len(answer.body)}")
    if answer.body:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.allow:
        lines.append(f"Allow: {answer.allow}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    try:
        connection.settimeout(ANSWER_S)
        connection.sendall(head if head_only else head + answer.body)
        connection.shutdown(socket.SHUT_WR)
        # Closing while unread bytes are there makes the kernel reset the connection, and the answer may be lost.
        connection.settimeout(0.5)
        for _ in range(16):
            if not connection.recv(HEAD_BYTES):
                break
    except OSError:
        pass  # the client has gone; there is nobody to tell
