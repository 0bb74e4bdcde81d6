"""What MBCAS holds of somebody else's cgroup: the owner's limit, and what has been put in its place.

A pure value. It answers the one question that drift detection and restoring share: may the limit that is in
force now be ours, or did somebody else set it?
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.readings import LimitReading

# Two limits that differ by less are the same limit: systemd keeps hundredths of a percent (0.1m).
SAME_LIMIT_MILLI = 0.5


class Bandwidth(NamedTuple):
    """The two numbers that MBCAS moves; the period stays as the owner has it."""

    quota_usec: int | None  # None: no quota, unlimited
    burst_usec: int | None  # None: this kernel has no burst

    @classmethod
    def of(cls, limit: LimitReading) -> "Bandwidth":
        """The part of a reading that can be moved."""
        return cls(limit.quota_usec, limit.burst_usec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One incarnation of a cgroup whose limit MBCAS moves.

    `before` and `after` frame the last write: it is noted before it happens, so after a crash either may be in
    force, or a mixture, because quota and burst are two files. Both count per period of the owner.
    """

    cgroup: CgroupRef
    version: CgroupVersion
    owner: LimitReading
    before: Bandwidth
    after: Bandwidth
    unit: str | None = None  # the systemd unit through which it is moved; None: through its files
    drop_in: str | None = None  # text of the unit's runtime drop-in that the owner had; None: it had none

    def moving(self, before: Bandwidth, after: Bandwidth) -> "Held":
        """The same cgroup with the next write announced."""
        return replace(self, before=before, after=after)

    def may_have_set(self, limit: LimitReading) -> bool:
        """Whether `limit` is the owner's or one that we may have left behind.

        systemd has its own idea of period and burst, so a unit is judged by its limit alone.
        """
        known = (Bandwidth.of(self.owner), self.before, self.after)
        if self.unit is not None:
            return any(
                is_same_limit(limit, LimitReading(quota_usec=quota_usec, period_usec=self.owner.period_usec))
                for quota_usec, _ in known
            )
        return (
            limit.period_usec == self.owner.period_usec
            and limit.quota_usec in {bandwidth.quota_usec for bandwidth in known}
            and limit.burst_usec in {bandwidth.burst_usec for bandwidth in known}
        )

    def is_as_owned(self, limit: LimitReading) -> bool:
        """Whether `limit` is exactly what the owner had."""
        if self.unit is not None:
            return is_same_limit(limit, self.owner)
        return limit.period_usec == self.owner.period_usec and Bandwidth.of(limit) == Bandwidth.of(self.owner)


def is_same_limit(one: LimitReading, other: LimitReading) -> bool:
    """Whether two readings allow the same CPU, whatever their periods are."""
    one_milli, other_milli = one.limit_milli, other.limit_milli
    if one_milli is None or other_milli is None:
        return one_milli is other_milli
    return abs(one_milli - other_milli) < SAME_LIMIT_MILLI
