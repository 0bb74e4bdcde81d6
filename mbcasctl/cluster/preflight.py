"""May and can MBCAS be put on this cluster: asked before anything is changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from mbcasctl.cluster.objects import VersionInfo
from mbcasctl.cluster.reach import Cluster, minor_of
from mbcasd.kube import names
from mbcasd.kube.install import KINDS
from mbcasd.kube.kinds import Kinds, Object

# pods/resize is on by default from here; 1.32 has it behind a gate.
OLDEST_MINOR = 33

# What an apply of one object needs, and what a removal needs besides.
_APPLY, _REMOVE = ("get", "create", "patch"), ("list", "delete")

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that somebody may or may not do."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""  # empty: everywhere

    @property
    def what(self) -> str:
        """As people write it: `clusterroles.rbac.authorization.k8s.io`, `pods/resize in namespace shop`."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{resource}{f'.{self.group}' if self.group else ''}{where}"


class _ReviewStatus(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _ReviewStatus = msgspec.field(default_factory=_ReviewStatus)


def unfit(version: VersionInfo, kinds: Kinds) -> str:
    """Why MBCAS cannot work on this cluster; empty: it can."""
    minor = minor_of(version)
    if minor is None or minor < OLDEST_MINOR:
        return (
            f"this is Kubernetes {version.git_version or 'of an unknown version'}, and MBCAS needs 1.{OLDEST_MINOR} "
            "or newer, where limits of running pods can be changed: upgrade the cluster first"
        )
    if not kinds.has("v1", "pods/resize"):
        return (
            f"this Kubernetes {version.git_version} serves no pods/resize: its feature gate "
            "InPlacePodVerticalScaling is off; switch it on at the API server and the kubelets"
        )
    for api_version, kind in (
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ):
        if kinds.place(api_version, kind) is None:
            return f"this cluster does not serve {kind} ({api_version}), without which MBCAS is not fenced"
    return ""


def rights_to_apply(objects: Iterable[Object], kinds: Kinds) -> list[Right]:
    """What is needed to apply these."""
    return _rights(((thing["apiVersion"], thing["kind"]) for thing in objects), kinds, _APPLY, names.NAMESPACE)


def rights_to_remove(kinds: Kinds) -> list[Right]:
    """What is needed to find and remove all that MBCAS ever put on a cluster."""
    return _rights(KINDS, kinds, _REMOVE, "")


def rights_to_restore(namespace: str | None) -> list[Right]:
    """What is needed to put the owners' values back, in a namespace or (None) everywhere."""
    where = namespace or ""
    return [
        Right("list", names.GROUP, names.PLURAL, namespace=where),
        Right("get", "", "pods", namespace=where),
        Right("patch", "", "pods", "resize", namespace=where),
        Right("patch", "apps", "deployments", "scale", namespace=names.NAMESPACE),
    ]


def missing(cluster: Cluster, rights: Sequence[Right]) -> list[Right]:
    """Those that the person of this kubeconfig does not have, as the API server says."""
    return [right for right in rights if not _may(cluster, right)]


def listed(rights: Sequence[Right]) -> str:
    """The first of them, for one sentence: `get, create and patch namespaces; create clusterroles.rbac…`."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.what, []).append(right.verb)
    parts = [f"{_joined(of)} {what}" for what, of in verbs.items()]
    more = f"; and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    return "; ".join(parts[:_MOST_NAMED]) + more


def _joined(verbs: Sequence[str]) -> str:
    return verbs[0] if len(verbs) == 1 else f"{', '.join(verbs[:-1])} and {verbs[-1]}"


def _rights(wanted: Iterable[tuple[str, str]], kinds: Kinds, verbs: tuple[str, ...], namespace: str) -> list[Right]:
    rights: dict[Right, None] = {}
    for api_version, kind in wanted:
        place = kinds.place(api_version, kind)
        if place is not None:
            group, where = api_version.rpartition("/")[0], namespace if place.namespaced else ""
            rights.update(dict.fromkeys(Right(verb, group, place.plural, namespace=where) for verb in verbs))
    return list(rights)


def _may(cluster: Cluster, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "namespace": right.namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return msgspec.json.decode(answer, type=_Review).status.allowed
