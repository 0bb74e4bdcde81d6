"""What the node as a whole has and uses, from `/proc/stat` and the affinity of this process.

Steal counts as use: what the hypervisor took is not there to be handed out.
"""

import os

from mbcasd.errors import SensingError
from mbcasd.model.readings import NodeReading
from mbcasd.units import MILLI_PER_CPU

# Columns of a cpu line, proc(5): user nice system idle iowait irq softirq steal guest guest_nice. Guest time is already
# part of user and nice.
_IDLE, _IOWAIT = 3, 4
_COLUMNS = 8

# A cpu line has at most 11 numbers of 20 digits.
_LONGEST_LINE_BYTES = 232


class NodeReader:
    """Reads the node's CPUs and their use since the last reading; one for each who asks, as it remembers."""

    def __init__(self, path: str = "/proc/stat") -> None:
        """Use this file.

        Raises:
            SensingError: It cannot be opened.
        """
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            raise SensingError(f"cannot open {path}: {err.strerror}; is /proc mounted?") from err
        self._last: dict[int, tuple[int, int]] = {}

    def read(self) -> NodeReading:
        """Read capacity and use.

        The CPUs are those that are online and that this process may run on (affinity and cpuset). Use is the mean
        since the last call, None at the first one and when no tick has passed.

        Raises:
            SensingError: The file cannot be read or is not in the expected form.
        """
        usable = os.sched_getaffinity(0)
        times = self._times(usable)
        busy = total = 0
        for cpu, (busy_now, total_now) in times.items():
            if cpu in self._last:
                busy_before, total_before = self._last[cpu]
                # Idle and iowait may step back by a tick; that is noise, not use.
                busy += max(0, busy_now - busy_before)
                total += max(0, total_now - total_before)
        self._last = times
        cpu_milli = len(times or usable) * MILLI_PER_CPU
        return NodeReading(
            cpu_milli=float(cpu_milli), usage_milli=min(1.0, busy / total) * cpu_milli if total else None
        )

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)

    def _times(self, usable: set[int]) -> dict[int, tuple[int, int]]:
        """Busy and total ticks of each usable CPU that is online."""
        most_bytes = _LONGEST_LINE_BYTES * ((os.cpu_count() or 1) + 1)
        try:
            lines = os.pread(self._handle, most_bytes, 0).split(b"\n")
        except OSError as err:
            raise SensingError(f"cannot read {self._path}: {err.strerror}") from err
        times = {}
        try:
            for line in lines:
                if not line.startswith(b"cpu"):
                    break
                name, *columns = line.split()
                if name == b"cpu":
                    continue
                cpu = int(name[3:])
                if cpu in usable:
                    ticks = [int(column) for column in columns[:_COLUMNS]]
                    total = sum(ticks)
                    times[cpu] = (total - ticks[_IDLE] - ticks[_IOWAIT], total)
        except (ValueError, IndexError) as err:
            raise SensingError(f"{self._path} is not in the expected form: {lines[0][:80]!r}") from err
        return times
