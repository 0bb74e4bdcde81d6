"""Which pods are due for a look: each at most once in the queue, and with at most one worker at a time.

What happens to a pod only marks it; whoever works looks at all that is then. A pod marked while somebody works on it
comes again afterwards. Waits are due times in here, not sleeping threads, so an idle queue costs nothing.

What has just happened goes before what was put off: a new decision before the status of the last one, which costs the
API server twice as much as the resize itself. In a burst limits move first and are written about afterwards.
"""

import heapq
import threading
from collections import deque

from mbcasd.clock import Clock
from mbcasd.kube.backoff import Backoff

Key = tuple[str, str]

# After trouble of our own making or the API's: the queue's own back-off, apart from that after a refused resize.
FIRST_S, LONGEST_S = 0.5, 60.0

# What was put off gets so many workers at a time, and goes first when it has waited for so long.
CALM_WORKERS, CALM_AT_MOST_S = 3, 5.0


class WorkQueue:
    """First come, first served, in two lanes; may be used by many threads."""

    def __init__(self, clock: Clock) -> None:
        """Start empty."""
        self._clock = clock
        self._lock = threading.Condition()
        self._urgent: deque[Key] = deque()
        self._calm: dict[Key, float] = {}  # in order; since when
        self._marked: set[Key] = set()  # in _urgent, or to be put there when their worker is done
        self._taken: dict[Key, bool] = {}  # whether from the calm lane
        self._later: list[tuple[float, Key]] = []  # a heap; entries that _due_s does not confirm are void
        self._due_s: dict[Key, float] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many are due now."""
        with self._lock:
            return len(self._urgent) + len(self._calm)

    def add(self, key: Key) -> None:
        """Mark as due now: something has happened."""
        with self._lock:
            self._mark(key)

    def add_after(self, key: Key, wait_s: float) -> None:
        """Put off for `wait_s`, unless it is due sooner."""
        with self._lock:
            due_s = self._clock.now_s() + wait_s
            if due_s < self._due_s.get(key, float("inf")):
                self._due_s[key] = due_s
                heapq.heappush(self._later, (due_s, key))
                self._lock.notify()

    def failed(self, key: Key, at_least_s: float = 0.0) -> float:
        """Put off for a back-off that doubles from failure to failure; returns the wait."""
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
                key = self._next(now_s)
                if key is not None:
                    if self._urgent or self._calm:
                        self._lock.notify()  # several may have become due at once
                    return key
                if now_s >= ends_s:
                    return None
                self._lock.wait(max(min(ends_s, next_due_s) - now_s, 0.0))
            return None

    def done(self, key: Key) -> None:
        """Give back what was taken; if it was marked meanwhile, it is due again."""
        with self._lock:
            self._taken.pop(key, None)
            if key in self._marked:
                self._urgent.append(key)
            self._lock.notify()

    def clear(self) -> None:
        """Forget all that is not being worked on."""
        with self._lock:
            self._urgent.clear()
            self._calm.clear()
            self._marked.clear()
            self._later.clear()
            self._due_s.clear()
            self._backoffs.clear()

    def close(self) -> None:
        """Let all who wait go; nothing is handed out any more."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _next(self, now_s: float) -> Key | None:
        """Take from the lane whose turn it is."""
        calm = None
        if self._calm and sum(self._taken.values()) < CALM_WORKERS:
            calm = next((key for key in self._calm if key not in self._taken), None)
        if self._urgent and (calm is None or now_s - self._calm[calm] < CALM_AT_MOST_S):
            key = self._urgent.popleft()
            self._marked.discard(key)
            self._taken[key] = False
            return key
        if calm is not None:
            del self._calm[calm]
            self._taken[calm] = True
        return calm

    def _mark(self, key: Key) -> None:
        self._calm.pop(key, None)  # whoever looks does all there is to do
        if key in self._marked:
            return
        self._marked.add(key)
        if key not in self._taken:
            self._urgent.append(key)
            self._lock.notify()

    def _promote(self, now_s: float) -> float:
        """Let what has become due line up; returns when the next one will be."""
        while self._later:
            due_s, key = self._later[0]
            if self._due_s.get(key) != due_s:
                heapq.heappop(self._later)  # it has become due sooner, or was forgotten
                continue
            if due_s > now_s:
                return due_s
            heapq.heappop(self._later)
            del self._due_s[key]
            if key not in self._marked:
                self._calm.setdefault(key, due_s)
        return float("inf")
