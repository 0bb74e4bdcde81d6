"""Where the cgroup hierarchies are mounted, from the text of `/proc/PID/mountinfo`.

Three layouts exist: cgroup v2 alone; v1 with `cpu` and `cpuacct` joined in one mount or apart; and hybrid, where
v1 has the cpu controller and a cgroup2 mount beside it carries no controller, but pressure per cgroup.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mbcasd.errors import ConfigError, SensingError
from mbcasd.model.mounts import CgroupMounts, CgroupVersion

_ESCAPE = re.compile(r"\\([0-7]{3})")

_HOW_TO_MOUNT = (
    "on a host, mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup; "
    "in a container, mount the host's /sys/fs/cgroup into it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted cgroup file system."""

    mount_point: str  # absolute, without a trailing slash
    root: str  # the cgroup that is seen there: "/" where the whole hierarchy is
    controllers: frozenset[str]  # v1: as mounted, among them "name=systemd"; v2: empty, a file there tells
    is_v2: bool


def parse(mountinfo: str) -> tuple[Hierarchy, ...]:
    """List the cgroup mounts in the text of a mountinfo file, in its order; other mounts are skipped.

    Raises:
        SensingError: A line about a cgroup mount is not in the form of proc(5).
    """
    found = []
    for line in mountinfo.splitlines():
        head, separator, tail = line.partition(" - ")
        fs_type, _, rest = tail.partition(" ")
        if not separator or fs_type not in {"cgroup", "cgroup2"}:
            continue
        fields = head.split(" ")
        if len(fields) < 6:
            raise SensingError(f"mountinfo is not in the expected form: {line[:80]!r}")
        options = rest.partition(" ")[2]
        found.append(
            Hierarchy(
                mount_point=_unescape(fields[4]).rstrip("/") or "/",
                root=_unescape(fields[3]),
                controllers=frozenset() if fs_type == "cgroup2" else frozenset(options.split(",")),
                is_v2=fs_type == "cgroup2",
            )
        )
    return tuple(found)


def below(hierarchies: Sequence[Hierarchy], directory: str) -> tuple[Hierarchy, ...]:
    """Keep those that are mounted at or below a directory: in a pod, the host's and not the container's own.

    Raises:
        ConfigError: None is.
    """
    base = directory.rstrip("/")
    kept = tuple(h for h in hierarchies if h.mount_point == base or h.mount_point.startswith(f"{base}/"))
    if not kept:
        raise ConfigError(
            f"no cgroup hierarchy is mounted at or below {directory}; in a pod, mount the host's /sys/fs/cgroup there "
            "(on cgroup v1 one hostPath for each of cpu, cpuacct and unified)"
        )
    return kept


def choose(hierarchies: Sequence[Hierarchy], v2_controllers: frozenset[str] | None = None) -> CgroupMounts:
    """Pick the mounts that matter.

    Args:
        hierarchies: All of them, as `parse` gives them.
        v2_controllers: What `cgroup.controllers` of the cgroup2 mount says; None: not looked at, taken for all.

    Raises:
        ConfigError: None of them has the cpu controller; the message says how to get it.
    """
    cpu = _widest(h for h in hierarchies if "cpu" in h.controllers)
    cpuacct = _widest(h for h in hierarchies if "cpuacct" in h.controllers)
    unified = _widest(h for h in hierarchies if h.is_v2)
    if cpu is not None:
        if cpuacct is None:
            raise ConfigError(
                f"the cpu controller is mounted at {cpu.mount_point}, but cpuacct nowhere, so nobody can say what a "
                "cgroup uses; mount it: mount -t cgroup -o cpuacct cgroup /sys/fs/cgroup/cpuacct"
            )
        return CgroupMounts(
            version=CgroupVersion.V1,
            cpu=cpu.mount_point,
            cpuacct=cpuacct.mount_point,
            unified=None if unified is None else unified.mount_point,
        )
    if unified is None:
        raise ConfigError(f"no cgroup hierarchy with a cpu controller is mounted; {_HOW_TO_MOUNT}")
    if v2_controllers is not None and "cpu" not in v2_controllers:
        raise ConfigError(
            f"the cgroup2 mount {unified.mount_point} has no cpu controller (see its cgroup.controllers): it is "
            "disabled at boot (cgroup_disable=cpu), held by an unmounted v1 hierarchy, or not handed down to this "
            "container or user (systemd: Delegate=cpu)"
        )
    return CgroupMounts(
        version=CgroupVersion.V2,
        cpu=unified.mount_point,
        cpuacct=unified.mount_point,
        unified=unified.mount_point,
    )


def read(mountinfo_path: str) -> tuple[Hierarchy, ...]:
    """List the cgroup mounts of this process, or of the one whose mountinfo it is.

    Raises:
        SensingError: The file cannot be read.
    """
    try:
        with open(mountinfo_path, encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read())
    except OSError as err:
        raise SensingError(f"cannot read {mountinfo_path}: {err.strerror}; is /proc mounted?") from err


def detect(hierarchies: Sequence[Hierarchy]) -> CgroupMounts:
    """Pick the mounts that matter on this machine, looking at what the cgroup2 mount offers.

    Raises:
        ConfigError: As `choose`.
    """
    unified = _widest(h for h in hierarchies if h.is_v2)
    offers = None
    if unified is not None:
        try:
            with open(f"{unified.mount_point}/cgroup.controllers", encoding="ascii") as file:
                offers = frozenset(file.read().split())
        except OSError:
            offers = None  # whatever is wrong with it, the first look at a cgroup says so
    return choose(hierarchies, offers)


def systemd_mount(hierarchies: Sequence[Hierarchy]) -> str | None:
    """Where the tree of systemd's units is: its named v1 hierarchy, else cgroup2; None: neither is mounted."""
    named = _widest(h for h in hierarchies if "name=systemd" in h.controllers)
    tree = named or _widest(h for h in hierarchies if h.is_v2)
    return None if tree is None else tree.mount_point


def _widest(hierarchies: Iterable[Hierarchy]) -> Hierarchy | None:
    """The mount that shows most of a hierarchy, the first of equals.

    In a cgroup namespace the host's mount has a root like `/../..`, its own has `/`; without one, a bind mount of a
    part of the hierarchy has the part's path.
    """
    return min(hierarchies, key=_rank, default=None)


def _rank(hierarchy: Hierarchy) -> tuple[int, int]:
    parts = [part for part in hierarchy.root.split("/") if part]
    ups = parts.count("..")
    return (-ups, len(parts) - ups)


def _unescape(field: str) -> str:
    r"""Blank, tab, newline and backslash are written as `\040` and so on in mountinfo."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
