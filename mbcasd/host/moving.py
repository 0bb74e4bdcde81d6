"""One change of one cgroup's limit: the order of writes, reading back, and the way back.

Used for resizes and for giving the owner's limit back alike.
"""

from typing import NamedTuple

from mbcasd.errors import ActuationError, CgroupGone
from mbcasd.host.files import LimitFiles
from mbcasd.host.held import Bandwidth
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import ResizeStatus


class Step(NamedTuple):
    """One write."""

    is_quota: bool  # else the burst
    value_usec: int | None  # None: unlimited


class Moved(NamedTuple):
    """What became of a change."""

    status: ResizeStatus  # APPLIED, FAILED, GONE or DRIFTED
    limit: LimitReading | None  # in force now; None where it could not be read
    detail: str = ""  # one sentence for people when it is not APPLIED


class LeakMeter:
    """Counts writes and the CPU time that they hand out for nothing.

    The kernel refills a cgroup's quota whenever its quota, period or burst is written, even with the same value
    (kernel/sched/core.c, `tg_set_cfs_bandwidth`). So each write gives away at most one fresh quota: measured, a
    quota of 20 % that is rewritten ten times per second becomes 40 %, a burst rewritten as often makes it 33 %.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.writes = 0
        self.leaked_usec = 0  # upper bound

    def count(self, quota_usec: int | None) -> None:
        """Count one write after which `quota_usec` is in force (None: unlimited, nothing to give away)."""
        self.writes += 1
        self.leaked_usec += quota_usec or 0


def steps(now: Bandwidth, to: Bandwidth) -> tuple[Step, ...]:
    """The writes that lead from `now` to `to`, in an order that the kernel accepts.

    It refuses a burst above the quota at any instant: a raise writes the quota first, a decrease the burst.
    What does not change is not written. A limit without burst keeps none.
    """
    quota = (Step(is_quota=True, value_usec=to.quota_usec),) if to.quota_usec != now.quota_usec else ()
    has_burst = to.burst_usec is not None and now.burst_usec is not None and to.burst_usec != now.burst_usec
    burst = (Step(is_quota=False, value_usec=to.burst_usec),) if has_burst else ()
    is_raise = to.quota_usec is None or (now.quota_usec is not None and to.quota_usec > now.quota_usec)
    return quota + burst if is_raise else burst + quota


def move(files: LimitFiles, now: LimitReading, to: Bandwidth, meter: LeakMeter) -> Moved:
    """Write what differs, read back after each write, and undo the first write when the second is refused.

    Args:
        files: The cgroup.
        now: What was read a moment ago.
        to: Quota at least 1 ms, burst at most the quota.
        meter: Is told of every write.
    """
    in_force = now
    for number, step in enumerate(steps(Bandwidth.of(now), to)):
        try:
            _write(files, step, in_force, meter)
            wanted, in_force = _after(in_force, step), files.read()
        except CgroupGone as err:
            return Moved(ResizeStatus.GONE, None, str(err))
        except ActuationError as err:
            return _undo(files, now, in_force, number, str(err), meter)
        if Bandwidth.of(in_force) != Bandwidth.of(wanted) or in_force.period_usec != wanted.period_usec:
            return Moved(
                ResizeStatus.DRIFTED,
                in_force,
                f"{files.directory} does not read back as written: somebody else changes it too; it is left alone",
            )
    return Moved(ResizeStatus.APPLIED, in_force)


def _write(files: LimitFiles, step: Step, in_force: LimitReading, meter: LeakMeter) -> None:
    if step.is_quota:
        files.write_quota(step.value_usec, in_force.period_usec)
        meter.count(step.value_usec)
    elif step.value_usec is not None:
        files.write_burst(step.value_usec)
        meter.count(in_force.quota_usec)


def _after(limit: LimitReading, step: Step) -> LimitReading:
    """What should be in force once the step is done."""
    return LimitReading(
        quota_usec=step.value_usec if step.is_quota else limit.quota_usec,
        period_usec=limit.period_usec,
        burst_usec=limit.burst_usec if step.is_quota else step.value_usec,
        weight=limit.weight,
    )


def _undo(
    files: LimitFiles, before: LimitReading, in_force: LimitReading, done: int, why: str, meter: LeakMeter
) -> Moved:
    """FAILED promises that nothing changed, so a first write is taken back."""
    try:
        if done:
            for step in steps(Bandwidth.of(in_force), Bandwidth.of(before)):
                _write(files, step, in_force, meter)
        return Moved(ResizeStatus.FAILED, files.read(), why)
    except CgroupGone as err:
        return Moved(ResizeStatus.GONE, None, str(err))
    except ActuationError as err:
        return Moved(ResizeStatus.FAILED, None, f"{why}; and it could not be undone: {err}")
