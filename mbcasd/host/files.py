"""The limit files of one cgroup, behind a handle that pins which cgroup it is.

The directory is opened once and its inode compared with the one that is meant; files are then opened relative
to it. A cgroup that was removed, or recreated under the same name, therefore answers `CgroupGone` and is never
written by mistake. Every `OSError` is translated here and nowhere else.
"""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from mbcasd.errors import ActuationError, CgroupGone
from mbcasd.host import refusals
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.readings import LimitReading

# No limit file is longer: cpu.max is two numbers of at most 20 digits.
_LONGEST_FILE_BYTES = 256

# What the kernel answers for a cgroup that was removed while its handle is open.
_REMOVED = {errno.ENODEV, errno.ESTALE}


class LimitFiles:
    """Reads and writes one cgroup's limit; a context manager, made for one look or one change.

    Raises (every method):
        CgroupGone: It does not exist any more, or another one has taken its name.
        ActuationError: A file cannot be read or written; the message says what would help.
    """

    def __init__(self, mounts: CgroupMounts, cgroup: CgroupRef) -> None:
        """Open the directory and make sure that it is the cgroup that is meant."""
        self._mounts, self._cgroup = mounts, cgroup
        self.directory = mounts.cpu + cgroup.path.rstrip("/")
        try:
            self._handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as err:
            raise CgroupGone(f"{self.directory} does not exist any more") from err
        except OSError as err:
            raise _trouble(err, "open", self.directory) from err
        if os.fstat(self._handle).st_ino != cgroup.inode:
            self.close()
            raise CgroupGone(f"{self.directory} was removed and made again: it is another cgroup now")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)

    def read(self) -> LimitReading:
        """The limit in force."""
        if self._mounts.version is CgroupVersion.V2:
            quota, period = self._numbers("cpu.max", 2)
            burst, weight = self._number_if_there("cpu.max.burst"), self._number_if_there("cpu.weight")
        else:
            (quota,), (period,) = self._numbers("cpu.cfs_quota_us", 1), self._numbers("cpu.cfs_period_us", 1)
            burst, weight = self._number_if_there("cpu.cfs_burst_us"), self._number_if_there("cpu.shares")
        return LimitReading(
            quota_usec=None if quota < 0 else quota, period_usec=period, burst_usec=burst, weight=weight
        )

    def write_quota(self, quota_usec: int | None, period_usec: int) -> None:
        """Set the quota (None: unlimited); `period_usec` is the one in force, which v2 wants repeated."""
        if self._mounts.version is CgroupVersion.V2:
            text = f"{'max' if quota_usec is None else quota_usec} {period_usec}"
            name = "cpu.max"
        else:
            text, name = str(-1 if quota_usec is None else quota_usec), "cpu.cfs_quota_us"
        try:
            self._write(name, text)
        except OSError as err:
            if err.errno == errno.EINVAL:
                why = refusals.explain_quota(self._mounts, self._cgroup.path, quota_usec, period_usec)
                raise ActuationError(f"the kernel refuses {text!r} for {self.directory}/{name}: {why}") from err
            raise self._write_trouble(err, name) from err

    def write_burst(self, burst_usec: int) -> None:
        """Set how much unused quota may carry over; the kernel refuses more than one quota."""
        name = "cpu.max.burst" if self._mounts.version is CgroupVersion.V2 else "cpu.cfs_burst_us"
        try:
            self._write(name, str(burst_usec))
        except OSError as err:
            if err.errno == errno.EINVAL:
                raise ActuationError(
                    f"the kernel refuses a burst of {burst_usec} µs for {self.directory}/{name}: it may not exceed "
                    "the quota, which somebody may have lowered just now"
                ) from err
            raise self._write_trouble(err, name) from err

    def _numbers(self, name: str, count: int) -> list[int]:
        """The numbers in a file; `max` counts as -1, which is how v1 writes it."""
        try:
            text = self._text(name)
        except FileNotFoundError as err:
            if self._is_gone():
                raise CgroupGone(f"{self.directory} vanished") from err
            raise ActuationError(f"{self.directory}/{name} does not exist: {self._how_to_get_it()}") from err
        except OSError as err:
            raise _trouble(err, "read", f"{self.directory}/{name}") from err
        words = text.split()
        try:
            numbers = [-1 if word == "max" else int(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) != count:
            raise ActuationError(f"{self.directory}/{name} is not in the expected form: {text!r}")
        return numbers

    def _number_if_there(self, name: str) -> int | None:
        """The number in a file that not every kernel has."""
        try:
            return int(self._text(name))
        except FileNotFoundError as err:
            if self._is_gone():
                raise CgroupGone(f"{self.directory} vanished") from err
            return None
        except OSError as err:
            raise _trouble(err, "read", f"{self.directory}/{name}") from err
        except ValueError as err:
            raise ActuationError(f"{self.directory}/{name} is not a number") from err

    def _text(self, name: str) -> str:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._handle)
        try:
            return os.read(file, _LONGEST_FILE_BYTES).decode("ascii", "replace").strip()
        finally:
            os.close(file)

    def _write(self, name: str, text: str) -> None:
        # Truncating means nothing to the kernel; it keeps a tree of ordinary files as tidy as the real one.
        file = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, dir_fd=self._handle)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def _write_trouble(self, err: OSError, name: str) -> ActuationError | CgroupGone:
        if err.errno == errno.ENOENT and not self._is_gone():
            return ActuationError(f"{self.directory}/{name} does not exist: {self._how_to_get_it()}")
        return _trouble(err, "write", f"{self.directory}/{name}")

    def _is_gone(self) -> bool:
        try:
            return Path(self.directory).stat().st_ino != self._cgroup.inode
        except OSError:
            return True

    def _how_to_get_it(self) -> str:
        if self._cgroup.path.strip("/") == "":
            return "the root cgroup has no limit of its own, name one below it"
        if self._mounts.version is CgroupVersion.V2:
            parent = Path(self.directory).parent
            return f"the cpu controller is off here; enable it with: echo +cpu > {parent}/cgroup.subtree_control"
        return "this kernel was built without CFS bandwidth control (CONFIG_CFS_BANDWIDTH)"


def _trouble(err: OSError, verb: str, path: str) -> ActuationError | CgroupGone:
    """Say what went wrong and what would help."""
    if err.errno in _REMOVED or err.errno == errno.ENOENT:
        return CgroupGone(f"{path} vanished")
    if err.errno in {errno.EACCES, errno.EPERM}:
        return ActuationError(
            f"cannot {verb} {path}: permission denied. Run as root, or give this user the cgroup: "
            "systemd-run --user --scope -p Delegate=yes …"
        )
    if err.errno == errno.EROFS:
        return ActuationError(
            f"cannot {verb} {path}: the cgroup file system is mounted read-only here; in a container, mount it "
            "writable, or run on the host"
        )
    return ActuationError(f"cannot {verb} {path}: {(err.strerror or str(err)).lower()}")
