"""Waiting for facts, with a deadline."""

import time
from collections.abc import Callable


def poll_until(fact: Callable[[], bool], within_s: float, otherwise: Callable[[], str]) -> float:
    """Wait for a fact; returns how long it took, fails with these words when it takes too long."""
    began_s = time.monotonic()
    while not fact():
        if time.monotonic() - began_s > within_s:
            raise AssertionError(f"not within {within_s:g} s: {otherwise()}")
        time.sleep(0.02)
    return time.monotonic() - began_s
