"""One node: a kubelet with containerd in namespaces and below a cgroup of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import programs
from cluster.daemons import Daemon
from cluster.guided import GuidedDaemon
from cluster.instance import Instance, hierarchies, make_cgroup
from cluster.node_plan import CNI_PROGRAMS, CNI_USED, NodePlan
from cluster.pki import SERVICE_ADDRESS, Pki
from cluster.polling import poll_until
from cluster.relays import start_relay

STARTS_WITHIN_S = 30
HERE = Path(__file__).parent


def missing() -> str | None:
    """Why there can be no node here; None: there can."""
    if os.geteuid() != 0:
        return "needs root to make nodes"
    wanted = ("containerd", "ctr", "runc", "unshare", "nsenter", "ip", "mount", "setpriv")
    absent = [name for name in wanted if programs.on_path(name) is None]
    absent += [f"{name} (a CNI program)" for name in CNI_USED if not (CNI_PROGRAMS / name).exists()]
    return f"not installed: {', '.join(absent)}" if absent else None


class Node(NodePlan):
    """A node's namespaces, its containerd and its kubelet."""

    patience = 1  # what waits are multiplied by

    def __init__(self, instance: Instance, number: int, pki: Pki, kubelet: Mapping[str, Any]) -> None:
        """Describe it, as its plan does; `start` and `start_containerd` start it."""
        name = f"{instance.name}/node-{number}"
        super().__init__(instance, number, pki, kubelet, cgroup=name)
        self._guided: list[GuidedDaemon] = []
        self._relays: list[Daemon] = []
        make_cgroup(self.cgroup)
        self._init = GuidedDaemon(f"{self.name}'s namespaces", self._init_argv(), self.directory / "init.log")

    def start(self) -> None:
        """Make the namespaces and start containerd, without waiting for them."""
        self._init.start()

    def start_containerd(self) -> None:
        """Start it and wait until it answers."""
        poll_until((self.directory / "ready").exists, STARTS_WITHIN_S, self._init.last_words)
        self.containerd = self._inside("containerd", *self._containerd_argv())
        self.kubelet = self._inside("kubelet", *self._kubelet_argv())
        self.containerd.start()
        poll_until(self._containerd_answers, STARTS_WITHIN_S, self.containerd.last_words)

    def _containerd_answers(self) -> bool:
        assert self.containerd.is_running, self.containerd.last_words()
        return self.socket.exists() and self._ctr("version").returncode == 0

    @property
    def way_in(self) -> dict[str, Any]:
        """How the API server's relay reaches it and its pods."""
        return {"netns": self._netns}

    @property
    def _netns(self) -> str:
        return f"/proc/{self._init.pid}/ns/net"

    def carry(self, port: int, connect: tuple[str, int]) -> Daemon:
        """Let it and its pods reach an address of this machine, as a port of the service address."""
        service = {"netns": self._netns, "listen": [SERVICE_ADDRESS, port], "connect": connect}
        self._relays.append(start_relay(f"of {self.name}", {"services": [service]}, self.directory / "relay.log"))
        return self._relays[-1]

    def import_image(self, archive: Path) -> None:
        """Take in the images of a docker or OCI archive."""
        done = self._ctr("images", "import", str(archive))
        assert done.returncode == 0, f"{archive}: {done.stdout}"

    def run(self, *argv: str, within_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a program in the node, as a person who is logged in there would."""
        return subprocess.run(
            [*self._enter(), *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )

    def cgroup_root(self, controller: str = "cpu") -> Path:
        """The directory below which its pods are, in the hierarchy of this controller (on v2: in the only one)."""
        roots = hierarchies()
        root = next((root for root in roots if controller in root.name.split(",")), roots[0])
        return root / self.cgroup

    @property
    def is_v2(self) -> bool:
        """Which version of cgroups it has."""
        return len(hierarchies()) == 1

    def read_cgroup(self, path: str) -> str:
        """The content of a file of the cpu controller below the node's cgroup."""
        return (self.cgroup_root() / path).read_text()

    def stop(self) -> None:
        """End everything in it at once, as a power cut would; also twice."""
        self._init.kill()
        for daemon in (*self._guided, *self._relays):
            daemon.kill()

    def _ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._ctr_argv(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=60,
        )

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._init.pid}", "--mount", "--net", "--pid", "--uts"]

    def _inside(self, name: str, *argv: str) -> GuidedDaemon:
        guided = GuidedDaemon(f"{self.name}'s {name}", [*self._enter(), *argv], self.directory / f"{name}.log")
        self._guided.append(guided)
        return guided

    def _init_argv(self) -> list[str]:
        wanted = {
            "directory": str(self.directory),
            "name": self.name,
            "address": self.address,
            "service_address": SERVICE_ADDRESS,
        }
        return [
            *("unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child=KILL", "--mount-proc"),
            *("--propagation", "private", sys.executable, "-IS", str(HERE / "node_init.py"), json.dumps(wanted)),
        ]
