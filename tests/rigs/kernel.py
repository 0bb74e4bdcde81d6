"""Real cgroups with real burners, and a real `mbcasd local` beside them. Everything is removed at the end.

The shares are raised, so that a busy machine does not fool the tests.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

RAISED_SHARES = 262_144
# Burners end by themselves, so that one whose test was killed does not starve the machine for ever.
BURN = """
ends_s = time.monotonic() + 90
while time.monotonic() < ends_s: pass
"""
PACED = """
ends_at_s = time.monotonic() + 90
while time.monotonic() < ends_at_s:
    next_s = (time.monotonic() // 0.1 + 1) * 0.1
    ends_s = time.thread_time() + {busy_s}
    while time.thread_time() < ends_s: pass
    time.sleep(max(0.0, next_s - time.monotonic()))
"""
# How much longer than usual everything may take: a guest without hardware support is slow.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))

_numbers = itertools.count()


class Rig:
    """One parent cgroup with children; on v1 in the cpu and the cpuacct hierarchy."""

    def __init__(self) -> None:
        self.name = f"mbcas-test-{os.getpid()}-{next(_numbers)}"
        self.is_v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        roots = ["/sys/fs/cgroup"] if self.is_v2 else ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"]
        # Joined controllers are one directory behind two names.
        self.roots = [Path(root) for root in dict.fromkeys(os.path.realpath(root) for root in roots)]
        self._processes: list[subprocess.Popen[bytes]] = []
        for root in self.roots:
            (root / self.name).mkdir()
        self.cpu = self.roots[0] / self.name
        if self.is_v2:
            (self.cpu / "cgroup.subtree_control").write_text("+cpu")
        self._raise_weight(self.cpu)

    @property
    def path(self) -> str:
        return f"/{self.name}"

    def _raise_weight(self, cgroup: Path) -> None:
        if self.is_v2:
            (cgroup / "cpu.weight").write_text("10000")
        else:
            (cgroup / "cpu.shares").write_text(str(RAISED_SHARES))

    def add(self, child: str, limit_milli: float | None) -> None:
        for root in self.roots:
            (root / self.name / child).mkdir()
        self._raise_weight(self.cpu / child)
        self.write_limit(child, limit_milli)

    def remove(self, child: str) -> None:
        for root in self.roots:
            _retry(lambda root=root: (root / self.name / child).rmdir())

    def write_limit(self, child: str, limit_milli: float | None) -> None:
        """As a person would: the burst first, since it may not exceed the quota."""
        burst = self.cpu / child / ("cpu.max.burst" if self.is_v2 else "cpu.cfs_burst_us")
        if burst.exists():
            burst.write_text("0")
        if self.is_v2:
            text = "max" if limit_milli is None else f"{limit_milli * 100:.0f} 100000"
            (self.cpu / child / "cpu.max").write_text(text)
        else:
            quota = -1 if limit_milli is None else round(limit_milli * 100)
            (self.cpu / child / "cpu.cfs_quota_us").write_text(str(quota))

    def limit(self, child: str) -> float | None:
        if self.is_v2:
            quota, period = (self.cpu / child / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) * 1000 / int(period)
        quota = int((self.cpu / child / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota * 1000 / int((self.cpu / child / "cpu.cfs_period_us").read_text())

    def throttled_periods(self, child: str) -> int:
        lines = (self.cpu / child / "cpu.stat").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("nr_throttled")).split()[1])

    def usage_s(self, child: str) -> float:
        if self.is_v2:
            return int((self.cpu / child / "cpu.stat").read_text().split()[1]) / 1e6
        return int((self.roots[-1] / self.name / child / "cpuacct.usage").read_text()) / 1e9

    def burn(self, child: str, threads: int = 1) -> list[int]:
        """Start burners inside a child; they are in the cgroup before they burn."""
        return [self._start(child, BURN) for _ in range(threads)]

    def _start(self, child: str, code: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import sys, time; sys.stdin.readline()\n{code}"], stdin=subprocess.PIPE
        )
        self._processes.append(process)
        for root in self.roots:
            (root / self.name / child / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
        return process.pid

    def pace(self, child: str, milli: int) -> None:
        """Start a worker that needs so much CPU: it uses its share of each period of 100 ms and skips what is late."""
        self._start(child, PACED.format(busy_s=milli / 10_000))

    def stop_burning(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def close(self) -> None:
        self.stop_burning()
        for root in self.roots:
            for child in [path for path in (root / self.name).iterdir() if path.is_dir()]:
                _retry(child.rmdir)
            _retry((root / self.name).rmdir)


def _retry(action: Callable[[], None]) -> None:
    """A killed process leaves its cgroup a moment later."""
    wait_until(lambda: _done(action), 5, "the cgroup can be removed")


def _done(action: Callable[[], None]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def wait_until(fact: Callable[[], bool], within_s: float, what: str) -> float:
    """Poll a fact until it is true; returns how long it took, fails with words when it takes too long."""
    began_s = time.monotonic()
    while not fact():
        if time.monotonic() - began_s > within_s * PATIENCE:
            raise AssertionError(f"not within {within_s * PATIENCE:g} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began_s


class Daemon:
    """One `mbcasd local`, ready when constructed."""

    def __init__(
        self, rig: Rig, state_dir: Path, *flags: str, config: str = "", program: list[str] | None = None
    ) -> None:
        self.socket, self.state_dir, self.log_path = state_dir / "s", state_dir, state_dir / "log"
        state_dir.mkdir(exist_ok=True)
        config_path = state_dir / "mbcasd.toml"
        config_path.write_text(config)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program or [sys.executable, "-m", "mbcasd"]),
                    *("local", "--parent", rig.path, "--state-dir", str(state_dir), "--socket", str(self.socket)),
                    *("--config", str(config_path), *flags),
                ],
                stderr=log,
                stdout=subprocess.PIPE,
            )
        wait_until(self._is_ready, 15, f"the daemon is ready; its log: {self.log()}")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5 * PATIENCE)
            client.connect(str(self.socket))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def status(self) -> dict:
        return json.loads(self.get("/status")[1])

    def row(self, name: str) -> dict:
        return next(row for row in self.status()["workloads"] if row["name"] == name)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(15 * PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextlib.contextmanager
def a_rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        yield rig
    finally:
        rig.close()


@contextlib.contextmanager
def a_daemon(
    rig: Rig, state_dir: Path, *flags: str, config: str = "", program: list[str] | None = None
) -> Iterator[Daemon]:
    daemon = Daemon(rig, state_dir, *flags, config=config, program=program)
    try:
        yield daemon
    finally:
        daemon.stop()
