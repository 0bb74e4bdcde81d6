"""Sockets, TLS and proxies below the API client: connections that notice a dead peer and can be cut from outside.

Everything has a time-out, nothing is tried twice here. Keep-alive probes and TCP_USER_TIMEOUT end a connection whose
other end has vanished without a word; one that is cut answers its reader at once.
"""

import contextlib
import logging
import os
import queue
import socket
import ssl
import struct
import threading
import urllib.parse
import weakref
from collections.abc import Callable, Mapping

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube import proxies
from mbcasd.kube.access import Access

log = logging.getLogger(__name__)

# Connections that are kept for reuse: some watches, some writers. More may be open at a time, they are then closed.
MOST_KEPT = 32

# A peer that vanished is noticed after 15 s of silence and three probes, or when it acknowledges nothing for 30 s.
# What was given up is thrown away: without lingering the kernel forgets what is not sent yet when the socket is closed,
# so that a patch never goes out long after its sender has lost the leadership.
SOCKET_OPTIONS: tuple[tuple[int, int, int | bytes], ...] = (
    (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)


class OpenSockets:
    """All sockets that a client has open, so that they can be cut when it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False

    def add(self, opened: socket.socket) -> None:
        """Remember a socket; one that comes too late is cut at once."""
        with self._lock:
            self._sockets.add(opened)
            closed = self._closed
        if closed:
            cut(opened)

    def close(self) -> None:
        """Cut all, and all that come later."""
        with self._lock:
            self._closed = True
            sockets = tuple(self._sockets)
        for opened in sockets:
            cut(opened)


def cut(opened: socket.socket) -> None:
    """End a connection in both directions, from any thread: whoever reads or writes it is told at once."""
    with contextlib.suppress(OSError):  # it has been closed already
        # Not SSLSocket's own: that would take the TLS state away below a reader.
        socket.socket.shutdown(opened, socket.SHUT_RDWR)


def _bound_sending(connection: HTTPConnection) -> None:
    """Give a connection that is used again the time-out of this request; it would send with what the last one left."""
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)


def socket_below(response: BaseHTTPResponse) -> socket.socket | None:
    """The socket that an answer comes from.

    Where the server will close the connection after it, the connection has let go of its socket already, and only
    what was kept when it was opened still leads there.
    """
    return getattr(response.connection, "opened", None)


class Transport:
    """The connections to one API server."""

    def __init__(self, access: Access, environ: Mapping[str, str] | None = None) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            ConfigError: The URL, a certificate file or the proxy is wrong.
        """
        self._access, self._environ = access, os.environ if environ is None else environ
        self._sockets = OpenSockets()
        self._lock = threading.Lock()
        url = urllib.parse.urlsplit(access.server)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigError(f"{access.server!r} is not the URL of an API server; it looks like https://HOST:6443")
        self.path_prefix = url.path.rstrip("/")
        if not access.verify:
            # Said once here; urllib3 would say it for every connection, as a warning of Python.
            log.warning("the certificate of %s is not looked at (insecure-skip-tls-verify)", access.server)
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._seen = self._files_now()
        self._pool = self._new_pool()

    def pool(self) -> HTTPConnectionPool:
        """Where to get a connection; another one once a certificate file was replaced.

        Raises:
            ApiAway: The new files cannot be used (yet).
        """
        with self._lock:
            now = self._files_now()
            if now != self._seen:
                try:
                    pool = self._new_pool()
                except ConfigError as err:  # half written, perhaps: the old connections live on, new requests wait
                    raise ApiAway(f"API server not asked ({err})") from err
                self._pool.close()
                self._pool, self._seen = pool, now
            return self._pool

    def drop_idle(self) -> None:
        """Close the connections that are kept for reuse: an answer that never came makes all of them suspicious.

        After a fail-over all old ones are dead at once, and to find that out one by one costs a time-out each.
        """
        kept = self._pool.pool
        if kept is None:  # closed
            return
        taken: list[HTTPConnection | None] = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(kept.get_nowait())
        for connection in taken:
            if connection is not None:
                connection.close()
            with contextlib.suppress(queue.Full):
                kept.put_nowait(None)  # a place where a new one can be kept

    def close(self) -> None:
        """Cut every connection; a request under way fails at once."""
        self._sockets.close()
        self._pool.close()

    def _files_now(self) -> tuple[tuple[int, int] | None, ...]:
        access = self._access
        return tuple(
            _identity(file) for file in (access.ca_file, access.client_cert_file, access.client_key_file) if file
        )

    def _new_pool(self) -> HTTPConnectionPool:
        access = self._access
        url = urllib.parse.urlsplit(access.server)
        sockets = self._sockets

        class Https(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                self.opened = self.sock
                sockets.add(self.sock)

            def putrequest(
                self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
            ) -> None:
                _bound_sending(self)
                super().putrequest(method, url, skip_host, skip_accept_encoding)

        class Http(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                self.opened = self.sock
                sockets.add(self.sock)

            def putrequest(
                self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
            ) -> None:
                _bound_sending(self)
                super().putrequest(method, url, skip_host, skip_accept_encoding)

        options: dict[str, object] = {"maxsize": MOST_KEPT, "socket_options": list(SOCKET_OPTIONS)}
        if url.scheme == "https":
            options["ssl_context"] = tls_context(access)
            if not access.verify:
                options["assert_hostname"] = False
            if access.tls_server_name:
                options["server_hostname"] = access.tls_server_name
        proxy = proxies.choose(access, self._environ)
        manager = (
            urllib3.ProxyManager(proxy, headers=None, **options) if proxy else urllib3.PoolManager(**options)  # type: ignore[arg-type]
        )
        pool = manager.connection_from_url(f"{url.scheme}://{url.netloc.rpartition('@')[2]}")
        pool.ConnectionCls = Https if isinstance(pool, HTTPSConnectionPool) else Http
        return pool


def tls_context(access: Access) -> ssl.SSLContext:
    """What to trust and what to show.

    Without OpenSSL's "strict" checks, which Python 3.13 turns on by itself: they refuse authorities that kubeadm and
    others made for years, and that every Kubernetes client accepts.

    Raises:
        ConfigError: A file cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca_file:
        _load(access.ca_file, lambda: context.load_verify_locations(access.ca_file))
    else:
        context.load_default_certs()
    if access.client_cert_file:
        _load(
            access.client_cert_file,
            lambda: context.load_cert_chain(access.client_cert_file or "", access.client_key_file),
        )
    return context


def _load(file: str, load: Callable[[], object]) -> None:
    try:
        load()
    except ssl.SSLError as err:
        raise ConfigError(f"{file} holds no usable certificate or key: {err.reason or err}") from err
    except OSError as err:
        raise ConfigError(f"{file} cannot be read: {(err.strerror or str(err)).lower()}") from err


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - asked with each request
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
