"""Burns a given amount of CPU time, not wall time: a throttled service gets slower, as a real one does.

The work is hashing in pieces that release the interpreter's lock, so that several threads of one process use
several CPUs. The thread's own CPU clock is asked after each piece; it stands still while the thread is throttled or
waits for a CPU.
"""

import hashlib
import time

# About how long one piece should take. It is the error of a burn, and how long a thread keeps the lock released.
PIECE_S = 100e-6
_TRIAL_BYTES = 16 * 1024
_TRIALS = 40


class Burner:
    """Burns CPU time in pieces that were sized for this machine."""

    def __init__(self) -> None:
        """Size the pieces; costs a few milliseconds of CPU time."""
        trial = bytes(_TRIAL_BYTES)
        fastest_s = min(_cpu_s_of(trial) for _ in range(_TRIALS))
        # hashlib keeps the lock for less than 2 KiB, so a piece is never that small.
        self._piece = bytes(max(4096, round(_TRIAL_BYTES * PIECE_S / max(fastest_s, 1e-7))))

    def burn(self, cpu_s: float) -> float:
        """Burn so many seconds of this thread's CPU time; returns what was burnt, at most one piece more."""
        began_s = time.thread_time()
        burnt_s = 0.0
        while burnt_s < cpu_s:
            hashlib.sha256(self._piece).digest()
            burnt_s = time.thread_time() - began_s
        return burnt_s


def _cpu_s_of(data: bytes) -> float:
    began_s = time.thread_time()
    hashlib.sha256(data).digest()
    return time.thread_time() - began_s
