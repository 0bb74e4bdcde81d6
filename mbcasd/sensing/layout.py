"""Kubernetes' cgroup paths: which pod, container and QoS class a path means, and back; pure.

The two cgroup drivers, with UID the pod's, its dashes as underscores under systemd, and ID the container's:

    systemd   kubepods.slice/[kubepods-burstable.slice/]kubepods[-burstable]-podUID.slice/cri-containerd-ID.scope
    cgroupfs  kubepods/[burstable/]podUID/ID

Guaranteed pods have no class in their path. Anything may stand in front: `--cgroup-root` and kind nest the whole
tree, and under systemd put its name in front of every slice (`kubelet-kubepods-burstable-podUID.slice`). A static
pod's UID is the hash of its manifest, 32 digits without dashes, and not the UID that the API shows.

Source: kubernetes pkg/kubelet/cm (cgroup_manager_linux.go, pod_container_manager_linux.go).
"""

import re
from dataclasses import dataclass
from enum import Enum


class QosClass(Enum):
    """The pod's quality of service; the value is how Kubernetes writes it."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


class CgroupDriver(Enum):
    """Who makes the cgroups of pods."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


class Runtime(Enum):
    """Who makes the cgroups of containers; the value is what it puts in front of the id."""

    CONTAINERD = "cri-containerd"
    CRIO = "crio"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A pod, or one of its containers, by its cgroup."""

    path: str  # of the pod's or the container's own cgroup, without what is nested inside it
    pod_uid: str  # with dashes; a static pod's has none
    qos: QosClass
    driver: CgroupDriver
    container_id: str | None = None  # 64 hexadecimal digits; None: the pod itself
    runtime: Runtime | None = None  # None: the path does not say


_DASHED = r"[0-9a-f]{8}(?P<dash>[-_])[0-9a-f]{4}(?P=dash)[0-9a-f]{4}(?P=dash)[0-9a-f]{4}(?P=dash)[0-9a-f]{12}"
_UID = rf"(?P<uid>{_DASHED}|[0-9a-f]{{32}})"
_KUBEPODS = re.compile(r"(?:.+-)?kubepods\.slice|kubepods")
_QOS_SLICE = re.compile(r"(?:.+-)?kubepods-(?P<qos>burstable|besteffort)\.slice")
_POD_SLICE = re.compile(rf"(?:.+-)?kubepods(?:-(?P<qos>burstable|besteffort))?-pod{_UID}\.slice")
_POD = re.compile(rf"pod{_UID}")
_CONTAINER = re.compile(r"(?:(?P<runtime>cri-containerd|crio|docker)-)?(?P<id>[0-9a-f]{64})(?P<scope>\.scope)?")

_QOS = {None: QosClass.GUARANTEED, "burstable": QosClass.BURSTABLE, "besteffort": QosClass.BEST_EFFORT}
_QOS_WORD = {qos: word for word, qos in _QOS.items()}


def is_kubepods(name: str) -> bool:
    """Whether a directory's name is that of a kubelet's root, under either driver."""
    return _KUBEPODS.fullmatch(name) is not None


def is_qos_class(path: str) -> bool:
    """Whether a path is that of a class below a kubelet's root."""
    parent, _, name = path.rpartition("/")
    if _QOS_SLICE.fullmatch(name):
        return True
    return name in {"burstable", "besteffort"} and parent.rpartition("/")[2] == "kubepods"


def locate(path: str) -> Place | None:
    """Say which pod and container a path belongs to.

    Args:
        path: Of the pod's cgroup, its container's, or one nested inside it (crun's `container`, a systemd inside).

    Returns:
        The innermost pod, and the container if the path is at or below one; None: no pod. Other leaves of a pod, such
        as CRI-O's conmon, are no containers: they read as the pod.
    """
    names = path.strip("/").split("/")
    for at in range(len(names) - 1, -1, -1):
        pod = _pod_at(names, at)
        if pod is None:
            continue
        uid, qos, driver = pod
        container = _CONTAINER.fullmatch(names[at + 1]) if at + 1 < len(names) else None
        if container is not None and bool(container["scope"]) != (driver is CgroupDriver.SYSTEMD):
            container = None
        word = None if container is None else container["runtime"]
        return Place(
            path="/" + "/".join(names[: at + 1 + (container is not None)]),
            pod_uid=uid,
            qos=qos,
            driver=driver,
            container_id=None if container is None else container["id"],
            runtime=None if word is None else Runtime(word),
        )
    return None


def kubepods_path(driver: CgroupDriver, cgroup_root: str = "/") -> str:
    """The path of a kubelet's root, for its `--cgroup-root`."""
    return _join(driver, cgroup_root, ("kubepods",))


def pod_path(driver: CgroupDriver, pod_uid: str, qos: QosClass, cgroup_root: str = "/") -> str:
    """The path of a pod's cgroup, for a kubelet with this `--cgroup-root`."""
    word = _QOS_WORD[qos]
    uid = pod_uid.replace("-", "_") if driver is CgroupDriver.SYSTEMD else pod_uid
    return _join(driver, cgroup_root, ("kubepods", *(() if word is None else (word,)), f"pod{uid}"))


def container_path(pod: str, container_id: str, runtime: Runtime | None = None) -> str:
    """The path of a container's cgroup below its pod's; a runtime is named under systemd, and by CRI-O always."""
    leaf = container_id if runtime is None else f"{runtime.value}-{container_id}"
    return f"{pod}/{leaf}.scope" if pod.endswith(".slice") else f"{pod}/{leaf}"


def _pod_at(names: list[str], at: int) -> tuple[str, QosClass, CgroupDriver] | None:
    """The pod whose cgroup is the name at this position: UID, class and driver."""
    under_systemd = _POD_SLICE.fullmatch(names[at])
    if under_systemd is not None:
        uid, word = under_systemd["uid"].replace("_", "-"), under_systemd["qos"]
        return uid, _QOS[word], CgroupDriver.SYSTEMD
    plain = _POD.fullmatch(names[at])
    if plain is None or at == 0:
        return None
    parent = names[at - 1]
    if parent == "kubepods":
        return plain["uid"], QosClass.GUARANTEED, CgroupDriver.CGROUPFS
    if parent in _QOS and at >= 2 and names[at - 2] == "kubepods":
        return plain["uid"], _QOS[parent], CgroupDriver.CGROUPFS
    return None


def _join(driver: CgroupDriver, cgroup_root: str, names: tuple[str, ...]) -> str:
    """Append names to the root, which under systemd repeats all that is above in every name."""
    path = cgroup_root.rstrip("/")
    if driver is CgroupDriver.CGROUPFS:
        return "/".join((path, *names))
    above = path.rpartition("/")[2].removesuffix(".slice")
    for name in names:
        above = f"{above}-{name}" if above else name
        path = f"{path}/{above}.slice"
    return path
