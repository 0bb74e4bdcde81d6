"""The load test's cgroups: one parent, one child per service, made and removed on v1, v2 and hybrid hosts.

The parent's name carries the process that made it, so that what a killed test left behind is found and removed by
the next one. Nothing outside that parent is written, except that on v2 the cpu controller must be on for it.
"""

import contextlib
import errno
import os
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from mbcasd.errors import ActuationError, ExpectedTrouble
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.units import DEFAULT_PERIOD_USEC, quota_usec

PREFIX = "mbcas-demo-"
_OURS = re.compile(re.escape(PREFIX) + r"(\d+)(-driver)?")

# A cgroup stays busy until the kernel has buried its last process.
_BURY_WITHIN_S = 5.0


class NoPermission(ExpectedTrouble):
    """Cgroups cannot be made here; the message says which command could."""


class RigCgroups:
    """One parent cgroup and its children, in every hierarchy that matters."""

    def __init__(self, mounts: CgroupMounts, base: str, name: str, command: str) -> None:
        """Make nothing yet.

        Args:
            mounts: Where the hierarchies are.
            base: The cgroup to make the parent in, as /proc/PID/cgroup shows it: "" or "/" is the top.
            name: The parent's own name.
            command: What the person typed, for the advice on how to be allowed to.
        """
        self._mounts = mounts
        self._base = "" if base == "/" else base.rstrip("/")
        self._name, self._command = name, command
        self._roots = tuple(dict.fromkeys(Path(m) for m in (mounts.cpu, mounts.cpuacct, mounts.unified) if m))
        self._children: list[str] = []
        self._undo_driver: Path | None = None

    @property
    def path(self) -> str:
        """The parent, as /proc/PID/cgroup shows it."""
        return f"{self._base}/{self._name}"

    @property
    def count(self) -> int:
        """How many workloads have a cgroup."""
        return len(self._children)

    def make(self, children: Iterable[str]) -> None:
        """Make the parent and its children.

        Raises:
            NoPermission: Cgroups cannot be made here; what was made before is removed.
        """
        try:
            if self._mounts.version is CgroupVersion.V2:
                self._enable_cpu(self._cpu_dir(self._base))
            self._mkdir(self.path)
            if self._mounts.version is CgroupVersion.V2:
                self._write(self._cpu_dir(self.path) / "cgroup.subtree_control", "+cpu")
            for child in children:
                self._children.append(child)
                self._mkdir(f"{self.path}/{child}")
        except OSError as err:
            self.remove()
            raise NoPermission(explain_refusal(err, self._mounts, os.geteuid(), self._command)) from err

    def join_files(self, child: str) -> tuple[str, ...]:
        """Files to write a process's number to, so that it and its threads are in the child's cgroup."""
        return tuple(str(self._in(root, f"{self.path}/{child}") / "cgroup.procs") for root in self._roots)

    def set_limit(self, child: str, limit_milli: float | None) -> None:
        """Set a child's quota for the usual period of 100 ms, without burst; None lifts it.

        Raises:
            ActuationError: The kernel refused.
        """
        folder = self._cpu_dir(f"{self.path}/{child}")
        try:
            if self._mounts.version is CgroupVersion.V2:
                self._reset_burst(folder / "cpu.max.burst")
                quota = "max" if limit_milli is None else str(quota_usec(limit_milli))
                self._write(folder / "cpu.max", f"{quota} {DEFAULT_PERIOD_USEC}")
            else:
                self._reset_burst(folder / "cpu.cfs_burst_us")
                self._write(folder / "cpu.cfs_period_us", str(DEFAULT_PERIOD_USEC))
                self._write(folder / "cpu.cfs_quota_us", "-1" if limit_milli is None else str(quota_usec(limit_milli)))
        except OSError as err:
            raise ActuationError(f"cannot set the limit of {self.path}/{child}: {err}") from err

    def set_shares(self, child: str | None, shares: int) -> None:
        """Set the weight of a child against its siblings, or of the whole test (None) against the rest of the machine.

        Args:
            child: Name of the child; None: their parent.
            shares: In the unit of v1, where 1024 is what every cgroup starts with; 2 to 262144.

        Raises:
            ActuationError: The kernel refused.
        """
        cgroup = self.path if child is None else f"{self.path}/{child}"
        try:
            if self._mounts.version is CgroupVersion.V2:
                # The kubelet's own formula, which maps 2..262144 to 1..10000.
                self._write(self._cpu_dir(cgroup) / "cpu.weight", str(1 + (shares - 2) * 9999 // 262142))
            else:
                self._write(self._cpu_dir(cgroup) / "cpu.shares", str(shares))
        except OSError as err:
            raise ActuationError(f"cannot set the weight of {cgroup}: {err}") from err

    def remove(self) -> int:
        """End what still runs in the children and remove everything; returns how many workloads are gone.

        May be called at any time and again.
        """
        removed = 0
        for child in self._children:
            _remove([self._in(root, f"{self.path}/{child}") for root in self._roots])
            removed += 1
        self._children.clear()
        _remove([self._in(root, self.path) for root in self._roots])
        self._leave_driver()
        return removed

    def _enable_cpu(self, base: Path) -> None:
        """Turn the cpu controller on for the children of a v2 cgroup.

        A cgroup other than the top may not hold processes and have it on for its children at the same time. If we are
        the only ones there, as in a scope of our own, we move into a leaf beside the test until its end.
        """
        if "cpu" in (base / "cgroup.subtree_control").read_text().split():
            return
        try:
            self._write(base / "cgroup.subtree_control", "+cpu")
        except OSError:
            if set((base / "cgroup.procs").read_text().split()) != {str(os.getpid())}:
                raise
            leaf = base / f"{self._name}-driver"
            self._make(leaf)
            self._undo_driver = leaf
            self._write(leaf / "cgroup.procs", str(os.getpid()))
            self._write(base / "cgroup.subtree_control", "+cpu")

    def _leave_driver(self) -> None:
        if self._undo_driver is None:
            return
        base = self._undo_driver.parent
        with contextlib.suppress(OSError):
            self._write(base / "cgroup.subtree_control", "-cpu")
            self._write(base / "cgroup.procs", str(os.getpid()))
            self._undo_driver.rmdir()
            self._undo_driver = None

    def _mkdir(self, cgroup: str) -> None:
        for root in self._roots:
            self._make(self._in(root, cgroup))

    def _make(self, folder: Path) -> None:
        """Make one folder; the kernel fills it."""
        folder.mkdir()

    def _cpu_dir(self, cgroup: str) -> Path:
        return self._in(Path(self._mounts.cpu), cgroup)

    @staticmethod
    def _in(root: Path, cgroup: str) -> Path:
        return root / cgroup.lstrip("/")

    @staticmethod
    def _write(file: Path, text: str) -> None:
        # One write(2) without O_TRUNC or O_CREAT: kernel files know neither.
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def _reset_burst(self, file: Path) -> None:
        """A quota below the burst would be refused."""
        with contextlib.suppress(FileNotFoundError):
            if file.read_text().strip() != "0":
                self._write(file, "0")


def remove_stale(mounts: CgroupMounts, base: str) -> tuple[str, ...]:
    """Remove what tests left behind that were killed; returns the names of their parents.

    A test is dead when no process has its number, or when that process is younger than the cgroup.
    """
    found: dict[str, list[Path]] = {}
    for root in dict.fromkeys(Path(m) for m in (mounts.cpu, mounts.cpuacct, mounts.unified) if m):
        with contextlib.suppress(OSError):
            for folder in (root / base.lstrip("/")).iterdir():
                match = _OURS.fullmatch(folder.name)
                if match and not _is_alive(int(match[1]), folder):
                    found.setdefault(folder.name, []).append(folder)
    gone = []
    for name, folders in sorted(found.items()):
        # Another user's leftovers are not ours to remove.
        with contextlib.suppress(PermissionError, ActuationError):
            for child in sorted({entry.name for folder in folders for entry in folder.iterdir() if entry.is_dir()}):
                _remove([folder / child for folder in folders])
            _remove(folders)
            gone.append(name)
    return tuple(gone)


def _is_alive(pid: int, folder: Path) -> bool:
    """Whether the process that made the folder still runs. In doubt it does, and nothing is removed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # proc(5): field 22, counted from after the command in parentheses, which may hold anything.
    started_s = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    made_s = folder.stat().st_ctime - (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))
    return started_s <= made_s + 1.0


def _remove(folders: list[Path]) -> None:
    """Kill what runs in one cgroup of ours, in all its hierarchies, and remove it.

    Raises:
        PermissionError: It is another user's.
        ActuationError: Something in it cannot be ended.
    """
    deadline_s = time.monotonic() + _BURY_WITHIN_S
    for folder in folders:
        while folder.is_dir():
            try:
                folder.rmdir()
            except PermissionError:
                raise
            except OSError as err:
                if time.monotonic() > deadline_s:
                    raise ActuationError(f"cannot remove {folder}: {err.strerror}; later: rmdir {folder}") from err
                _kill_all_in(folder)
                time.sleep(0.01)


def _kill_all_in(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            # 0 stands for processes of another PID namespace. To kill(2) it would mean all of our own group.
            if pid > 0:
                os.kill(pid, signal.SIGKILL)


def explain_refusal(err: OSError, mounts: CgroupMounts, euid: int, command: str) -> str:
    """Say what could not be done, why, and the exact command that would allow it."""
    what = f"cannot write {err.filename or mounts.cpu}: {(err.strerror or str(err)).lower()}."
    if err.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}:
        return f"{what} Look at it with: mbcasctl doctor"
    if euid == 0:
        return f"{what} This looks like a container that may not make cgroups: run it on the host, or with --privileged"
    if mounts.version is CgroupVersion.V2:
        return (
            f"{what} Run as root, or give this user a cgroup of its own: "
            f"systemd-run --user --scope -p Delegate=yes {command}"
        )
    return f"{what} On cgroup v1 only root may make cgroups with a cpu controller: sudo {command}"


def own_base(mounts: CgroupMounts, euid: int) -> str:
    """Where to make the parent: root at the top, anybody else in the cgroup that they were given."""
    if euid == 0 or mounts.version is CgroupVersion.V1:
        return ""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::").rstrip("/")
    return ""
