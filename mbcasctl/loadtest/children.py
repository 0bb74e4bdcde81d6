"""Starts this project's own programs as child processes, from a checkout and from the single binary alike."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from mbcasd.errors import ExpectedTrouble

# Exit is a matter of milliseconds, but a throttled child needs its quota for that too.
STOP_WITHIN_S = 5.0


class ChildFailed(ExpectedTrouble):
    """A program of the load test could not start or ended too early; the message holds its last words."""


def serve_command(*arguments: str) -> list[str]:
    """How to run one service of the load test."""
    return _command("mbcasctl.loadtest.service", ("loadtest", "serve"), arguments)


def send_command() -> list[str]:
    """How to run the load generator."""
    return _command("mbcasctl.loadtest.traffic", ("loadtest", "send"), ())


def daemon_command(*arguments: str) -> list[str]:
    """How to run `mbcasd`."""
    return ["mbcasd", *arguments] if _is_frozen() else [sys.executable, "-m", "mbcasd", *arguments]


def _command(module: str, hidden: tuple[str, str], arguments: Sequence[str]) -> list[str]:
    """From a checkout the module alone, which starts in half the time of the whole command line."""
    return ["mbcasctl", *hidden, *arguments] if _is_frozen() else [sys.executable, "-m", module, *arguments]


def _is_frozen() -> bool:
    return bool(getattr(sys, "frozen", False))


class Child:
    """One child process with its pipes; not part of the terminal's group, so that Ctrl-C is ours to handle."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: IO[bytes],
        before: Callable[[], None] | None = None,
    ) -> None:
        """Start it; what it complains about goes to `log`, which all children may share.

        Args:
            name: How messages call it.
            command: Arguments from the zeroth on. The program is always the one that runs now: this interpreter, or
                the single binary, which does what the zeroth argument says.
            log: An open file for its standard error.
            before: Called in the child before the program runs.

        Raises:
            ChildFailed: The program does not exist or may not be run.
        """
        self.name = name
        self._log = log
        self._log_starts_at = log.tell()
        self._unread = b""
        try:
            self._process = subprocess.Popen(
                command,
                executable=sys.executable,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
                preexec_fn=before,  # noqa: PLW1509 - it takes no locks
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except OSError as err:
            raise ChildFailed(f"{name} could not be started: {err}") from err

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def write_line(self, line: bytes) -> None:
        """Give it one line of input.

        Raises:
            ChildFailed: It does not take any more.
        """
        assert self._process.stdin is not None  # noqa: S101 - opened above
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError as err:
            raise self.failure("takes no more input") from err

    def read_line(self, within_s: float) -> bytes:
        """Wait for one whole line of output, without its end.

        Raises:
            ChildFailed: There is none in time, or it ended.
        """
        line = self.poll_line(within_s)
        if line is None:
            raise self.failure(f"said nothing within {within_s:g} s")
        return line

    def poll_line(self, within_s: float) -> bytes | None:
        """Like `read_line`, but None if no whole line came in time; what came is kept for the next call."""
        ends_s = time.monotonic() + within_s
        while b"\n" not in self._unread:
            part = self._read_some(max(0.0, ends_s - time.monotonic()))
            if part is None:
                return None
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _read_some(self, within_s: float) -> bytes | None:
        """Return what output there is, waiting for some; None if nothing came in time."""
        assert self._process.stdout is not None  # noqa: S101 - opened above
        output = self._process.stdout.fileno()
        if not select.select([output], [], [], within_s)[0]:
            return None
        part = os.read(output, 1 << 16)
        if not part:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            raise self.failure("ended")
        return part

    def failure(self, what: str) -> ChildFailed:
        """Say what went wrong, with the child's own last words."""
        said = self._last_words()
        code = "" if self.returncode is None else f" with exit code {self.returncode}"
        return ChildFailed(f"{self.name} {what}{code}" + (f": {said}" if said else ""))

    def _last_words(self) -> str:
        with contextlib.suppress(OSError), Path(self._log.name).open("rb") as log:
            log.seek(self._log_starts_at)
            lines = log.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def terminate(self) -> None:
        """Ask it to stop and do not wait."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def wait(self, within_s: float) -> int | None:
        """Wait for its end; returns the exit code, or None if it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(within_s)
        return None

    def close(self) -> None:
        """Make sure that it has ended, and let go of its pipes; may be called again."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.wait(0.0) is None:
            self.terminate()
            if self.wait(STOP_WITHIN_S) is None:
                self._process.kill()
                self._process.wait()


def die_with_parent() -> Callable[[], None]:
    """Make what a child must call to get SIGTERM from the kernel when its parent is gone.

    For programs that do not watch their standard input, above all the daemon: it then puts the limits back.
    """
    import ctypes
    import signal

    pr_set_pdeathsig = 1  # prctl(2)
    # Looked up before the fork: the child may not take locks that another thread could have held.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(pr_set_pdeathsig, signal.SIGTERM)
