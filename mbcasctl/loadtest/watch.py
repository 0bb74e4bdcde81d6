"""Reads the kernel's counters of all workloads ten times per second, beside whatever else goes on.

The load test judges by what the kernel says, not by what the daemon says about itself.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Self

from mbcasctl.loadtest.counters import CgroupFigures, Sight, between
from mbcasd.errors import SensingError
from mbcasd.sensing.tree import CgroupTree

INTERVAL_S = 0.1

# What a live screen calls "now".
_RECENT_S = 1.0


class Watcher:
    """A thread that collects sightings; use it as a context manager."""

    def __init__(self, tree: CgroupTree, parent: str, names: Sequence[str]) -> None:
        """Open the counters of the parent's children of these names.

        Raises:
            SensingError: One of them does not exist.
        """
        self._readers = {name: tree.open(tree.ref(f"{parent}/{name}")) for name in names}
        self._sights: list[Sight] = []
        self._recent: deque[Sight] = deque(maxlen=round(_RECENT_S / INTERVAL_S) + 1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._error: SensingError | None = None

    def __enter__(self) -> Self:
        """Start looking."""
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking; the sightings stay."""
        self._stop.set()
        self._thread.join()
        for reader in self._readers.values():
            reader.close()

    def _watch(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            try:
                self._look()
            except SensingError as err:
                self._error = err
                return
            due_s = max(due_s + INTERVAL_S, time.monotonic())

    def _look(self) -> None:
        now_s = time.monotonic()
        sight = Sight(
            now_s,
            {name: reader.sample(now_s) for name, reader in self._readers.items()},
            {name: reader.limit().limit_milli for name, reader in self._readers.items()},
        )
        self._sights.append(sight)
        self._recent.append(sight)

    @property
    def latest(self) -> Sight:
        """The last sighting."""
        return self._sights[-1]

    def recent(self) -> dict[str, CgroupFigures]:
        """What the workloads did in the last second; empty at the start."""
        sights = list(self._recent)
        return between(sights, sights[0].at_s, sights[-1].at_s)

    def figures(self, start_s: float, end_s: float) -> dict[str, CgroupFigures]:
        """What the workloads did between two moments.

        Raises:
            SensingError: The counters could not be read to the end.
        """
        if self._error is not None:
            raise self._error
        return between(list(self._sights), start_s, end_s)
