"""One node: a kubelet with containerd in namespaces and below a cgroup of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import programs
from cluster.daemons import Daemon
from cluster.instance import Instance, hierarchies, make_cgroup
from cluster.pki import SERVICE_ADDRESS, Pki, write_kubeconfig
from cluster.polling import poll_until

PAUSE_IMAGE = "localhost/pause:1"
CNI_PROGRAMS = Path("/usr/lib/cni")
STARTS_WITHIN_S = 30
HERE = Path(__file__).parent


def missing() -> str | None:
    """Why there can be no node here; None: there can."""
    if os.geteuid() != 0:
        return "needs root to make nodes"
    wanted = ("containerd", "ctr", "runc", "unshare", "nsenter", "ip", "mount", "setpriv")
    absent = [name for name in wanted if programs.on_path(name) is None]
    absent += [
        f"{name} (a CNI program)" for name in ("ptp", "host-local", "loopback") if not (CNI_PROGRAMS / name).exists()
    ]
    return f"not installed: {', '.join(absent)}" if absent else None


class Node:
    """A node's namespaces, its containerd and its kubelet."""

    def __init__(self, instance: Instance, number: int, pki: Pki, kubelet: Mapping[str, Any]) -> None:
        """Describe it; `start_containerd` and `start_kubelet` start it.

        Args:
            instance: Whose node it is.
            number: From 1; gives the name and the addresses.
            pki: Where its certificate and its token come from.
            kubelet: More or other settings of a KubeletConfiguration.
        """
        self.name = f"node-{number}"
        # All that this takes from the machine is inside its own namespaces: every cluster uses the same addresses.
        self.address, self.pod_network = f"10.64.0.{number}", f"10.64.{number}.0/24"
        self.cgroup = f"{instance.name}/{self.name}"
        self.directory = instance.directory / self.name
        self.directory.mkdir()
        self.socket = self.directory / "containerd.sock"
        self._pki = pki
        self._guided: list[GuidedDaemon] = []
        self._write_files(kubelet)
        make_cgroup(self.cgroup)
        self._init = GuidedDaemon(f"{self.name}'s namespaces", self._init_argv(), self.directory / "init.log")

    def start(self) -> None:
        """Make the namespaces and start containerd, without waiting for them."""
        self._init.start()

    def start_containerd(self) -> None:
        """Start it and wait until it answers."""
        poll_until((self.directory / "ready").exists, STARTS_WITHIN_S, self._init.last_words)
        self.containerd = self._inside(
            "containerd", str(programs.on_path("containerd")), "--config", str(self.directory / "containerd.toml")
        )
        self.kubelet = self._inside(
            "kubelet",
            str(programs.folder(programs.NEWEST) / "kubelet"),
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.directory / 'kubeconfig'}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--cert-dir={self.directory / 'kubelet-pki'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        )
        self.containerd.start()
        poll_until(self._containerd_answers, STARTS_WITHIN_S, self.containerd.last_words)

    def _containerd_answers(self) -> bool:
        assert self.containerd.is_running, self.containerd.last_words()
        return self.socket.exists() and self._ctr("version").returncode == 0

    @property
    def netns(self) -> str:
        """The file of its network namespace."""
        return f"/proc/{self._init.pid}/ns/net"

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
        for guided in self._guided:
            guided.kill()

    def _ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(programs.on_path("ctr")), "--address", self.socket, "--namespace", "k8s.io", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=60,
        )

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._init.pid}", "--mount", "--net", "--pid", "--uts"]

    def _inside(self, name: str, *argv: str) -> "GuidedDaemon":
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

    def _write_files(self, kubelet: Mapping[str, Any]) -> None:
        here, pki = self.directory, self._pki
        server = f"https://{SERVICE_ADDRESS}:443"
        write_kubeconfig(here / "kubeconfig", server=server, ca=pki.ca, token=pki.tokens[self.name], user=self.name)
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {"type": "host-local", "subnet": self.pod_network, "routes": [{"dst": "0.0.0.0/0"}]},
                }
            ],
        }
        (here / "cni").mkdir()
        (here / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        (here / "containerd.toml").write_text(
            CONTAINERD.format(
                here=here, socket=self.socket, pause=PAUSE_IMAGE, cni_programs=CNI_PROGRAMS, cni_networks=here / "cni"
            )
        )
        settings = kubelet_settings(pki, cgroup_root=f"/{self.cgroup}", containerd=self.socket, directory=here)
        (here / "kubelet.json").write_text(json.dumps(settings | dict(kubelet), indent=2))


class GuidedDaemon(Daemon):
    """A program in namespaces: what is started here is a guide that waits at the border, the program is its child."""

    _inner_pid: int | None = None

    def start(self) -> None:
        super().start()
        poll_until(lambda: _children(super(GuidedDaemon, self).pid) != [], 10, self.last_words)
        self._inner_pid = _only_child(super().pid)

    @property
    def pid(self) -> int:
        assert self._inner_pid is not None, f"{self.name} was never started"
        return self._inner_pid

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, within_s: float = 10) -> None:
        if not self.is_running:
            return
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        ends_s = time.monotonic() + within_s
        while self.is_running and time.monotonic() < ends_s:
            time.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        if self._inner_pid is not None and self.is_running:
            self.signal(signal.SIGKILL)
            # The guide ends when the program has.
            poll_until(lambda: not self.is_running, 10, lambda: f"{self.name} is gone")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _only_child(pid: int) -> int:
    (child,) = _children(pid)
    return child


def kubelet_settings(pki: Pki, *, cgroup_root: str, containerd: Path, directory: Path) -> dict[str, Any]:
    """A KubeletConfiguration that changes nothing about the machine it runs on."""
    never = {"memory.available": "0%"} | dict.fromkeys(
        ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"
    )
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": str(pki.server_cert),
        "tlsPrivateKeyFile": str(pki.server_key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{containerd}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "imageGCHighThresholdPercent": 100,
        # The disk and the memory are everybody's: how full they are is none of these nodes' doing.
        "evictionHard": never,
        "volumePluginDir": str(directory / "volume-plugins"),
        "resolvConf": "",
        "oomScoreAdj": 0,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "logging": {"verbosity": 2},
    }


CONTAINERD = """\
version = 2
root = "{here}/containerd"
state = "{here}/containerd-state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_programs}"
    conf_dir = "{cni_networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
