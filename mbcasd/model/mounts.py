"""Where the cgroup hierarchies of this host are mounted."""

from dataclasses import dataclass
from enum import Enum


class CgroupVersion(Enum):
    """Which interface the cpu controller speaks."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMounts:
    """The mount points that matter, as absolute paths without a trailing slash.

    On a hybrid host the cpu controller is on v1 and `unified` is a cgroup2 mount that carries only PSI.
    """

    version: CgroupVersion  # of the hierarchy that carries the cpu controller
    cpu: str  # quota, period, burst, shares or weight, cpu.stat
    cpuacct: str  # v1: cpuacct.usage, the same as cpu where joined; v2: the same as cpu
    unified: str | None = None  # cgroup2, for cpu.pressure; v2: the same as cpu; None: no PSI per cgroup
