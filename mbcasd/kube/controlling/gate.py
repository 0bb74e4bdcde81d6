"""Whether a request may go out now: for the leader only, within the budget, and to a server that answers."""

import threading
from typing import Protocol

from mbcasd.clock import Clock
from mbcasd.errors import ApiError, ApiRefused
from mbcasd.kube.backoff import Backoff
from mbcasd.kube.budget import Budget

# The whole of a write, connecting included, takes at most this; one that begins with more than REMAINING_S left of
# the leadership is over before it ends, and 5 s before the Lease can be taken.
WRITE_TIMEOUT_S = 4.0
REMAINING_S = 4.5

# How long to look away when it is not clear who leads, or when too much was asked already.
UNSURE_S = 0.5

# While the server is away or asks for patience, one try of each worker per wait is enough for all pods.
AWAY_FIRST_S, AWAY_LONGEST_S = 0.5, 10.0


class Leadership(Protocol):
    """What is asked before each write; `lease.Elector` is one."""

    def remaining_s(self) -> float:
        """For how many seconds it is safe to write; 0: not at all."""


class Gate:
    """Asked before each request; may be used by many threads."""

    def __init__(self, leadership: Leadership, budget: Budget, clock: Clock) -> None:
        """Start open, as far as the server goes."""
        self._leadership, self._budget, self._clock = leadership, budget, clock
        self._lock = threading.Lock()
        self._backoff = Backoff(AWAY_FIRST_S, AWAY_LONGEST_S)
        self._away_until_s = 0.0
        self._closed = threading.Event()

    def closed_for_s(self) -> float:
        """Wait for the budget; returns 0 where a request may go out now, else when to ask again.

        A write that starts now, with WRITE_TIMEOUT_S, ends before anybody else may write.
        """
        away_s = self._away_until_s - self._clock.now_s()
        if away_s > 0:
            return away_s
        wait_s = self._budget.reserve(WRITE_TIMEOUT_S)
        if wait_s is None or (wait_s > 0 and self._closed.wait(wait_s)):
            return UNSURE_S
        # Asked last: the wait may have cost the leadership.
        return UNSURE_S if self._closed.is_set() or self._leadership.remaining_s() <= REMAINING_S else 0.0

    def failed(self, err: ApiError) -> None:
        """Take note of a failure: if it is the server and not this one request, nobody asks for a while."""
        retry_after_s = err.retry_after_s if isinstance(err, ApiRefused) else None
        if isinstance(err, ApiRefused) and retry_after_s is None:
            return
        with self._lock:
            now_s = self._clock.now_s()
            if now_s >= self._away_until_s:  # the others who asked at the same time tell nothing new
                self._away_until_s = now_s + self._backoff.failed(retry_after_s)

    def succeeded(self) -> None:
        """Take note that the server does what it is asked."""
        if self._backoff.failures:
            with self._lock:
                self._backoff.reset()
                self._away_until_s = 0.0

    def close(self) -> None:
        """Let nothing out any more, and nobody wait."""
        self._closed.set()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self._closed.is_set()
