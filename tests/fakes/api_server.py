"""An API server on the loopback that does what a real one does not do on demand.

A test scripts it: a function gets each request and answers in whatever way, also half of it, or never. Connections
are kept alive as the real one keeps them. Everything that arrived is counted and kept.
"""

import contextlib
import json
import socket
import ssl
import threading
import urllib.parse
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mbcasd.kube.access import Access
from mbcasd.kube.transport import cut


@dataclass
class Request:
    """One request, and the means to answer it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int  # which one it came on
    _handler: BaseHTTPRequestHandler
    _closing: threading.Event

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"

    def answer(self, code: int = 200, body: object = b"{}", **headers: str) -> None:
        """Answer in one piece; underscores in header names stand for dashes."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._handler.send_response(code)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(text)

    def refuse(self, code: int, reason: str = "", message: str = "", **headers: str) -> None:
        """Answer with a Status, as the API server refuses."""
        status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        self.answer(code, status, **headers)

    def begin_stream(self) -> None:
        """The head of an answer in pieces, as a watch has it."""
        self._handler.send_response(200)
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def piece(self, data: bytes) -> None:
        """One piece of it."""
        with contextlib.suppress(OSError):  # the reader has gone
            self._handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def event(self, kind: str, item: object) -> None:
        """One event of a watch."""
        self.piece(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def event_unframed(self, kind: str, item: object) -> None:
        """One event of a watch whose end is the connection's."""
        self._handler.wfile.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def end_stream(self) -> None:
        """Its proper end."""
        with contextlib.suppress(OSError):
            self._handler.wfile.write(b"0\r\n\r\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._handler.wfile.write(data)

    def hang_up(self) -> None:
        """Close the connection after this, whatever was said."""
        self._handler.close_connection = True

    def hold(self) -> None:
        """Say nothing more until the test is over, or the other end has gone."""
        self._handler.close_connection = True
        gone = self._handler.connection
        gone.settimeout(0.02)
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                try:
                    if not gone.recv(1):
                        return
                except OSError as err:
                    if isinstance(err, TimeoutError):
                        continue
                    return


@dataclass
class Served:
    """What arrived."""

    requests: list[Request] = field(default_factory=list)
    connections: int = 0


class ApiServer:
    """Serves on a free port until it is closed; a context manager."""

    def __init__(self, answer: Callable[[Request], None], tls: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self.answer = answer
        self.served = Served()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 0
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with fake._lock:
                    fake.served.connections += 1
                    self.number = fake.served.connections
                    fake._connections.add(self.connection)

            def handle_one_request(self) -> None:
                # A client that gives up resets the connection.
                with contextlib.suppress(OSError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def do_any(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                request = Request(
                    method=self.command,
                    path=url.path,
                    query=dict(urllib.parse.parse_qsl(url.query)),
                    headers=dict(self.headers.items()),
                    body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                    connection=self.number,
                    _handler=self,
                    _closing=fake._closing,
                )
                with fake._lock:
                    fake.served.requests.append(request)
                fake.answer(request)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass

            def get_request(self):
                connection, address = super().get_request()
                connection.settimeout(10)
                return connection, address

        self._server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def access(self, **more: object) -> Access:
        return Access(**{"server": self.url, "ca_file": None, **more})

    def asked(self, method: str | None = None, *, watch: bool | None = None) -> int:
        """How many requests arrived, of one method, of watches or of others."""
        with self._lock:
            return sum(
                (method is None or one.method == method) and (watch is None or one.is_watch == watch)
                for one in self.served.requests
            )

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return list(self.served.requests)

    def hang_up_on_all(self) -> None:
        """End every connection that stands."""
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            cut(connection)

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self.hang_up_on_all()
        self._thread.join(5)


def a_port_where_nobody_listens() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
