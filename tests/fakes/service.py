"""A service under load whose limit may move: jobs on threads, held once a period's quota is used, each with its wait.

Event by event like `estimation/cfs_model.py`, one period after the other, so that it stands in a `FakeNode` beside the
simpler fakes; counters as the kernel keeps them (algorithms §3.1).
"""

import math
from collections import deque
from dataclasses import dataclass, field

from fakes.node import PERIOD_S, FakeWorkload

Jobs = list[tuple[float, float]]  # (arrival in s, work in CPU seconds), by arrival


@dataclass
class FakeService(FakeWorkload):
    """Serves jobs in the order of their arrival, each on one of its threads."""

    jobs: Jobs = field(default_factory=list)
    burst: bool = False  # unused quota is kept, up to one quota
    served: list[tuple[float, float]] = field(default_factory=list)  # (done at, took), in seconds

    def __post_init__(self) -> None:
        self._arrivals = iter([*self.jobs, (math.inf, 0.0)])
        self._next = next(self._arrivals)
        self._waiting: deque[tuple[float, float]] = deque()
        self._running: list[tuple[float, float]] = []  # (arrived at, work left)
        self._kept_s = 0.0

    def run_period(self, now_s: float) -> None:
        """Serve until `now_s`, one period after the last time."""
        at_s, quota_s = now_s - PERIOD_S, math.inf
        if self.limit_milli is not None:
            full_s = self.limit_milli / 1000 * PERIOD_S
            quota_s = full_s + (min(full_s, self._kept_s) if self.burst else 0.0)
        used_s = throttled_s = 0.0
        held = active = False
        while at_s < now_s - 1e-12:
            while len(self._running) < self.threads and self._waiting:
                self._running.append(self._waiting.popleft())
            active = active or bool(self._running)
            held = held or (bool(self._running) and quota_s - used_s <= 1e-12)
            next_s = min(now_s, max(at_s, self._next[0]))
            if self._running and not held:
                soonest_s = min(*(left_s for _, left_s in self._running), (quota_s - used_s) / len(self._running))
                next_s = min(next_s, at_s + soonest_s)
            passed_s = next_s - at_s
            if held:
                throttled_s += passed_s * len(self._running)
            elif self._running:
                used_s += passed_s * len(self._running)
                self._work(passed_s, next_s)
            at_s = next_s
            while self._next[0] <= at_s + 1e-12:
                self._waiting.append(self._next)
                self._next = next(self._arrivals)
        self._kept_s = max(0.0, quota_s - used_s) if self.limit_milli is not None else 0.0
        self.usage_usec += round(used_s * 1e6)
        self.periods += active and self.limit_milli is not None
        self.throttled_periods += held
        self.throttled_usec += round(throttled_s * 1e6)

    def _work(self, passed_s: float, until_s: float) -> None:
        left = [(arrived_s, left_s - passed_s) for arrived_s, left_s in self._running]
        self.served += [(until_s, until_s - arrived_s) for arrived_s, left_s in left if left_s <= 1e-12]
        self._running = [job for job in left if job[1] > 1e-12]

    def p99_s(self, now_s: float, window_s: float) -> float | None:
        """The p99 of what was served in the last `window_s`, as a scraper would see it; None: nothing was."""
        return quantile([took_s for done_s, took_s in self._last(now_s - window_s)], 0.99)

    def _last(self, since_s: float) -> list[tuple[float, float]]:
        for first in range(len(self.served) - 1, -1, -1):
            if self.served[first][0] <= since_s:
                return self.served[first + 1 :]
        return self.served


def quantile(values: list[float], share: float) -> float | None:
    """The value that a share of the values do not exceed; None: there are no values."""
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)] if values else None
