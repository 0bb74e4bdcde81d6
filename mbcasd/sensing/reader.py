"""Samples of one cgroup, and its limit, through files that stay open.

Opening costs ten times as much as reading, so everything is opened once. The handles also settle who is meant: a
cgroup that was removed answers ENODEV for ever, so that counters of two workloads of one name never mix.
"""

import os
from math import inf

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.sensing import handles, parse
from mbcasd.sensing.pressure import PressureFile
from mbcasd.units import DEFAULT_PERIOD_USEC

# The quota is what others change; a change of period, burst or weight alone is noticed a little later.
WHOLE_LIMIT_EVERY = 10

# A cgroup that uses little is read as a whole this often; a little less than a second, for samples on a grid.
WHOLE_SAMPLE_EVERY_S = 0.9

# It uses little below this share of its quota in two samples: half of it would do, and the limit may just have been
# halved.
QUIET_SHARE = 0.25


class CgroupReader:
    """One cgroup under watch; close it when it is not watched any more.

    Raises (every method but close):
        CgroupGone: It vanished, or was removed and made again under the same name. Close this reader.
        SensingError: A file cannot be read or is not in the expected form; another try may succeed.
    """

    def __init__(self, mounts: CgroupMounts, ref: CgroupRef) -> None:
        """Open the files of this very incarnation."""
        self._path = ref.path
        self._is_v2 = mounts.version is CgroupVersion.V2
        self._handles: list[int] = []
        self._last_limit: tuple[bytes | None, ...] = ()
        self._limit: LimitReading | None = None
        self._limit_reads = 0
        self._quiet_usec = 0.0
        self._last_usage_usec = self._used_usec = 0
        self._whole_due_s = -inf
        self._whole_usec = self._still_usec = -1
        self._rest: tuple[int, int, int, int | None, int | None] = (0, 0, 0, None, None)
        directory = mounts.cpu + ref.path.rstrip("/")
        # Files are opened through this handle, so that all of them belong to the same incarnation.
        self._directory = handles.open_directory(directory, ref.inode)
        self._handles.append(self._directory)
        try:
            self._stat = self._keep("cpu.stat")
            self._usage = -1 if self._is_v2 else self._open_usage(mounts, directory, ref)
            self._open_limit()
        except BaseException:
            self._close_handles()
            raise
        unified = mounts.unified
        self._pressure = PressureFile(
            None if unified is None else unified + ref.path.rstrip("/"), must_be_populated=not self._is_v2
        )
        self._local: int | None = None
        self._has_local = True

    def sample(self, now_s: float) -> CpuSample:
        """Read the counters.

        Throttled time is what the cgroup's own limit caused; see `throttled_above_usec` for that of its ancestors.

        On v1 usage has a file of its own, and a cgroup that has used but a part of its quota cannot have been
        throttled: then the other files are read only once a second, which spares half of the system calls; and not
        at all while it uses nothing.

        Args:
            now_s: Monotonic time of this reading.
        """
        try:
            if self._is_v2:
                usage_usec, periods, throttled, throttled_usec = parse.cpu_stat_v2(os.pread(self._stat, 1024, 0))
            else:
                usage_usec = parse.cpuacct_usage(os.pread(self._usage, 32, 0))
                used_usec, self._last_usage_usec = usage_usec - self._last_usage_usec, usage_usec
                # A period that has ended since the last reading began after the one before.
                quiet = used_usec + self._used_usec < self._quiet_usec
                self._used_usec = used_usec
                if quiet and (now_s < self._whole_due_s or self._still_here(usage_usec)):
                    return CpuSample(now_s, usage_usec, *self._rest)
                # What was throttled is told when the period ends, so the reading after the last use still counts.
                self._still_usec = usage_usec if quiet and usage_usec == self._whole_usec else -1
                self._whole_usec = usage_usec
                periods, throttled, throttled_usec = parse.cpu_stat_v1(os.pread(self._stat, 256, 0))
        except OSError as err:
            raise self._trouble(err, "cpu.stat") from err
        self._whole_due_s = now_s + WHOLE_SAMPLE_EVERY_S
        self._rest = (periods, throttled, throttled_usec, *self._pressure.read())
        return CpuSample(now_s, usage_usec, *self._rest)

    def _still_here(self, usage_usec: int) -> bool:
        """Whether nothing was used from one whole reading to the next, and since; pressure may have been found."""
        return usage_usec == self._still_usec and self._pressure.is_known == (self._rest[3] is not None)

    def limit(self) -> LimitReading:
        """Read back the limit that the kernel enforces.

        A cgroup for which the cpu controller is off has none; it reads as unlimited. As long as the quota stays,
        period, burst and weight are read only with every tenth call.
        """
        self._pressure.look()
        self._limit_reads += 1
        first, *others = self._limit_files
        try:
            quota = None if first is None else os.pread(first, 64, 0)
            if self._limit is not None and quota == self._last_limit[0] and self._limit_reads % WHOLE_LIMIT_EVERY:
                return self._limit
            texts = (quota, *(None if handle is None else os.pread(handle, 64, 0) for handle in others))
        except OSError as err:
            raise self._trouble(err, "cpu.max" if self._is_v2 else "cpu.cfs_quota_us") from err
        if self._limit is not None and texts == self._last_limit:
            return self._limit
        quota, period, burst, weight = texts
        quota_usec, period_usec = None, DEFAULT_PERIOD_USEC
        if self._is_v2:
            if quota is not None:
                quota_usec, period_usec = parse.cpu_max(quota)
        elif quota is not None and period is not None:
            quota_usec, period_usec = parse.cfs_quota(quota), parse.cfs_period(period)
        self._last_limit = texts
        self._limit = LimitReading(
            quota_usec=quota_usec,
            period_usec=period_usec,
            burst_usec=None if burst is None else parse.burst(burst),
            weight=None if weight is None else parse.weight(weight),
        )
        self._quiet_usec = _quiet_usec(quota_usec, period_usec)
        return self._limit

    def throttled_above_usec(self) -> int | None:
        """Read for how long limits of its ancestors held this cgroup, in microseconds, summed over CPUs.

        That is what `cpu.stat.local` has beyond `cpu.stat`. It is kept out of the samples on purpose: a larger limit
        of its own does not help a cgroup that its parent's limit holds, so the estimators must not see it as theirs,
        and to the market it looks like what it is, siblings who have the CPU. It is for people.

        Returns:
            A cumulative counter; None where the kernel does not tell (before Linux 6.6).
        """
        if self._local is None:
            if not self._has_local:
                return None
            self._local = handles.open_if_there("cpu.stat.local", self._directory, f"{self._path}/cpu.stat.local")
            self._has_local = self._local is not None
            if self._local is None:
                return None
            self._handles.append(self._local)
        try:
            local_usec = parse.cpu_stat_local(os.pread(self._local, 256, 0))
            stat = os.pread(self._stat, 1024, 0)
        except OSError as err:
            raise self._trouble(err, "cpu.stat.local") from err
        if local_usec is None:
            return None
        own_usec = parse.cpu_stat_v2(stat)[3] if self._is_v2 else parse.cpu_stat_v1(stat)[2]
        # The two are credited at slightly different moments.
        return max(0, local_usec - own_usec)

    def close(self) -> None:
        """Give all handles back; also after CgroupGone, also twice."""
        self._pressure.close()
        self._close_handles()

    def _keep(self, name: str) -> int:
        handle = handles.open_file(name, directory=self._directory, shown=f"{self._path}/{name}")
        self._handles.append(handle)
        return handle

    def _keep_if_there(self, name: str) -> int | None:
        handle = handles.open_if_there(name, self._directory, f"{self._path}/{name}")
        if handle is not None:
            self._handles.append(handle)
        return handle

    def _open_usage(self, mounts: CgroupMounts, directory: str, ref: CgroupRef) -> int:
        """v1: usage, which may be in a hierarchy of its own."""
        if mounts.cpuacct == mounts.cpu:
            return self._keep("cpuacct.usage")
        accounts = mounts.cpuacct + ref.path.rstrip("/")
        try:
            handle = handles.open_file(f"{accounts}/cpuacct.usage")
        except CgroupGone as err:
            # Both hierarchies lose a cgroup one after the other: gone from one is gone, if the other follows.
            os.close(handles.open_directory(directory, ref.inode))
            raise SensingError(
                f"{ref.path} is a cgroup of the cpu controller only, so its use is not counted; make it in the other "
                f"hierarchy too: mkdir {accounts}, and move its processes there"
            ) from err
        self._handles.append(handle)
        return handle

    def _open_limit(self) -> None:
        """Quota, period, burst and weight, in this order; None where a file is not there."""
        self._limit_files: tuple[int | None, int | None, int | None, int | None]
        if self._is_v2:
            quota, period = self._keep_if_there("cpu.max"), None
            burst, weight = self._keep_if_there("cpu.max.burst"), self._keep_if_there("cpu.weight")
        else:
            quota, period = self._keep_if_there("cpu.cfs_quota_us"), self._keep_if_there("cpu.cfs_period_us")
            burst, weight = self._keep_if_there("cpu.cfs_burst_us"), self._keep_if_there("cpu.shares")
        self._limit_files = (quota, period, burst, weight)

    def _close_handles(self) -> None:
        while self._handles:
            os.close(self._handles.pop())

    def _trouble(self, err: OSError, name: str) -> SensingError:
        if err.errno in handles.REMOVED:
            return CgroupGone(f"{self._path} was removed, or removed and made again")
        return handles.trouble(err, f"{self._path}/{name}")


def _quiet_usec(quota_usec: int | None, period_usec: int) -> float:
    """Below which use in two samples no period can have been throttled; 0: it cannot be told."""
    if quota_usec is None:
        return inf
    return QUIET_SHARE * quota_usec if period_usec <= DEFAULT_PERIOD_USEC else 0.0
