"""A proxy on the loopback between MBCAS and the API server that can be told to misbehave, and that counts.

It either passes bytes on untouched, so that TLS goes through it, or ends TLS itself and sees requests. What
happens to a connection is one thread's work, straight from top to bottom. Where a fault ends, whatever it held
goes on its way, late: the worst that a network can do.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faults.kinds import Answer, AnswerLost, ClosedAtOnce, Cut, Fault, HalfOpen, OldOnesDead, Refused, Slow, Stall
from faults.streams import Ended, Stream, body_of, read_head

HANDSHAKE_WITHIN_S = 5.0
BODY_KEPT = 65536


@dataclass(kw_only=True)
class Request:
    """One request that came in; filled in as it goes on."""

    at_s: float  # monotonic, when it had come in whole
    connection: int
    method: str
    path: str
    query: str
    body: bytes = b""
    forwarded_at_s: float | None = None  # when the API server got it; None: never
    code: int | None = None  # what was answered; None: nothing yet, or never
    fault: str = ""  # what was done to it


@dataclass(kw_only=True)
class Connection:
    """One connection that was accepted."""

    number: int
    at_s: float
    ended_at_s: float | None = None
    ended: str = ""  # why


Which = Callable[[Request], bool]


def every(request: Request) -> bool:
    """Whichever."""
    return True


def watches(request: Request) -> bool:
    """The streams of changes."""
    return "watch=" in request.query


@dataclass
class _Trouble:
    fault: Fault
    of: Which
    until_s: float | None = None  # only of a stall
    older_than: int = 0  # connections that stood when it began have lower numbers

    def holds(self, connection: Connection, request: Request | None) -> bool:
        """Whether bytes of this request (None: of the connection as such) have to wait now."""
        match self.fault:
            case HalfOpen():
                pass
            case OldOnesDead():
                if connection.number >= self.older_than:
                    return False
            case Stall():
                if self.until_s is None or time.monotonic() >= self.until_s:
                    return False
            case _:
                return False
        return self.of is every if request is None else self.of(request)


class Proxy:
    """Listens on a port of its own that stays the same through all faults."""

    def __init__(
        self, upstream: tuple[str, int], *, serving: ssl.SSLContext | None = None, calling: ssl.SSLContext | None = None
    ) -> None:
        """Pass bytes on, or with `serving` and `calling` end TLS on both sides and see requests."""
        self._upstream, self._serving, self._calling = upstream, serving, calling
        self._state = threading.Condition()
        self._trouble: _Trouble | None = None
        self._open: set[socket.socket] = set()
        self._is_closing = False
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self._listener = _listener()
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    # --- faults -------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault, of: Which = every) -> None:
        """Misbehave from now on; `of` restricts faults of requests to some of them."""
        with self._state:
            until_s = time.monotonic() + fault.for_s if isinstance(fault, Stall) else None
            self._trouble = _Trouble(fault, of, until_s, older_than=len(self.connections))
            if isinstance(fault, Refused):
                # The kernel keeps the port for a listener that does not listen any more.
                self._listener.shutdown(socket.SHUT_RDWR)
            if isinstance(fault, Refused | ClosedAtOnce):
                self._break_off()
            self._state.notify_all()

    def heal(self) -> None:
        """Behave again; what was held goes on."""
        with self._state:
            if self._trouble is not None and isinstance(self._trouble.fault, Refused):
                self._listener.listen(128)
            self._trouble = None
            self._state.notify_all()

    def break_off(self) -> None:
        """Close what stands, as a load balancer does that is replaced; who was connected has to connect again."""
        with self._state:
            self._break_off()

    @contextlib.contextmanager
    def suffering(self, fault: Fault, of: Which = every) -> Iterator[None]:
        """Misbehave for a while."""
        self.inject(fault, of)
        try:
            yield
        finally:
            self.heal()

    def close(self) -> None:
        """Stop listening, break off everything, and wait for the threads."""
        with self._state:
            self._is_closing = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._break_off()
            self._state.notify_all()
        for thread in [self._acceptor, *self._threads]:
            thread.join(10)
        self._listener.close()

    # --- counts -------------------------------------------------------------------------------------------------

    def seen(self, which: Which = every, *, since_s: float = 0.0) -> list[Request]:
        """The requests that came in, in their order."""
        with self._state:
            return [request for request in self.requests if request.at_s >= since_s and which(request)]

    def most_in_a_second(self, which: Which = every, *, since_s: float = 0.0) -> int:
        """The busiest second's number of requests: what shows a busy loop."""
        return busiest_second([request.at_s for request in self.seen(which, since_s=since_s)])

    def connects(self, *, since_s: float = 0.0) -> list[float]:
        """When connections were accepted, monotonic."""
        with self._state:
            return [connection.at_s for connection in self.connections if connection.at_s >= since_s]

    # --- one connection -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._is_closing or not self._is(Refused))
                if self._is_closing:
                    return
            try:
                client, _ = self._listener.accept()
            except OSError:  # it does not listen now
                continue
            with self._state:
                connection = Connection(number=len(self.connections), at_s=time.monotonic())
                self.connections.append(connection)
                self._open.add(client)
                thread = threading.Thread(target=self._serve, args=(client, connection), daemon=True)
                self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _serve(self, client: socket.socket, connection: Connection) -> None:
        sockets = [client]
        try:
            self._pass(connection)
            if self._serving is None:
                self._relay_bytes(sockets, connection)
            else:
                self._relay_requests(sockets, connection)
        except Ended:
            connection.ended = "closed"
        except (OSError, ValueError) as err:  # ValueError: a socket that was closed under a select
            connection.ended = str(err)
        finally:
            connection.ended_at_s = time.monotonic()
            for sock in sockets:
                self._drop(sock)

    def _relay_bytes(self, sockets: list[socket.socket], connection: Connection) -> None:
        client, server = sockets[0], self._call(sockets)
        other = {client: server, server: client}
        while True:
            for sock in select.select([client, server], [], [])[0]:
                data = sock.recv(65536)
                if not data:
                    raise Ended
                self._pass(connection)
                self._send(other[sock], data, None, is_answer=sock is server)

    def _relay_requests(self, sockets: list[socket.socket], connection: Connection) -> None:
        assert self._serving is not None
        sockets[0].settimeout(HANDSHAKE_WITHIN_S)
        plain = sockets[0]
        plain.getpeername()  # raises where the client has gone already; `wrap_socket` would leave its socket open then
        client = self._serving.wrap_socket(plain, server_side=True)
        sockets[0] = client
        client.settimeout(None)
        with self._state:
            self._open.discard(plain)
            self._open.add(client)
        incoming = Stream(client)
        while True:
            head = read_head(incoming)
            method, target, _ = head.first.split(" ", 2)
            path, _, query = target.partition("?")
            body = b"".join(body_of(incoming, head, is_answer=False))
            request = Request(
                at_s=time.monotonic(),
                connection=connection.number,
                method=method,
                path=path,
                query=query,
                body=body[:BODY_KEPT],
            )
            with self._state:
                self.requests.append(request)
            self._answer(sockets, head.raw + body, connection, request)

    def _answer(self, sockets: list[socket.socket], raw: bytes, connection: Connection, request: Request) -> None:
        client = sockets[0]
        self._pass(connection, request)
        fault = self._fault_of(request)
        if isinstance(fault, Answer):
            request.fault, request.code = "answer", fault.code
            headers = {"Content-Type": "application/json", "Content-Length": str(len(fault.body)), **fault.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self._send(client, f"HTTP/1.1 {fault.code} Told\r\n{lines}\r\n".encode() + fault.body, request)
            return
        # A connection of its own for each request: none can have gone stale, whatever becomes of the API server.
        server = self._call(sockets)
        server.sendall(raw)
        request.forwarded_at_s = time.monotonic()
        outgoing = Stream(server, is_wanted=lambda: not select.select([client], [], [], 0)[0])
        head = read_head(outgoing)
        request.code = int(head.first.split()[1])
        if isinstance(self._fault_of(request), AnswerLost):
            request.fault = "answer lost"
            raise Ended
        self._pass(connection, request)
        self._send(client, head.raw, request)
        if request.code not in {204, 304} and request.method != "HEAD":
            self._copy_body(client, body_of(outgoing, head, is_answer=True), connection, request)
        self._drop(sockets.pop())
        if head.header("content-length") is None and "chunked" not in (head.header("transfer-encoding") or ""):
            raise Ended

    def _copy_body(
        self, client: socket.socket, pieces: Iterator[bytes], connection: Connection, request: Request
    ) -> None:
        sent = 0
        for piece in pieces:
            self._pass(connection, request)
            fault = self._fault_of(request)
            if isinstance(fault, Cut) and sent + len(piece) > fault.after_bytes:
                request.fault = "cut"
                client.sendall(piece[: fault.after_bytes - sent])
                raise Ended
            sent += len(piece)
            self._send(client, piece, request, is_answer=True)

    def _call(self, sockets: list[socket.socket]) -> socket.socket:
        server = socket.create_connection(self._upstream, timeout=HANDSHAKE_WITHIN_S)
        if self._calling is not None:
            server = self._calling.wrap_socket(server, server_hostname=self._upstream[0])
        server.settimeout(None)
        sockets.append(server)
        with self._state:
            self._open.add(server)
        return server

    # --- the state of the network -------------------------------------------------------------------------------

    def _is(self, kind: type[Fault]) -> bool:
        return self._trouble is not None and isinstance(self._trouble.fault, kind)

    def _fault_of(self, request: Request | None) -> Fault | None:
        trouble = self._trouble
        if trouble is None or (request is not None and not trouble.of(request)):
            return None
        return trouble.fault

    def _pass(self, connection: Connection, request: Request | None = None) -> None:
        """Wait while a fault holds everything up."""
        with self._state:
            while not self._is_closing and self._trouble is not None and self._trouble.holds(connection, request):
                if request is not None:
                    request.fault = "held"
                until_s = self._trouble.until_s
                self._state.wait(None if until_s is None else max(0.0, until_s - time.monotonic()))
            if self._is_closing or (request is None and self._is(ClosedAtOnce)):
                raise Ended

    def _send(self, sock: socket.socket, data: bytes, request: Request | None, *, is_answer: bool = False) -> None:
        fault = self._fault_of(request)
        if not (isinstance(fault, Slow) and is_answer):
            sock.sendall(data)
            return
        if request is not None:
            request.fault = "slow"
        step = max(1, round(fault.bytes_per_s / 10))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            with self._state:
                if self._fault_of(request) is fault:
                    self._state.wait(len(piece) / fault.bytes_per_s)
                if self._is_closing:
                    raise Ended
            sock.sendall(piece)

    def _break_off(self) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _drop(self, sock: socket.socket) -> None:
        with self._state:
            self._open.discard(sock)
        sock.close()


def _listener() -> socket.socket:
    """Listen on a free port by its number: the kernel gives one that it chose itself away when listening pauses."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        with contextlib.suppress(OSError):  # somebody was quicker
            return socket.create_server(address, backlog=128)


def busiest_second(times_s: list[float]) -> int:
    """The largest number of times within any one second."""
    return max((sum(1 for t in times_s if start <= t < start + 1) for start in times_s), default=0)


def per_second(times_s: list[float], since_s: float) -> Counter[int]:
    """How many in each second since then."""
    return Counter(int(t - since_s) for t in times_s)
