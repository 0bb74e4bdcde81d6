"""What the controller knows of the cluster: PodAllocations, their pods and LimitRanges, kept by list-watches."""

from collections.abc import Callable, Mapping

from mbcasd.clock import Clock
from mbcasd.kube import names
from mbcasd.kube.allocating.limitranges import NO_BOUNDS, CpuBounds, LimitRange, bounds_of
from mbcasd.kube.api import Api
from mbcasd.kube.controlling.pods import ResizablePod
from mbcasd.kube.controlling.verdict import Seen
from mbcasd.kube.listwatch import Key, ListWatch
from mbcasd.kube.objects import Identity, PodAllocation


def _key_of_pod(pod: Identity) -> Key:
    """The key of a pod's PodAllocation: also one that was made again under the same name has its own."""
    return pod.namespace, names.allocation_name(pod.name, pod.uid)


class Views:
    """Three list-watches; a change of any marks the PodAllocations that it matters for."""

    def __init__(self, api: Api, *, clock: Clock, mark: Callable[[Key], None]) -> None:
        """Prepare; nothing is asked yet.

        Args:
            api: The client, without budget.
            clock: For intervals.
            mark: Called with the key of a PodAllocation that should be looked at; must be quick.
        """
        self._mark = mark
        self.allocations = ListWatch(
            api, names.allocations_path(), PodAllocation, clock=clock, on_change=lambda key, _: mark(key)
        )
        self.pods = ListWatch(
            api, names.pods_path(), ResizablePod, clock=clock, key=_key_of_pod, on_change=self._on_pod
        )
        self.ranges = ListWatch(api, "/api/v1/limitranges", LimitRange, clock=clock, on_change=self._on_range)
        self._bounds: Mapping[str, CpuBounds] = {}  # by namespace; replaced as a whole

    def start(self) -> None:
        """Begin to list and watch."""
        for view in (self.ranges, self.pods, self.allocations):
            view.start()

    def stop(self) -> None:
        """End all watches."""
        for view in (self.allocations, self.pods, self.ranges):
            view.stop()

    @property
    def synced(self) -> bool:
        """Whether all of it was read once; before that, what is missing proves nothing."""
        return self.allocations.synced and self.pods.synced and self.ranges.synced

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with the watches, for people."""
        return tuple(one.trouble for one in (self.allocations, self.pods, self.ranges) if one.trouble is not None)

    def all_keys(self) -> tuple[Key, ...]:
        """All PodAllocations.

        Raises:
            RuntimeError: A bug has ended one of the watches.
        """
        _ = self.pods.items, self.ranges.items
        return tuple(self.allocations.items)

    def see(self, key: Key) -> Seen | None:
        """One PodAllocation with all that matters for it; None: there is none."""
        allocation = self.allocations.get(key)
        if allocation is None:
            return None
        return Seen(allocation=allocation, pod=self.pods.get(key), bounds=self._bounds.get(key[0], NO_BOUNDS))

    def _on_pod(self, key: Key, _: ResizablePod | None) -> None:
        if self.allocations.get(key) is not None:
            self._mark(key)

    def _on_range(self, changed: Key, _: LimitRange | None) -> None:
        by_namespace: dict[str, list[LimitRange]] = {}
        for (namespace, _name), limit_range in self.ranges.items.items():
            by_namespace.setdefault(namespace, []).append(limit_range)
        self._bounds = {namespace: bounds_of(ranges) for namespace, ranges in by_namespace.items()}
        for key in self.allocations.items:
            if key[0] == changed[0]:
                self._mark(key)
