"""The owner's limits, on disk before the first write, so that they outlive the daemon.

One line of JSON per cgroup in `owners.jsonl`, appended before the cgroup's first write. What changes with every
write (`before`, `after`) is the line's head, padded to a fixed size and overwritten in place, in one write that
never crosses a page. So a process killed at any instant leaves at worst an incomplete last line, of a cgroup that
was not written yet; the file does not grow with the number of writes; and a disk that fills up later stops no
resize and no restoring. A log of all writes lost against this: it grows and cannot go on when the disk is full.

A line is not synced to the disk: what a killed process has written stays with the kernel, and when the kernel goes
down the limits go with it. Syncing was tried: 1 ms per new cgroup on an idle disk, 20 ms on a busy one, in the
thread that moves limits. Only the start syncs, because it proves that the directory can be used.

Nothing stale survives: each line carries the boot and the inode, and a line of another boot is dropped.
The lock file keeps two daemons from sharing a directory and tells `restore` whether one is alive.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from mbcasd.errors import ActuationError
from mbcasd.host import lines
from mbcasd.host.held import Held
from mbcasd.model.identity import CgroupRef
from mbcasd.model.readings import LimitReading

LEDGER_NAME = "owners.jsonl"
LOCK_NAME = "owners.lock"

# From so many held cgroups on, those that vanished without a word are looked for.
_CROWDED = 256

# Lines of settled cgroups are kept until there are so many, and more of them than live ones.
_SETTLED_AT_MOST = 256

_BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"


class _Slot(NamedTuple):
    """Where a line lies in the file, and what it says."""

    offset: int
    held: Held


class Ledger:
    """The ledger of one daemon, whose process holds the lock until `close`.

    Not for several threads: the one that moves limits owns it.
    """

    def __init__(self, state_dir: Path | str) -> None:
        """Open for a daemon: take the lock, drop what is stale, and prove that the directory can be written.

        Raises:
            ActuationError: Another daemon holds it, or the directory cannot be written. Nothing was changed.
        """
        self._start(Path(state_dir))
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self._directory, os.O_RDWR | os.O_CREAT)
        except BlockingIOError as err:
            raise ActuationError(
                f"another mbcasd{_holder(self._directory)} uses {self._directory}: stop it, or give this one a "
                "directory of its own with --state-dir"
            ) from err
        except OSError as err:
            raise self._trouble(err, "use") from err
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._load()
            self._rewrite()
        except OSError as err:
            self.close()
            raise self._trouble(err, "write") from err

    @classmethod
    def reopen(cls, state_dir: Path | str, *, force: bool = False) -> Self | None:
        """Open what a daemon left, to put it back; None where there is no ledger.

        Unlike a daemon, this gets on with a directory that cannot be written: giving limits back matters more
        than noting that it was done.

        Args:
            state_dir: The daemon's state directory.
            force: Also while a daemon is alive; it will move the limits again.

        Raises:
            ActuationError: A daemon is alive, or the ledger cannot be read.
        """
        self = cls.__new__(cls)
        self._start(Path(state_dir))
        try:
            self._file = _open_writable_or_not(self._path)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise self._trouble(err, "read") from err
        try:
            self._lock = -1 if force else _lock(self._directory, os.O_RDONLY)
        except BlockingIOError as err:
            self.close()
            raise ActuationError(
                f"mbcasd{_holder(self._directory)} is running with {self._directory} and would move the limits again: "
                "stop it first (it puts them back itself), or pass --force"
            ) from err
        except OSError:
            # No lock file, or not ours to open: no daemon got as far as holding it.
            pass
        try:
            self._load()
        except OSError as err:
            self.close()
            raise self._trouble(err, "read") from err
        return self

    def _start(self, directory: Path) -> None:
        self._directory, self._path = directory, directory / LEDGER_NAME
        self._file = self._lock = -1
        self._slots: dict[CgroupRef, _Slot] = {}
        self._end = 0
        self._settled = 0
        self._crowded = _CROWDED
        self.unreadable_lines = 0
        self.stale_lines = 0  # of another boot: nothing of them is in force any more

    def close(self) -> None:
        """Give file and lock back."""
        for handle in (self._file, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._lock = -1

    def __len__(self) -> int:
        """How many cgroups are held."""
        return len(self._slots)

    def held(self) -> tuple[Held, ...]:
        """All that is held, in the order in which it was first written."""
        return tuple(slot.held for slot in self._slots.values())

    def find(self, cgroup: CgroupRef) -> Held | None:
        """What is held of this incarnation of this cgroup; None: nothing, its limit is its owner's."""
        slot = self._slots.get(cgroup)
        return None if slot is None else slot.held

    def predecessor(self, cgroup: CgroupRef) -> Held | None:
        """What is held of an earlier incarnation of a systemd unit: systemd gives the new one our limit too."""
        for slot in self._slots.values():
            held = slot.held
            if held.unit is not None and held.cgroup.path == cgroup.path and held.cgroup.inode != cgroup.inode:
                return held
        return None

    def owner_of(self, cgroup: CgroupRef) -> LimitReading | None:
        """The owner's limit; None where nothing is held, then what is in force is the owner's."""
        held = self.find(cgroup) or self.predecessor(cgroup)
        return None if held is None else held.owner

    def hold(self, held: Held) -> None:
        """Announce a write: save it before it happens.

        Raises:
            ActuationError: It could not be saved; the limit must not be written.
        """
        slot = self._slots.get(held.cgroup)
        try:
            if slot is None:
                offset = self._append(lines.encode(held, _boot_id()))
            else:
                offset = slot.offset
                _write_all(self._file, lines.encode_head(held), offset)
        except OSError as err:
            raise self._trouble(err, "save the owner's limits to") from err
        except UnicodeEncodeError as err:
            raise ActuationError(f"{held.cgroup.path!r} is not UTF-8, so its owner's limit cannot be saved") from err
        self._slots[held.cgroup] = _Slot(offset, held)

    def confirm(self, held: Held) -> None:
        """Remember that the write has happened, so that the value before it is not ours any more.

        Only in memory: after a crash both values count as possible.
        """
        slot = self._slots[held.cgroup]
        self._slots[held.cgroup] = slot._replace(held=held.moving(held.after, held.after))

    def settle(self, cgroup: CgroupRef) -> None:
        """Forget a cgroup: its owner's limit is back, or it is gone, or somebody else set another.

        Raises:
            ActuationError: The file cannot be written. It is forgotten in this process, and harmless on disk:
                restoring it again changes nothing.
        """
        slot = self._slots.pop(cgroup, None)
        if slot is None:
            return
        self._settled += 1
        try:
            _write_all(self._file, lines.SETTLED_HEAD, slot.offset)
            if not self._slots and self._lock >= 0:
                os.ftruncate(self._file, 0)
                self._end = self._settled = 0
        except OSError as err:
            raise self._trouble(err, "write") from err

    def prune(self, is_needed: Callable[[Held], bool]) -> None:
        """Forget what is not needed any more and take its room back, but only once it has become crowded.

        So the cost stays small for each new cgroup, however many come and go.
        """
        if len(self._slots) < self._crowded:
            return
        for held in self.held():
            if not is_needed(held):
                # A full disk does not keep anybody from forgetting.
                with contextlib.suppress(ActuationError):
                    self.settle(held.cgroup)
        self._crowded = max(_CROWDED, 2 * len(self._slots))
        if self._settled > max(_SETTLED_AT_MOST, len(self._slots)):
            with contextlib.suppress(OSError):
                self._rewrite()

    def _append(self, line: bytes) -> int:
        offset = self._end
        try:
            _write_all(self._file, line, offset)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, offset)
            raise
        self._end = offset + len(line)
        return offset

    def _load(self) -> None:
        """Read what is there; what lies behind the last complete line was never acted upon."""
        content = _read_all(self._file)
        boot = _boot_id()
        offset = 0
        for text in content.split(b"\n")[:-1]:
            try:
                held, written_in = lines.decode(text)
            except msgspec.DecodeError:
                self.unreadable_lines += 1
            else:
                if held is None:
                    self._settled += 1
                elif written_in != boot:
                    self.stale_lines += 1
                else:
                    self._slots[held.cgroup] = _Slot(offset, held)
            offset += len(text) + 1
        self._end = offset

    def _rewrite(self) -> None:
        """Put a tidy file in the place of the old one, in one step."""
        fresh = self._path.with_suffix(".new")
        boot = _boot_id()
        slots: dict[CgroupRef, _Slot] = {}
        end = 0
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for cgroup, slot in self._slots.items():
                line = lines.encode(slot.held, boot)
                _write_all(file, line, end)
                slots[cgroup] = _Slot(end, slot.held)
                end += len(line)
            if not slots:
                # An empty file proves nothing about a full disk: try a line, and take it away again.
                _write_all(file, lines.SETTLED_HEAD, 0)
                os.fsync(file)
                os.ftruncate(file, 0)
            os.fsync(file)
            fresh.rename(self._path)
        except OSError:
            os.close(file)
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        os.close(self._file)
        self._file, self._slots, self._end, self._settled = file, slots, end, 0
        _sync_directory(self._directory)

    def _trouble(self, err: OSError, verb: str) -> ActuationError:
        return ActuationError(
            f"cannot {verb} {self._path}: {(err.strerror or str(err)).lower()}. No limit is moved without it: run as "
            "root, make room, or name another directory with --state-dir"
        )


def _lock(directory: Path, flags: int) -> int:
    """Take the lock; it goes away with the process that holds it, however that ends.

    Raises:
        BlockingIOError: Another process holds it.
    """
    lock = os.open(directory / LOCK_NAME, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _holder(directory: Path) -> str:
    """Which process holds the lock, as far as it says so."""
    try:
        pid = (directory / LOCK_NAME).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {pid})" if pid.isdigit() else ""


def _open_writable_or_not(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _boot_id() -> str:
    return Path(_BOOT_ID_FILE).read_text(encoding="ascii").strip()


def _read_all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _write_all(file: int, content: bytes, offset: int) -> None:
    """Write at a place, whatever it takes; a full disk may take a part first and refuse the rest then."""
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
