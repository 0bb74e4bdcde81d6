"""What the tests of the record write, and a recorder that is driven by hand."""

from collections.abc import Mapping
from pathlib import Path

from mbcasd.accounting.record import Recorder
from mbcasd.clock import SteppedClock
from mbcasd.model.decision import Observation, Workload
from mbcasd.model.demand import Contract
from mbcasd.model.identity import CgroupRef, WorkloadId
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
