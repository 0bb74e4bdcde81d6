"""The cluster of `make cluster`: held by a process in the background, until `make cluster-down` ends that.

There is one per user. A state file says where it is; it goes with the cluster.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from cluster import programs
from cluster.cluster import Cluster
from cluster.instance import remove_left_behind
from cluster.polling import poll_until

ENDS_WITHIN_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A cluster that somebody holds."""

    pid: int
    directory: str
    kubeconfig: str
    server: str
    nodes: list[str]
    version: str
    started_in_s: float

    @property
    def is_alive(self) -> bool:
        """Whether its keeper still has the lock on its folder."""
        try:
            with Path(self.directory, "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _state_file() -> Path:
    return programs.cache() / "running.json"


def find() -> Held | None:
    """The cluster that is up, if one is."""
    try:
        held = Held(**json.loads(_state_file().read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return held if held.is_alive else None


def start() -> Held:
    """Start a keeper and wait until its nodes are Ready.

    Raises:
        RuntimeError: It failed; the message has its last words.
    """
    programs.cache().mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "cluster", "keep"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as keeper:
        assert keeper.stdout is not None
        # It closes its output when the cluster is up, and dies when it is not.
        words = keeper.stdout.read()
        held = find()
        if held is None or held.pid != keeper.pid:
            keeper.wait()
            raise RuntimeError(words)
        # It goes on; nobody here waits for its end.
        keeper.returncode = 0
    return held


def keep() -> NoReturn:
    """Hold a cluster until told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    began_s = time.monotonic()
    try:
        with Cluster() as cluster:
            held = Held(
                pid=os.getpid(),
                directory=str(cluster.instance.directory),
                kubeconfig=cluster.kubeconfig,
                server=cluster.server,
                nodes=list(cluster.nodes),
                version=cluster.version,
                started_in_s=round(time.monotonic() - began_s, 1),
            )
            _state_file().write_text(json.dumps(asdict(held)))
            _close_output(cluster.instance.directory / "keeper.log")
            threading.Event().wait()
    finally:
        _state_file().unlink(missing_ok=True)
    sys.exit(0)


def _close_output(log: Path) -> None:
    with log.open("wb") as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)


def stop() -> float | None:
    """End it and remove all of it; returns the seconds that took, None if there was nothing to end."""
    held = find()
    began_s = time.monotonic()
    if held is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(held.pid, signal.SIGTERM)
        poll_until(
            lambda: not held.is_alive, ENDS_WITHIN_S, lambda: f"process {held.pid}, which holds the cluster, ends"
        )
    _state_file().unlink(missing_ok=True)
    # A keeper that was killed leaves files and cgroups.
    remove_left_behind()
    return None if held is None else time.monotonic() - began_s
