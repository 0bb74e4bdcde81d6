"""Why the kernel answered EINVAL to a quota, in words that name the cgroup in the way.

Looked up only after a refusal, so it may walk the tree. On cgroup v1 no child may have more CPU than any of
its ancestors with a quota (kernel/sched/core.c, `tg_cfs_schedulable_down`); v2 takes the smaller of both
silently.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.units import MIN_QUOTA_USEC, format_cpu_milli, limit_milli

# A refusal is explained to a person who waits: no more than this many cgroups are looked at.
_CGROUPS_AT_MOST = 2000


def explain_quota(mounts: CgroupMounts, path: str, quota_usec: int | None, period_usec: int) -> str:
    """Say why this quota is refused and what to do about it.

    Args:
        mounts: Where the cpu controller is.
        path: The cgroup, as /proc/PID/cgroup shows it.
        quota_usec: What was refused; None: unlimited.
        period_usec: The period in force.
    """
    if mounts.version is CgroupVersion.V1:
        wanted_milli = limit_milli(quota_usec, period_usec)
        for ancestor in _ancestors(path):
            has_milli = _limit_milli(mounts.cpu + ancestor)
            if has_milli is not None and wanted_milli is not None and has_milli < wanted_milli:
                return (
                    f"its parent {ancestor} is limited to {format_cpu_milli(has_milli)}, and on cgroup v1 a child may "
                    "not have more; raise the parent's limit first"
                )
        for descendant in _descendants(mounts.cpu, path):
            has_milli = _limit_milli(mounts.cpu + descendant)
            if has_milli is not None and wanted_milli is not None and has_milli > wanted_milli:
                return (
                    f"its child {descendant} is limited to {format_cpu_milli(has_milli)}, and on cgroup v1 a parent "
                    "may not have less; lower the child's limit first"
                )
    if quota_usec is not None and quota_usec < MIN_QUOTA_USEC:
        return f"no quota may be below {MIN_QUOTA_USEC} µs"
    return "the burst may exceed the new quota, or the kernel has a rule that MBCAS does not know"


def _ancestors(path: str) -> Iterator[str]:
    """From the parent up to the child of the root."""
    yield from (str(parent) for parent in PurePosixPath(path).parents if str(parent) != "/")


def _descendants(mount: str, path: str) -> Iterator[str]:
    for count, (directory, _, _) in enumerate(os.walk(mount + path)):
        if count >= _CGROUPS_AT_MOST:
            return
        if count:
            yield directory.removeprefix(mount)


def _limit_milli(directory: str) -> float | None:
    """The limit of a v1 cgroup; None where it has none, or cannot be read."""
    try:
        quota_usec = int(Path(directory, "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_usec = int(Path(directory, "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return limit_milli(quota_usec, period_usec) if quota_usec >= 0 else None
