"""A server on loopback that answers like a Prometheus, or lies, or dawdles, as it is told."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

# Takes the connection and the query that was asked for.
Behaviour = Callable[[socket.socket, str], None]


def http(body: bytes | str, status: str = "200 OK", *, headers: str = "") -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n{headers}\r\n".encode() + raw


def vector(*values: object, at_s: float | None = None) -> str:
    """The body of a successful instant query; without `at_s` evaluated now."""
    at = time.time() if at_s is None else at_s
    result = [{"metric": {"i": str(i)}, "value": [at, str(value)]} for i, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def says(answer: bytes) -> Behaviour:
    return lambda connection, _query: connection.sendall(answer)


class MetricServer:
    """Listens until closed; `behaviour` may be changed at any time, `queries` holds what was asked for."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = says(http(vector(0.05)))
        self.queries: list[str] = []
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            self.heads.append(head.decode())
            query = parse_qs(urlsplit(head.split()[1].decode()).query).get("query", [""])[0]
            self.queries.append(query)
            self.behaviour(connection, query)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


@contextlib.contextmanager
def a_metric_server() -> Iterator[MetricServer]:
    server = MetricServer()
    try:
        yield server
    finally:
        server.close()
