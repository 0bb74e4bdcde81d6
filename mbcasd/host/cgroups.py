"""Moving limits by writing cgroup files: the backend that every Linux host has."""

from collections.abc import Iterable

from mbcasd.clock import Clock
from mbcasd.errors import ActuationError, CgroupGone
from mbcasd.host.files import LimitFiles
from mbcasd.host.held import Bandwidth, Held
from mbcasd.host.ledger import Ledger
from mbcasd.host.moving import LeakMeter, Moved, move
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus
from mbcasd.units import format_cpu_milli, quota_usec


class CgroupActuator:
    """Writes quota and burst of cgroups; fits `actuation.port.Actuator`.

    Works at once, in the caller's thread: a change is one look and at most two writes, together about 0.1 ms.
    Before each, it looks at what is in force: what is neither the owner's nor its own was set by somebody else
    and is left alone.
    """

    def __init__(self, mounts: CgroupMounts, ledger: Ledger, clock: Clock) -> None:
        """Take what is needed; nothing is read or written yet."""
        self._mounts, self._ledger, self._clock = mounts, ledger, clock
        self._meter = LeakMeter()
        self._outcomes: list[ResizeOutcome] = []

    @property
    def writes(self) -> int:
        """How many limit files were written."""
        return self._meter.writes

    @property
    def leaked_usec(self) -> int:
        """CPU time that these writes handed out for nothing, at most."""
        return self._meter.leaked_usec

    def submit(self, resize: Resize) -> None:
        """Do one resize; the outcome waits for `collect`."""
        asked_at_s = self._clock.now_s()
        try:
            moved = self._resize(resize)
        except CgroupGone as err:
            moved = Moved(ResizeStatus.GONE, None, str(err))
        except ActuationError as err:
            moved = Moved(ResizeStatus.FAILED, None, str(err))
        if moved.status is ResizeStatus.GONE:
            forget(self._ledger, resize.cgroup)
        self._outcomes.append(
            ResizeOutcome(
                resize=resize,
                status=moved.status,
                limit=moved.limit,
                asked_at_s=asked_at_s,
                ended_at_s=self._clock.now_s(),
                detail=moved.detail,
            )
        )

    def collect(self) -> Iterable[ResizeOutcome]:
        """Outcomes since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _resize(self, resize: Resize) -> Moved:
        with LimitFiles(self._mounts, resize.cgroup) as files:
            now = files.read()
            held = self._ledger.find(resize.cgroup) or self._first_held(resize.cgroup, now)
            if not held.may_have_set(now):
                return drifted(files.directory, now)
            target = target_of(resize, held.owner)
            if Bandwidth.of(now) == target:
                return Moved(ResizeStatus.APPLIED, now)
            held = held.moving(Bandwidth.of(now), target)
            self._ledger.hold(held)
            moved = move(files, now, target, self._meter)
            if moved.status is ResizeStatus.APPLIED:
                self._ledger.confirm(held)
            return moved

    def _first_held(self, cgroup: CgroupRef, now: LimitReading) -> Held:
        """Nothing is held yet, so what is in force is the owner's."""
        self._ledger.prune(self._is_needed)
        bandwidth = Bandwidth.of(now)
        return Held(cgroup=cgroup, version=self._mounts.version, owner=now, before=bandwidth, after=bandwidth)

    def _is_needed(self, held: Held) -> bool:
        return held.unit is not None or is_there(self._mounts, held.cgroup)


def target_of(resize: Resize, owner: LimitReading) -> Bandwidth:
    """Quota and burst that a resize asks for, per period of the owner.

    The burst is one quota where it is asked for and the kernel has it, else the owner's; never above the quota.
    """
    if resize.to_milli is None:
        return Bandwidth(None, owner.burst_usec)
    quota = quota_usec(resize.to_milli, owner.period_usec)
    if owner.burst_usec is None:
        return Bandwidth(quota, None)
    return Bandwidth(quota, quota if resize.burst else min(owner.burst_usec, quota))


def drifted(directory: str, now: LimitReading) -> Moved:
    """The answer for a cgroup that somebody else has written."""
    burst = f" with a burst of {now.burst_usec} µs" if now.burst_usec else ""
    return Moved(
        ResizeStatus.DRIFTED,
        now,
        f"somebody else has set {directory} to {format_cpu_milli(now.limit_milli)}{burst}; it is left alone",
    )


def is_there(mounts: CgroupMounts, cgroup: CgroupRef) -> bool:
    """Whether this incarnation of the cgroup still exists."""
    try:
        LimitFiles(mounts, cgroup).close()
    except CgroupGone:
        return False
    except ActuationError:
        # Not readable just now; that does not make it vanish.
        return True
    return True


def forget(ledger: Ledger, cgroup: CgroupRef) -> None:
    """Settle a cgroup that is gone; where the ledger cannot be written, its entry does no harm either."""
    try:
        ledger.settle(cgroup)
    except ActuationError:
        return
