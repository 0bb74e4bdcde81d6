"""The resize controller as a whole: caches that are always warm, workers that only act for the leader."""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from mbcasd.clock import Clock
from mbcasd.kube.api import Api, Budget
from mbcasd.kube.controlling.gate import Gate
from mbcasd.kube.controlling.queue import Key, WorkQueue
from mbcasd.kube.controlling.verdict import Rules
from mbcasd.kube.controlling.views import Views
from mbcasd.kube.controlling.worker import Counts, Worker
from mbcasd.kube.events import Events
from mbcasd.kube.lease import Elector

log = logging.getLogger(__name__)

# Requests of workers: a resize takes two, its patch and its status. An API server on two cores has no more to give.
REQUESTS_PER_S, REQUESTS_AT_ONCE = 600.0, 600.0

# They wait for the API server most of the time; more would be more connections than are kept for reuse.
WORKERS = 12


class ResizeController:
    """Follows with warm caches until it leads, then works; stops with the leadership."""

    def __init__(
        self,
        api: Api,
        elector: Elector,
        events: Events,
        counts: Counts,
        *,
        rules: Callable[[], Rules],
        clock: Clock,
        workers: int = WORKERS,
    ) -> None:
        """Wire the parts; nothing is asked yet.

        Args:
            api: For caches and writes, without budget.
            elector: With a client of its own, so that no crowd of patches costs the leadership.
            events: For people.
            counts: For metrics.
            rules: What is allowed now.
            clock: For all times.
            workers: How many threads write.
        """
        self._elector = elector
        self._queue = WorkQueue(clock)
        self._leads = False
        self.views = Views(api, clock=clock, mark=self._mark)
        self._worker = Worker(
            api,
            self.views,
            self._queue,
            Gate(elector, Budget(REQUESTS_PER_S, REQUESTS_AT_ONCE, clock=clock), clock),
            events,
            counts,
            rules=rules,
            clock=clock,
        )
        self._threads = [
            threading.Thread(target=self._worker.work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Fill the caches and stand for election."""
        self.views.start()
        self._elector.start()
        for thread in self._threads:
            thread.start()

    def tick(self) -> None:
        """Take note of who leads; to be called a few times per second.

        Raises:
            RuntimeError: A bug has ended a watch or the election; it is the cause.
        """
        leads = self._elector.is_leader and self.views.synced
        if leads == self._leads:
            return
        if leads:
            self._worker.forget()
            self._leads = True
            keys = self.views.all_keys()
            log.info("leading: looking at %d PodAllocations", len(keys))
            for key in keys:
                self._queue.add(key)
        else:
            self._leads = False
            self._queue.clear()
            self._worker.forget()
            log.info("following: nothing is moved by this replica")

    def look_at_all(self) -> None:
        """Look at every PodAllocation again: the rules have changed."""
        if self._leads:
            for key in self.views.all_keys():
                self._queue.add(key)

    def stop(self) -> None:
        """Finish the writes under way, then give the leadership back."""
        self._leads = False
        self._worker.stop()
        self._queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5.0)
        self._elector.stop()
        self.views.stop()

    @property
    def leads(self) -> bool:
        """Whether this replica moves limits."""
        return self._leads

    @property
    def queued(self) -> int:
        """How many PodAllocations are due for a look."""
        return len(self._queue)

    def phases(self) -> dict[str, int]:
        """How many PodAllocations there are by phase; "" for those that nothing was said about yet."""
        return dict(Counter(one.status.phase for one in self.views.allocations.items.values()))

    def _mark(self, key: Key) -> None:
        if self._leads:
            self._queue.add(key)
