"""Runs `mbcasd local` over the test's cgroups: a subprocess as an owner would start it, with files of its own."""

import contextlib
import http.client
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mbcasctl.loadtest import children
from mbcasctl.loadtest.children import Child
from mbcasctl.loadtest.workloads import WorkloadSpec
from mbcasctl.sources.daemon import DaemonSource, over_socket
from mbcasd.errors import RecordError, SourceError
from mbcasd.model.snapshot import NodeSnapshot

_READY_WITHIN_S = 15.0
_STOP_WITHIN_S = 15.0


def configuration(workloads: Sequence[WorkloadSpec]) -> str:
    """What an owner would write: which workloads somebody waits for, and how much they count."""
    lines = ["# Made by the load test: classes and weights of its workloads, everything else is the default.", ""]
    for spec in workloads:
        lines += ["[[workload]]", f'match = "*/{spec.name}"', f'class = "{spec.workload_class}"']
        lines += [f"weight = {spec.weight:g}", ""]
    return "\n".join(lines)


class LocalDaemon:
    """One `mbcasd local` with its state, socket and record in a folder of its own."""

    def __init__(self, *, parent: str, folder: Path, mode: str, capacity_milli: float | None, config: str) -> None:
        """Start nothing yet; `folder` is made and holds everything that the daemon writes."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._socket = folder / "mbcasd.sock"
        self._log_file = folder / "mbcasd.log"
        config_file = folder / "mbcasd.toml"
        config_file.write_text(config, encoding="utf-8")
        self._command = children.daemon_command(
            *("local", "--parent", parent, "--mode", mode, "--config", str(config_file)),
            *("--state-dir", str(folder / "state"), "--socket", str(self._socket)),
            *(() if capacity_milli is None else ("--capacity", f"{capacity_milli:.0f}m")),
        )
        self._child: Child | None = None
        self._source: DaemonSource = over_socket(str(self._socket), timeout_s=1.0)

    @property
    def socket_path(self) -> Path:
        """Where `mbcasctl top --socket` finds it while it runs."""
        return self._socket

    @property
    def record_path(self) -> Path:
        """Where its record is."""
        return self._folder / "state" / "record.db"

    def __enter__(self) -> Self:
        """Start it and wait until it says that it is ready.

        Raises:
            ChildFailed: It does not become ready; its last words are in the message.
        """
        with self._log_file.open("ab") as log:
            self._child = Child("mbcasd", self._command, log=log, before=children.die_with_parent())
        try:
            self._await_ready(self._child)
        except BaseException:
            self._child.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it if `stop` has not."""
        if self._child is not None:
            self._child.close()

    def _await_ready(self, child: Child) -> None:
        ends_s = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready():
            if child.returncode is not None:
                raise child.failure("ended before it was ready")
            if time.monotonic() > ends_s:
                raise child.failure(f"was not ready within {_READY_WITHIN_S:g} s")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(_Unix(self._socket)) as asking:
            asking.request("GET", "/readyz")
            return asking.getresponse().status == 200
        return False

    def snapshot(self) -> NodeSnapshot | None:
        """Its picture of the node; None while it has none or does not answer."""
        with contextlib.suppress(SourceError):
            return self._source.snapshot()
        return None

    def cpu_s(self) -> float | None:
        """CPU time that it used so far; None where it cannot be read."""
        assert self._child is not None  # noqa: S101 - it was entered
        pid = self._child.pid
        try:
            # A single-file binary runs the program in a child of the process that was started.
            pids = (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
            return sum(map(_cpu_s_of, pids))
        except OSError:
            return None

    def check_alive(self) -> None:
        """Make sure that it runs.

        Raises:
            ChildFailed: It ended by itself, which it should not.
        """
        if self._child is not None and self._child.returncode is not None:
            raise self._child.failure("ended by itself")

    def stop(self) -> None:
        """Ask it to stop, which puts the owner's limits back.

        Raises:
            ChildFailed: It did not stop in time, or not with exit code 0.
        """
        assert self._child is not None  # noqa: S101 - it was entered
        self._child.terminate()
        code = self._child.wait(_STOP_WITHIN_S)
        if code is None:
            raise self._child.failure(f"did not stop within {_STOP_WITHIN_S:g} s of SIGTERM")
        if code != 0:
            raise self._child.failure("did not stop cleanly")

    def keep_record(self, target: Path) -> None:
        """Copy the record, with all that its write-ahead log holds, to `target`.

        Raises:
            RecordError: There is none, or it cannot be copied.
        """
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            source = sqlite3.connect(f"{self.record_path.as_uri()}?mode=ro", uri=True)
            with contextlib.closing(source), contextlib.closing(sqlite3.connect(fresh)) as copy:
                source.backup(copy)
            shutil.move(fresh, target)
        except (sqlite3.Error, OSError) as err:
            fresh.unlink(missing_ok=True)
            raise RecordError(f"the record cannot be kept at {target}: {err}") from err


def _cpu_s_of(pid: int) -> float:
    # proc(5): fields 14 and 15, user and system time, counted from after the command in parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=1.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
