"""Sends the load, in a process of its own: an open loop without coordinated omission.

    python -m mbcasctl.loadtest.traffic      or, from the single binary:      mbcasctl loadtest send

Each line of standard input is a job as JSON (`Job`), each line of standard output its result (`Sent`). A request is
sent at its time whether or not earlier ones were answered, on another connection if need be, and its wait counts
from the moment it was *meant* to be sent: a server that stalls cannot make the clock stop. Requests that are still
open when the job ends are given up and reported as such.
"""

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from mbcasctl.loadtest import lifeline, wire

# Fewer than the usual bound of 1024 open files. Beyond it a request waits for a connection; that wait counts too.
MAX_CONNECTIONS = 800

# Where the generator may not run in real time.
_NICENESS = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One schedule to send."""

    port: int
    start_at_s: float  # on the machine's monotonic clock
    offsets_s: tuple[float, ...]  # from the start, rising
    drain_s: float  # how long after the last one to wait for answers


@dataclass(slots=True, kw_only=True)
class Sent:
    """What became of each request of a job, in order. None: not answered before the job ended."""

    waits_s: list[float | None]  # until the whole answer, from the intended start
    parts_s: dict[str, list[float | None]] = field(default_factory=dict)  # the same, by worker, as the answer says
    late_s: list[float] = field(default_factory=list)  # how much later than intended the generator sent it
    ended_at_s: float = 0.0  # when the job gave up or had all answers, on the machine's monotonic clock


async def send(job: Job, *, at_most: int = MAX_CONNECTIONS) -> Sent:
    """Send one job and wait for its answers, at most `drain_s` after the last request."""
    count = len(job.offsets_s)
    sent = Sent(waits_s=[None] * count, late_s=[0.0] * count)
    connections = wire.Connections(job.port, at_most=at_most)
    tasks: set[asyncio.Task[None]] = set()
    for number, offset_s in enumerate(job.offsets_s):
        due_s = job.start_at_s + offset_s
        if (ahead_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(ahead_s)
        sent.late_s[number] = max(0.0, time.monotonic() - due_s)
        task = asyncio.create_task(_one(connections, number, due_s, sent))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    last_s = job.start_at_s + (job.offsets_s[-1] if job.offsets_s else 0.0)
    if tasks:
        _, late = await asyncio.wait(set(tasks), timeout=max(0.0, last_s + job.drain_s - time.monotonic()))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    sent.ended_at_s = time.monotonic()
    connections.close()
    return sent


async def _one(connections: wire.Connections, number: int, due_s: float, sent: Sent) -> None:
    """Send one request and note each part of its answer as it arrives."""
    failed = False
    with contextlib.suppress(wire.WireError):
        async with contextlib.aclosing(connections.ask(f"/work?n={number}")) as parts:
            async for part in parts:
                name, _, took = part.strip().partition(" ")
                if took == "failed":
                    failed = True
                elif took:
                    sent.parts_s.setdefault(name, [None] * len(sent.waits_s))[number] = float(took)
        if not failed:
            sent.waits_s[number] = time.monotonic() - due_s


def main(arguments: Sequence[str] = ()) -> None:
    """Send the jobs of standard input until it ends."""
    if arguments:
        print("error: `loadtest send` takes no arguments, it reads jobs from its input", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    _step_aside()
    lines = lifeline.end_with_stdin()
    while True:
        job = msgspec.json.decode(lines.get(), type=Job)
        # A collection of a few ten thousand results would delay whatever is due meanwhile.
        gc.collect()
        gc.disable()
        sent = asyncio.run(send(job))
        gc.enable()
        sys.stdout.buffer.write(msgspec.json.encode(sent) + b"\n")
        sys.stdout.buffer.flush()


def _step_aside() -> None:
    """Run on one CPU only, the last, and ahead of the services there.

    A generator that comes late would measure itself. Both ways ahead need a privilege; without it the lateness is
    part of the waits all the same, and the report says how large it was.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)


if __name__ == "__main__":
    main()
