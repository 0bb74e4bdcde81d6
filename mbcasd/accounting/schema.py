"""How the record lies on disk: one SQLite file in WAL mode, its tables, and how it is opened.

The file carries an application id and a schema version in its header, so that neither the daemon nor
`mbcasctl` ever mistakes somebody else's database for a record.

Order of rows is order of time: `run` counts the daemon's starts, `at_s` is monotonic within a run, and wall
time is only shown. A person who sets the clock therefore neither reorders nor deletes anything.
"""

import errno
import sqlite3
from pathlib import Path

from mbcasd.errors import ConfigError, RecordError

APPLICATION_ID = 0x4D424341  # "MBCA"
SCHEMA_VERSION = 1
_MAGIC = b"SQLite format 3\x00"
# Where the file format keeps the application id (sqlite.org/fileformat2.html, "Database Header").
_APPLICATION_ID_AT = slice(68, 72)

# Tables that grow with time; each has (run, at_s) and is pruned by it.
TIMED_TABLES = ("samples", "demands", "limits", "nodes", "receipts", "resizes", "events")

# samples and demands are clustered by time, not by workload: a second's rows go to the end of one tree, where
# clustering by workload would touch a page per workload and second.
SCHEMA = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL,
    node TEXT NOT NULL,
    version TEXT NOT NULL,
    settings TEXT NOT NULL,
    started_at_s REAL NOT NULL,
    started_wall_s REAL NOT NULL,
    ended_wall_s REAL
) STRICT;
CREATE TABLE workloads (
    workload INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    container TEXT NOT NULL,
    cgroup TEXT NOT NULL,
    inode INTEGER NOT NULL,
    contract TEXT,
    managed INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_s REAL NOT NULL,
    wall_s REAL NOT NULL,
    gone_at_s REAL
) STRICT;
CREATE INDEX workloads_by_end ON workloads (run, gone_at_s);
CREATE TABLE samples (
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    workload INTEGER NOT NULL,
    wall_s REAL NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (run, at_s, workload)
) STRICT, WITHOUT ROWID;
CREATE TABLE demands (
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    workload INTEGER NOT NULL,
    wall_s REAL NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (run, at_s, workload)
) STRICT, WITHOUT ROWID;
CREATE TABLE limits (
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    workload INTEGER NOT NULL,
    wall_s REAL NOT NULL,
    quota_usec INTEGER,
    period_usec INTEGER NOT NULL,
    burst_usec INTEGER,
    weight INTEGER,
    PRIMARY KEY (run, at_s, workload)
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    workload INTEGER CHECK (workload IS NULL),
    wall_s REAL NOT NULL,
    cpu_milli REAL NOT NULL,
    usage_milli REAL,
    PRIMARY KEY (run, at_s)
) STRICT, WITHOUT ROWID;
CREATE TABLE receipts (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    wall_s REAL NOT NULL,
    receipt_id TEXT NOT NULL,
    body BLOB NOT NULL,
    previous BLOB NOT NULL,
    link BLOB NOT NULL
) STRICT;
CREATE INDEX receipts_by_time ON receipts (run, at_s);
CREATE TABLE chain (
    place TEXT PRIMARY KEY CHECK (place IN ('tail', 'head')),
    number INTEGER NOT NULL,
    link BLOB NOT NULL
) STRICT;
CREATE TABLE resizes (
    resize INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    wall_s REAL NOT NULL,
    workload INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE INDEX resizes_by_time ON resizes (run, at_s);
CREATE INDEX resizes_by_workload ON resizes (workload);
CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    at_s REAL NOT NULL,
    wall_s REAL NOT NULL,
    kind TEXT NOT NULL,
    workload INTEGER,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (run, at_s);
CREATE INDEX events_by_workload ON events (workload);
CREATE TABLE snapshot (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    run INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
"""


def check_owner(path: Path) -> None:
    """Refuse a file that is not a record, by its header alone; an absent or empty file is fine.

    Raises:
        ConfigError: It belongs to somebody else.
        RecordError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as err:
        raise translate(err, path) from err
    if not header:
        return
    if header[: len(_MAGIC)] != _MAGIC or header[_APPLICATION_ID_AT] != APPLICATION_ID.to_bytes(4, "big"):
        raise ConfigError(
            f"{path} is not a record of mbcasd and is left alone: name another file, or move this one away"
        )


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a record that a newer release wrote.

    Raises:
        ConfigError: This release does not know its schema.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema {version}, this release reads up to {SCHEMA_VERSION}: "
            "use the newer release, or move the file away"
        )


def open_to_write(path: Path, *, max_bytes: int) -> sqlite3.Connection:
    """Open the record for its one writer, and make it where there is none.

    Args:
        path: The file; its folder is made where it is missing.
        max_bytes: The file never grows beyond it: SQLite itself refuses the page that would.

    Raises:
        ConfigError: The file is somebody else's or a newer release's.
        RecordError: It cannot be read.
        sqlite3.Error, OSError: The disk is full, read-only or broken, or another program holds a lock.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    check_owner(path)
    # Workload names and settings are nobody else's business; the file is made before SQLite would make it 0644.
    if not path.exists():
        path.touch(mode=0o640, exist_ok=True)
    # 0.2 s: the writer's thread may wait, but a program that holds the lock for longer is treated as trouble.
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False, cached_statements=32)
    try:
        check_version(connection, path)
        if _is_new(connection):
            # Before WAL is on: the header that says whose file it is must be in the file, not in the log.
            _make_tables(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode NORMAL survives kill -9 whole; a power cut may cost the last moments, never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -512")  # KiB; the writer appends, it does not read
        connection.execute("PRAGMA journal_size_limit = 4194304")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(64, max_bytes // page_bytes)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_new(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA user_version").fetchone()[0] == 0)


def _make_tables(connection: sqlite3.Connection) -> None:
    # One transaction: a kill -9 in between leaves an empty file, which is made anew.
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {SCHEMA}"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a record without changing it, also while the daemon writes.

    Raises:
        ConfigError: There is no such file, it is no record, or a newer release wrote it.
        RecordError: It cannot be read, or is damaged.
    """
    if not path.exists():
        raise ConfigError(
            f"there is no record at {path}: start `mbcasd local` there, or name the file with --record "
            "(mbcasd keeps it as record.db in its --state-dir)"
        )
    if path.is_dir():
        raise ConfigError(f"{path} is a directory: name the record's file, as in {path / 'record.db'}")
    check_owner(path)
    if path.stat().st_size == 0:
        raise ConfigError(f"{path} is empty: the daemon has not written anything yet")
    try:
        connection = _connect_to_read(path)
        check_version(connection, path)
    except sqlite3.Error as err:
        raise translate(err, path) from err
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    try:
        return _try_to_read(path, "mode=ro")
    except sqlite3.OperationalError:
        if path.with_name(path.name + "-wal").exists():
            raise
        # A clean file on a read-only file system: WAL mode wants to make its shared memory beside it and cannot.
        # Nobody can be writing there, so the file may be taken as it is.
        return _try_to_read(path, "immutable=1")


def _try_to_read(path: Path, how: str) -> sqlite3.Connection:
    escaped = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{escaped}?{how}", uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def translate(err: sqlite3.Error | OSError, path: Path) -> RecordError:
    """Turn a complaint of SQLite or of the system about a record into ours, with the remedy."""
    if isinstance(err, OSError):
        remedy = "make room on the disk" if err.errno in {errno.ENOSPC, errno.EDQUOT} else _remedy_for_access()
        return RecordError(f"the record {path}: {err.strerror or err}: {remedy}")
    code = getattr(err, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    match primary:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            remedy = "the file is damaged; move it away, mbcasd begins a new one"
        case sqlite3.SQLITE_FULL:
            remedy = "the disk or the record's max_bytes is full; make room or raise record.max_bytes"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            remedy = _remedy_for_access()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            remedy = "another program holds a lock on it; close that program"
        case sqlite3.SQLITE_IOERR:
            remedy = "the disk reports an error; look at `dmesg`"
        case _:
            remedy = "move the file away if this stays, mbcasd begins a new one"
    return RecordError(f"the record {path}: {err}: {remedy}")


def _remedy_for_access() -> str:
    return "run this as root or as the user that mbcasd runs as, and see that the disk is not mounted read-only"
