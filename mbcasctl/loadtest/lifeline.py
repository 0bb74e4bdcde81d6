"""Ties a child process of the load test to its parent by a pipe: when the parent is gone, however it went, so is it.

The kernel closes the parent's end of the pipe also after a kill -9, and it works through the extra process that a
single-file binary puts between parent and child, which a parent-death signal would not.
"""

import os
import queue
import sys
import threading


def end_with_stdin() -> "queue.SimpleQueue[bytes]":
    """End this process at once when its standard input ends; what comes in before, can be taken line by line."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def watch() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
    return lines
