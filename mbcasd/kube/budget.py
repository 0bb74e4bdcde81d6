"""How many requests a client may send: a token bucket that tells how long to wait instead of waiting itself."""

import threading

from mbcasd.clock import Clock


class Budget:
    """At most `burst` requests at once and `per_s` per second in the long run; may be shared by threads and clients.

    Places are handed out in the order of asking: who asks is given a time at which to go. Nobody waits for the lock.
    """

    def __init__(self, per_s: float, burst: float, *, clock: Clock) -> None:
        """Start full."""
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left, self._at_s = float(burst), clock.now_s()
        self._lock = threading.Lock()

    def reserve(self, within_s: float) -> float | None:
        """Take one place, and return how many seconds to wait for it; None: it would take longer, none was taken."""
        with self._lock:
            now_s = self._clock.now_s()
            self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
            wait_s = max(0.0, (1.0 - self._left) / self._per_s)
            if wait_s > within_s:
                return None
            self._left -= 1.0
            return wait_s
