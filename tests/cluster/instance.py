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
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mbcas-cluster-"
CGROUPS = Path("/sys/fs/cgroup")
_GONE_WITHIN_S = 10


class Instance:
    """A folder below the temporary one, with its lock; `close` removes everything."""

    def __init__(self) -> None:
        remove_left_behind()
        unlocked = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=_base()))
        self._lock = (unlocked / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Only now may others find it, who would take it for one that was left behind.
        self.directory = unlocked.rename(unlocked.with_name(unlocked.name.removeprefix(".")))
        self.name = self.directory.name
        self._network = _free_network()

    def address(self, host: int) -> str:
        """A loopback address that only this instance uses; hosts count from 1."""
        return f"{self._network}.{host}"

    def close(self) -> None:
        """Remove processes in its cgroups, the cgroups, and the files; also twice."""
        _remove(self.directory)
        self._lock.close()


def directories() -> list[Path]:
    """The folders of all instances, of those that live and of those that were left behind."""
    return sorted(_base().glob(f"{PREFIX}*"))


def is_alive(directory: Path) -> bool:
    """Whether the process lives that holds this instance."""
    try:
        with _locked(directory, fcntl.LOCK_SH):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def remove_left_behind() -> None:
    """Remove what instances have left whose process is gone."""
    for directory in directories():
        with contextlib.suppress(OSError), _locked(directory, fcntl.LOCK_EX):
            _remove(directory)


def _remove(directory: Path) -> None:
    """The lock goes last: while it is there, others see that somebody is at it."""
    remove_cgroups(directory.name)
    if directory.exists():
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
        shutil.rmtree(directory)


@contextlib.contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    with (directory / "lock").open() as lock:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        yield


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
            _hand_down_controllers(above)
            # On v1 an empty set of CPUs is inherited by nobody.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if root.name == "cpuset":
                    (cgroup / file).write_text((above / file).read_text())
            above = cgroup


def _hand_down_controllers(cgroup: Path) -> None:
    """On v2 children have the controllers that their parent hands down."""
    subtree = cgroup / "cgroup.subtree_control"
    if subtree.exists():
        for controller in (cgroup / "cgroup.controllers").read_text().split():
            # Some cannot be where there are processes or real-time tasks; the kubelet says if it misses one.
            with contextlib.suppress(OSError):
                subtree.write_text(f"+{controller}")


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
