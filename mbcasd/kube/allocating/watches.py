"""What the agent of one node keeps of the API: its pods and their PodAllocations, and what bounds and scales them."""

import threading
from collections.abc import Callable
from typing import Any

from mbcasd.clock import Clock
from mbcasd.kube import names
from mbcasd.kube.allocating.autoscalers import HorizontalPodAutoscaler, VerticalPodAutoscaler
from mbcasd.kube.allocating.limitranges import LimitRange
from mbcasd.kube.allocating.members import container_ids
from mbcasd.kube.api import Api
from mbcasd.kube.listwatch import ListWatch
from mbcasd.kube.objects import Namespace, Pod, PodAllocation

_Key = tuple[str, str]


class NodeWatches:
    """Six list-watches, and counters that say what has changed since somebody last looked.

    Attributes:
        pods, allocations: Of this node alone.
        namespaces, limit_ranges, hpas, vpas: Of the whole cluster; the last two are there where their API is.
        rules_seen: Grows with each change of these four.
        pods_seen: Grows with each change of a pod of this node.
        containers_seen: Grows whenever a pod or a container of this node came, was made again, or went.
    """

    def __init__(
        self, api: Api, node_name: str, *, clock: Clock, on_allocation: Callable[[_Key, PodAllocation | None], None]
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            api: The client.
            node_name: Whose pods.
            clock: For intervals.
            on_allocation: Told of each PodAllocation of the node that came, changed or went, on the watching thread.
        """
        of_node = {"fieldSelector": f"spec.nodeName={node_name}"}
        self._lock = threading.Lock()
        self._ids: dict[_Key, tuple[str, ...]] = {}
        self.rules_seen = self.pods_seen = self.containers_seen = 0
        self.pods = ListWatch(api, names.pods_path(), Pod, clock=clock, params=of_node, on_change=self._pod_changed)
        self.allocations = ListWatch(
            api, names.allocations_path(), PodAllocation, clock=clock, params=of_node, on_change=on_allocation
        )
        self.namespaces = ListWatch(
            api,
            "/api/v1/namespaces",
            Namespace,
            clock=clock,
            on_change=self._rules_changed,
            versions_matter=False,
        )
        self.limit_ranges = ListWatch(
            api,
            "/api/v1/limitranges",
            LimitRange,
            clock=clock,
            on_change=self._rules_changed,
            versions_matter=False,
        )
        self.hpas = ListWatch(
            api,
            "/apis/autoscaling/v2/horizontalpodautoscalers",
            HorizontalPodAutoscaler,
            clock=clock,
            on_change=self._rules_changed,
            optional=True,
            versions_matter=False,
        )
        self.vpas = ListWatch(
            api,
            "/apis/autoscaling.k8s.io/v1/verticalpodautoscalers",
            VerticalPodAutoscaler,
            clock=clock,
            on_change=self._rules_changed,
            optional=True,
            versions_matter=False,
        )
        self._all: tuple[ListWatch[Any], ...] = (
            self.pods,
            self.allocations,
            self.namespaces,
            self.limit_ranges,
            self.hpas,
            self.vpas,
        )

    def start(self) -> None:
        """Begin to list and watch."""
        for watch in self._all:
            watch.start()

    def stop(self) -> None:
        """End."""
        for watch in self._all:
            watch.stop()

    @property
    def synced(self) -> bool:
        """Whether each has been listed once: before that nothing may be concluded from what is missing."""
        return all(watch.synced for watch in self._all)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with them: one sentence where the API is away, else one each."""
        troubles = [watch.trouble for watch in self._all]
        found = [trouble for trouble in troubles if trouble is not None]
        return tuple(found[:1]) if len(found) == len(troubles) else tuple(found)

    @property
    def last_heard_s(self) -> float | None:
        """When the API last said something about this node, monotonic; None: never."""
        return max((watch.last_heard_s for watch in self._all if watch.last_heard_s is not None), default=None)

    def _pod_changed(self, key: _Key, pod: Pod | None) -> None:
        ids = () if pod is None else (pod.metadata.uid, *container_ids(pod))
        with self._lock:
            self.pods_seen += 1
            if self._ids.get(key, ()) == ids:
                return
            self.containers_seen += 1
            if pod is None:
                self._ids.pop(key, None)
            else:
                self._ids[key] = ids

    def _rules_changed(self, _key: _Key, _item: object) -> None:
        with self._lock:
            self.rules_seen += 1
