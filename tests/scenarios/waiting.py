"""Waiting for facts of a cluster, with a deadline, and with what the daemons had to say when it passes."""

import time
from collections.abc import Callable

from rigs.kernel import PATIENCE


def wait_until(
    fact: Callable[[], bool], within_s: float, what: str, words: Callable[[], str] = str, *, every_s: float = 0.02
) -> float:
    """Poll a fact until it is true; returns how long it took.

    Args:
        fact: Asked again and again.
        within_s: The deadline.
        what: The fact in words.
        words: Asked once, when it is too late: logs.
        every_s: Between two looks.
    """
    began_s = time.monotonic()
    while not fact():
        if time.monotonic() - began_s > within_s * PATIENCE:
            raise AssertionError(f"not within {within_s * PATIENCE:g} s: {what}\n{words()}")
        time.sleep(every_s)
    return time.monotonic() - began_s


def watch_for(seconds: float, look: Callable[[], object] = str, *, every_s: float = 0.1) -> None:
    """Let time pass in which something must not happen; `look` asserts that it has not."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        look()
        time.sleep(every_s)


def must(fact: bool) -> None:
    """Fail when it is not so; for `watch_for`."""
    assert fact
