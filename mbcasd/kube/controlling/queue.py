"""Which pods are due for a look: each at most once in the queue, and with at most one worker at a time.

What happens to a pod only marks it; whoever works looks at all that is then. A pod marked while somebody works on it
comes again afterwards. Waits are due times in here, not sleeping threads, so an idle queue costs nothing.
"""

import heapq
import threading
from collections import deque

from mbcasd.clock import Clock
from mbcasd.kube.backoff import Backoff

Key = tuple[str, str]

# After trouble of our own making or the API's: the queue's own back-off, apart from that after a refused resize.
FIRST_S, LONGEST_S = 0.5, 60.0


class WorkQueue:
    """First come, first served; may be used by many threads."""

    def __init__(self, clock: Clock) -> None:
        """Start empty."""
        self._clock = clock
        self._lock = threading.Condition()
        self._ready: deque[Key] = deque()
        self._marked: set[Key] = set()  # in _ready, or to be put there when their worker is done
        self._taken: set[Key] = set()
        self._later: list[tuple[float, Key]] = []  # a heap; entries that _due_s does not confirm are void
        self._due_s: dict[Key, float] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many are due now."""
        with self._lock:
            return len(self._ready)

    def add(self, key: Key) -> None:
        """Mark as due now."""
        with self._lock:
            self._mark(key)

    def add_after(self, key: Key, wait_s: float) -> None:
        """Mark as due in `wait_s`, unless it is due sooner."""
        with self._lock:
            due_s = self._clock.now_s() + wait_s
            if due_s < self._due_s.get(key, float("inf")):
                self._due_s[key] = due_s
                heapq.heappush(self._later, (due_s, key))
                self._lock.notify()

    def failed(self, key: Key, at_least_s: float = 0.0) -> float:
        """Mark as due after a back-off that doubles from failure to failure; returns the wait."""
        with self._lock:
            backoff = self._backoffs.setdefault(key, Backoff(FIRST_S, LONGEST_S))
            wait_s = backoff.failed(at_least_s)
        self.add_after(key, wait_s)
        return wait_s

    def succeeded(self, key: Key) -> None:
        """Forget its failures."""
        with self._lock:
            self._backoffs.pop(key, None)

    def take(self, timeout_s: float) -> Key | None:
        """Take the next one that is due, waiting for it at most so long; give it back with `done`."""
        ends_s = self._clock.now_s() + timeout_s
        with self._lock:
            while not self._closed:
                now_s = self._clock.now_s()
                next_due_s = self._promote(now_s)
                if self._ready:
                    key = self._ready.popleft()
                    self._marked.discard(key)
                    self._taken.add(key)
                    return key
                wait_s = min(ends_s, next_due_s) - now_s
                if now_s >= ends_s:
                    return None
                self._lock.wait(max(wait_s, 0.0))
            return None

    def done(self, key: Key) -> None:
        """Give back what was taken; if it was marked meanwhile, it is due again."""
        with self._lock:
            self._taken.discard(key)
            if key in self._marked:
                self._ready.append(key)
                self._lock.notify()

    def clear(self) -> None:
        """Forget all that is not being worked on."""
        with self._lock:
            self._ready.clear()
            self._marked.clear()
            self._later.clear()
            self._due_s.clear()
            self._backoffs.clear()

    def close(self) -> None:
        """Let all who wait go; nothing is handed out any more."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _mark(self, key: Key) -> None:
        if key in self._marked:
            return
        self._marked.add(key)
        if key not in self._taken:
            self._ready.append(key)
            self._lock.notify()

    def _promote(self, now_s: float) -> float:
        """Move what has become due; returns when the next one will be."""
        while self._later:
            due_s, key = self._later[0]
            if self._due_s.get(key) != due_s:
                heapq.heappop(self._later)  # it has become due sooner, or was forgotten
                continue
            if due_s > now_s:
                return due_s
            heapq.heappop(self._later)
            del self._due_s[key]
            self._mark(key)
        return float("inf")
