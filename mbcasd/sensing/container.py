"""A container of a pod, held by its own limit or by its pod's.

The kubelet gives the pod's cgroup a quota too, the sum of its containers' limits, if all of them have one. A lone
container then stands below two equal quotas, and the kernel takes whichever runs out first: most of the throttling
is counted at the pod, and hardly any at the container, which uses all it may all the same (measured with a spinner
on Linux 6.18: at 220m every period at both, at 680m 50 of 50 at the pod and 4 at the container). Since the kubelet
raises the pod's quota with the container's limit, what the pod's limit held back counts for the container, if it
has used up its own: a calm one beside it does not want more.
"""

import os

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts
from mbcasd.model.readings import CpuSample
from mbcasd.sensing import handles, parse
from mbcasd.sensing.reader import CgroupReader

# It wants more if it used so much of one period's quota in two samples: the law's own gate (algorithms §3.7).
WANTS_MORE_SHARE = 0.9


class ContainerReader(CgroupReader):
    """A container under watch; as a CgroupReader, with the throttling of its pod in its samples."""

    def __init__(self, mounts: CgroupMounts, ref: CgroupRef, pod_path: str) -> None:
        """Open the files of this very incarnation, and its pod's counters.

        Args:
            mounts: Of the hierarchies.
            ref: The container's cgroup.
            pod_path: Its pod's cgroup, which lives longer than the container.
        """
        super().__init__(mounts, ref)
        self._pod_path = pod_path
        try:
            self._pod_stat = handles.open_file(f"{mounts.cpu}{pod_path}/cpu.stat")
            self._handles.append(self._pod_stat)
            # Throttled periods of the pod, and for how long limits above held this container; when looked at last.
            self._pod_throttled, pod_usec = self._read_pod()
            above_usec = self.throttled_above_usec()
            self._has_above = above_usec is not None
            self._above_usec = pod_usec if above_usec is None else above_usec
        except SensingError:
            self.close()
            raise
        self._own: CpuSample | None = None
        self._two_samples_usec = (0, 0)
        # What the pod's limit has added so far: periods, of which throttled, and microseconds.
        self._more_periods = self._more_throttled = self._more_usec = 0
        self._throttled_usec = self._looked_usec = 0

    def sample(self, now_s: float) -> CpuSample:
        """Read the counters.

        A period counts as throttled if either limit held it, once; time, for as long as either did.

        Args:
            now_s: Monotonic time of this reading.
        """
        own, last = super().sample(now_s), self._own
        self._own = own
        if last is None:
            self._looked_usec = own.throttled_usec
        else:
            self._two_samples_usec = (self._two_samples_usec[1], own.usage_usec - last.usage_usec)
            if sum(self._two_samples_usec) >= self._quiet_usec:
                self._look_above(last, own)
        if not self._more_throttled and not self._more_usec:
            return own
        at_s, usage_usec, periods, throttled, throttled_usec, some_usec, full_usec = own
        # The two limits credit the same time at different moments, and a counter does not fall.
        self._throttled_usec = max(self._throttled_usec, throttled_usec + self._more_usec)
        return CpuSample(
            at_s,
            usage_usec,
            periods + self._more_periods,
            throttled + self._more_throttled,
            self._throttled_usec,
            some_usec,
            full_usec,
        )

    def _look_above(self, last: CpuSample, own: CpuSample) -> None:
        """Add what the pod's limit did since it was looked at last, if this container wants more."""
        throttled, pod_usec = self._read_pod()
        held, self._pod_throttled = throttled - self._pod_throttled, throttled
        if not held:
            return
        held_usec = self._held_above_usec(own, pod_usec)
        limit = self._limit
        if limit is None or limit.quota_usec is None:
            return
        if sum(self._two_samples_usec) < WANTS_MORE_SHARE * limit.quota_usec:
            return
        own_periods, own_throttled = own.periods - last.periods, own.throttled_periods - last.throttled_periods
        # It may have been quiet for a second, in which its pod was held for a neighbour: only what is new counts.
        most = round((own.read_at_s - last.read_at_s) * 1e6 / limit.period_usec) + 1
        if held > most:
            held, held_usec = most, held_usec * most // held
        more = max(0, held - own_throttled)
        self._more_throttled += more
        self._more_periods += max(0, own_throttled + more - own_periods)
        self._more_usec += held_usec

    def _read_pod(self) -> tuple[int, int]:
        """Throttled periods of the pod, and microseconds."""
        try:
            data = os.pread(self._pod_stat, 1024, 0)
        except OSError as err:
            if err.errno in handles.REMOVED:
                raise CgroupGone(f"{self._pod_path} was removed") from err
            raise handles.trouble(err, f"{self._pod_path}/cpu.stat") from err
        _, throttled, throttled_usec = parse.cpu_stat_v2(data)[1:] if self._is_v2 else parse.cpu_stat_v1(data)
        return throttled, throttled_usec

    def _held_above_usec(self, own: CpuSample, pod_usec: int) -> int:
        """For how long limits above held this container beyond its own, since that was asked last.

        Before Linux 6.6 the kernel tells it only of the pod as a whole, and lets both clocks run while both hold: what
        is more at the pod is added, so that some time may be missing, and none counts twice.
        """
        above_usec = self.throttled_above_usec() if self._has_above else pod_usec
        before_usec, self._above_usec = self._above_usec, above_usec or 0
        own_usec, self._looked_usec = own.throttled_usec - self._looked_usec, own.throttled_usec
        held_usec = self._above_usec - before_usec
        return held_usec if self._has_above else max(0, held_usec - own_usec)
