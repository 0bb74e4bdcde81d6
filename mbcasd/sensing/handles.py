"""Open kernel files of one cgroup, and what the kernel's refusals mean. Every OSError is translated here.

A handle pins one incarnation: once the cgroup is removed, reads answer ENODEV, also when another cgroup takes the
same name.
"""

import contextlib
import errno
import os
import resource

from mbcasd.errors import CgroupGone, SensingError

# cpu.stat with all fields that kernels have today takes 330 bytes; a file that is longer is cut and refused.
_LONGEST_BYTES = 1024

# What kernfs answers for a cgroup that was removed: on open handles, and on paths.
REMOVED = frozenset({errno.ENODEV, errno.ESTALE, errno.ENOENT, errno.ENOTDIR})


def open_directory(directory: str, inode: int | None = None) -> int:
    """Open a cgroup's directory.

    Args:
        directory: Its path in a mounted hierarchy.
        inode: The incarnation that is meant; None: whichever is there.

    Raises:
        CgroupGone: It does not exist, or it is another incarnation.
        SensingError: It may not be opened.
    """
    handle = open_file(directory, flags=os.O_RDONLY | os.O_DIRECTORY)
    if inode is not None and os.fstat(handle).st_ino != inode:
        os.close(handle)
        raise CgroupGone(f"{directory} was removed and made again: it is another cgroup now")
    return handle


def open_file(path: str, *, directory: int | None = None, flags: int = os.O_RDONLY, shown: str = "") -> int:
    """Open a kernel file for as long as its cgroup lives.

    Args:
        path: Absolute, or relative to the directory.
        directory: An open handle; None: the path is absolute.
        flags: As of open(2).
        shown: The path as people know it; empty: `path`.

    Raises:
        CgroupGone: It does not exist.
        SensingError: It may not be opened, or too many files are open already.
    """
    shown = shown or path
    try:
        return os.open(path, flags | os.O_CLOEXEC, dir_fd=directory)
    except OSError as err:
        if err.errno != errno.EMFILE or not _allow_more_handles():
            raise trouble(err, shown) from err
    try:
        return os.open(path, flags | os.O_CLOEXEC, dir_fd=directory)
    except OSError as err:
        raise trouble(err, shown) from err


def open_if_there(name: str, directory: int, shown: str) -> int | None:
    """Open a file that not every kernel, or not every cgroup, has; None: it is not there."""
    try:
        return open_file(name, directory=directory, shown=shown)
    except CgroupGone:
        return None


def read(handle: int, shown: str) -> bytes:
    """Read a whole file that was opened before.

    Raises:
        CgroupGone: Its cgroup was removed meanwhile.
        SensingError: The kernel refuses.
    """
    try:
        return os.pread(handle, _LONGEST_BYTES, 0)
    except OSError as err:
        raise trouble(err, shown) from err


def read_once(path: str) -> bytes:
    """Open, read and close a file that is looked at seldom.

    Raises:
        CgroupGone: It does not exist.
        SensingError: The kernel refuses.
    """
    handle = open_file(path)
    try:
        return read(handle, path)
    finally:
        os.close(handle)


def trouble(err: OSError, path: str) -> SensingError:
    """The error of ours that says what happened, and what would help."""
    if err.errno in REMOVED:
        return CgroupGone(f"{path} does not exist any more")
    if err.errno in {errno.EACCES, errno.EPERM}:
        return SensingError(f"cannot read {path}: permission denied; run as root, or mount /sys/fs/cgroup readable")
    if err.errno in {errno.EMFILE, errno.ENFILE}:
        return SensingError(f"cannot open {path}: too many open files; raise the limit (systemd: LimitNOFILE=65536)")
    return SensingError(f"cannot read {path}: {(err.strerror or str(err)).lower()}")


def _allow_more_handles() -> bool:
    """Raise this process' limit on open files as far as it may; whether that gave any.

    A workload takes up to seven handles, and the usual soft limit of 1024 is meant for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return True
    return False
