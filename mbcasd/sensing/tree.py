"""The cgroups of this machine: which there are, which one a person means, and what may be done with them."""

import itertools
import os
from collections.abc import Sequence

from mbcasd.errors import ActuationError, ConfigError, SensingError
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.sensing import handles, mounts
from mbcasd.sensing.container import ContainerReader
from mbcasd.sensing.layout import locate
from mbcasd.sensing.reader import CgroupReader

_HOW_TO_GET_A_CGROUP = "Run as root, or give this user the cgroup: systemd-run --user --scope -p Delegate=yes …"


class CgroupTree:
    """Looks at the hierarchy that carries the cpu controller; paths are as /proc/PID/cgroup shows them: "/a/b"."""

    def __init__(self, hierarchies: Sequence[mounts.Hierarchy]) -> None:
        """Use these mounts.

        Raises:
            ConfigError: None of them has the cpu controller.
        """
        self.mounts: CgroupMounts = mounts.detect(hierarchies)
        self.systemd_mount: str | None = mounts.systemd_mount(hierarchies)
        # The longest first: mounts lie inside each other.
        self._mount_points = sorted({h.mount_point for h in hierarchies}, key=len, reverse=True)

    @classmethod
    def detect(cls, mountinfo_path: str = "/proc/self/mountinfo", below: str | None = None) -> "CgroupTree":
        """Find the mounts of this machine.

        Args:
            mountinfo_path: What says which there are.
            below: Only use those that are mounted at or below this directory; None: all.

        Raises:
            ConfigError: No hierarchy with a cpu controller is mounted; the message says what to do.
            SensingError: The file cannot be read.
        """
        found = mounts.read(mountinfo_path)
        return cls(found if below is None else mounts.below(found, below))

    def directory(self, path: str) -> str:
        """Where a cgroup's files of the cpu controller are."""
        return self.mounts.cpu + path.rstrip("/")

    def resolve(self, text: str, *, limits_children: bool = True) -> str:
        """Find the cgroup that a person means.

        Args:
            text: "/machine.slice", or an absolute path in any mounted hierarchy, "/sys/fs/cgroup/cpuacct/x".
            limits_children: Its children are going to be limited: refuse where the kernel could not.

        Returns:
            Its path as /proc/PID/cgroup shows it, without a trailing slash; "/" for the root.

        Raises:
            ConfigError: There is no such cgroup, or its children have no cpu controller; the message says what to do.
            SensingError: It may not be looked at.
        """
        path = self._below_a_mount(text)
        directory = self.directory(path) or "/"
        if not os.path.isdir(directory):
            raise ConfigError(self._no_such_cgroup(text, path))
        if not os.access(directory, os.R_OK | os.X_OK):
            raise SensingError(f"cannot list {directory}: permission denied. {_HOW_TO_GET_A_CGROUP}")
        if limits_children and self.mounts.version is CgroupVersion.V2 and not self._limits_children(path):
            raise ConfigError(
                f"the cpu controller is off for the children of {path}, so they have no limits; "
                f"switch it on: echo +cpu > {directory}/cgroup.subtree_control"
            )
        return path

    def children(self, path: str) -> dict[str, CgroupRef]:
        """List the direct children of a cgroup by name, in no order.

        Raises:
            CgroupGone: It does not exist any more.
            SensingError: It may not be listed.
        """
        base = path.rstrip("/")
        try:
            # The kernel hands out names, kinds and inodes together: one call for many children.
            with os.scandir(self.directory(path)) as entries:
                return {
                    entry.name: CgroupRef(path=f"{base}/{entry.name}", inode=entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                }
        except OSError as err:
            raise handles.trouble(err, self.directory(path)) from err

    def ref(self, path: str) -> CgroupRef:
        """The present incarnation of a cgroup.

        Raises:
            CgroupGone: There is none.
            SensingError: It may not be looked at.
        """
        directory = self.directory(path)
        try:
            return CgroupRef(path=path, inode=os.stat(directory).st_ino)
        except OSError as err:
            raise handles.trouble(err, directory) from err

    def open(self, ref: CgroupRef) -> CgroupReader:
        """Start to watch a cgroup.

        Raises:
            CgroupGone: It vanished between listing and opening, which is ordinary.
            SensingError: Its files cannot be read.
        """
        return CgroupReader(self.mounts, ref)

    def open_container(self, ref: CgroupRef) -> CgroupReader:
        """Start to watch a container of a pod, whose quota follows those of its containers; else as `open`."""
        place = locate(ref.path)
        if place is None or place.container_id is None:
            return self.open(ref)
        return ContainerReader(self.mounts, ref, os.path.dirname(place.path))

    def has_burst(self) -> bool:
        """Whether unused quota can carry over here (Linux 5.14 and newer)."""
        if self.mounts.version is CgroupVersion.V1:
            return os.path.exists(f"{self.mounts.cpu}/cpu.cfs_burst_us")
        # The root of v2 has no limit files; any cgroup that has them tells for all.
        limited = self._with_limit_files()
        if limited is None:
            return kernel_version() >= (5, 14)
        return os.path.exists(f"{limited}/cpu.max.burst")

    def has_quota(self) -> bool:
        """Whether this kernel can limit CPU at all (CONFIG_CFS_BANDWIDTH)."""
        if self.mounts.version is CgroupVersion.V1:
            return os.path.exists(f"{self.mounts.cpu}/cpu.cfs_quota_us")
        # On v2 a cgroup with a weight has a quota too, unless the kernel lacks it.
        return self._with_limit_files() is not None or self._with_limit_files("cpu.weight") is None

    def check_writable(self, ref: CgroupRef, name: str) -> None:
        """Make sure that this process may move a cgroup's limit, without touching it.

        Args:
            ref: The cgroup.
            name: The workload, for the message.

        Raises:
            ActuationError: It may not; the message says what would help.
            CgroupGone: There is no such cgroup any more.
        """
        file = "cpu.max" if self.mounts.version is CgroupVersion.V2 else "cpu.cfs_quota_us"
        path = f"{self.directory(ref.path)}/{file}"
        try:
            # Asking the file itself also sees what mode bits do not say: a read-only mount, a security module.
            os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        except PermissionError as err:
            raise ActuationError(f"{name}: cannot write {path}: permission denied. {_HOW_TO_GET_A_CGROUP}") from err
        except FileNotFoundError as err:
            self.ref(ref.path)
            raise ActuationError(f"{name}: {path} does not exist: {self._why_no_limit(ref.path)}") from err
        except OSError as err:
            raise ActuationError(
                f"{name}: cannot write {path}: {(err.strerror or str(err)).lower()}; in a container, mount "
                "/sys/fs/cgroup writable, or run on the host"
            ) from err

    def _with_limit_files(self, name: str = "cpu.max") -> str | None:
        """The directory of some v2 cgroup for which the cpu controller is on, known by this file."""
        try:
            refs = self.children("/").values()
        except SensingError:
            return None
        directories = (self.directory(ref.path) for ref in refs)
        return next((directory for directory in directories if os.path.exists(f"{directory}/{name}")), None)

    def _below_a_mount(self, text: str) -> str:
        if not text.startswith("/"):
            raise ConfigError(f"{text!r} is not a cgroup: write its path from the root, /{text.lstrip('./') or 'name'}")
        # Links such as /sys/fs/cgroup/cpu -> cpu,cpuacct are common.
        for whole in (os.path.normpath(text), os.path.realpath(text)):
            for mount_point in self._mount_points:
                if whole == mount_point or whole.startswith(mount_point.rstrip("/") + "/"):
                    return "/" + whole[len(mount_point) :].strip("/")
        return "/" + os.path.normpath(text).strip("/")

    def _limits_children(self, path: str) -> bool:
        """Whether the children, if there are any, have limits."""
        directory = self.directory(path)
        try:
            enabled = handles.read_once(f"{directory}/cgroup.subtree_control").split()
        except SensingError:
            return True  # the first look at a child says what is wrong
        return b"cpu" in enabled or not self.children(path)

    def _no_such_cgroup(self, text: str, path: str) -> str:
        """What is wrong with it, and which cgroups it could have meant."""
        if "/sys/fs/cgroup" in {path, os.path.dirname(path)} and not os.path.isdir(text):
            return f"{text} does not exist"
        for mount_point in self._mount_points:
            if path != "/" and os.path.isdir(mount_point + path):
                return (
                    f"{path} is a cgroup below {mount_point}, but not of the cpu controller, which is below "
                    f"{self.mounts.cpu}; its processes have no CPU limit there. Make it, and move them: "
                    f"mkdir {self.directory(path)}"
                )
        parent = os.path.dirname(path)
        while parent != "/" and not os.path.isdir(self.directory(parent)):
            parent = os.path.dirname(parent)
        try:
            names = sorted(self.children(parent))
        except SensingError:
            names = []
        wanted = path[len(parent) :].strip("/").split("/")[0]
        import difflib  # only for this message: the daemon's memory is counted

        near = difflib.get_close_matches(wanted, names, n=1)
        if near:
            return f"there is no cgroup {path}; did you mean {parent.rstrip('/')}/{near[0]}?"
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return f"there is no cgroup {path} below {self.mounts.cpu}; {parent} has {listed or 'no children'}"

    def _why_no_limit(self, path: str) -> str:
        if path == "/":
            return "the root has no limit of its own, name a cgroup below it"
        if self.mounts.version is CgroupVersion.V2:
            parent = self.directory(os.path.dirname(path))
            return f"the cpu controller is off there; switch it on: echo +cpu > {parent}/cgroup.subtree_control"
        return "this kernel was built without CFS bandwidth control (CONFIG_CFS_BANDWIDTH)"


def kernel_version() -> tuple[int, int]:
    """Major and minor number of the running kernel; (0, 0) where its name does not begin with them."""
    major, _, rest = os.uname().release.partition(".")
    minor = "".join(itertools.takewhile(str.isdigit, rest))
    return (int(major), int(minor)) if major.isdigit() and minor else (0, 0)
