"""The record's file in the hands of its one writer: rows in, old rows out, the chain carried on.

Raises what SQLite and the operating system raise; `record.py` decides what that means for the daemon.
"""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from mbcasd.accounting import chain, schema
from mbcasd.accounting.drafting import Draft
from mbcasd.errors import RecordError
from mbcasd.model.identity import WorkloadId

# Room is made before it runs out: pruning in the middle of a write would be a second failure.
_FULL_ENOUGH = 0.9
# Each step of pruning takes this part of the oldest run's time, at least a minute.
_STEP_RATIO = 1 / 16
_STEP_S = 60.0
# Readers that stay in one transaction for long keep the write-ahead log from being folded back.
_LONGEST_LOG_BYTES = 32 * 1024 * 1024

# All take run, at_s, workload (None: the node), wall_s, and what the draft holds.
_INSERTS = {
    "samples": "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?)",
    "demands": "INSERT OR REPLACE INTO demands VALUES (?, ?, ?, ?, ?)",
    "limits": "INSERT OR REPLACE INTO limits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "nodes": "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?)",
    "resizes": "INSERT INTO resizes (run, at_s, workload, wall_s, outcome) VALUES (?, ?, ?, ?, ?)",
    "events": "INSERT INTO events (run, at_s, workload, wall_s, kind, message) VALUES (?, ?, ?, ?, ?, ?)",
}


class Run(NamedTuple):
    """One start of the daemon."""

    boot_id: str
    node: str
    version: str
    settings: str  # JSON
    started_at_s: float  # monotonic
    started_wall_s: float


class Store:
    """An open record and what the writer must know about it."""

    def __init__(self, path: Path, run: Run, *, max_bytes: int) -> None:
        """Open the record and enter this run in it.

        Raises:
            ConfigError: See `schema.open_to_write`; so too for the others.
            RecordError: Likewise.
            sqlite3.Error: Likewise.
            OSError: Likewise.
        """
        self._path, self._about = path, run
        self._connection = schema.open_to_write(path, max_bytes=max_bytes)
        try:
            self._inode = path.stat().st_ino
            self._max_pages = self._pragma("max_page_count")
            self._run = self._enter_run()
            self._head = self._end("head")
            self._numbers = self._known_workloads()
        except BaseException:
            self._connection.close()
            raise

    def is_in_place(self) -> bool:
        """Whether the path still leads to the open file; somebody may have moved or deleted it."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def write(self, drafts: Sequence[Draft]) -> None:
        """Write all of it or nothing."""
        if self._log_bytes() > _LONGEST_LOG_BYTES:
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
            if self._log_bytes() > _LONGEST_LOG_BYTES:
                raise RecordError(
                    f"the record {self._path}: another program keeps reading an old state of it, so its log "
                    "cannot be folded back; close that program"
                )
        head, numbers = self._head, dict(self._numbers)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(drafts)
            self._connection.execute("COMMIT")
        except BaseException:
            self._head, self._numbers = head, numbers
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def write_snapshot(self, body: bytes) -> None:
        """Replace the last picture of the node."""
        self._connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (self._run, body))

    def prune(self, now_s: float, wall_s: float, retention_s: float) -> None:
        """Drop what is older than the retention, and the oldest of what does not fit.

        Age is monotonic within this boot. Only rows of earlier boots are judged by the wall clock, because
        nothing else spans a boot.
        """
        runs = self._connection.execute("SELECT run, boot_id, started_at_s, started_wall_s FROM runs ORDER BY run")
        for run, boot_id, started_at_s, started_wall_s in runs.fetchall():
            if boot_id == self._about.boot_id:
                oldest_s, begun_s = now_s - retention_s, started_at_s
            else:
                last_wall_s = max((wall for _, _, wall in self._ages(run)), default=started_wall_s)
                oldest_s = float("inf") if last_wall_s < wall_s - retention_s else float("-inf")
                begun_s = float("-inf")
            self._drop_before(run, oldest_s)
            if begun_s < oldest_s and not self._ages(run):
                self._forget_run(run)
        while self._used_pages() > _FULL_ENOUGH * self._max_pages and self.make_room():
            pass

    def make_room(self) -> bool:
        """Drop a part of the oldest run; returns whether anything could be dropped."""
        for (run,) in self._connection.execute("SELECT run FROM runs ORDER BY run").fetchall():
            ages = self._ages(run)
            if not ages:
                self._forget_run(run)
                continue
            oldest, newest = min(first for first, _, _ in ages), max(last for _, last, _ in ages)
            step_s = max(_STEP_S, (newest - oldest) * _STEP_RATIO)
            # The last second stays: what is being written now is not the oldest.
            until = min(oldest + step_s, newest - 1.0) if run == self._run else oldest + step_s
            if until <= oldest:
                return False
            self._drop_before(run, until)
            return True
        return False

    def size_bytes(self) -> int:
        """What the file holds, without its free pages."""
        return self._used_pages() * self._pragma("page_size")

    def is_at_bound(self) -> bool:
        """Whether a write was refused because of max_bytes, not because of the disk."""
        return self._used_pages() >= self._max_pages - 16

    def close(self, ended_wall_s: float | None = None) -> None:
        """Close the file; with a time, also enter the run's end and fold the log back."""
        try:
            if ended_wall_s is not None:
                self._connection.execute("UPDATE runs SET ended_wall_s = ? WHERE run = ?", (ended_wall_s, self._run))
        finally:
            self._connection.close()

    def _insert(self, drafts: Sequence[Draft]) -> None:
        by_table: dict[str, list[tuple[object, ...]]] = {table: [] for table in _INSERTS}
        run = self._run
        for draft in drafts:
            table, at_s, wall_s, who, values = draft
            # In the order in which it happened: samples from before a workload changed belong to what it was.
            if table in by_table:
                by_table[table].append((run, at_s, None if who is None else self._number(draft), wall_s, *values))
            elif table == "receipts":
                self._insert_receipt(draft)
            else:
                self._end_workload(draft)  # what it was before, under another contract or in another cgroup
                if table == "workloads":
                    self._insert_workload(draft)
        for table, rows in by_table.items():
            if rows:
                rows.sort(key=itemgetter(1))
                self._connection.executemany(_INSERTS[table], rows)

    def _number(self, draft: Draft) -> int:
        number = self._numbers.get(draft.who) if draft.who is not None else None
        if number is None:
            # Seen before it was announced, or its announcement was dropped: the row stands without its cgroup.
            number = self._insert_workload(draft._replace(values=("", 0, None, 0, "not announced")))
        return number

    def _insert_workload(self, draft: Draft) -> int:
        who = draft.who
        assert who is not None  # noqa: S101 - for the reader and the type checker
        cursor = self._connection.execute(
            "INSERT INTO workloads"
            " (run, namespace, name, container, cgroup, inode, contract, managed, reason, at_s, wall_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._run, who.namespace, who.name, who.container, *draft.values, draft.at_s, draft.wall_s),
        )
        number = cursor.lastrowid
        assert number is not None  # noqa: S101 - an INSERT has one
        self._numbers[who] = number
        return number

    def _end_workload(self, draft: Draft) -> None:
        # Its number stays known: the outcome of its last resize may still arrive.
        if draft.who in self._numbers:
            self._connection.execute(
                "UPDATE workloads SET gone_at_s = ? WHERE workload = ?", (draft.at_s, self._numbers[draft.who])
            )

    def _insert_receipt(self, draft: Draft) -> None:
        receipt_id, body = draft.values
        number, previous = self._head.number + 1, self._head.link
        link = chain.link(
            previous,
            number=number,
            run=self._run,
            at_s=draft.at_s,
            wall_s=draft.wall_s,
            receipt_id=str(receipt_id),
            body=bytes(body),  # type: ignore[call-overload]
        )
        self._connection.execute(
            "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, self._run, draft.at_s, draft.wall_s, receipt_id, body, previous, link),
        )
        self._connection.execute("INSERT OR REPLACE INTO chain VALUES ('head', ?, ?)", (number, link))
        self._head = chain.End(number, link)

    def _enter_run(self) -> int:
        about = self._about
        row = self._connection.execute(
            "SELECT run FROM runs WHERE boot_id = ? AND started_at_s = ?", (about.boot_id, about.started_at_s)
        ).fetchone()
        if row is not None:  # the same run, after trouble
            return int(row[0])
        cursor = self._connection.execute(
            "INSERT INTO runs (boot_id, node, version, settings, started_at_s, started_wall_s)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            about,
        )
        return int(cursor.lastrowid or 0)

    def _known_workloads(self) -> dict[WorkloadId, int]:
        rows = self._connection.execute(
            "SELECT namespace, name, container, workload FROM workloads WHERE run = ? ORDER BY workload", (self._run,)
        )
        return {WorkloadId(namespace, name, container): number for namespace, name, container, number in rows}

    def _end(self, place: str) -> chain.End:
        row = self._connection.execute("SELECT number, link FROM chain WHERE place = ?", (place,)).fetchone()
        return chain.End(*row) if row else chain.BEGINNING

    def _ages(self, run: int) -> list[tuple[float, float, float]]:
        """Of each table that has rows of a run: first and last monotonic time, and the last wall time."""
        ages = []
        for table in schema.TIMED_TABLES:
            first, last = self._connection.execute(
                f"SELECT (SELECT at_s FROM {table} WHERE run = ?1 ORDER BY at_s LIMIT 1),"  # noqa: S608 - our own names
                f" (SELECT at_s FROM {table} WHERE run = ?1 ORDER BY at_s DESC LIMIT 1)",
                (run,),
            ).fetchone()
            if first is not None:
                (wall_s,) = self._connection.execute(
                    f"SELECT wall_s FROM {table} WHERE run = ? AND at_s = ?",  # noqa: S608 - our own names
                    (run, last),
                ).fetchone()
                ages.append((first, last, wall_s))
        return ages

    def _drop_before(self, run: int, at_s: float) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            last = self._connection.execute(
                "SELECT number, link FROM receipts WHERE run = ? AND at_s < ? ORDER BY number DESC LIMIT 1", (run, at_s)
            ).fetchone()
            if last is not None:
                self._connection.execute("INSERT OR REPLACE INTO chain VALUES ('tail', ?, ?)", last)
                # By number: what the chain says is gone must be gone, also if two times ever came out of order.
                self._connection.execute("DELETE FROM receipts WHERE number <= ?", (last[0],))
            for table in schema.TIMED_TABLES:
                if table != "receipts":
                    self._connection.execute(
                        f"DELETE FROM {table} WHERE run = ? AND at_s < ?",  # noqa: S608 - our own names
                        (run, at_s),
                    )
            self._connection.execute("DELETE FROM workloads WHERE run = ? AND gone_at_s < ?", (run, at_s))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._numbers = self._known_workloads()

    def _forget_run(self, run: int) -> None:
        if run != self._run:
            self._connection.execute("DELETE FROM workloads WHERE run = ?", (run,))
            self._connection.execute("DELETE FROM runs WHERE run = ?", (run,))

    def _used_pages(self) -> int:
        return self._pragma("page_count") - self._pragma("freelist_count")

    def _log_bytes(self) -> int:
        try:
            return self._path.with_name(self._path.name + "-wal").stat().st_size
        except OSError:
            return 0

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
