"""A node in a virtual machine whose only cgroup hierarchy is version 2; slow, since the machine is emulated.

It has the same files at the same paths as a node on this machine, and the same kubelet and containerd.
"""

import http.server
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cluster import programs
from cluster.daemons import Daemon
from cluster.instance import Instance
from cluster.node_plan import CNI_PROGRAMS, CNI_USED, NodePlan
from cluster.pki import SERVICE_ADDRESS, Pki
from cluster.polling import poll_until
from cluster.relays import PROGRAM, free_port, relay_argv, start_relay
from vm import image
from vm.machine import KERNEL, Done, Machine
from vm.machine import missing as machine_is_missing

MODULES = KERNEL.parent / "modules"
# In the order in which they are needed; what each of them needs in turn comes by itself.
WANTED_MODULES = ("virtio_pci", "virtio_net", "veth", "overlay")
MEMORY_MIB = 2048
STARTS_WITHIN_S = 120
# What a network of qemu's user mode calls the guest, and this machine's 127.0.0.1.
GUEST, HOST = "10.0.2.15", "10.0.2.2"
PROXY_PORT = 3128
CGROUPS = "/sys/fs/cgroup"
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "mount", "umount", "busybox")
BUSYBOX = str(programs.on_path("busybox"))


def missing() -> str | None:
    """Why there can be no such node here; None: there can."""
    lacking = machine_is_missing()
    if lacking is None and not any(MODULES.glob("overlay.ko*")):
        lacking = "the modules of the guest's kernel are not there: run `packaging/fetch-kernel.sh build/vm/vmlinuz`"
    return lacking


class VirtualNode(NodePlan):
    """A node of a cluster, in a guest."""

    is_v2 = True
    patience = 4  # what waits are multiplied by

    def __init__(self, instance: Instance, number: int, pki: Pki, kubelet: Mapping[str, Any]) -> None:
        """Describe it, as its plan does; `start` and `start_containerd` start it."""
        super().__init__(instance, number, pki, kubelet, cgroup="")
        # On this machine, and in use by this cluster only.
        self._address_here = instance.address(10 + number)
        self._relays: list[Daemon] = []
        self._files = [pki.ca, pki.server_cert, pki.server_key]
        self.machine: Machine | None = None

    def start(self) -> None:
        """Start the machine."""
        self.machine = Machine(
            self.directory,
            build=self._write_archive,
            memory_mib=MEMORY_MIB,
            devices=[
                *("-netdev", f"user,id=net,hostfwd=tcp:{self._address_here}:{PROXY_PORT}-:{PROXY_PORT}"),
                *("-device", "virtio-net-pci,netdev=net,romfile="),
            ],
        )

    def start_containerd(self) -> None:
        """Give the machine its network, start containerd and wait until it answers."""
        for module in _modules():
            self._do(BUSYBOX, "insmod", module)
        # There is no route to anywhere else.
        for words in (
            *("link set lo up", f"addr add {self.address}/32 dev lo", f"addr add {SERVICE_ADDRESS}/32 dev lo"),
            *("link set eth0 up", f"addr add {GUEST}/24 dev eth0"),
        ):
            self._do(BUSYBOX, "ip", *words.split())
        self._do(BUSYBOX, "hostname", self.name)
        self._do(BUSYBOX, "mkdir", "-p", "/var/log")
        # Volumes of pods are mounted by the kubelet and must be seen by containers.
        self._do(BUSYBOX, "mount", "--make-rshared", "/")
        proxy = {
            "egress": {"listen": ["0.0.0.0", PROXY_PORT], "networks": {"0.0.0.0/0": {"netns": "/proc/self/ns/net"}}}
        }
        self._inside("proxy", *relay_argv(proxy)).start()
        self.containerd = self._inside("containerd", *self._containerd_argv())
        self.kubelet = self._inside("kubelet", *self._kubelet_argv())
        self.containerd.start()
        poll_until(self._containerd_answers, STARTS_WITHIN_S, self.containerd.last_words)

    def _containerd_answers(self) -> bool:
        assert self.containerd.is_running, self.containerd.last_words()
        return self.run(*self._ctr_argv("version")).returncode == 0

    @property
    def way_in(self) -> dict[str, Any]:
        """How the API server's relay reaches it and its pods."""
        return {"proxy": [self._address_here, PROXY_PORT]}

    def carry(self, port: int, connect: tuple[str, int]) -> Daemon:
        """Let it and its pods reach an address of this machine, as a port of the service address."""
        here = free_port()
        outside = {"netns": "/proc/self/ns/net", "listen": ["127.0.0.1", here], "connect": connect}
        self._relays.append(start_relay(f"of {self.name}", {"services": [outside]}, self.directory / "relay.log"))
        inside = {"netns": "/proc/self/ns/net", "listen": [SERVICE_ADDRESS, port], "connect": [HOST, here]}
        self._inside(f"relay-{port}", *relay_argv({"services": [inside]})).start()
        return self._relays[-1]

    def import_image(self, archive: Path) -> None:
        """Take in the images of a docker or OCI archive."""
        inside = f"/tmp/{archive.name}"
        with _served(archive.parent) as port:
            self._do(BUSYBOX, "wget", "-q", "-O", inside, f"http://{HOST}:{port}/{archive.name}", within_s=300)
        self._do(*self._ctr_argv("images", "import", inside), within_s=300)
        self._do(BUSYBOX, "rm", inside)

    def run(self, *argv: str, within_s: float = 60) -> Done:
        """Run a program in the node, as a person who is logged in there would."""
        assert self.machine is not None, f"{self.name} was never started"
        return self.machine.run(*argv, within_s=within_s)

    def read_cgroup(self, path: str) -> str:
        """The content of a file below the root of its cgroups."""
        return self._do(BUSYBOX, "cat", f"{CGROUPS}/{path}")

    def stop(self) -> None:
        """End it at once, as a power cut would; also twice."""
        if self.machine is not None:
            self.machine.close()
        for relay in self._relays:
            relay.kill()

    def _do(self, *argv: str, within_s: float = 60) -> str:
        done = self.run(*argv, within_s=within_s)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.output}"
        return done.output

    def _inside(self, name: str, *argv: str) -> "GuestDaemon":
        return GuestDaemon(self, name, argv)

    def _write_archive(self, archive: Path) -> None:
        used = [programs.on_path(name) for name in PROGRAMS]
        kubelet = programs.folder(programs.NEWEST) / "kubelet"
        own = [path for path in self.directory.rglob("*") if path.is_file() and path != archive]
        image.build(
            archive,
            with_project=False,
            programs=[*map(Path, filter(None, used)), *(CNI_PROGRAMS / name for name in CNI_USED), kubelet],
            files=[*self._files, *own, *map(Path, _modules()), PROGRAM],
        )


class GuestDaemon:
    """A program that runs in a guest until it is ended; what `Daemon` is on this machine."""

    def __init__(self, node: VirtualNode, name: str, argv: tuple[str, ...]) -> None:
        self.name, self._node, self._argv = f"{node.name}'s {name}", node, argv
        self._log = f"/var/log/{name}.log"
        self._pid: int | None = None

    def start(self) -> None:
        script = f'"$0" setsid "$@" > {self._log} 2>&1 < /dev/null & echo $!'
        started = self._node.run("sh", "-c", script, BUSYBOX, *self._argv)
        self._pid = int(started.output)

    @property
    def is_running(self) -> bool:
        if self._pid is None:
            return False
        state = self._node.run(BUSYBOX, "cat", f"/proc/{self._pid}/stat")
        return state.returncode == 0 and ") Z " not in state.output

    def signal(self, number: int) -> None:
        self._node.run(BUSYBOX, "kill", f"-{number}", str(self._pid))

    def kill(self) -> None:
        """End it as a crash would; also twice."""
        if self.is_running:
            self.signal(9)
            poll_until(lambda: not self.is_running, 20, lambda: f"{self.name} is gone")

    def last_words(self) -> str:
        return f"the log of {self.name} ends with:\n{self._node.run(BUSYBOX, 'tail', '-c', '3000', self._log).output}"


def _modules() -> list[str]:
    """The files of modules to load, in an order in which that works."""
    ordered: list[str] = []

    def add(name: str) -> None:
        file = MODULES / f"{name}.ko"
        # What is not there is built into the kernel.
        if not file.exists() or str(file) in ordered:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", file.read_bytes())
        for needed in needs[1].decode().split(",") if needs else ():
            add(needed)
        ordered.append(str(file))

    for name in WANTED_MODULES:
        add(name)
    return ordered


@contextmanager
def _served(folder: Path) -> Iterator[int]:
    """Serve the files of a folder on the loopback; yields the port."""
    handler = partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
