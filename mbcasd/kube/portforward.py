"""One HTTP request to a port of a pod, through the API server and the pod's kubelet.

For commands only. Unlike the API server's pod proxy this needs no route from the control plane to pods and passes
NetworkPolicies, because the kubelet connects within the pod's own network; it needs `pods/portforward` (create).
The stream is Kubernetes' channel protocol over a WebSocket: each message begins with the number of its channel, the
first message of either channel carries the port.
"""

import contextlib
import http.client
import io
import socket
import ssl
import time
import urllib.parse
from typing import Any, NamedTuple, cast

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.access import Access
from mbcasd.kube.transport import tls_context

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1

# A picture of 10 000 workloads with their history is 12 MB.
_MOST_BYTES = 64 * 1024 * 1024


class Answer(NamedTuple):
    """What the pod said."""

    status: int
    body: bytes


def fetch(access: Access, namespace: str, pod: str, port: int, path: str, *, timeout_s: float) -> Answer:
    """GET `path` from a port of a pod.

    Args:
        access: How to reach the API server; one behind a proxy is not supported.
        namespace: The pod's.
        pod: Its name.
        port: Of any of its containers, on the pod's loopback.
        path: Of the request.
        timeout_s: For everything together.

    Raises:
        ApiRefused: The API server did not allow it.
        ApiAway: Nobody answers: the API server, the kubelet or the port.
    """
    import websocket

    ends_s = time.monotonic() + timeout_s
    url = urllib.parse.urlsplit(access.server)
    where = f"{url.path.rstrip('/')}{names.pods_path(namespace, pod, 'portforward')}?ports={port}"
    try:
        with contextlib.closing(_connect(access, url, timeout_s)) as opened:
            headers = [f"{name}: {value}" for name, value in access.headers]
            token = access.token()
            if token:
                headers.append(f"Authorization: Bearer {token}")
            stream = websocket.create_connection(
                f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc.rpartition('@')[2]}{where}",
                timeout=timeout_s,
                socket=opened,
                header=headers,
                subprotocols=[_PROTOCOL],
                suppress_origin=True,
            )
            try:
                return _ask(_Channel(stream, ends_s), path)
            finally:
                with contextlib.suppress(websocket.WebSocketException, OSError):
                    stream.close(timeout=0)
    except websocket.WebSocketBadStatusException as err:
        raise ApiRefused(err.status_code, "", _reason(err.resp_body) or f"HTTP {err.status_code}") from err
    except (TimeoutError, websocket.WebSocketTimeoutException) as err:
        raise ApiAway(f"no whole answer from {pod} within {timeout_s:g} s") from err
    except (websocket.WebSocketException, http.client.HTTPException, OSError) as err:
        raise ApiAway(f"the way to {pod} broke off ({err})") from err


def _connect(access: Access, url: urllib.parse.SplitResult, timeout_s: float) -> socket.socket:
    host = url.hostname or ""
    opened = socket.create_connection((host, url.port or (443 if url.scheme == "https" else 80)), timeout=timeout_s)
    if url.scheme != "https":
        return opened
    try:
        return tls_context(access).wrap_socket(opened, server_hostname=access.tls_server_name or host)
    except (OSError, ssl.SSLError):
        opened.close()
        raise


def _ask(channel: "_Channel", path: str) -> Answer:
    channel.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
    # HTTPResponse asks its socket for nothing but makefile().
    with http.client.HTTPResponse(cast("socket.socket", channel)) as answer:
        answer.begin()
        return Answer(answer.status, answer.read(_MOST_BYTES))


class _Channel(io.RawIOBase):
    """The data channel as a file, until a moment in monotonic time."""

    def __init__(self, stream: Any, ends_s: float) -> None:  # noqa: ANN401  websocket-client has no types
        super().__init__()
        self._stream, self._ends_s = stream, ends_s
        self._left = b""
        self._begun: set[int] = set()

    def send(self, data: bytes) -> None:
        self._stream.send_binary(bytes([_DATA]) + data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        import websocket

        while not self._left:
            left_s = self._ends_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._stream.settimeout(left_s)
            try:
                message = self._stream.recv()
            except websocket.WebSocketConnectionClosedException:
                return 0
            if not message:
                return 0
            channel, data = message[0], message[1:]
            if channel not in self._begun:
                self._begun.add(channel)  # the port, in two bytes
                data = data[2:]
            if channel == _ERROR and data:
                raise OSError(data.decode(errors="replace").strip())
            if channel == _DATA:
                self._left = data
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"  # noqa: S101  for the reader: all that http.client asks for
        return io.BufferedReader(self)


def _reason(body: bytes | None) -> str:
    import msgspec

    try:
        return str(msgspec.json.decode(body or b"")["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
