"""What `doctor` finds on a cluster; only reads, and what may not be read is a fact as well."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mbcasctl.cluster import agents as asking
from mbcasctl.cluster import picture, preflight
from mbcasctl.cluster.installing import CRD_PATH, Variant
from mbcasctl.cluster.objects import Generic
from mbcasctl.cluster.picture import Asked, ClusterStatus
from mbcasctl.cluster.preflight import Right
from mbcasctl.cluster.reach import Cluster
from mbcasd import __version__
from mbcasd.errors import ApiAway, ApiError, ApiRefused
from mbcasd.kube import servertime
from mbcasd.kube.install import VERSION_LABEL, Installer
from mbcasd.kube.kinds import Kinds, Place
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import PodAllocation

T = TypeVar("T")

_FORBIDDEN = 403
_ADMISSION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Containers in opted-in namespaces that agents do not manage, for one reason."""

    reason: str
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """All that the checks look at."""

    place: str
    ours: str = __version__
    is_chosen: bool = True  # by an option; else it is the cluster that the kubeconfig happens to name
    away: str = ""  # why it does not answer; empty: it does
    kubernetes: str = ""
    unfit: str = ""  # why MBCAS cannot run there; empty: it can
    missing_rights: tuple[Right, ...] = ()  # for install
    installed: bool = False
    crd_version: str = ""
    crd_established: bool = False
    unbound: tuple[str, ...] = ()  # policies that are missing or not in force
    policies: int = 0  # how many there are to be
    status: ClusterStatus | None = None
    autoscalers: tuple[Generic, ...] = ()  # VPAs in opted-in namespaces
    scalers: tuple[Generic, ...] = ()  # HPAs there
    limit_ranges: tuple[Generic, ...] = ()
    quotas: tuple[Generic, ...] = ()
    allocations: tuple[PodAllocation, ...] = ()
    skipped: tuple[Skipped, ...] | None = None  # None: no agent could be asked
    clock_ahead_s: float | None = None
    unreadable: tuple[str, ...] = field(default=())  # what this person may not read


def gather(cluster: Cluster, namespace: str | None, *, is_chosen: bool) -> ClusterFacts:
    """Collect all facts; raises nothing that the cluster does."""
    try:
        version = cluster.version()
        installer = Installer(cluster.api)
        unfit = preflight.unfit(version, installer.kinds)
        return _Gathering(cluster, installer, namespace).facts(
            place=cluster.place, is_chosen=is_chosen, kubernetes=version.git_version, unfit=unfit
        )
    except ApiError as err:
        return ClusterFacts(place=cluster.place, is_chosen=is_chosen, away=str(err))


class _Gathering:
    """One look; remembers what may not be read."""

    def __init__(self, cluster: Cluster, installer: Installer, namespace: str | None) -> None:
        self._cluster, self._installer, self._namespace = cluster, installer, namespace
        self._unreadable: list[str] = []

    def facts(self, **known: Any) -> ClusterFacts:  # noqa: ANN401  fields of ClusterFacts
        cluster, kinds = self._cluster, self._installer.kinds
        objects = Variant().objects()
        missing = preflight.missing(cluster, preflight.rights_to_apply(objects, kinds))
        crd = self._tried("the definition of PodAllocations", lambda: self._installer.read(CRD_PATH))
        asked = self._tried("the agents", lambda: picture.ask_agents(cluster))
        status = self._tried("MBCAS's own objects", lambda: picture.look(cluster, self._namespace, asked))
        known |= {
            "missing_rights": tuple(missing),
            "clock_ahead_s": self._tried("the time", self._clock_ahead_s),
            "status": status,
        }
        if crd is None and (status is None or not status.installed):
            return ClusterFacts(**known, unreadable=tuple(self._unreadable))
        wanted = [thing["metadata"]["name"] for thing in objects if thing["kind"] == "ValidatingAdmissionPolicy"]
        managed = set(status.namespaces if status else ())
        known |= {
            "installed": True,
            "crd_version": (((crd or {}).get("metadata") or {}).get("labels") or {}).get(VERSION_LABEL, ""),
            "crd_established": _is_established(crd or {}),
            "policies": len(wanted),
            "unbound": self._unbound(wanted, kinds),
            "autoscalers": self._inside("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", managed),
            "scalers": self._inside("autoscaling/v2", "HorizontalPodAutoscaler", managed),
            "limit_ranges": self._inside("v1", "LimitRange", managed),
            "quotas": self._inside("v1", "ResourceQuota", managed),
            "allocations": self._allocations(),
            "skipped": _skipped(asked, managed),
        }
        return ClusterFacts(**known, unreadable=tuple(self._unreadable))

    def _tried(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ApiRefused as err:
            self._unreadable.append(what if err.code == _FORBIDDEN else f"{what} ({err.message})")
        except ApiAway as err:
            self._unreadable.append(f"{what} ({err})")
        return None

    def _allocations(self) -> tuple[PodAllocation, ...]:
        found = self._tried("PodAllocations", lambda: self._cluster.allocations(self._namespace))
        return tuple(found or ())

    def _clock_ahead_s(self) -> float | None:
        return servertime.clock_ahead_s(self._cluster.api.access, self._cluster.clock)

    def _unbound(self, wanted: Sequence[str], kinds: Kinds) -> tuple[str, ...]:
        """Policies that do not exist, or that no binding makes deny anything."""
        found = {}
        for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
            place = kinds.place(_ADMISSION, kind)
            if place is None:
                return tuple(wanted)
            things = self._listed(place)
            if things is None:
                return ()
            found[kind] = things
        there = {policy.metadata.name for policy in found["ValidatingAdmissionPolicy"]}
        denying = {
            binding.spec.get("policyName")
            for binding in found["ValidatingAdmissionPolicyBinding"]
            if "Deny" in (binding.spec.get("validationActions") or ())
        }
        return tuple(name for name in wanted if name not in there or name not in denying)

    def _listed(self, place: Place) -> list[Generic] | None:
        return self._tried(place.plural, lambda: list_all(self._cluster.api, place.path(), Generic))

    def _inside(self, api_version: str, kind: str, namespaces: set[str]) -> tuple[Generic, ...]:
        """All objects of a kind in opted-in namespaces; none where the cluster has no such kind."""
        place = self._installer.kinds.place(api_version, kind)
        if place is None or not namespaces:
            return ()
        found = self._listed(place)
        wanted = namespaces if self._namespace is None else namespaces & {self._namespace}
        return tuple(thing for thing in found or () if thing.metadata.namespace in wanted)


def _skipped(asked: Asked | None, namespaces: set[str]) -> tuple[Skipped, ...] | None:
    nodes = asking.snapshots(asked.answers if asked else ())
    if not nodes:
        return None
    who: dict[str, list[str]] = {}
    for node in nodes.values():
        for row in node.workloads:
            if not row.managed and row.namespace in namespaces:
                who.setdefault(row.reason, []).append(f"{row.namespace}/{row.name}:{row.container}")
    by_frequency = sorted(who, key=lambda reason: (-len(who[reason]), reason))
    return tuple(Skipped(reason=reason, containers=tuple(who[reason])) for reason in by_frequency)


def _is_established(crd: Mapping[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)
