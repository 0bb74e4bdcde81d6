"""Open handles to all cgroups under watch, each read as often as it deserves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.sensing.reader import CgroupReader
from mbcasd.settings import LoopSettings

# A cgroup that used less than this since its last sample, and was not throttled, did nothing: 2 millicores.
IDLE_USEC_PER_S = 2000

# It must have done nothing for so long before it is read seldom.
IDLE_AFTER_S = 3.0


@dataclass(slots=True)
class _Handle:
    cgroup: CgroupRef
    reader: CgroupReader
    due_s: float
    sample: CpuSample | None = None
    busy_at_s: float = 0.0


class Sensors:
    """Samples what is there now.

    Cgroups that vanish between listing and reading are ordinary: they are closed, and the next look at the
    tree tells the engine.
    """

    def __init__(
        self,
        discover: Callable[[], Mapping[WorkloadId, CgroupRef]],
        open_reader: Callable[[CgroupRef], CgroupReader],
        loops: LoopSettings,
    ) -> None:
        """Watch what `discover` lists; `open_reader` raises SensingError for what cannot be read."""
        self._discover, self._open_reader = discover, open_reader
        self._loops = loops
        self._handles: dict[WorkloadId, _Handle] = {}
        self._found: Mapping[WorkloadId, CgroupRef] | None = None  # as it was listed last, if all of it is open
        self._watched: Mapping[WorkloadId, CgroupRef] = {}
        self._looked_at_s = 0.0
        self.unreadable: dict[WorkloadId, str] = {}

    def reconfigure(self, loops: LoopSettings) -> None:
        """Take over changed intervals."""
        self._loops = loops

    def look(self, now_s: float) -> Mapping[WorkloadId, CgroupRef]:
        """List what exists, open what is new, close what is gone.

        Returns:
            The workloads that can be read, with their present incarnation.
        """
        self._looked_at_s = now_s
        found = self._discover()
        if found is self._found:
            return self._watched
        for name in [name for name, handle in self._handles.items() if found.get(name) != handle.cgroup]:
            self._close(name)
        self.unreadable = {name: reason for name, reason in self.unreadable.items() if name in found}
        for name, cgroup in found.items():
            if name in self._handles:
                continue
            try:
                self._handles[name] = _Handle(cgroup, self._open_reader(cgroup), now_s, None, now_s)
                self.unreadable.pop(name, None)
            except CgroupGone:
                continue
            except SensingError as err:
                self.unreadable[name] = str(err)
        self._watched = {name: handle.cgroup for name, handle in self._handles.items()}
        # Who lists the same mapping again says that nothing has changed.
        self._found = found if len(self._watched) == len(found) else None
        return self._watched

    def samples(self, now_s: float, clock_s: Callable[[], float]) -> dict[WorkloadId, CpuSample]:
        """Read every cgroup that is due. Each sample carries its own time, since a pass takes a while."""
        taken: dict[WorkloadId, CpuSample] = {}
        gone: list[WorkloadId] = []
        hot_s, idle_s = self._loops.hot_sampling_interval_s, self._loops.sampling_interval_s
        for name, handle in self._handles.items():
            if handle.due_s > now_s:
                continue
            try:
                sample = handle.reader.sample(clock_s())
            except CgroupGone:
                gone.append(name)
                continue
            except SensingError as err:
                self.unreadable[name] = str(err)
                handle.due_s = now_s + idle_s
                continue
            last = handle.sample
            if last is None or (
                sample.usage_usec - last.usage_usec > IDLE_USEC_PER_S * (sample.read_at_s - last.read_at_s)
                or sample.throttled_periods != last.throttled_periods
            ):
                handle.busy_at_s = now_s
            handle.sample = sample
            # A little early is on time: the grid of passes decides, not the moment of this reading.
            due_s = now_s + hot_s if now_s - handle.busy_at_s < IDLE_AFTER_S else self._idle_due_s(now_s, idle_s)
            handle.due_s = due_s - 0.25 * hot_s
            taken[name] = sample
        for name in gone:
            self._close(name)
        return taken

    def limits(self) -> dict[WorkloadId, LimitReading]:
        """Read the limits in force of all of them."""
        limits: dict[WorkloadId, LimitReading] = {}
        gone: list[WorkloadId] = []
        for name, handle in self._handles.items():
            try:
                limits[name] = handle.reader.limit()
            except CgroupGone:
                gone.append(name)
            except SensingError as err:
                self.unreadable[name] = str(err)
        for name in gone:
            self._close(name)
        return limits

    def limit_of(self, name: WorkloadId, cgroup: CgroupRef) -> LimitReading:
        """Read the limit in force of one of them.

        Raises:
            CgroupGone: This incarnation is not under watch any more.
            SensingError: It cannot be read now.
        """
        handle = self._handles.get(name)
        if handle is None or handle.cgroup != cgroup:
            raise CgroupGone(f"{cgroup.path} is not under watch any more")
        return handle.reader.limit()

    def next_due_s(self) -> float | None:
        """When the next cgroup wants to be read; None: nothing is under watch."""
        return min((handle.due_s for handle in self._handles.values()), default=None)

    def _idle_due_s(self, now_s: float, idle_s: float) -> float:
        """When an idle one is read next: with a look, so that the daemon wakes up once for all of them."""
        since_look_s = max(0.0, now_s - self._looked_at_s)
        return self._looked_at_s + idle_s * ceil(since_look_s / idle_s + 0.5)

    def close(self) -> None:
        """Close all handles."""
        for name in list(self._handles):
            self._close(name)

    def _close(self, name: WorkloadId) -> None:
        self._found = None
        self._handles.pop(name).reader.close()
