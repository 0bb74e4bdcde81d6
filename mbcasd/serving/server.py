"""The daemon's HTTP server: the same routes on TCP and on a Unix socket, each with a few threads.

Listening begins with the call that names the place, so a port in use is known before anything else starts. A
connection lives for one request and at most some seconds; when too many come at once the surplus is told so.
"""

import contextlib
import logging
import socket
import threading
from pathlib import Path

from mbcasd.serving import http, sockets
from mbcasd.serving.routes import Routes, answer

__all__ = ["Routes", "Server"]

log = logging.getLogger(__name__)

# Per listener, so that a crowd on TCP never keeps `mbcasctl` from the Unix socket.
MOST_CONNECTIONS = 16


class Server:
    """Serves the routes until it is closed."""

    def __init__(self, routes: Routes) -> None:
        """Prepare; nothing listens yet."""
        self._routes = routes
        self._listeners: list[_Listener] = []
        self._unix: list[sockets.UnixListener] = []

    def listen_tcp(self, address: str) -> tuple[str, int]:
        """Serve on `HOST:PORT`, all routes but `POST /slo`; returns host and port in fact.

        Raises:
            ConfigError: The address is not one, or this host does not have it.
            ServingError: The port is taken, or this user may not have it.
        """
        listening = sockets.listen_tcp(address)
        self._serve(listening, trusted=False)
        host, port, *_ = listening.getsockname()
        return host, port

    def listen_unix(self, path: Path) -> None:
        """Serve on a Unix socket of mode 0660, all routes; the file of a dead daemon is replaced.

        Raises:
            ConfigError: Something else stands at that path, or it is too long.
            ServingError: Another daemon serves there, or this user may not.
        """
        unix = sockets.UnixListener(path)
        self._unix.append(unix)
        self._serve(unix.socket, trusted=True)

    def close(self) -> None:
        """Stop serving and remove the socket's file; answers under way are finished or given up."""
        for listener in self._listeners:
            listener.close()
        for unix in self._unix:
            unix.close()
        self._listeners.clear()
        self._unix.clear()

    def _serve(self, listening: socket.socket, *, trusted: bool) -> None:
        listener = _Listener(listening, self._routes, trusted=trusted)
        self._listeners.append(listener)
        listener.start()


class _Listener:
    """One listening socket, the thread that accepts, and its connections."""

    def __init__(self, listening: socket.socket, routes: Routes, *, trusted: bool) -> None:
        self._listening, self._routes, self._trusted = listening, routes, trusted
        self._places = threading.Semaphore(MOST_CONNECTIONS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept(); close() alone does not
        self._thread.join(1.0)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError as err:
                # Out of files or memory passes; spinning on it would not help.
                if not self._closed.wait(0.1):
                    log.debug("no connection could be taken: %s", err)
                continue
            if not self._places.acquire(blocking=False):
                _turn_away(connection)
                continue
            try:
                threading.Thread(target=self._talk, args=(connection,), name="http-client", daemon=True).start()
            except RuntimeError:  # no more threads
                connection.close()
                self._places.release()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection:
                try:
                    request = http.read_request(connection)
                except http.HungUp:
                    return
                except http.Refused as refused:
                    http.send_answer(connection, refused.answer)
                    return
                reply = answer(self._routes, request, trusted=self._trusted)
                http.send_answer(connection, reply, head_only=request.method == "HEAD")
        finally:
            self._places.release()


def _turn_away(connection: socket.socket) -> None:
    """Say that it is full; takes what was asked off the wire, or the kernel would reset the answer away."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(0.05)
        connection.sendall(_FULL)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(http.HEAD_BYTES)


_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
