"""The part of an API that keeps PodAllocations: applies them, counts generations, and can be away or refuse."""

import json
import threading
from typing import Any

import msgspec

from mbcasd.errors import ApiAway, ApiError
from mbcasd.kube.objects import PodAllocation


class AllocationsApi:
    """Fits what `AllocationWriter` asks of `Api`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.applied: list[tuple[str, dict[str, Any]]] = []
        self.trouble: ApiError | None = None
        self.tries = 0
        self._lock = threading.Lock()

    def apply(self, path: str, body: object, *, field_manager: str) -> bytes:
        assert field_manager == "mbcas-agent"
        with self._lock:
            self.tries += 1
            if self.trouble is not None:
                raise self.trouble
            wanted = json.loads(msgspec.json.encode(body))
            before = self.objects.get(path)
            metadata = {"uid": f"uid-{len(self.objects)}", "generation": 0} if before is None else before["metadata"]
            metadata = {**metadata, **wanted["metadata"]}
            if before is None or before["spec"] != wanted["spec"]:
                metadata = {**metadata, "generation": metadata["generation"] + 1}
            after = {**(before or {}), **wanted, "metadata": metadata}
            self.objects[path] = after
            self.applied.append((path, wanted["spec"]))
            return json.dumps(after).encode()

    @property
    def writes(self) -> int:
        """How many were taken."""
        return len(self.applied)

    def only(self) -> PodAllocation:
        """The one object that there is."""
        (found,) = self.objects.values()
        return msgspec.json.decode(json.dumps(found), type=PodAllocation)

    def with_status(self, **status: Any) -> PodAllocation:
        """What the controller writes into the one object."""
        (path,) = self.objects
        generation = self.objects[path]["metadata"]["generation"]
        self.objects[path]["status"] = {"observedGeneration": generation, **status}
        return self.only()


def away() -> ApiAway:
    """No answer."""
    return ApiAway("API server not reachable (connection refused)")
