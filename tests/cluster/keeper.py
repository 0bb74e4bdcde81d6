"""The cluster of `make cluster`: held by a process in the background, until `make cluster-down` ends that.

There is one per user and temporary folder. A file in the cluster's own folder says what it is, and goes with it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.cluster import Cluster
from cluster.instance import directories, is_alive, remove_left_behind
from cluster.polling import poll_until

STATE = "held.json"
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


def find() -> Held | None:
    """The cluster that is up, if one is."""
    for directory in directories():
        with contextlib.suppress(OSError, ValueError, TypeError):
            held = Held(**json.loads((directory / STATE).read_text()))
            if directory.stat().st_uid == os.geteuid() and is_alive(directory):
                return held
    return None


def start() -> Held:
    """Start a keeper and wait until its nodes are Ready.

    Raises:
        RuntimeError: It failed; the message has its last words.
    """
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


def keep() -> int:
    """Hold a cluster until told to end."""
    ended = threading.Event()
    # A cluster that is still starting is finished first: torn off in the middle it would be left to the next one.
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    began_s = time.monotonic()
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
        (cluster.instance.directory / STATE).write_text(json.dumps(asdict(held)))
        _close_output(cluster.instance.directory / "keeper.log")
        ended.wait()
    return 0


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
            lambda: not is_alive(Path(held.directory)),
            ENDS_WITHIN_S,
            lambda: f"process {held.pid}, which holds the cluster, ends",
        )
    # A keeper that was killed leaves files and cgroups.
    remove_left_behind()
    return None if held is None else time.monotonic() - began_s
