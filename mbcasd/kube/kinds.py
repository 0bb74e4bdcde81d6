"""Where objects live: from apiVersion and kind to a path, as the API server itself says it.

Asked instead of written down, so that a manifest of a kind that is new here needs no line of code, and one that
this server does not have (a PodMonitor without the operator) is noticed before anything is sent.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mbcasd.errors import ApiRefused
from mbcasd.kube.api import Api

# A manifest as it was read: plain data.
Object = Mapping[str, Any]


class Place(NamedTuple):
    """Where the objects of one kind are."""

    base: str  # "/api/v1", "/apis/apps/v1"
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Of one object, of all in a namespace, or of all in the cluster."""
        path = self.base
        if self.namespaced and namespace:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        return path if name is None else f"{path}/{name}"


class _Resource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class _Resources(msgspec.Struct):
    resources: tuple[_Resource, ...] = ()


class Kinds:
    """What one API server serves; each version of each group is asked for once."""

    def __init__(self, api: Api) -> None:
        """Ask through `api`, when first needed."""
        self._api = api
        self._known: dict[str, tuple[_Resource, ...]] = {}

    def place(self, api_version: str, kind: str) -> Place | None:
        """Where such objects live; None: this server does not serve the kind.

        Raises:
            ApiAway, ApiRefused: The server did not say.
        """
        found = next((r for r in self._resources(api_version) if r.kind == kind and "/" not in r.name), None)
        return None if found is None else Place(_base(api_version), found.name, found.namespaced)

    def has(self, api_version: str, name: str) -> bool:
        """Whether a resource or subresource exists: `has("v1", "pods/resize")`."""
        return any(resource.name == name for resource in self._resources(api_version))

    def forget(self) -> None:
        """Ask again: a CRD has come or gone."""
        self._known.clear()

    def _resources(self, api_version: str) -> tuple[_Resource, ...]:
        if api_version not in self._known:
            try:
                answer = msgspec.json.decode(self._api.get(_base(api_version)), type=_Resources)
            except ApiRefused as err:
                if err.code != 404:
                    raise
                answer = _Resources()
            self._known[api_version] = answer.resources
        return self._known[api_version]


def _base(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def label(thing: Object) -> str:
    """What people call an object: `deployment/mbcas-controller`."""
    return f"{str(thing['kind']).lower()}/{thing['metadata']['name']}"
