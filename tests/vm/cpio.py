"""Writes the archive that Linux unpacks into its first root file system.

Source: Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

import os
import stat
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

CONSOLE = os.makedev(5, 1)


class CpioWriter:
    """An archive of files at their absolute paths; the directories above them come by themselves."""

    def __init__(self, file: Path) -> None:
        self._out = file.open("wb")
        self._present: set[str] = {"/"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._entry("TRAILER!!!", 0, b"")
        self._out.close()

    def copy(self, source: Path, path: Path | None = None) -> None:
        """Take in a file or a symbolic link of this machine, under its own path unless told otherwise."""
        info = source.lstat()
        is_link = stat.S_ISLNK(info.st_mode)
        data = os.fsencode(source.readlink()) if is_link else source.read_bytes()
        # The time matters: compiled Python files know the time of their source.
        self.add(path or source, data, info.st_mode, int(info.st_mtime))

    def add(self, path: Path, data: bytes = b"", mode: int = stat.S_IFREG | 0o644, mtime_s: int = 0) -> None:
        """Write an entry, once: a second one of the same path is left out."""
        if str(path) in self._present:
            return
        self.directory(path.parent)
        self._present.add(str(path))
        self._entry(str(path).lstrip("/"), mode, data, mtime_s)

    def directory(self, path: Path | PurePosixPath) -> None:
        for above in reversed([path, *path.parents]):
            if str(above) not in self._present:
                self._present.add(str(above))
                self._entry(str(above).lstrip("/"), stat.S_IFDIR | 0o755, b"")

    def device(self, path: Path, number: int) -> None:
        self.directory(path.parent)
        self._entry(str(path).lstrip("/"), stat.S_IFCHR | 0o600, b"", device=number)

    def _entry(self, name: str, mode: int, data: bytes, mtime_s: int = 0, device: int = 0) -> None:
        encoded = os.fsencode(name) + b"\0"
        numbers = (
            *(0, mode, 0, 0, 1, mtime_s, len(data)),  # inode, mode, uid, gid, links, time, size
            *(0, 0, os.major(device), os.minor(device), len(encoded), 0),  # where it was, which device, name, check
        )
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
        self._out.write(_padded(head))
        self._out.write(_padded(data))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
