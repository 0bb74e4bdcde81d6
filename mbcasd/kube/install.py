"""Putting MBCAS's objects on a cluster and taking them away again, each in an order in which it works.

Server-side apply under a field manager of its own: the same call creates, changes and leaves alone, fields that
somebody else added (a node selector, an annotation) stay, and what an older version had set and this one does not
disappears. The order of kinds is the same one in both directions: what others need comes first and goes last.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.api import Api
from mbcasd.kube.kinds import Kinds, Object, Place, label

FIELD_MANAGER = "mbcasctl"
PART_OF = "app.kubernetes.io/part-of=mbcas"
VERSION_LABEL = "app.kubernetes.io/version"

# Kinds that a version of MBCAS may have left on a cluster, in the order in which they go away: who does the work
# first, so that nobody works against a removal; the definition of PodAllocations near the end, because the owners'
# values are in them; the namespace last. They are applied in the opposite order.
KINDS = (
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("v1", "ServiceAccount"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "Namespace"),
)
_RANK = {kind: -at for at, (_, kind) in enumerate(KINDS)}

# Written by the API server itself; says nothing about whether an object was changed.
_VOLATILE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")

# Established takes a tenth of a second; one that takes so long has names that somebody else uses.
_ESTABLISHED_WITHIN_S = 30.0
_POLL_S = 0.05


class _Group(msgspec.Struct):
    name: str


class _Groups(msgspec.Struct):
    groups: tuple[_Group, ...] = ()


class Change(Enum):
    """What an apply or a removal did to one object, or would do in a dry run."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    KEPT = "kept"  # the owner's own settings: never overwritten
    SKIPPED = "skipped"  # this server has no such kind
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One object and what was done to it."""

    kind: str
    namespace: str  # empty: cluster-wide
    name: str
    change: Change
    note: str = ""  # one sentence where something is not as one would expect

    def __str__(self) -> str:
        """One line for people: `deployment/mbcas-controller created`."""
        line = f"{self.kind.lower()}/{self.name} {self.change.value}"
        return f"{line} ({self.note})" if self.note else line


def ordered(objects: Iterable[Object]) -> list[Object]:
    """In the order in which they can be applied; kinds that are unknown here come before the workloads."""
    unknown = _RANK["Deployment"] - 0.5
    return sorted(objects, key=lambda thing: _RANK.get(thing["kind"], unknown))


class Installer:
    """Applies and removes objects through one API server."""

    def __init__(self, api: Api) -> None:
        """Work through `api`, with the rights of whoever it speaks for."""
        self._api = api
        self.kinds = Kinds(api)

    def apply(self, objects: Sequence[Object], *, dry_run: bool = False) -> Iterator[Changed]:
        """Apply all of them in order, one by one as the caller asks for the next.

        A ConfigMap that somebody has edited stays as it is. After a CRD this waits until it is served. In a dry run
        the server checks everything and stores nothing; what would live in a namespace that does not exist yet is
        checked in `default`.

        Raises:
            ApiAway, ApiRefused: The object named in the message was not applied; those before it are.
        """
        for thing in ordered(objects):
            place = self.kinds.place(thing["apiVersion"], thing["kind"])
            if place is None:
                if _is_missing_our_crd(thing):
                    raise ApiRefused(404, "NotFound", f"{label(thing)}: its definition is not served")
                yield _changed(thing, Change.SKIPPED, f"this cluster has no {thing['kind']}")
                continue
            yield self._apply(place, thing, dry_run=dry_run)
            if thing["kind"] == "CustomResourceDefinition" and not dry_run:
                self._wait_established(place, thing)
                self.kinds.forget()

    def _apply(self, place: Place, thing: Object, *, dry_run: bool) -> Changed:
        namespace, name = _namespace(place, thing), thing["metadata"]["name"]
        before = self.read(place.path(namespace, name))
        if before is not None and thing["kind"] == "ConfigMap" and _is_edited(before):
            return _changed(thing, Change.KEPT, "it was edited, and that is respected")
        params, note = {"dryRun": "All"} if dry_run else {}, ""
        sent: Object = thing
        if dry_run and namespace and self.read(f"/api/v1/namespaces/{namespace}") is None:
            namespace, note = "default", f"checked in default: {namespace} does not exist yet"
            sent = {**thing, "metadata": {**thing["metadata"], "namespace": namespace}}
        try:
            answer = self._api.apply(place.path(namespace, name), sent, field_manager=FIELD_MANAGER, params=params)
        except ApiRefused as err:
            raise ApiRefused(
                err.code, err.reason, f"{label(thing)} was refused: {err.message}", err.causes, err.retry_after_s
            ) from err
        if before is None:
            return _changed(thing, Change.CREATED, note)
        same = _content(before) == _content(msgspec.json.decode(answer))
        return _changed(thing, Change.UNCHANGED if same else Change.CHANGED, note)

    def prune(self, keep: Iterable[Object], *, dry_run: bool = False) -> Iterator[Changed]:
        """Delete what an earlier apply of this program left and `keep` does not have any more.

        What somebody else applied, though it carries MBCAS's label, stays: a dashboard, a component of theirs.

        Raises:
            ApiAway, ApiRefused: The object named in the message was not removed; those before it are.
        """
        kept = {(thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]) for thing in keep}
        for place, thing in self.labelled():
            metadata = thing["metadata"]
            where = (thing["kind"], metadata.get("namespace", ""), metadata["name"])
            if where not in kept and _is_applied_by_us(metadata):
                yield self.remove(place, thing, dry_run=dry_run)

    def labelled(self, only: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Everything that carries MBCAS's label, in the order in which it has to go.

        Args:
            only: Which kinds to look at, by name.

        Raises:
            ApiAway, ApiRefused: A kind cannot be listed.
        """
        for api_version, kind in KINDS:
            place = self.kinds.place(api_version, kind) if only(kind) else None
            if place is not None:
                for thing in self._labelled(place, kind):
                    yield place, thing

    def remove(self, place: Place, thing: Object, *, dry_run: bool = False) -> Changed:
        """Delete one object, or only say so; what depends on it goes in the background.

        Raises:
            ApiAway, ApiRefused: It was not removed; the message names it.
        """
        metadata = thing["metadata"]
        if not dry_run and "deletionTimestamp" not in metadata:
            try:
                self._delete(place.path(metadata.get("namespace"), metadata["name"]))
            except ApiRefused as err:
                raise ApiRefused(err.code, err.reason, f"{label(thing)} was not removed: {err.message}") from err
        return _changed(thing, Change.REMOVED)

    def left(self) -> list[str]:
        """What is still there of MBCAS, as people call it; the deleted go by and by, their kinds last."""
        self.kinds.forget()
        found = [label(thing) for _, thing in self.labelled()]
        groups = msgspec.json.decode(self._api.get("/apis"), type=_Groups).groups
        return found + [f"the API group {group.name}" for group in groups if group.name == names.GROUP]

    def read(self, path: str) -> dict[str, Any] | None:
        """One object as plain data; None: it does not exist."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self._api.get(path))
        except ApiRefused as err:
            if err.code == 404:
                return None
            raise
        return found

    def _labelled(self, place: Place, kind: str) -> list[dict[str, Any]]:
        try:
            answer = msgspec.json.decode(self._api.get(place.path(), {"labelSelector": PART_OF}))
        except ApiRefused as err:
            if err.code == 404:  # the CRD of this kind went away meanwhile
                return []
            raise
        # The items of a list do not say what they are.
        return [{**item, "kind": kind} for item in answer.get("items") or ()]

    def _delete(self, path: str) -> None:
        """Delete one object; what depends on it goes in the background."""
        try:
            self._api.delete(path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
        except ApiRefused as err:
            if err.code != 404:
                raise

    def _wait_established(self, place: Place, crd: Object) -> None:
        path = place.path(None, crd["metadata"]["name"])
        ends_s = time.monotonic() + _ESTABLISHED_WITHIN_S
        while True:
            found = self.read(path) or {}
            conditions = {c["type"]: c for c in found.get("status", {}).get("conditions") or ()}
            if conditions.get("Established", {}).get("status") == "True":
                return
            refused = conditions.get("NamesAccepted", {})
            if refused.get("status") == "False":
                raise ApiRefused(409, "Conflict", f"{label(crd)}: its names are taken: {refused.get('message')}")
            if time.monotonic() > ends_s:
                raise ApiAway(f"{label(crd)} is not served after {_ESTABLISHED_WITHIN_S:g} s")
            time.sleep(_POLL_S)


def version_of(thing: Mapping[str, Any]) -> str:
    """The version of MBCAS that an object says it belongs to; empty: it says none."""
    return str((thing.get("metadata", {}).get("labels") or {}).get(VERSION_LABEL, ""))


def _changed(thing: Object, change: Change, note: str = "") -> Changed:
    metadata = thing["metadata"]
    namespace = metadata.get("namespace", "")
    return Changed(kind=thing["kind"], namespace=namespace, name=metadata["name"], change=change, note=note)


def _namespace(place: Place, thing: Object) -> str | None:
    return thing["metadata"].get("namespace", "default") if place.namespaced else None


def _is_missing_our_crd(thing: Object) -> bool:
    return str(thing["apiVersion"]).startswith(f"{names.GROUP}/")


def _is_edited(config_map: Mapping[str, Any]) -> bool:
    """Whether anybody but this program has set its data, as the server keeps count of."""
    return any(
        entry.get("manager") != FIELD_MANAGER and "f:data" in entry.get("fieldsV1", {})
        for entry in config_map["metadata"].get("managedFields") or ()
    )


def _is_applied_by_us(metadata: Mapping[str, Any]) -> bool:
    return any(
        entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        for entry in metadata.get("managedFields") or ()
    )


def _content(thing: Mapping[str, Any]) -> dict[str, Any]:
    """What an owner would call the object's content."""
    metadata = {key: value for key, value in thing["metadata"].items() if key not in _VOLATILE}
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": metadata}
