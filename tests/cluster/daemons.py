"""Long-running programs: started, watched, ended; each with a log of its own."""

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Linux ends a daemon together with the *thread* that started it. A test may start one from a thread of its own,
# so all are started by this one, which lives as long as the process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class Daemon:
    """A program that runs until it is stopped, or until this process is gone for whatever reason."""

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path) -> None:
        """Describe it; `start` starts it.

        Args:
            name: What messages call it.
            argv: The command line.
            log: Where both its streams go.
        """
        self.name, self.log = name, log
        self._argv = ["setpriv", "--pdeathsig", "KILL", *map(str, argv)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._process = _starter.submit(
                subprocess.Popen, self._argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            ).result()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal; SIGSTOP and SIGCONT make a stall."""
        with contextlib.suppress(ProcessLookupError):
            assert self._process is not None
            self._process.send_signal(number)

    def stop(self, within_s: float = 10) -> None:
        """End it politely, then not; also twice."""
        if self._process is None:
            return
        self._process.terminate()
        # A stopped process would never hear of it.
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a crash would; also twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"the log of {self.name} ends with:\n{text[-3000:]}"
