"""Install and upgrade: what is there, may it be changed, change it, wait until it runs."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from mbcasctl.cluster import preflight, readiness
from mbcasctl.cluster.objects import ContainerSpec, DaemonSet
from mbcasctl.cluster.reach import Cluster
from mbcasctl.cluster.readiness import Readiness
from mbcasd import __version__
from mbcasd.errors import ApiAway, ApiRefused, InstallError
from mbcasd.kube import manifests, names
from mbcasd.kube.install import VERSION_LABEL, Installer
from mbcasd.kube.kinds import Object

CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.PLURAL}.{names.GROUP}"

_VARIANT_ANNOTATION = "mbcas.io/installed-as"

_POLL_S = 0.5
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)([A-Za-z0-9.+-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is to be installed: the choices that a person has."""

    mode: str = "observe"
    cgroup: str = "v2"
    image: str | None = None  # None: the one of this version
    host_network: bool = False
    opt_out: bool = False
    monitoring: bool = False
    components: tuple[str, ...] = ()  # directories of the owner's own kustomize components

    def objects(self) -> list[dict[str, Any]]:
        """The manifests; the agents carry these choices, so that an upgrade can keep them.

        Raises:
            ConfigError: A component cannot be read or does not fit.
        """
        objects = manifests.load(
            cast("manifests.Mode", self.mode),
            cgroup=cast("manifests.CgroupVersion", self.cgroup),
            image=self.image,
            host_network=self.host_network,
            opt_out=self.opt_out,
            monitoring=self.monitoring,
            components=[Path(component) for component in self.components],
        )
        for thing in objects:
            if thing["kind"] == "DaemonSet" and thing["metadata"]["name"] == names.AGENT:
                written = msgspec.json.encode(self).decode()
                thing["metadata"].setdefault("annotations", {})[_VARIANT_ANNOTATION] = written
        return objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The MBCAS that a cluster has."""

    version: str  # empty: it does not say
    variant: Variant | None  # None: no agents, only the definition of PodAllocations that somebody left there
    stored_versions: tuple[str, ...]  # in which PodAllocations may be stored


class _CrdStatus(msgspec.Struct, rename="camel"):
    stored_versions: tuple[str, ...] = ()


class _Crd(msgspec.Struct, rename="camel"):
    metadata: dict[str, Any]
    status: _CrdStatus = msgspec.field(default_factory=_CrdStatus)


def installed_on(cluster: Cluster) -> Installed | None:
    """What is there; None: nothing of MBCAS."""
    agents, crd = cluster.agents(), cluster.find(CRD_PATH, _Crd)
    if agents is None and crd is None:
        return None
    labels = dict((crd.metadata.get("labels") if crd else None) or {})
    if agents is not None:
        labels = dict(agents.metadata.labels) or labels
    return Installed(
        version=labels.get(VERSION_LABEL, ""),
        variant=None if agents is None else variant_of(agents),
        stored_versions=crd.status.stored_versions if crd else (),
    )


def variant_of(agents: DaemonSet) -> Variant:
    """The choices of an installation: as they are noted, corrected by what anybody can see and may have changed."""
    try:
        noted = msgspec.json.decode(agents.metadata.annotations.get(_VARIANT_ANNOTATION, "{}"), type=Variant)
    except msgspec.DecodeError:
        noted = Variant()
    spec = agents.spec.template.spec
    container = spec.containers[0] if spec.containers else ContainerSpec()
    return replace(
        noted,
        mode=option_of(container, "--mode") or noted.mode,
        cgroup=cgroup_of(agents),
        image=container.image or noted.image,
        host_network=spec.host_network,
    )


def option_of(container: ContainerSpec, flag: str) -> str:
    """The value that a container's command line gives a flag; empty: none."""
    words = [*container.command, *container.args]
    for at, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and at + 1 < len(words):
            return words[at + 1]
    return ""


def cgroup_of(agents: DaemonSet) -> str:
    """The cgroup version whose hierarchies the agents mount: v1 has one host path for each."""
    paths = [str((volume.get("hostPath") or {}).get("path", "")) for volume in agents.spec.template.spec.volumes]
    return "v1" if any(path.startswith("/sys/fs/cgroup/") for path in paths) else "v2"


def kept(there: Variant, default: Variant, **chosen: object) -> Variant:
    """What is there, with what was chosen now in its place; `chosen` by the names of fields, None: not chosen."""
    wanted = {name for name, value in chosen.items() if value is not None}
    return replace(there, **{name: getattr(default, name) for name in wanted})


def must_not_be_older(installed: Installed) -> None:
    """Refuse to work on what a newer MBCAS has put there.

    Raises:
        InstallError: It did, or nobody can tell.
    """
    theirs, ours = _parsed(installed.version), _parsed(__version__)
    if theirs is None and installed.version:
        raise InstallError(
            f"the MBCAS on this cluster says that its version is {installed.version!r}, which mbcasctl {__version__} "
            "does not know: use the mbcasctl that installed it, or `mbcasctl uninstall` first"
        )
    if theirs is not None and ours is not None and theirs > ours:
        raise InstallError(
            f"the MBCAS on this cluster is {installed.version}, newer than this mbcasctl {__version__}: use mbcasctl "
            f"{installed.version}, or `mbcasctl uninstall` first"
        )
    unknown = sorted(set(installed.stored_versions) - {names.VERSION})
    if unknown:
        raise InstallError(
            f"PodAllocations on this cluster are stored as {', '.join(unknown)}, which mbcasctl {__version__} does "
            "not know: use the mbcasctl that installed them, or `mbcasctl uninstall` first"
        )


def image_to_keep(installed: Installed, wanted: str | None) -> str | None:
    """Which image an upgrade uses: the one that was named, else the default, unless people use one of their own.

    Args:
        installed: What is there.
        wanted: What was named; None: nothing.

    Returns:
        An image to ask the manifests for; None: their default.

    Raises:
        InstallError: Theirs is of another version, and there is no telling what the new one is called.
    """
    image = installed.variant.image if installed.variant else None
    if wanted is not None or not image or _repository(image) == _repository(manifests.DEFAULT_IMAGE):
        return wanted
    if installed.version == __version__:
        return image
    raise InstallError(
        f"this cluster runs {image}, not the image that comes with MBCAS: name the one of {__version__} with --image"
    )


def check(cluster: Cluster, installer: Installer, objects: Sequence[Object]) -> str:
    """See whether these objects can and may be applied; changes nothing.

    Returns:
        The version of Kubernetes, for people.

    Raises:
        InstallError: They cannot; the message says why and what to do.
    """
    version = cluster.version()
    reason = preflight.unfit(version, installer.kinds)
    if reason:
        raise InstallError(f"{reason}. Nothing was changed")
    missing = preflight.missing(cluster, preflight.rights_to_apply(objects, installer.kinds))
    if missing:
        raise InstallError(
            f"the user of this kubeconfig may not: {preflight.listed(missing)}. Nothing was changed; use one with "
            "the rights of cluster-admin, or give `mbcasctl install --render` to somebody who has them"
        )
    return version.git_version


def how_far(cluster: Cluster) -> Readiness:
    """How far agents and controllers are now."""
    return readiness.judge(cluster.agents(), cluster.controllers(), cluster.workers())


def wait_until_ready(cluster: Cluster, within_s: float, on_change: Callable[[Readiness], None]) -> Readiness:
    """Look again and again until everything runs, or the time is over; the last look says which.

    An API server that does not answer for a while (its own upgrade, a lost connection) is no end.

    Raises:
        ApiAway, ApiRefused: Not one look succeeded.
    """
    ends_s = time.monotonic() + within_s
    last: Readiness | None = None
    while True:
        try:
            last = how_far(cluster)
        except (ApiAway, ApiRefused):
            if last is None and time.monotonic() > ends_s:
                raise
        else:
            on_change(last)
            if last.complete:
                return last
        if last is not None and time.monotonic() > ends_s:
            return last
        time.sleep(_POLL_S)


def _parsed(version: str) -> tuple[int, int, int, bool, str] | None:
    """A version that can be compared; one with a suffix ("rc1", "-dev") comes before the one without."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    major, minor, patch, rest = match.groups()
    return int(major), int(minor), int(patch), not rest, rest


def _repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
