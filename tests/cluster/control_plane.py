"""A real API server with its etcd: what everything that talks to Kubernetes is tried against."""

import functools
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from cluster import programs
from cluster.asking import JSON, Asker
from cluster.daemons import Daemon
from cluster.instance import Instance
from cluster.pki import SERVICE_NETWORK, Pki, write_kubeconfig
from cluster.polling import poll_until

if TYPE_CHECKING:
    from mbcasd.kube.api import Api

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
STARTS_WITHIN_S = 60
# Nodes that a control plane has credentials for, whether they join or not. All that a node takes from the machine is in
# a network of its own: every cluster has the same addresses.
NODES = {"node-1": "10.64.0.1", "node-2": "10.64.0.2", "node-3": "10.64.0.3"}


def missing(tools: str = programs.NEWEST) -> str | None:
    """Why there can be no control plane here; None: there can."""
    absent = [name for name in ("etcd", "openssl", "setpriv") if programs.on_path(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else programs.not_built(tools)


class ControlPlane:
    """etcd and kube-apiserver on a loopback address of their own; a context manager, after which nothing is left."""

    def __init__(self, tools: str = programs.NEWEST, *, apiserver_flags: tuple[str, ...] = ()) -> None:
        """Start it; it answers when this returns."""
        self.version = programs.kubernetes_version(tools)
        self._programs = programs.folder(tools)
        self.instance = Instance()
        self._numbers = itertools.count(1)
        try:
            self._prepare(apiserver_flags)
            self._start()
        except BaseException:
            self.close()
            raise

    def _prepare(self, apiserver_flags: tuple[str, ...]) -> None:
        here, address = self.instance.directory, self.instance.address(1)
        self.address = address
        self.server = f"https://{address}:6443"
        self.pki = Pki(here / "pki", addresses=[address, "127.0.0.1", *NODES.values()], nodes=list(NODES))
        self.ca_file = str(self.pki.ca)
        self.kubeconfig = str(
            write_kubeconfig(
                here / "admin.kubeconfig", server=self.server, ca=self.pki.ca, token=self.pki.tokens["admin"]
            )
        )
        self._asker = Asker(self.server, self.ca_file)
        self.etcd = Daemon("etcd", self._etcd_argv(), here / "etcd.log")
        self.apiserver = Daemon("kube-apiserver", [*self._apiserver_argv(), *apiserver_flags], here / "apiserver.log")

    def _start(self) -> None:
        self.etcd.start()
        self.start_apiserver()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything and remove every file; also twice."""
        for daemon in self._daemons():
            daemon.kill()
        if hasattr(self, "_asker"):
            self._asker.close()
        if "api" in vars(self):
            self.api.close()
        self.instance.close()

    def _daemons(self) -> list[Daemon]:
        return [daemon for name in ("apiserver", "etcd") if (daemon := getattr(self, name, None)) is not None]

    @functools.cached_property
    def api(self) -> "Api":
        """Our own client, as the administrator."""
        from mbcasd.clock import SystemClock
        from mbcasd.kube.access import from_kubeconfig
        from mbcasd.kube.api import Api

        return Api(from_kubeconfig(self.kubeconfig, None, {}), clock=SystemClock(), user_agent="mbcas-tests")

    def request(
        self, method: str, path: str, body: object = None, content_type: str = JSON, *, token: str | None = None
    ) -> tuple[int, Any]:
        """Ask as the administrator, or with another token; independent of the client under test.

        Returns:
            The status code, and the answer: parsed if it is JSON, else text.
        """
        return self._asker.ask(method, path, body, content_type, token or self.pki.tokens["admin"])

    def get(self, path: str) -> Any:
        """What is there; fails the test when it is not."""
        return self._expect("GET", path)

    def create(self, path: str, body: dict[str, Any]) -> Any:
        """Make an object in this collection; fails the test when it is refused."""
        return self._expect("POST", path, body)

    def _expect(self, method: str, path: str, body: object = None, content_type: str = JSON) -> Any:
        code, answer = self.request(method, path, body, content_type)
        assert code < 300, f"{method} {path}: {code} {answer}"
        return answer

    def token(self, namespace: str, account: str, *, pod: str | None = None, seconds: int = 3600) -> str:
        """A token of a service account by TokenRequest, as the kubelet asks for it; bound to a pod or to nothing.

        Only a token that is bound to a pod tells the node that it is used on.
        """
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if pod is not None:
            found = self.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": found["metadata"]["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.create(path, request)["status"]["token"]

    def token_kubeconfig(self, namespace: str, account: str, *, pod: str | None = None, seconds: int = 3600) -> str:
        """The path of a kubeconfig with such a token."""
        return self.kubeconfig_with(self.token(namespace, account, pod=pod, seconds=seconds), namespace=namespace)

    def kubeconfig_with(self, token: str, *, namespace: str = "default", server: str | None = None) -> str:
        """The path of a kubeconfig with this token; `server` may be a proxy on loopback that stands between."""
        path = self.instance.directory / f"{next(self._numbers)}.kubeconfig"
        write_kubeconfig(path, server=server or self.server, ca=self.pki.ca, token=token, namespace=namespace)
        return str(path)

    @contextmanager
    def namespace(self, *, managed: bool = True) -> Iterator[str]:
        """A fresh namespace, opted in, with the service account `default`; deleted at the end."""
        name = f"test-{next(self._numbers)}"
        labels = {"mbcas.io/managed": "true"} if managed else {}
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        # Without controllers nobody else makes it, and no pod is admitted without.
        code, _ = self.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        assert code in {201, 409}
        try:
            yield name
        finally:
            self.request("DELETE", f"/api/v1/namespaces/{name}")

    def stop_apiserver(self) -> None:
        self.apiserver.stop()

    def restart_apiserver(self) -> None:
        """End it as a crash would, start it again, wait until it answers."""
        self.apiserver.kill()
        self.start_apiserver()

    def start_apiserver(self) -> None:
        self.apiserver.start()
        self._wait_for_api()

    def _wait_for_api(self) -> None:
        def is_ready() -> bool:
            for daemon in (self.etcd, self.apiserver):
                assert daemon.is_running, daemon.last_words()
            try:
                return self.request("GET", "/readyz")[0] == 200
            except OSError:
                return False

        poll_until(is_ready, STARTS_WITHIN_S, lambda: f"the API server answers; {self.apiserver.last_words()}")
        # Made by a loop of the API server of its own, some moments later.
        poll_until(
            lambda: self.request("GET", "/api/v1/namespaces/default")[0] == 200,
            STARTS_WITHIN_S,
            lambda: "first objects",
        )

    def _etcd_argv(self) -> list[str]:
        client, peer = f"http://{self.address}:2379", f"http://{self.address}:2380"
        return [
            str(programs.on_path("etcd")),
            f"--data-dir={self.instance.directory / 'etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
            # Nothing here has to survive a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--logger=zap",
        ]

    def _apiserver_argv(self) -> list[str]:
        pki = self.pki
        return [
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers=http://{self.address}:2379",
            *(f"--bind-address={self.address}", f"--advertise-address={self.address}", "--secure-port=6443"),
            *(f"--tls-cert-file={pki.server_cert}", f"--tls-private-key-file={pki.server_key}"),
            *(f"--client-ca-file={pki.ca}", f"--token-auth-file={pki.token_file}"),
            f"--cert-dir={self.instance.directory / 'apiserver'}",
            *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
            "--service-account-issuer=https://kubernetes.default.svc",
            "--api-audiences=https://kubernetes.default.svc",
            f"--service-account-key-file={pki.accounts_public}",
            f"--service-account-signing-key-file={pki.accounts_key}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            # There is one API server, and no proxy that would follow its endpoints.
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            f"--kubelet-certificate-authority={pki.ca}",
            *(f"--kubelet-client-certificate={pki.client_cert}", f"--kubelet-client-key={pki.client_key}"),
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
        ]
