"""The text of kernel files to numbers; pure, and quick, because the sampling loop lives here.

Each parser takes the bytes of one file and raises SensingError for anything that the kernel would not write.
Counters come out in microseconds, whatever unit the file has. The two `cpu.stat` parsers look for each line where
all kernels so far have put it, which takes a third of the time of a dictionary, and fall back to one.

Source: Documentation/admin-guide/cgroup-v2.rst ("CPU Interface Files"), scheduler/sched-bwc.rst, accounting/psi.rst.
"""

from mbcasd.errors import SensingError

# v1 counts in nanoseconds.
_NSEC_PER_USEC = 1000

_AFTER_PERIODS = [b"nr_throttled", b"throttled_usec"]


def cpu_stat_v1(data: bytes) -> tuple[int, int, int]:
    """Read v1 `cpu.stat`.

    Returns:
        Periods, throttled periods, and throttled time in microseconds, summed over CPUs.
    """
    words = data.split(None, 6)
    try:
        if words[0] == b"nr_periods" and words[2] == b"nr_throttled" and words[4] == b"throttled_time":
            periods, throttled, throttled_nsec = int(words[1]), int(words[3]), int(words[5])
        else:
            fields = _fields(data)
            periods, throttled = int(fields[b"nr_periods"]), int(fields[b"nr_throttled"])
            throttled_nsec = int(fields[b"throttled_time"])
    except (ValueError, LookupError) as err:
        raise _unexpected("cpu.stat", data) from err
    if periods | throttled | throttled_nsec < 0:
        raise _unexpected("cpu.stat", data)
    return periods, throttled, throttled_nsec // _NSEC_PER_USEC


def cpu_stat_v2(data: bytes) -> tuple[int, int, int, int]:
    """Read v2 `cpu.stat`, where usage and throttling share a file.

    The lines about periods are missing where the cpu controller is off; they count as zero.

    Returns:
        Usage in microseconds, periods, throttled periods, and throttled time in microseconds, summed over CPUs.
    """
    words = data.split()
    try:
        at = words.index(b"nr_periods") if b"nr_periods" in words else 0
        if at and words[0] == b"usage_usec" and words[at + 2 : at + 5 : 2] == _AFTER_PERIODS:
            usage_usec, periods = int(words[1]), int(words[at + 1])
            throttled, throttled_usec = int(words[at + 3]), int(words[at + 5])
        else:
            fields = _fields(data)
            usage_usec, periods = int(fields[b"usage_usec"]), int(fields.get(b"nr_periods", 0))
            throttled, throttled_usec = (
                (int(fields[b"nr_throttled"]), int(fields[b"throttled_usec"])) if b"nr_periods" in fields else (0, 0)
            )
    except (ValueError, LookupError) as err:
        raise _unexpected("cpu.stat", data) from err
    if usage_usec | periods | throttled | throttled_usec < 0:
        raise _unexpected("cpu.stat", data)
    return usage_usec, periods, throttled, throttled_usec


def cpu_stat_local(data: bytes) -> int | None:
    """Read `cpu.stat.local` of v1 (nanoseconds) or v2 (microseconds).

    Returns:
        Time that this cgroup was throttled by its own limit or an ancestor's, in microseconds, summed over CPUs;
        None where the file says nothing, as on a v2 tree without the cpu controller.
    """
    fields = _fields(data)
    try:
        if b"throttled_usec" in fields:
            usec = int(fields[b"throttled_usec"])
        elif b"throttled_time" in fields:
            usec = int(fields[b"throttled_time"]) // _NSEC_PER_USEC
        else:
            return None
    except ValueError as err:
        raise _unexpected("cpu.stat.local", data) from err
    if usec < 0:
        raise _unexpected("cpu.stat.local", data)
    return usec


def cpuacct_usage(data: bytes) -> int:
    """Read v1 `cpuacct.usage`: CPU time used, in microseconds."""
    try:
        nsec = int(data)
    except ValueError as err:
        raise _unexpected("cpuacct.usage", data) from err
    if nsec < 0:
        raise _unexpected("cpuacct.usage", data)
    return nsec // _NSEC_PER_USEC


def pressure(data: bytes) -> tuple[int, int | None]:
    """Read `cpu.pressure`.

    Returns:
        Wall time in microseconds in which some task waited, and in which all non-idle tasks did; the latter is None
        before Linux 5.13, which had no such line for CPU.
    """
    parts = data.split(b"total=", 2)
    try:
        some_usec = int(parts[1].partition(b"\n")[0])
        full_usec = int(parts[2]) if len(parts) > 2 else None
    except (ValueError, IndexError) as err:
        raise _unexpected("cpu.pressure", data) from err
    if not data.startswith(b"some ") or some_usec < 0 or (full_usec is not None and full_usec < 0):
        raise _unexpected("cpu.pressure", data)
    return some_usec, full_usec


def cpu_max(data: bytes) -> tuple[int | None, int]:
    """Read v2 `cpu.max`.

    Returns:
        Quota (None for `max`: unlimited) and period, both in microseconds.
    """
    words = data.split()
    try:
        quota, period = words
        quota_usec = None if quota == b"max" else int(quota)
        period_usec = int(period)
    except ValueError as err:
        raise _unexpected("cpu.max", data) from err
    if (quota_usec is not None and quota_usec < 0) or period_usec <= 0:
        raise _unexpected("cpu.max", data)
    return quota_usec, period_usec


def cfs_quota(data: bytes) -> int | None:
    """Read v1 `cpu.cfs_quota_us`: CPU time per period in microseconds, None for -1: unlimited."""
    try:
        quota_usec = int(data)
    except ValueError as err:
        raise _unexpected("cpu.cfs_quota_us", data) from err
    return None if quota_usec < 0 else quota_usec


def cfs_period(data: bytes) -> int:
    """Read v1 `cpu.cfs_period_us`: the quota's period in microseconds, more than 0."""
    period_usec = _number("cpu.cfs_period_us", data)
    if period_usec == 0:
        raise _unexpected("cpu.cfs_period_us", data)
    return period_usec


def burst(data: bytes) -> int:
    """Read v2 `cpu.max.burst` or v1 `cpu.cfs_burst_us`: unused quota that may carry over, in microseconds."""
    return _number("the burst", data)


def weight(data: bytes) -> int:
    """Read v2 `cpu.weight` (1 to 10000, default 100) or v1 `cpu.shares` (2 to 262144, default 1024)."""
    return _number("the weight", data)


def _number(name: str, data: bytes) -> int:
    try:
        number = int(data)
    except ValueError as err:
        raise _unexpected(name, data) from err
    if number < 0:
        raise _unexpected(name, data)
    return number


def _fields(data: bytes) -> dict[bytes, bytes]:
    """A flat-keyed file as keys and values."""
    words = data.split()
    return dict(zip(words[::2], words[1::2], strict=False))


def _unexpected(name: str, data: bytes) -> SensingError:
    return SensingError(f"{name} is not in the expected form: {data[:80]!r}")
