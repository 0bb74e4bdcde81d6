"""Pressure stall information of one cgroup, where the kernel has it and it means what it says.

On cgroup v2 `cpu.pressure` stands beside the other files. On a hybrid host it stands below the cgroup2 mount, at the
same path, and counts only the processes that are in the cgroup *there*: a directory without any would report that
nothing ever waits. Pressure can be switched off for the whole kernel (`psi=0`: EOPNOTSUPP) and, since Linux 6.1, for
one cgroup (`cgroup.pressure`: the file goes away, also for handles that are open). All of that reads as "unknown".
"""

import os

from mbcasd.errors import SensingError
from mbcasd.sensing import handles, parse

UNKNOWN: tuple[None, None] = (None, None)

# The cgroup2 side of a hybrid cgroup is often made, and filled, a moment after the v1 side, so it is looked for again:
# soon at first, then after so many calls, which come once a second.
_LONGEST_PAUSE = 30


class PressureFile:
    """`cpu.pressure` of one cgroup; whatever goes wrong with it makes it unknown for good, and nothing else."""

    def __init__(self, directory: str | None, *, must_be_populated: bool) -> None:
        """Look for the file.

        Args:
            directory: Where it would be; None: this host has no pressure per cgroup.
            must_be_populated: It counts other processes than the rest of the files does, unless it has some itself.
        """
        self._directory, self._must_be_populated = directory, must_be_populated
        self._handle: int | None = None
        self._looks, self._next_look = 0, 1
        self.look()

    @property
    def is_known(self) -> bool:
        """Whether it can be read, as far as anybody has seen."""
        return self._handle is not None

    def look(self) -> None:
        """Look for the file again, where it was not there or did not count yet; meant to be called once a second."""
        if self._directory is None or self._handle is not None:
            return
        self._looks += 1
        if self._looks < self._next_look:
            return
        self._next_look += min(self._looks, _LONGEST_PAUSE)
        try:
            if self._must_be_populated and not _is_populated(self._directory):
                return
            self._handle = handles.open_file(f"{self._directory}/cpu.pressure")
        except SensingError:
            return
        self.read()  # EOPNOTSUPP comes with the first read

    def read(self) -> tuple[int | None, int | None]:
        """Wall time in microseconds in which some, and in which all tasks waited; None: unknown."""
        if self._handle is None:
            return UNKNOWN
        try:
            return parse.pressure(os.pread(self._handle, 256, 0))
        except (OSError, SensingError):
            self.close()
            return UNKNOWN

    def close(self) -> None:
        """Give the handle back; what follows is unknown."""
        self._directory = None
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _is_populated(directory: str) -> bool:
    return b"populated 1" in handles.read_once(f"{directory}/cgroup.events")
