"""Moving limits through systemd, where it is the one that owns the cgroup.

systemd writes its own idea of a unit's quota whenever it reloads, so a quota written behind its back does not
last; asked for it, systemd keeps it.

`systemctl` takes tens of milliseconds, so it runs in a thread of its own. Everything else, the ledger above all,
stays in the caller's thread.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from mbcasd.clock import Clock
from mbcasd.errors import ActuationError, CgroupGone
from mbcasd.host.cgroups import drifted, forget, is_there
from mbcasd.host.files import LimitFiles
from mbcasd.host.held import Bandwidth, Held, is_same_limit
from mbcasd.host.ledger import Ledger
from mbcasd.host.moving import LeakMeter, Moved
from mbcasd.host.systemctl import MILLI_PER_PERCENT, Systemd, percent_of, resize_assignment, says_ours, unit_of
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus
from mbcasd.units import MILLI_PER_CPU

# systemctl answers before systemd has written the cgroup: it realizes cgroups from a queue of its own.
_READ_BACK_EVERY_S = 0.01


class _Job(NamedTuple):
    """One resize on its way to systemd."""

    resize: Resize
    held: Held
    assignment: str
    asked_at_s: float


class SystemdActuator:
    """Sets the quota of units; fits `actuation.port.Actuator`. `close` ends its thread."""

    def __init__(self, systemd: Systemd, mounts: CgroupMounts, ledger: Ledger, clock: Clock) -> None:
        """Start the thread that talks to systemctl; it rests until there is something to do."""
        self._systemd, self._mounts, self._ledger, self._clock = systemd, mounts, ledger, clock
        self._meter = LeakMeter()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[_Job, Moved]] = queue.SimpleQueue()
        self._outcomes: list[ResizeOutcome] = []
        self._worker = threading.Thread(target=self._work, name="systemctl", daemon=True)
        self._worker.start()

    @property
    def writes(self) -> int:
        """How many limit files systemd wrote for us."""
        return self._meter.writes

    @property
    def leaked_usec(self) -> int:
        """CPU time that these writes handed out for nothing, at most."""
        return self._meter.leaked_usec

    def submit(self, resize: Resize) -> None:
        """Look, save, and hand the resize to the thread; the outcome comes with a later `collect`."""
        asked_at_s = self._clock.now_s()
        try:
            job = self._prepare(resize, asked_at_s)
        except CgroupGone as err:
            job = Moved(ResizeStatus.GONE, None, str(err))
        except ActuationError as err:
            job = Moved(ResizeStatus.FAILED, None, str(err))
        if isinstance(job, Moved):
            self._conclude(resize, job, asked_at_s)
        else:
            self._jobs.put(job)

    def collect(self) -> Iterable[ResizeOutcome]:
        """Outcomes that have become known since the last call."""
        while True:
            try:
                job, moved = self._done.get_nowait()
            except queue.Empty:
                break
            if moved.status is ResizeStatus.APPLIED:
                self._ledger.confirm(job.held)
            if moved.limit is not None:
                self._count(moved.limit)
            self._conclude(job.resize, moved, job.asked_at_s)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Finish the call in flight, abandon those that wait, and end the thread."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        self._jobs.put(None)
        self._worker.join(self._systemd.timeout_s + self._systemd.read_back_s + 1)

    def _prepare(self, resize: Resize, asked_at_s: float) -> "_Job | Moved":
        unit = unit_of(resize.cgroup.path)
        if unit is None:
            raise ActuationError(f"{resize.cgroup.path} is not a cgroup of a unit")
        with LimitFiles(self._mounts, resize.cgroup) as files:
            now = files.read()
            directory = files.directory
        held = self._ledger.find(resize.cgroup) or self._first_held(resize.cgroup, unit, now)
        predecessor = self._ledger.predecessor(resize.cgroup)
        if not held.may_have_set(now):
            return drifted(directory, now)
        assignment = resize_assignment(resize.to_milli)
        after = _bandwidth(None if resize.to_milli is None else percent_of(resize.to_milli), held.owner)
        if is_same_limit(now, replace(held.owner, quota_usec=after.quota_usec)):
            return Moved(ResizeStatus.APPLIED, now)
        before = Bandwidth(_per_period(now, held.owner.period_usec), now.burst_usec)
        held = held.moving(before, after)
        self._ledger.hold(held)
        if predecessor is not None:
            forget(self._ledger, predecessor.cgroup)
        return _Job(resize, held, assignment, asked_at_s)

    def _first_held(self, cgroup: CgroupRef, unit: str, now: LimitReading) -> Held:
        self._ledger.prune(self._is_needed)
        predecessor = self._ledger.predecessor(cgroup)
        if predecessor is not None and predecessor.may_have_set(now):
            # The unit was restarted and systemd has given it our limit again, so its owner's is the old one.
            return replace(predecessor, cgroup=cgroup)
        drop_in = self._systemd.drop_in_text(unit)
        if predecessor is not None and says_ours(drop_in, predecessor):
            drop_in = predecessor.drop_in
        bandwidth = Bandwidth.of(now)
        return Held(
            cgroup=cgroup,
            version=self._mounts.version,
            owner=now,
            before=bandwidth,
            after=bandwidth,
            unit=unit,
            drop_in=drop_in,
        )

    def _is_needed(self, held: Held) -> bool:
        """A unit that has stopped gets our limit when it starts again, as long as our drop-in is there."""
        return held.unit is None or self._systemd.drop_in(held.unit).exists() or is_there(self._mounts, held.cgroup)

    def _conclude(self, resize: Resize, moved: Moved, asked_at_s: float) -> None:
        held = self._ledger.find(resize.cgroup)
        if moved.status is ResizeStatus.GONE and held is not None and not self._is_needed(held):
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

    def _count(self, limit: LimitReading) -> None:
        self._meter.count(limit.quota_usec)
        if self._mounts.version is CgroupVersion.V1:
            # On v1 systemd writes the period too, and that refills the quota as well.
            self._meter.count(limit.quota_usec)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._done.put((job, self._do(job)))

    def _do(self, job: _Job) -> Moved:
        held = job.held
        why = ""
        try:
            self._systemd.set_quota(held.unit or "", job.assignment)
        except ActuationError as err:
            why = str(err)
        wanted = replace(held.owner, quota_usec=held.after.quota_usec)
        try:
            # A call that failed is looked at once: one that timed out may have got through after all.
            limit = read_back(self._mounts, held.cgroup, wanted, 0 if why else self._systemd.read_back_s)
        except CgroupGone as err:
            return Moved(ResizeStatus.GONE, None, str(err))
        except ActuationError as err:
            return Moved(ResizeStatus.FAILED, None, why or str(err))
        if is_same_limit(limit, wanted):
            return Moved(ResizeStatus.APPLIED, limit)
        if why:
            return Moved(ResizeStatus.FAILED, limit, why)
        if held.may_have_set(limit):
            return Moved(
                ResizeStatus.FAILED,
                limit,
                f"systemd accepted {job.assignment} for {held.unit}, but the cgroup did not follow within "
                f"{self._systemd.read_back_s:g} s; is its cpu controller on, and its burst below the new quota?",
            )
        return drifted(self._mounts.cpu + held.cgroup.path, limit)


def read_back(mounts: CgroupMounts, cgroup: CgroupRef, wanted: LimitReading, within_s: float) -> LimitReading:
    """What is in force once it is as wanted, or when the time is over.

    Raises:
        CgroupGone: The unit's cgroup vanished.
        ActuationError: It cannot be read.
    """
    ends_at_s = time.monotonic() + within_s
    while True:
        with LimitFiles(mounts, cgroup) as files:
            limit = files.read()
        if is_same_limit(limit, wanted) or time.monotonic() >= ends_at_s:
            return limit
        time.sleep(_READ_BACK_EVERY_S)


def _bandwidth(percent: int | None, owner: LimitReading) -> Bandwidth:
    quota = None if percent is None else percent * MILLI_PER_PERCENT * owner.period_usec // MILLI_PER_CPU
    return Bandwidth(quota, owner.burst_usec)


def _per_period(limit: LimitReading, period_usec: int) -> int | None:
    """A reading's quota, were its period another."""
    return None if limit.quota_usec is None else round(limit.quota_usec * period_usec / limit.period_usec)
