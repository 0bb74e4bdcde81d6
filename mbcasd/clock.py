"""Time enters from outside: the engine is told `now_s`, drivers ask a clock.

Two times exist and are never mixed: `now_s` is monotonic and serves for every interval and deadline;
`wall_s` is seconds since the epoch and is only shown and recorded.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a driver gets the time from."""

    def now_s(self) -> float:
        """Monotonic seconds, also while a person sets the wall clock."""

    def wall_s(self) -> float:
        """Seconds since the epoch, for people and for the record."""


class SystemClock:
    """The machine's clocks."""

    # The functions themselves: every sample asks for the time, and a method around it would double the cost.
    now_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)


class SteppedClock:
    """A clock that moves when it is told to: replay, simulation and tests."""

    def __init__(self, now_s: float = 0.0, wall_s: float = 1_700_000_000.0) -> None:
        """Start at the given monotonic and wall time, both in seconds."""
        self._now_s, self._offset_s = now_s, wall_s - now_s

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._now_s

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return self._now_s + self._offset_s

    def advance(self, by_s: float) -> None:
        """Let `by_s` seconds pass."""
        self._now_s += by_s

    def jump_wall(self, by_s: float) -> None:
        """Move the wall clock alone, as a person or NTP does."""
        self._offset_s += by_s
