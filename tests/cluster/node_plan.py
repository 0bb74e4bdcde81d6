"""What every node has, on this machine or in a virtual one: names, addresses, and the files that its programs read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import programs
from cluster.instance import Instance
from cluster.pki import SERVICE_ADDRESS, Pki, write_kubeconfig

PAUSE_IMAGE = "localhost/pause:1"
CNI_PROGRAMS = Path("/usr/lib/cni")
CNI_USED = ("ptp", "host-local", "loopback")


class NodePlan:
    """A node before it runs."""

    def __init__(self, instance: Instance, number: int, pki: Pki, kubelet: Mapping[str, Any], *, cgroup: str) -> None:
        """Give it a name and write its files.

        Args:
            instance: Whose node it is.
            number: From 1; gives the name and the addresses.
            pki: Where its certificate and its token come from.
            kubelet: More or other settings of a KubeletConfiguration.
            cgroup: Below which cgroup its pods are, relative to the roots.
        """
        self.name = f"node-{number}"
        # All that this takes from the machine is inside its own namespaces: every cluster uses the same addresses.
        self.address, self.pod_network = f"10.64.0.{number}", f"10.64.{number}.0/24"
        self.cgroup = cgroup
        self.directory = instance.directory / self.name
        self.directory.mkdir()
        self.socket = self.directory / "containerd.sock"
        self._pki = pki
        self._write_files(kubelet)

    @property
    def networks(self) -> tuple[str, str]:
        """Its pods' network, and its own address as one."""
        return self.pod_network, f"{self.address}/32"

    def _containerd_argv(self) -> list[str]:
        return [str(programs.on_path("containerd")), "--config", str(self.directory / "containerd.toml")]

    def _kubelet_argv(self) -> list[str]:
        here = self.directory
        return [
            str(programs.folder(programs.NEWEST) / "kubelet"),
            *(f"--config={here / 'kubelet.json'}", f"--kubeconfig={here / 'kubeconfig'}"),
            *(f"--root-dir={here / 'kubelet'}", f"--cert-dir={here / 'kubelet-pki'}"),
            *(f"--hostname-override={self.name}", f"--node-ip={self.address}"),
        ]

    def _ctr_argv(self, *words: str) -> list[str]:
        return [str(programs.on_path("ctr")), "--address", str(self.socket), "--namespace", "k8s.io", *words]

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
