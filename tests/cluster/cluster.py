"""A whole Kubernetes on this machine: control plane, controllers, scheduler and real nodes with real cgroups.

Nothing leaves the machine or stays on it: see `instance` for what a cluster takes, `node` for how nodes are apart.
Pods have a network of their own, reach the API server under the usual service address, and are reached through the
API server's pod proxy; there is no DNS and no way from node to node.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import archives, control_plane, node, programs
from cluster.control_plane import ControlPlane
from cluster.daemons import Daemon
from cluster.node import Node
from cluster.pki import SERVICE_ADDRESS
from cluster.pods import Pods
from cluster.polling import poll_until
from cluster.relays import start_relay
from cluster.virtual_node import VirtualNode

READY_WITHIN_S = 60
VIRTUAL_READY_WITHIN_S = 180
GONE_WITHIN_S = 30


def missing() -> str | None:
    """Why there can be no cluster here; None: there can."""
    return control_plane.missing() or node.missing() or archives.missing()


class Cluster(ControlPlane):
    """A control plane of the newest Kubernetes with nodes, all Ready when this returns; a context manager."""

    def __init__(
        self,
        *,
        nodes: int = 2,
        kubelet: Mapping[str, Mapping[str, Any]] | None = None,
        apiserver_flags: tuple[str, ...] = (),
    ) -> None:
        """Start it.

        Args:
            nodes: How many: node-1, node-2, …
            kubelet: For nodes by name, more or other settings of their KubeletConfiguration.
            apiserver_flags: More flags, for instance a feature gate.
        """
        self._wanted_nodes, self._kubelet = nodes, kubelet or {}
        self.nodes: dict[str, Node | VirtualNode] = {}
        self.api_relays: dict[str, Daemon] = {}
        self.pods = Pods(self, self.nodes)
        super().__init__(programs.NEWEST, apiserver_flags=apiserver_flags)

    def _start(self) -> None:
        for number in range(1, self._wanted_nodes + 1):
            made = Node(self.instance, number, self.pki, self._kubelet.get(f"node-{number}", {}))
            self.nodes[made.name] = made
            made.start()
        self.etcd.start()
        self.apiserver.start()
        images = archives.standard_archive()
        for joining in self.nodes.values():
            joining.start_containerd()
            joining.import_image(images)
            # One relay for each node, so that a test can cut one off and leave the others alone.
            self.api_relays[joining.name] = joining.carry(443, (self.address, 6443))
        self._let_in()
        self._wait_for_api()
        self.controllers.start()
        self.scheduler.start()
        for joining in self.nodes.values():
            joining.kubelet.start()
        for name in self.nodes:
            self.wait_for_node(name)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        poll_until(lambda: self.request("GET", account)[0] == 200, READY_WITHIN_S, self.controllers.last_words)

    def _prepare(self, apiserver_flags: tuple[str, ...]) -> None:
        here = self.instance.directory
        self._egress_socket = here / "egress"
        egress = here / "egress.json"
        # How an API server reaches nodes on a network that it is not part of.
        egress.write_text(
            json.dumps(
                {
                    "apiVersion": "apiserver.k8s.io/v1beta1",
                    "kind": "EgressSelectorConfiguration",
                    "egressSelections": [
                        {
                            "name": "cluster",
                            "connection": {
                                "proxyProtocol": "HTTPConnect",
                                "transport": {"uds": {"udsName": str(self._egress_socket)}},
                            },
                        }
                    ],
                }
            )
        )
        super()._prepare((f"--egress-selector-config-file={egress}", *apiserver_flags))
        self.controllers = self._controller("kube-controller-manager", 10257, *self._controllers_flags())
        self.scheduler = self._controller("kube-scheduler", 10259)

    def _controller(self, name: str, port: int, *flags: str) -> Daemon:
        access = [f"--{flag}kubeconfig={self.kubeconfig}" for flag in ("", "authentication-", "authorization-")]
        serving = [f"--bind-address={self.address}", f"--secure-port={port}"]
        serving += [f"--tls-cert-file={self.pki.server_cert}", f"--tls-private-key-file={self.pki.server_key}"]
        alone = ["--leader-elect=false", "--profiling=false"]
        argv = [self._programs / name, *access, *serving, *alone, *flags]
        return Daemon(name, argv, self.instance.directory / f"{name}.log")

    def _controllers_flags(self) -> tuple[str, ...]:
        return (
            f"--service-account-private-key-file={self.pki.accounts_key}",
            f"--root-ca-file={self.pki.ca}",
            "--node-monitor-period=2s",
        )

    def _daemons(self) -> list[Daemon]:
        more = [
            daemon
            for name in ("controllers", "scheduler", "_egress")
            if (daemon := getattr(self, name, None)) is not None
        ]
        return [*super()._daemons(), *more]

    def close(self) -> None:
        for ending in self.nodes.values():
            ending.stop()
        super().close()

    @contextmanager
    def namespace(self, *, managed: bool = True) -> Iterator[str]:
        with super().namespace(managed=managed) as name:
            try:
                yield name
            finally:
                # What still burns would disturb the next test; and a Deployment would make its pods again.
                pods = f"/api/v1/namespaces/{name}/pods"
                self.request("DELETE", f"/api/v1/namespaces/{name}")
                self.request("DELETE", pods)
                poll_until(lambda: not self.get(pods)["items"], GONE_WITHIN_S, lambda: f"the pods of {name} are gone")

    def wait_for_node(self, name: str, *, ready: bool = True, within_s: float = READY_WITHIN_S) -> float:
        """Wait until a node is Ready and takes pods, or until it is not; returns how long it took."""

        def is_as_wanted() -> bool:
            code, found = self.request("GET", f"/api/v1/nodes/{name}")
            conditions = {item["type"]: item["status"] for item in found["status"]["conditions"]} if code == 200 else {}
            is_ready = conditions.get("Ready") == "True" and not found["spec"].get("taints")
            return is_ready == ready

        return poll_until(
            is_as_wanted, within_s, lambda: f"{name} is {'' if ready else 'not '}ready\n" + self._words(name)
        )

    def _words(self, name: str) -> str:
        kubelet = self.nodes[name].kubelet
        return f"{self.request('GET', f'/api/v1/nodes/{name}')}\n{kubelet.last_words()}"

    def cgroup_root(self, name: str, controller: str = "cpu") -> Path:
        """The directory below which the pods of a node are: its `kubepods` is there."""
        return self.nodes[name].cgroup_root(controller)

    def import_image(self, archive: Path) -> None:
        """Give all nodes the images of a docker or OCI archive; pods name them with imagePullPolicy Never."""
        for having in self.nodes.values():
            having.import_image(archive)

    def expose(self, port: int, *, at: int | None = None) -> str:
        """Let pods reach a port of 127.0.0.1 of this machine; returns the address and port that they ask for."""
        for having in self.nodes.values():
            having.carry(at or port, ("127.0.0.1", port))
        return f"{SERVICE_ADDRESS}:{at or port}"

    @contextmanager
    def with_virtual_node(self, **kubelet: Any) -> Iterator[str]:
        """Let a node with cgroup v2 join; yields its name, and lets it go at the end."""
        joining = VirtualNode(self.instance, len(self.nodes) + 1, self.pki, kubelet)
        self.nodes[joining.name] = joining
        try:
            joining.start()
            joining.start_containerd()
            joining.import_image(archives.standard_archive())
            self.api_relays[joining.name] = joining.carry(443, (self.address, 6443))
            self._let_in()
            joining.kubelet.start()
            self.wait_for_node(joining.name, within_s=VIRTUAL_READY_WITHIN_S)
            yield joining.name
        finally:
            joining.stop()
            # Nobody there will ever confirm that they have ended.
            for pod in self.get(f"/api/v1/pods?fieldSelector=spec.nodeName={joining.name}")["items"]:
                path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
                self.request("DELETE", f"{path}?gracePeriodSeconds=0")
            self.request("DELETE", f"/api/v1/nodes/{joining.name}")
            del self.nodes[joining.name]
            shutil.rmtree(joining.directory)

    def stop_kubelet(self, name: str) -> None:
        """End it as a crash would; its pods go on."""
        self.nodes[name].kubelet.kill()

    def start_kubelet(self, name: str) -> None:
        """Start it again and wait until it knows its pods.

        What was resized while it was away reaches the kernel half a minute later: it looks at such pods before it has
        heard of all, puts them off, and then waits for its timer (1.37).
        """
        pods = f"/api/v1/pods?fieldSelector=spec.nodeName={name},status.phase=Running"
        wanted = {pod["metadata"]["uid"] for pod in self.get(pods)["items"]}
        self.nodes[name].kubelet.start()

        def knows_its_pods() -> bool:
            code, known = self.request("GET", f"/api/v1/nodes/{name}/proxy/pods")
            return code == 200 and wanted <= {pod["metadata"]["uid"] for pod in known["items"] or ()}

        poll_until(knows_its_pods, READY_WITHIN_S, lambda: self._words(name))

    def restart_kubelet(self, name: str) -> None:
        """End it as a crash would, start it again, wait until it knows its pods."""
        self.stop_kubelet(name)
        self.start_kubelet(name)

    def _let_in(self) -> None:
        """Carry what the API server asks of kubelets and pods into their networks."""
        networks = {network: node.way_in for node in self.nodes.values() for network in node.networks}
        if hasattr(self, "_egress"):
            self._egress.kill()
            self._egress_socket.unlink()
        wanted = {"egress": {"listen": str(self._egress_socket), "networks": networks}}
        self._egress = start_relay("of the API server", wanted, self.instance.directory / "egress.log")
