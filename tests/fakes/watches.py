"""What the agent's watches would have heard, set by hand."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from mbcasd.kube.objects import Namespace, Pod


class _Store:
    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Any] = {}

    def get(self, key: tuple[str, str]) -> Any:
        return self.items.get(key)


class FakeWatches:
    """Fits `NodeWatches` as `NodePods` uses it."""

    def __init__(self, *namespaces: Namespace) -> None:
        self.pods, self.namespaces, self.limit_ranges, self.hpas, self.vpas = (_Store() for _ in range(5))
        self.synced = True
        self.rules_seen = self.pods_seen = self.containers_seen = 0
        for namespace in namespaces:
            self.namespaces.items["", namespace.metadata.name] = namespace

    def put(self, *pods: Pod) -> None:
        """These pods are there, or are there in another state."""
        self.pods.items = {**self.pods.items, **{(p.metadata.namespace, p.metadata.name): p for p in pods}}
        self.pods_seen += 1
        self.containers_seen += 1

    def remove(self, pod: Pod) -> None:
        self.pods.items = {key: one for key, one in self.pods.items.items() if one is not pod}
        self.pods_seen += 1
        self.containers_seen += 1

    def rule(self, store: str, *objects: Any) -> None:
        """These HPAs, VPAs, LimitRanges or namespaces are there."""
        items = getattr(self, store).items
        items.clear()
        items.update({(one.metadata.namespace, one.metadata.name): one for one in objects})
        self.rules_seen += 1


def a_writer(*allocations: Any) -> SimpleNamespace:
    """What a writer knows."""
    by_uid: dict[str, Any] = {}
    writer = SimpleNamespace(known=by_uid.get, objects_seen=0)

    def put(one: Any) -> None:
        by_uid[one.spec.pod_uid] = one
        writer.objects_seen += 1

    writer.put = put
    for one in allocations:
        writer.put(one)
    return writer


def names(found: Iterable[Any]) -> list[str]:
    """Workloads as people call them."""
    return sorted(map(str, found))
