"""Which way a limit is moved on this host: through systemd where it owns the cgroup, else through the files."""

from collections.abc import Iterable
from itertools import chain

from mbcasd.clock import Clock
from mbcasd.host import systemctl
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.systemd import SystemdActuator
from mbcasd.model.mounts import CgroupMounts
from mbcasd.model.resizing import Resize, ResizeOutcome


class HostActuator:
    """Moves limits of any cgroup of this host; fits `actuation.port.Actuator`.

    Close it before the owner's limits are put back, so that no call to systemd comes after.
    """

    def __init__(
        self, mounts: CgroupMounts, ledger: Ledger, clock: Clock, manager: systemctl.Systemd | None = None
    ) -> None:
        """Prepare both ways.

        Args:
            mounts: Where the cpu controller is.
            ledger: Gets the owner's limits before the first write.
            clock: For the times in outcomes.
            manager: The systemd that owns units' cgroups; None: the one that booted this host, if any did.
        """
        self._files = CgroupActuator(mounts, ledger, clock)
        manager = manager or systemctl.detect()
        self._units = SystemdActuator(manager, mounts, ledger, clock) if manager is not None else None

    @property
    def writes(self) -> int:
        """How many limit files were written."""
        return self._files.writes + (self._units.writes if self._units else 0)

    @property
    def leaked_usec(self) -> int:
        """CPU time that these writes handed out for nothing, at most: each refills the quota."""
        return self._files.leaked_usec + (self._units.leaked_usec if self._units else 0)

    def submit(self, resize: Resize) -> None:
        """Start one resize."""
        if self._units is not None and systemctl.unit_of(resize.cgroup.path) is not None:
            self._units.submit(resize)
        else:
            self._files.submit(resize)

    def collect(self) -> Iterable[ResizeOutcome]:
        """Outcomes that have become known since the last call."""
        return tuple(chain(self._files.collect(), self._units.collect() if self._units else ()))

    def close(self) -> None:
        """End what is in flight."""
        if self._units is not None:
            self._units.close()
