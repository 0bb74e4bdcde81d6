"""Bytes and HTTP/1.1 messages as they pass: nothing is understood that need not be."""

import select
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LOOK_AROUND_S = 0.2  # how often somebody who waits for bytes looks whether they are still wanted


class Ended(Exception):
    """The peer closed, or nobody waits for the bytes any more."""


class Stream:
    """One direction of a connection, read by lines and by counts."""

    def __init__(self, sock: socket.socket, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self._sock, self._is_wanted, self._buffer = sock, is_wanted, b""

    def line(self) -> bytes:
        """Up to and with the next line break."""
        while b"\n" not in self._buffer:
            self._buffer += self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def some(self, at_most: int = 65536) -> bytes:
        """What is there, at least a byte."""
        data = self._buffer or self._more()
        self._buffer = data[at_most:]
        return data[:at_most]

    def pieces(self, count: int) -> Iterator[bytes]:
        """So many bytes, as they come."""
        while count > 0:
            piece = self.some(count)
            count -= len(piece)
            yield piece

    def _more(self) -> bytes:
        # A TLS connection may hold bytes that the socket does not show any more.
        while not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            if select.select([self._sock], [], [], LOOK_AROUND_S)[0]:
                break
            if not self._is_wanted():
                raise Ended
        data = self._sock.recv(65536)
        if not data:
            raise Ended
        return data


@dataclass(frozen=True, slots=True)
class Head:
    """The lines before a body."""

    first: str
    lines: tuple[bytes, ...]  # as they came, without the first and without the empty one

    def header(self, name: str) -> str | None:
        for line in self.lines:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    @property
    def raw(self) -> bytes:
        return self.first.encode("latin-1") + b"\r\n" + b"".join(self.lines) + b"\r\n"


def read_head(stream: Stream) -> Head:
    """The next message's head; raises Ended between two messages."""
    first = stream.line().decode("latin-1").strip()
    lines = []
    while (line := stream.line()) not in {b"\r\n", b"\n"}:
        lines.append(line)
    return Head(first, tuple(lines))


def body_of(stream: Stream, head: Head, *, is_answer: bool) -> Iterator[bytes]:
    """The body as it is on the wire, chunk sizes included; ends where the message ends."""
    if "chunked" in (head.header("transfer-encoding") or ""):
        yield from _chunks(stream)
    elif (length := head.header("content-length")) is not None:
        yield from stream.pieces(int(length))
    elif is_answer:
        yield from _until_closed(stream)


def _chunks(stream: Stream) -> Iterator[bytes]:
    while True:
        size_line = stream.line()
        yield size_line
        size = int(size_line.split(b";")[0], 16)
        yield from stream.pieces(size + 2 if size else 0)
        if size == 0:
            while (line := stream.line()) != b"\r\n":
                yield line
            yield b"\r\n"
            return


def _until_closed(stream: Stream) -> Iterator[bytes]:
    while True:
        try:
            yield stream.some()
        except Ended:
            return
