"""Putting the owner's limits back: on a clean stop, after a crash, by hand. Doing it twice changes nothing."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mbcasd.errors import ActuationError, CgroupGone
from mbcasd.host import systemctl
from mbcasd.host.files import LimitFiles
from mbcasd.host.held import Bandwidth, Held
from mbcasd.host.ledger import Ledger
from mbcasd.host.moving import LeakMeter, move
from mbcasd.host.systemd import read_back
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import ResizeStatus
from mbcasd.units import format_cpu_milli


class RestoreResult(Enum):
    """What became of one cgroup."""

    RESTORED = "restored"
    AS_OWNED = "as owned"  # it was as the owner had it already
    LEFT_ALONE = "left alone"  # somebody else has set another limit since
    GONE = "gone"  # it was removed, perhaps made again: nothing of ours is in force
    FAILED = "failed"  # our limit is still in force


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredCgroup:
    """One cgroup of the report."""

    cgroup: str
    result: RestoreResult
    owner: LimitReading
    found: LimitReading | None  # in force before; None: it could not be read
    detail: str = ""  # one sentence for people when it is neither RESTORED nor AS_OWNED

    def __str__(self) -> str:
        """One line for people."""
        if self.detail:
            return f"{self.cgroup}: {self.detail}"
        found = format_cpu_milli(self.found.limit_milli) if self.found is not None else "?"
        owner = format_cpu_milli(self.owner.limit_milli)
        if self.result is RestoreResult.RESTORED:
            return f"{self.cgroup}: put back from {found} to {owner}"
        return f"{self.cgroup}: {owner} already, as its owner had it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """All cgroups, in the order in which they had come under control."""

    cgroups: tuple[RestoredCgroup, ...] = ()
    notes: tuple[str, ...] = ()  # what else a person may want to know; nothing of it is a failure

    @property
    def restored(self) -> tuple[RestoredCgroup, ...]:
        """Those whose limit was changed back."""
        return self._with(RestoreResult.RESTORED)

    @property
    def failed(self) -> tuple[RestoredCgroup, ...]:
        """Those that still have a limit of ours."""
        return self._with(RestoreResult.FAILED)

    def _with(self, result: RestoreResult) -> tuple[RestoredCgroup, ...]:
        return tuple(cgroup for cgroup in self.cgroups if cgroup.result is result)


def restore(ledger: Ledger, mounts: CgroupMounts, manager: systemctl.Systemd | None = None) -> RestoreReport:
    """Give every cgroup in the ledger its owner's limit and forget it; what fails stays for another try.

    A child may have to wait for its parent (cgroup v1), so what failed is tried again as long as that helps.

    Args:
        ledger: What a daemon holds, or left.
        mounts: Where the cpu controller is.
        manager: The systemd that owns units' cgroups; None: the one that booted this host.
    """
    return _Restoration(ledger, mounts, manager or systemctl.detect() or systemctl.Systemd()).run()


class _Restoration:
    """One run over a ledger."""

    def __init__(self, ledger: Ledger, mounts: CgroupMounts, manager: systemctl.Systemd) -> None:
        self._ledger, self._mounts, self._manager = ledger, mounts, manager
        self._notes: list[str] = []
        self._must_reload = False

    def run(self) -> RestoreReport:
        everything = self._ledger.held()
        done: dict[Held, RestoredCgroup] = {}
        waiting = list(everything)
        while waiting:
            done.update((held, self._put_back(held)) for held in waiting)
            failed = [held for held in waiting if done[held].result is RestoreResult.FAILED]
            if len(failed) == len(waiting):
                break
            waiting = failed
        self._reload()
        for held in everything:
            if done[held].result is not RestoreResult.FAILED:
                self._settle(held)
        if self._ledger.stale_lines:
            self._notes.append(f"{self._ledger.stale_lines} limit(s) from before the last reboot are void")
        if self._ledger.unreadable_lines:
            self._notes.append(f"{self._ledger.unreadable_lines} line(s) of the ledger cannot be read and were skipped")
        return RestoreReport(cgroups=tuple(done[held] for held in everything), notes=tuple(self._notes))

    def _put_back(self, held: Held) -> RestoredCgroup:
        if held.version is not self._mounts.version:
            return _report(held, RestoreResult.GONE, None, "the cpu controller has moved to another hierarchy since")
        found: LimitReading | None = None
        cgroup = self._incarnation(held)
        try:
            with LimitFiles(self._mounts, cgroup) as files:
                found = files.read()
                if held.is_as_owned(found):
                    self._tidy(held)
                    return _report(held, RestoreResult.AS_OWNED, found)
                if not held.may_have_set(found):
                    self._tidy_if_ours(held)
                    why = f"somebody else has set it to {format_cpu_milli(found.limit_milli)} since; left as it is"
                    return _report(held, RestoreResult.LEFT_ALONE, found, why)
                if held.unit is not None:
                    self._manager.set_quota(held.unit, systemctl.owner_assignment(held.owner))
                    read_back(self._mounts, cgroup, held.owner, self._manager.read_back_s)
                self._put_files_back(held, files)
                self._tidy(held)
        except CgroupGone as err:
            self._tidy(held)
            return _report(held, RestoreResult.GONE, found, str(err))
        except ActuationError as err:
            return _report(held, RestoreResult.FAILED, found, str(err))
        return _report(held, RestoreResult.RESTORED, found)

    def _incarnation(self, held: Held) -> CgroupRef:
        """The cgroup to look at: for a unit the one of now, since systemd gives a restarted unit our limit again."""
        if held.unit is None:
            return held.cgroup
        try:
            inode = Path(self._mounts.cpu + held.cgroup.path).stat().st_ino
        except OSError:
            return held.cgroup
        return CgroupRef(path=held.cgroup.path, inode=inode)

    def _put_files_back(self, held: Held, files: LimitFiles) -> None:
        """Write what differs still.

        After systemd that is mostly nothing. But up to version 244 it forgets to lift the quota of a unit whose
        CPUQuota= is unset (systemd issue 14917), and it rounds.
        """
        now = files.read()
        if held.is_as_owned(now):
            return
        owner = Bandwidth.of(held.owner)
        if held.unit is not None and now.period_usec != held.owner.period_usec:
            raise ActuationError(
                f"systemd did not put {held.unit} back, its limit is {format_cpu_milli(now.limit_milli)}"
            )
        moved = move(files, now, owner, LeakMeter())
        if moved.status is ResizeStatus.GONE:
            raise CgroupGone(moved.detail)
        if moved.status is not ResizeStatus.APPLIED:
            raise ActuationError(moved.detail)

    def _tidy(self, held: Held) -> None:
        """Take our drop-in away from a unit; the limit itself is right already."""
        if held.unit is None:
            return
        try:
            self._must_reload |= systemctl.put_drop_in_back(self._manager, held)
        except ActuationError as err:
            self._notes.append(str(err))

    def _tidy_if_ours(self, held: Held) -> None:
        """Somebody else wrote the cgroup, but systemd would bring our limit back with its next reload."""
        if held.unit is None or not systemctl.says_ours(self._manager.drop_in_text(held.unit), held):
            return
        try:
            systemctl.put_drop_in_back(self._manager, held)
        except ActuationError as err:
            self._notes.append(str(err))

    def _reload(self) -> None:
        """Once for all units: systemd should not go on showing drop-ins that are no more."""
        if not self._must_reload:
            return
        try:
            self._manager.reload()
        except ActuationError as err:
            self._notes.append(f"{err}; the limits are right, systemd shows the old drop-ins until its next reload")

    def _settle(self, held: Held) -> None:
        try:
            self._ledger.settle(held.cgroup)
        except ActuationError as err:
            note = f"{err} The limits are as reported; restoring again will change nothing."
            if note not in self._notes:
                self._notes.append(note)


def _report(held: Held, result: RestoreResult, found: LimitReading | None, detail: str = "") -> RestoredCgroup:
    return RestoredCgroup(cgroup=held.cgroup.path, result=result, owner=held.owner, found=found, detail=detail)
