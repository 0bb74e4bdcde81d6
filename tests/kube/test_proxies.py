import contextlib
import socket
import threading

import pytest
from cluster.pki import Pki
from fakes.api_server import ApiServer

from mbcasd.clock import SystemClock
from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api
from mbcasd.kube.proxies import choose

PROXY = "http://proxy.example:3128"


def chosen(server="https://api.example:6443", proxy=None, **environ):
    return choose(Access(server=server, ca_file=None, proxy=proxy), environ)


def test_without_a_word_the_way_is_straight():
    assert chosen() is None


def test_the_environment_names_a_proxy_in_either_case():
    assert chosen(HTTPS_PROXY=PROXY) == PROXY
    assert chosen(https_proxy=PROXY) == PROXY
    assert chosen(HTTPS_PROXY="proxy.example:3128") == PROXY
    assert chosen(HTTP_PROXY=PROXY) is None
    assert chosen("http://api.example", HTTP_PROXY=PROXY) == PROXY


def test_the_kubeconfigs_own_proxy_wins_and_may_be_none():
    assert chosen(proxy="http://other:1", HTTPS_PROXY=PROXY, NO_PROXY="*") == "http://other:1"
    assert chosen(proxy="", HTTPS_PROXY=PROXY) is None


@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("api.example", "api.example"),
        ("api.example", "other, API.example ,"),
        ("api.example", "example"),
        ("api.example", ".example"),
        ("api.example", "*.example"),
        ("api.example", "*"),
        ("api.example:6443", "api.example:6443"),
        ("10.96.0.1", "10.96.0.1"),
        ("10.96.0.1", "10.0.0.0/8"),
        ("10.96.0.1:443", "10.96.0.1:443"),
        ("[fd00::1]", "fd00::/8"),
        ("[fd00::1]:6443", "[fd00::1]:6443"),
        ("localhost", ""),
        ("127.0.0.1:6443", ""),
        ("[::1]", ""),
    ],
)
def test_who_is_exempt_is_asked_straight(host, exempt):
    assert chosen(f"https://{host}", HTTPS_PROXY=PROXY, NO_PROXY=exempt) is None


@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("api.example", "pi.example"),
        ("api.example", ".api.example"),
        ("example", ".example"),
        ("api.example:6443", "api.example:443"),
        ("10.96.0.1", "11.0.0.0/8,nonsense/99,10.96.0.11"),
        ("10.96.0.1", ".1"),
        ("api.example", "10.0.0.0/8"),
    ],
)
def test_who_is_not_exempt_is_asked_through_the_proxy(host, exempt):
    assert chosen(f"https://{host}", HTTPS_PROXY=PROXY, NO_PROXY=exempt) == PROXY


def test_a_proxy_of_another_kind_is_refused_with_its_source():
    with pytest.raises(ConfigError, match="HTTPS_PROXY: 'socks5://p:1' is no http or https proxy"):
        chosen(HTTPS_PROXY="socks5://p:1")


class Tunnel:
    """A proxy that knows CONNECT and nothing else."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\n\r\n"):
        self._answer, self.asked = answer, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            target = head.split()[1].decode()
            self.asked.append(target)
            connection.sendall(self._answer)
            if b" 200 " not in self._answer:
                return
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as other:
                back = threading.Thread(target=pump, args=(other, connection), daemon=True)
                back.start()
                pump(connection, other)
                back.join(5)

    def close(self):
        self._listening.close()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("proxied") / "pki", addresses=["127.0.0.1"], nodes=[])


def test_tls_goes_through_a_proxy_untouched(pki):
    tunnel = Tunnel()
    with ApiServer(lambda request: request.answer(), tls=(pki.server_cert, pki.server_key)) as server:
        api = Api(server.access(ca_file=str(pki.ca), proxy=tunnel.url), clock=SystemClock(), user_agent="test")
        api.get("/version")
        api.get("/version")
        assert tunnel.asked == [f"127.0.0.1:{server.port}"]
        api.close()
    tunnel.close()


def test_a_proxy_that_refuses_is_told_as_such(pki):
    tunnel = Tunnel(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    access = Access(server="https://api.example:6443", ca_file=str(pki.ca), proxy=tunnel.url)
    api = Api(access, clock=SystemClock(), user_agent="test")
    with pytest.raises(ApiAway, match=r"the proxy does not answer as it should: .*407 proxy authentication required"):
        api.get("/version")
    api.close()
    tunnel.close()
