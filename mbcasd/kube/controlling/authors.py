"""Who set a container's CPU values last: the API server keeps count of it in `metadata.managedFields`.

That record is what tells the controller's own resize, which it could not write down before it was killed, from one
that a person or another controller made. It is asked for only when values are there that nobody expects: to keep it
for every pod would double the memory of the caches.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mbcasd.kube import names

# An entry without a name, or none at all: objects of very old API servers.
NOBODY = "somebody"


class Authors(NamedTuple):
    """Who set the limits and the requests of one generation of a pod's spec."""

    generation: int
    limits: Mapping[str, str]  # container → field manager
    requests: Mapping[str, str]

    def limit_is_ours(self, container: str) -> bool:
        """Whether a controller of MBCAS set the limit."""
        return self.limits.get(container) == names.CONTROLLER

    def request_is_ours(self, container: str) -> bool:
        """Whether a controller of MBCAS set the request."""
        return self.requests.get(container) == names.CONTROLLER


class _Entry(msgspec.Struct, rename="camel"):
    manager: str = NOBODY
    fields: dict[str, Any] = msgspec.field(name="fieldsV1", default_factory=dict)


class _Metadata(msgspec.Struct, rename="camel"):
    generation: int = 0
    managed_fields: tuple[_Entry, ...] = ()


class _Written(msgspec.Struct):
    metadata: _Metadata


def authors_of(pod_json: bytes) -> Authors:
    """Read a pod's JSON for who set what; a later entry of the same field wins, as the server lists them by time."""
    metadata = msgspec.json.decode(pod_json, type=_Written).metadata
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    for entry in metadata.managed_fields:
        spec = entry.fields.get("f:spec", {})
        for kind in ("f:containers", "f:initContainers"):
            for key, fields in spec.get(kind, {}).items():
                if not key.startswith("k:"):
                    continue
                container = msgspec.json.decode(key[2:], type=dict[str, Any])["name"]
                resources = fields.get("f:resources", {})
                for field, authors in (("f:limits", limits), ("f:requests", requests)):
                    if "f:cpu" in resources.get(field, {}):
                        authors[container] = entry.manager
    return Authors(metadata.generation, limits, requests)
