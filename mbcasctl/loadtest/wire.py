"""As much HTTP/1.1 as the load test needs, on asyncio streams: GET, keep-alive, chunked answers.

Written by hand because the services must start within a fraction of a second in a small cgroup, and because an open
loop must see each part of an answer when it arrives. Loopback only; both ends are in this package, and any browser
or Prometheus can talk to them.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
_MAX_HEAD_LINES = 64

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class WireError(Exception):
    """The other side closed early or does not speak HTTP."""


class Head(NamedTuple):
    """The first line of a message and its headers, names in lower case."""

    first: str
    headers: dict[str, str]


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read up to the empty line; None at the end of the stream between messages."""
    first = await _line(reader)
    if not first:
        return None
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEAD_LINES):
        line = await _line(reader)
        if not line:
            raise WireError("the connection ended within a head")
        text = line.decode("latin-1").strip()
        if not text:
            return Head(first.decode("latin-1").strip(), headers)
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    raise WireError(f"more than {_MAX_HEAD_LINES} header lines")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as err:  # asyncio's way to say that its buffer's bound was met
        raise WireError("a header line is too long") from err
    except OSError:  # reset by the other side: the same as an end
        return b""


def answer(status: str, body: str, *, content_type: str = "text/plain; charset=utf-8") -> bytes:
    """One whole answer."""
    data = body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(text: str) -> bytes:
    """One part of a chunked answer."""
    data = text.encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def ask(streams: Streams, path: str) -> AsyncGenerator[str, None]:
    """Send one GET and yield the parts of the answer as they arrive; the connection can be used again afterwards.

    Raises:
        WireError: The other side went away, or answered with anything but 200.
    """
    reader, writer = streams
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        head = await read_head(reader)
        if head is None:
            raise WireError("the connection ended before an answer")
        if head.headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                yield (await reader.readexactly(size + 2))[:-2].decode()
            await reader.readexactly(2)
        else:
            yield (await reader.readexactly(int(head.headers.get("content-length", "0")))).decode()
    except (OSError, ValueError, asyncio.IncompleteReadError) as err:
        raise WireError(f"the connection ended within an answer: {err}") from err
    if head.first.split(" ", 2)[1:2] != ["200"]:
        raise WireError(f"answered with {head.first!r}")


class Connections:
    """Keeps idle connections to one port and opens more as they are needed, up to a bound."""

    def __init__(self, port: int, *, at_most: int) -> None:
        """Open nothing yet; beyond `at_most` connections, askers queue."""
        self._port = port
        self._idle: list[Streams] = []
        self._free = asyncio.Semaphore(at_most)

    async def ask(self, path: str) -> AsyncGenerator[str, None]:
        """Like `ask`, on a connection of this pool. A connection with an unfinished answer is closed."""
        async with self._free:
            streams = await self._take()
            done = False
            try:
                async with contextlib.aclosing(ask(streams, path)) as parts:
                    async for part in parts:
                        yield part
                done = True
            finally:
                if done:
                    self._idle.append(streams)
                else:
                    streams[1].close()

    async def _take(self) -> Streams:
        while self._idle:
            streams = self._idle.pop()
            if not streams[0].at_eof():
                return streams
            streams[1].close()
        try:
            return await asyncio.open_connection(LOOPBACK, self._port)
        except OSError as err:
            raise WireError(f"port {self._port} cannot be reached: {err}") from err

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop()[1].close()
