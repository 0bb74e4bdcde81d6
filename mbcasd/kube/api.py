"""The API client: raw JSON over pooled connections, every wait bounded, every answer told apart.

A write is sent once: whether one that broke off took effect only the next look at the object can tell, and the
callers are made for that. A read that meets a pooled connection which the server has just closed is sent again.
"""

import contextlib
import enum
import socket
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec
from urllib3 import BaseHTTPResponse, HTTPHeaderDict, Timeout

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway
from mbcasd.kube import answers
from mbcasd.kube.access import Access
from mbcasd.kube.budget import Budget
from mbcasd.kube.transport import Transport, cut, socket_below

__all__ = ["Api", "Budget", "Lines", "PatchKind"]

CONNECT_TIMEOUT_S = 5.0

# How much of an answer is read at once; a page of 500 pods is about a megabyte and a half.
_PIECE_BYTES = 262_144

# etcd holds no object above 1.5 MB; a longer line is no event.
LONGEST_LINE_BYTES = 16 * 1024 * 1024

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class PatchKind(enum.StrEnum):
    """How a patch is written: its media type."""

    STRATEGIC = "application/strategic-merge-patch+json"
    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Lines:
    """The lines of an answer that does not end: a watch. Iterate on one thread, `cut` from any."""

    def __init__(self, response: BaseHTTPResponse, opened: socket.socket | None) -> None:
        self._response, self._socket = response, opened

    def cut(self) -> None:
        """End it now: the reader gets ApiAway, or no further line."""
        if self._socket is not None:
            cut(self._socket)

    def __iter__(self) -> Iterator[bytes]:
        """Each line as it comes.

        Raises:
            ApiAway: It broke off, or nothing came for the stream's time-out.
        """
        rest = bytearray()
        while True:
            with answers.translated():
                piece = self._response.read1(_PIECE_BYTES)
            if not piece:
                break
            rest += piece
            if b"\n" in piece:
                *lines, last = rest.split(b"\n")
                rest = last
                for line in lines:
                    if line:
                        yield bytes(line)
            elif len(rest) > LONGEST_LINE_BYTES:
                raise ApiAway("API server not understood (a line without end)")
        if rest:  # the last line needs no newline
            yield bytes(rest)


class Api:
    """Talks to one API server; may be used by many threads.

    A request's `timeout_s` bounds all of it: the wait for the budget, connecting, a second try, the whole answer. Only
    a name server that does not answer may add to it.

    Raises (every request):
        ApiAway: No answer: refused, timed out, broken off, no token, no budget; a write may have happened all the same.
        ApiRefused: An answer with code 400 or above.
    """

    def __init__(
        self,
        access: Access,
        *,
        clock: Clock,
        user_agent: str,
        budget: Budget | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            access: Which server, and as whom.
            clock: For deadlines.
            user_agent: "mbcasd/0.1 agent"; the API server's log and metrics show it.
            budget: Each request takes one place of it, and waits for that at most its own time-out. None: unlimited;
                leases need that, or a crowd of patches could cost the leadership.
            connect_timeout_s: For TCP and TLS.

        Raises:
            ConfigError: The URL, a certificate or the proxy is wrong.
        """
        self.access = access
        self._clock, self._budget, self._connect_timeout_s = clock, budget, connect_timeout_s
        self._transport = Transport(access)
        self._headers = (("User-Agent", user_agent), ("Accept", "application/json"), *access.headers)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()

    @property
    def counts(self) -> Mapping[tuple[str, int], int]:
        """How many requests were sent, by (method, HTTP status); status 0: no answer."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Cut every connection: requests and streams under way fail at once, and so do all later ones."""
        self._closed.set()
        self._transport.close()

    def get(self, path: str, params: Mapping[str, str] | None = None, *, timeout_s: float = 10.0) -> bytes:
        """Read an object or a list."""
        return self._ask("GET", path, params, None, None, timeout_s)

    def post(
        self, path: str, body: object, params: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
    ) -> bytes:
        """Create an object; a body that is not bytes is encoded."""
        return self._ask("POST", path, params, body, "application/json", timeout_s)

    def put(
        self, path: str, body: object, params: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
    ) -> bytes:
        """Replace an object."""
        return self._ask("PUT", path, params, body, "application/json", timeout_s)

    def delete(
        self,
        path: str,
        body: object | None = None,
        params: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> bytes:
        """Delete an object or a collection; `body` is a DeleteOptions, as with preconditions."""
        return self._ask("DELETE", path, params, body, "application/json", timeout_s)

    def patch(
        self,
        path: str,
        body: object,
        kind: PatchKind,
        params: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> bytes:
        """Change a part of an object."""
        return self._ask("PATCH", path, params, body, kind.value, timeout_s)

    def apply(
        self,
        path: str,
        body: object,
        *,
        field_manager: str,
        force: bool = True,
        params: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> bytes:
        """Apply on the server's side: create or change, owning the fields that the body has."""
        asked = {**(params or {}), "fieldManager": field_manager, "force": "true" if force else "false"}
        return self._ask("PATCH", path, asked, body, PatchKind.APPLY.value, timeout_s)

    @contextlib.contextmanager
    def stream(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        answer_timeout_s: float = 30.0,
    ) -> Iterator[Lines]:
        """Open a watch.

        Args:
            path: What to watch.
            params: With `watch=true`.
            timeout_s: The longest silence between two pieces of the answer.
            answer_timeout_s: The longest wait for its beginning; the API server may queue a watch for some seconds.
        """
        due_s = self._clock.now_s() + answer_timeout_s
        response = self._send("GET", path, params, None, None, due_s)
        try:
            if response.status >= 300:
                raise answers.refusal(response, self._read(response, due_s))
            opened = socket_below(response)
            if opened is not None:
                opened.settimeout(timeout_s)
            yield Lines(response, opened)
        finally:
            response.close()

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object | None,
        media_type: str | None,
        timeout_s: float,
    ) -> bytes:
        due_s = self._clock.now_s() + timeout_s
        response = self._send(method, path, params, body, media_type, due_s)
        try:
            answer = self._read(response, due_s)
        except BaseException:
            response.close()  # what is left of the answer must not meet the next request
            raise
        response.release_conn()
        if response.status >= 300:
            raise answers.refusal(response, answer)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object | None,
        media_type: str | None,
        due_s: float,
    ) -> BaseHTTPResponse:
        """One request as far as the head of its answer; after a 401 once more if there is another token."""
        self._wait_for_budget(due_s)
        url = self._transport.path_prefix + path
        if params:
            url += "?" + urllib.parse.urlencode(params)
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        headers = HTTPHeaderDict(self._headers)
        if media_type is not None and data is not None:
            headers["Content-Type"] = media_type
        token = self.access.token()
        response = self._once(method, url, data, headers, token, due_s)
        if response.status != 401:
            return response
        self.access.forget_token()
        renewed = self.access.token()
        if renewed is None or renewed == token:
            return response
        response.close()
        return self._once(method, url, data, headers, renewed, due_s)

    def _once(
        self, method: str, url: str, data: bytes | None, headers: HTTPHeaderDict, token: str | None, due_s: float
    ) -> BaseHTTPResponse:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        for attempt in (1, 2):
            if self._closed.is_set():
                raise ApiAway("API server not asked (this client is closed)")
            try:
                with answers.translated():
                    response = self._transport.pool().urlopen(
                        method,
                        url,
                        body=data,
                        headers=headers,
                        timeout=self._timeout(due_s),
                        retries=False,
                        redirect=False,
                        assert_same_host=False,
                        preload_content=False,
                    )
            except answers.BrokenOff:
                self._count(method, 0)
                # The server had closed the pooled connection in this very moment; a read may be asked again.
                if method != "GET" or attempt == 2:
                    raise
            except ApiAway:
                self._count(method, 0)
                self._transport.drop_idle()
                raise
            else:
                self._count(method, response.status)
                return response
        raise AssertionError

    def _timeout(self, due_s: float) -> Timeout:
        """What is left until then, for connecting (TCP and TLS may take half of it each) and the answer's beginning."""
        left_s = max(0.001, due_s - self._clock.now_s())
        return Timeout(total=left_s, connect=min(self._connect_timeout_s, left_s / 2))

    def _read(self, response: BaseHTTPResponse, due_s: float) -> bytes:
        """The whole answer. The socket's time-out would start anew with each piece, so it is made shorter each time."""
        opened = socket_below(response)
        pieces: list[bytes] = []
        with answers.translated():
            while True:
                left_s = due_s - self._clock.now_s()
                if left_s <= 0:
                    raise ApiAway("API server not reachable (its answer takes too long)")
                if opened is not None:
                    with contextlib.suppress(OSError):  # all is read, and the connection closed behind it
                        opened.settimeout(left_s)
                piece = response.read1(_PIECE_BYTES)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)

    def _wait_for_budget(self, due_s: float) -> None:
        if self._budget is None:
            return
        within_s = max(0.0, due_s - self._clock.now_s())
        wait_s = self._budget.reserve(within_s)
        if wait_s is None:
            raise ApiAway(f"API server not asked (the request budget is used up for the next {within_s:g} s)")
        if wait_s > 0:
            self._closed.wait(wait_s)

    def _count(self, method: str, status: int) -> None:
        with self._lock:
            self._counts[method, status] += 1
