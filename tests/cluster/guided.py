"""Programs inside namespaces that were made for them."""

import contextlib
import os
import signal
import time
from pathlib import Path

from cluster.daemons import Daemon
from cluster.polling import poll_until


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
