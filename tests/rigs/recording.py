"""What the tests of the record write, and a recorder that is driven by hand."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from mbcasd.accounting import receipts
from mbcasd.accounting.record import Recorder
from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
from mbcasd.model.decision import Observation, Receipt, Workload
from mbcasd.model.demand import Contract
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.market import Bid, Market
from mbcasd.model.readings import CpuSample
from mbcasd.settings import RecordSettings, Settings

WEB = WorkloadId("demo", "web")
API = WorkloadId("demo", "api")


def a_recorder(path: Path, clock: SteppedClock, **record: float) -> Recorder:
    """A recorder without its thread: `write_waiting` is one pass of it."""
    settings = Settings(record=RecordSettings(**record))  # type: ignore[arg-type]
    return Recorder(path, node="node-1", version="1.2.3", settings=settings, clock=clock)


def a_workload(path: str = "/demo/web", inode: int = 7, *, floor: float = 100, cap: float = 900) -> Workload:
    return Workload(cgroup=CgroupRef(path=path, inode=inode), contract=Contract(floor_milli=floor, cap_milli=cap))


def a_sample(at_s: float, usage_usec: int = 0) -> CpuSample:
    return CpuSample(at_s, usage_usec, usage_usec // 100_000, 0, 0, usage_usec // 10, 0)


def samples(at_s: float, usage: Mapping[WorkloadId, int]) -> Observation:
    return Observation(samples={who: a_sample(at_s, usec) for who, usec in usage.items()})


def run_busy(recorder: Recorder, clock: SteppedClock, *, seconds: int, step_s: float = 0.1) -> list[CpuSample]:
    """Let one workload use 50 % of a CPU for some seconds; returns its samples."""
    seen = []
    start_s = clock.now_s()
    for i in range(round(seconds / step_s)):
        now_s = clock.now_s()
        sample = a_sample(now_s, round((now_s - start_s) * 500_000) + 1)
        recorder.put_observation(Observation(samples={WEB: sample}), now_s)
        seen.append(sample)
        clock.advance(step_s)
        if (i + 1) % 10 == 0:
            recorder.write_waiting()
    return seen


def a_receipt_of(capacity_milli: float, at_s: float, *, count: int = 2) -> Receipt:
    """The receipt of a plain Nash market."""
    bids = tuple(Bid(name=f"demo/w{i}", floor_milli=100, cap_milli=900, weight=1 + i) for i in range(count))
    market = Market(capacity_milli=capacity_milli, bids=bids)
    return receipts.make(market, clear(market), "optimizer", at_s)


def a_record(path: Path, *, count: int) -> SteppedClock:
    """A record of one run with some receipts, closed."""
    clock = SteppedClock(now_s=1000.0)
    recorder = a_recorder(path, clock)
    for i in range(count):
        recorder.put_receipt(a_receipt_of(1000 + i, clock.now_s()))
        clock.advance(5.0)
        recorder.write_waiting()
    recorder.close()
    return clock


def forge(path: Path, statement: str, *values: object) -> None:
    """Change a record behind the daemon's back."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()
