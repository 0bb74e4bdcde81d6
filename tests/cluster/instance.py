"""What one running control plane or cluster takes of this machine: a folder, an address, a name for cgroups.

Several live side by side. Each holds a lock on its folder for as long as its process lives; what nobody holds any more
was left by a crash and is removed by whoever comes next.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

PREFIX = "mbcas-cluster-"
CGROUPS = Path("/sys/fs/cgroup")
_GONE_WITHIN_S = 10


class Instance:
    """A folder below the temporary one, with its lock; `close` removes everything."""

    def __init__(self) -> None:
        remove_left_behind()
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_base()))
        self.name = self.directory.name
        self._lock = (self.directory / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._network = _free_network()

    def address(self, host: int) -> str:
        """A loopback address that only this instance uses; hosts count from 1."""
        return f"{self._network}.{host}"

    def close(self) -> None:
        """Remove processes in its cgroups, the cgroups, and the files; also twice."""
        remove_cgroups(self.name)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()


def remove_left_behind() -> None:
    """Remove what instances have left whose process is gone."""
    for directory in _base().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_cgroups(directory.name)
            shutil.rmtree(directory, ignore_errors=True)


def hierarchies() -> list[Path]:
    """The root of every mounted cgroup hierarchy: one on v2, one per controller on v1."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    roots = (os.path.realpath(path) for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists())
    return [Path(root) for root in dict.fromkeys(roots)]


def make_cgroup(path: str) -> None:
    """Make a cgroup in every hierarchy, ready to have children and processes."""
    for root in hierarchies():
        above = root
        for part in Path(path).parts:
            cgroup = above / part
            cgroup.mkdir(exist_ok=True)
            # On v1 an empty set of CPUs is inherited by nobody.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if root.name == "cpuset":
                    (cgroup / file).write_text((above / file).read_text())
            above = cgroup


def remove_cgroups(name: str) -> None:
    """Kill what runs below this cgroup and remove it from every hierarchy."""
    for root in hierarchies():
        top = root / name
        ends_s = time.monotonic() + _GONE_WITHIN_S
        while top.exists() and time.monotonic() < ends_s:
            for cgroup in sorted([top, *top.rglob("*/")], key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    for pid in (cgroup / "cgroup.procs").read_text().split():
                        # 0 is a process that this one cannot see, and for kill() all that it can.
                        if int(pid) > 1:
                            os.kill(int(pid), signal.SIGKILL)
                    cgroup.rmdir()
            if top.exists():
                time.sleep(0.02)


def _base() -> Path:
    # Sockets of containerd stand below, and their paths may have 107 characters.
    return Path(tempfile.gettempdir())


def _free_network() -> str:
    """Three bytes of loopback that nobody uses."""
    while True:
        network = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(254) + 1}"
        with socket.socket() as probe:
            if probe.connect_ex((f"{network}.1", 6443)) != 0:
                return network
