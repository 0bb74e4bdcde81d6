"""The record: what the daemon saw and decided, written in the background, never in its way.

`Recorder` takes values from the loops and returns at once. A thread of its own turns them into rows about once a
second. When the file cannot be written (full disk, read-only, locked, damaged) the loops go on; the trouble is
logged once and stands in `health`, the newest rows are kept up to a bound, the rest is counted, and writing is
tried again with growing pauses. When it works again the record itself says what it lacks.
"""

import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from mbcasd.accounting import schema
from mbcasd.accounting.drafting import Draft, Drafter
from mbcasd.accounting.store import Run, Store
from mbcasd.clock import Clock
from mbcasd.errors import ConfigError, MbcasError
from mbcasd.model.decision import Decision, Event, Observation, Receipt
from mbcasd.model.snapshot import NodeSnapshot
from mbcasd.settings import RecordSettings, Settings

log = logging.getLogger(__name__)

# Rows reach the disk so often, and sooner where many wait. A kill -9 costs at most this much.
FLUSH_S = 2.0
# What may wait for the writer, in samples and other entries: 4 s of a hundred busy containers, about 1 MB.
_MOST_WAITING = 4000
# Rows that are kept while the file cannot be written: about as long, and as large.
_MOST_KEPT = 1500
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
# Trouble that comes back within this time is not a new one, and is not said again.
_SAME_TROUBLE_S = 600.0
_PRUNE_S = 60.0
_SNAPSHOT_S = 10.0

Drafts = Iterable[Draft]


class RecordHealth(NamedTuple):
    """How the record is doing."""

    written: int  # rows since the start
    dropped: int  # rows and waiting entries that were lost since the start
    trouble: str | None  # why it cannot be written now; None: all is well


class Recorder:
    """Keeps the record; its `put_…` may be called from any thread and never block."""

    def __init__(self, path: Path, *, node: str, version: str, settings: Settings, clock: Clock) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            path: The SQLite file; its folder is made where it is missing.
            node: Name of this node.
            version: Of the daemon.
            settings: All of them; they are recorded with the run, and `settings.record` bounds the file.
            clock: Where wall and monotonic time come from.
        """
        self._path, self._clock = path, clock
        self._limits: RecordSettings = settings.record
        self._run = Run(
            boot_id=_boot_id(),
            node=node,
            version=version,
            settings=msgspec.json.encode(settings).decode(),
            started_at_s=clock.now_s(),
            started_wall_s=clock.wall_s(),
        )
        self._lock = threading.Lock()  # held for an append or a swap, nothing else
        self._waiting: list[Callable[[], Drafts]] = []
        self._weight = 0
        self._snapshot: NodeSnapshot | None = None
        self._overflowed = 0

        self._drafter = Drafter()
        self._store: Store | None = None
        self._kept: list[Draft] = []
        self._health = RecordHealth(0, 0, None)
        self._trouble_since_s = self._last_trouble_s = 0.0
        self._last_trouble: str | None = None
        self._level = logging.WARNING
        self._dropped_in_trouble = 0
        self._pause_s = _FIRST_PAUSE_S
        self._next_try_s = self._next_prune_s = self._next_snapshot_s = float("-inf")

        self._wake, self._stop = threading.Event(), threading.Event()
        self._passed = threading.Condition()
        self._passes_asked = self._passes_done = 0
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)

    def start(self) -> None:
        """Open the record and start writing in the background.

        Raises:
            ConfigError: The path leads to a file that is not a record, or that a newer release wrote. Trouble
                that may pass (full, read-only, locked) is not raised: it is logged and tried again.
        """
        self._try(self._open)
        self._thread.start()

    @property
    def health(self) -> RecordHealth:
        """How the record is doing; for the metrics and for `/status`."""
        return self._health

    def put_observation(self, seen: Observation, now_s: float) -> None:
        """Record what one pass saw: samples, and levels and outcomes where it holds some."""
        ahead_s = self._clock.wall_s() - self._clock.now_s()
        self._put(lambda: self._drafter.observation(seen, now_s, ahead_s), 1 + len(seen.samples))

    def put_decision(self, decision: Decision, now_s: float) -> None:
        """Record demands and events of one step; its clearing comes with `put_receipt`."""
        if decision.demands or decision.events:
            ahead_s = self._clock.wall_s() - self._clock.now_s()
            self._put(lambda: self._drafter.decision(decision, now_s, ahead_s), 1 + len(decision.demands))

    def put_receipt(self, receipt: Receipt) -> None:
        """Record a clearing with all that is needed to compute it again."""
        ahead_s = self._clock.wall_s() - self._clock.now_s()
        self._put(lambda: self._drafter.receipt(receipt, ahead_s), 1 + len(receipt.market.bids))

    def put_event(self, event: Event) -> None:
        """Record something that happened outside a step."""
        ahead_s = self._clock.wall_s() - self._clock.now_s()
        self._put(lambda: self._drafter.event(event, ahead_s), 1)

    def put_snapshot(self, snapshot: NodeSnapshot) -> None:
        """Keep the newest picture of the node; it reaches the disk every ten seconds and at the end."""
        self._snapshot = snapshot

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was put before is written, or was tried; returns whether nothing is left over."""
        with self._passed:
            self._passes_asked += 1
            ticket = self._passes_asked
            self._wake.set()
            done = self._passed.wait_for(lambda: self._passes_done >= ticket, timeout_s)
        return done and not self._kept

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left and close the file; gives up after `timeout_s`."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is None:  # never started
            self._finish()
        else:
            self._thread.join(timeout_s)

    def _put(self, drafts: Callable[[], Drafts], weight: int) -> None:
        with self._lock:
            if self._weight + weight > _MOST_WAITING:
                self._overflowed += weight
                return
            self._waiting.append(drafts)
            self._weight += weight
            if self._weight > _MOST_WAITING / 2:
                self._wake.set()

    # ---- below: only on the writer's thread, or by hand in tests -------------------------------------------

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            with self._passed:
                asked = self._passes_asked
            self.write_waiting()
            with self._passed:
                self._passes_done = asked
                self._passed.notify_all()
        self._finish()

    def write_waiting(self) -> None:
        """Turn what waits into rows and write them, unless it is not yet time to try again."""
        self._draft_waiting()
        if self._health.trouble is None or self._clock.now_s() >= self._next_try_s:
            self._try(self._write)
        if len(self._kept) > _MOST_KEPT:
            surplus = len(self._kept) - _MOST_KEPT
            del self._kept[:surplus]
            self._count_dropped(surplus)

    def _draft_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting, self._weight = self._waiting, [], 0
            overflowed, self._overflowed = self._overflowed, 0
        for drafts in waiting:
            self._kept.extend(drafts())
        if overflowed:
            log.log(
                logging.DEBUG if self._health.dropped else logging.WARNING,
                "the record lost %d entries: the writer did not get enough CPU",
                overflowed,
            )
            self._count_dropped(overflowed)

    def _finish(self) -> None:
        self._draft_waiting()
        self._kept.extend(self._drafter.gathered())
        self._next_try_s = self._next_snapshot_s = float("-inf")
        self.write_waiting()
        store, self._store = self._store, None
        if store is not None:
            try:
                store.close(self._clock.wall_s())
            except (sqlite3.Error, OSError) as err:
                log.warning("the record was not closed cleanly, its log will be replayed: %s", err)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ConfigError as err:
            if self._thread.ident is None:
                raise  # at the start a person still looks
            self._fail(str(err))
        except MbcasError as err:
            self._fail(str(err))
        except (sqlite3.Error, OSError) as err:
            code = getattr(err, "sqlite_errorcode", 0) & 0xFF
            # Where only room or a lock is missing the open file stays as it is. Closing it would free a few pages of
            # a full disk, and every second attempt would succeed for a moment.
            self._fail(
                str(schema.translate(err, self._path)),
                passing=code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY},
                damaged=code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB},
            )
        else:
            self._recover()

    def _open(self) -> None:
        self._store = Store(self._path, self._run, max_bytes=self._limits.max_bytes)

    def _write(self) -> None:
        if self._store is not None and not self._store.is_in_place():
            log.warning("the record %s was moved or deleted, a new one begins", self._path)
            self._drop_store()
        if self._store is None:
            self._open()
        store = self._store
        assert store is not None  # noqa: S101 - opened above
        now_s = self._clock.now_s()
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + _PRUNE_S
            store.prune(now_s, self._clock.wall_s(), self._limits.retention_s)
        if self._kept:
            self._write_drafts(store)
            self._health = self._health._replace(written=self._health.written + len(self._kept))
            self._kept.clear()
        if self._snapshot is not None and now_s >= self._next_snapshot_s:
            self._next_snapshot_s = now_s + _SNAPSHOT_S
            store.write_snapshot(zlib.compress(msgspec.json.encode(self._snapshot), 1))
            self._snapshot = None

    def _write_drafts(self, store: Store) -> None:
        try:
            store.write(self._kept)
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode != sqlite3.SQLITE_FULL or not (store.is_at_bound() and store.make_room()):
                raise
            store.write(self._kept)

    def _drop_store(self) -> None:
        store, self._store = self._store, None
        self._drafter.forget()
        if store is not None:
            try:
                store.close()
            except sqlite3.Error as err:
                log.debug("the record %s did not close: %s", self._path, err)

    def _fail(self, trouble: str, *, passing: bool = False, damaged: bool = False) -> None:
        if not passing:
            self._drop_store()
        if damaged:
            trouble = f"{trouble}. {self._move_aside()}"
        now_s = self._clock.now_s()
        if self._health.trouble is None:
            self._trouble_since_s, self._pause_s = now_s, _FIRST_PAUSE_S
            is_known = trouble == self._last_trouble and now_s - self._last_trouble_s < _SAME_TROUBLE_S
            self._level = logging.DEBUG if is_known else logging.WARNING
            log.log(self._level, "%s. Decisions go on without a record, next try in %gs", trouble, self._pause_s)
        else:
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
            log.debug("%s; next try in %gs", trouble, self._pause_s)
        self._health = self._health._replace(trouble=trouble)
        self._next_try_s = now_s + self._pause_s

    def _move_aside(self) -> str:
        # A file whose header is not ours never gets here: `schema.check_owner` comes before anything else.
        aside = self._path.with_name(self._path.name + ".damaged")
        try:
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as err:
            return f"It could not be moved away: {err.strerror}"
        return f"It was moved to {aside.name}"

    def _recover(self) -> None:
        if self._health.trouble is None:
            return
        now_s, ahead_s = self._clock.now_s(), self._clock.wall_s() - self._clock.now_s()
        message = (
            f"nothing could be written for {now_s - self._trouble_since_s:.0f} s "
            f"and {self._dropped_in_trouble} entries were lost: {self._health.trouble}"
        )
        log.log(self._level, "the record is written again: %s", message)
        self._last_trouble, self._last_trouble_s = self._health.trouble, now_s
        self._health = self._health._replace(trouble=None)
        self._dropped_in_trouble = 0
        self._kept.extend(
            self._drafter.event(Event(at_s=now_s, kind="record", workload=None, message=message), ahead_s)
        )

    def _count_dropped(self, lost: int) -> None:
        self._health = self._health._replace(dropped=self._health.dropped + lost)
        self._dropped_in_trouble += lost
        # What follows must not build on rows that are not there.
        self._drafter.forget()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # Without it no two runs share a boot, which only means that ages are judged by the wall clock.
        return os.urandom(16).hex()
