"""Who is meant: workloads and the cgroups that hold them."""

from dataclasses import dataclass
from typing import NamedTuple


class WorkloadId(NamedTuple):
    """One thing with a CPU limit of its own.

    On a host, namespace is the parent cgroup without its leading slash and name the directory (or both come
    from a systemd unit); on Kubernetes they are the pod's, and container tells its containers apart.
    """

    namespace: str
    name: str
    container: str = ""

    def __str__(self) -> str:
        """`namespace/name`, with `:container` where there is one."""
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{path}:{self.container}" if self.container else path


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupRef:
    """One incarnation of one cgroup.

    The inode tells a recreated cgroup from the old one of the same path: kernfs never hands out the same
    number twice in a boot.
    """

    path: str  # as /proc/PID/cgroup shows it: "/demo/worker-a"
    inode: int
