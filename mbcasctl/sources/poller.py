"""Fetches pictures in the background, so that a slow daemon never makes a screen deaf to its keys."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from mbcasctl.sources import Source
from mbcasd.errors import MbcasError
from mbcasd.model.snapshot import NodeSnapshot

# A picture that does not change for so long comes from a daemon whose loops stand still while its server answers.
STALE_S = 10.0


class News(NamedTuple):
    """What is known about the source now."""

    snapshot: NodeSnapshot  # the last one that arrived
    trouble: str  # why it may be old, in one sentence; empty: all is well


class Poller:
    """Asks a source at an interval; a context manager whose thread ends with it."""

    def __init__(self, source: Source, first: NodeSnapshot, interval_s: float, on_news: Callable[[], None]) -> None:
        """Start with a picture that is there already; `on_news` is called on the poller's thread."""
        self._source, self._interval_s, self._on_news = source, interval_s, on_news
        self._lock = threading.Lock()
        self._latest, self._error = first, ""
        self._changed_s = self._heard_s = time.monotonic()
        self._stop = threading.Event()
        # A daemon thread: a request that hangs must not keep the command from ending.
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def news(self) -> News:
        """The last picture, and whether it can still be believed."""
        with self._lock:
            latest, error, changed_s, heard_s = self._latest, self._error, self._changed_s, self._heard_s
        now_s = time.monotonic()
        if error:
            return News(latest, f"lost the daemon {now_s - heard_s:.0f} s ago, trying again: {error}")
        if now_s - changed_s > STALE_S + self._interval_s:
            return News(latest, f"the daemon answers, but has not looked at its node for {now_s - changed_s:.0f} s")
        return News(latest, "")

    def _run(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            self._ask()
            if self._stop.is_set():
                return
            self._on_news()
            due_s = max(due_s + self._interval_s, time.monotonic())

    def _ask(self) -> None:
        try:
            snapshot = self._source.snapshot()
        except MbcasError as err:
            with self._lock:
                self._error = str(err)
            return
        now_s = time.monotonic()
        with self._lock:
            if snapshot.taken_wall_s != self._latest.taken_wall_s:
                self._changed_s = now_s
            self._latest, self._error, self._heard_s = snapshot, "", now_s
