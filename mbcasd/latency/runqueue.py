"""How long tasks wait for a CPU, from /proc: what is left where nobody knows a latency.

A task of a service is woken by a request, runs, waits whenever its limit or a neighbour holds it, and sleeps again.
So what it ran and waited, divided by how often it went to sleep, is how long one activation takes on the average: a
lower bound for the tail of the requests that it serves. Hence this source only ever says "violated" or "kept", never
that there is room, and it says "violated" only of a task whose work alone would be done in time: a thread that
computes for minutes is no slow request.

Source: Linux Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat" (run and wait time in ns); proc(5),
voluntary_ctxt_switches.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mbcasd.clock import Clock
from mbcasd.latency.port import SourceHealth
from mbcasd.model.decision import Workload
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind
from mbcasd.settings import GuardrailSettings

# Tasks per round, all workloads together: 30 µs each.
MOST_TASKS = 500
# A task must have been woken so often between two readings, or the average is none.
LEAST_ACTIVATIONS = 3
_ROUNDS_PER_PERIOD = 3

TasksOf = Callable[[CgroupRef], Sequence[int] | None]


class Waited(NamedTuple):
    """A task's counters, cumulative."""

    ran_s: float
    waited_s: float
    activations: int


class RunQueue:
    """Reads the tasks of the workloads that nobody else knows anything about; fits `port.LatencySource`."""

    def __init__(self, guard: GuardrailSettings, tasks_of: TasksOf, clock: Clock, proc: str = "/proc") -> None:
        """Prepare; nothing is read before there is a workload to read about.

        Args:
            guard: For the period.
            tasks_of: The tasks of a cgroup and all below it; None: they are too many, or not to be seen from here.
            clock: For the times.
            proc: Where proc(5) is mounted.
        """
        self._guard, self._tasks_of, self._clock, self._proc = guard, tasks_of, clock, proc
        self._lock = threading.Lock()
        self._workloads: Mapping[WorkloadId, Workload] = {}
        self._readings: dict[WorkloadId, LatencyReading] = {}
        self._before: dict[WorkloadId, dict[int, Waited]] = {}
        self._problems: tuple[str, ...] = ()
        self._looks = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> SourceHealth:
        """How it does."""
        return SourceHealth(
            LatencySourceKind.RUN_QUEUE,
            True,
            answers={"ok": self._looks},
            problems=self._problems,
        )

    def watch(self, workloads: Mapping[WorkloadId, Workload]) -> None:
        """Read about these from now on."""
        self._workloads = workloads
        if workloads and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="latency-runqueue", daemon=True)
            self._thread.start()

    def collect(self) -> Mapping[WorkloadId, LatencyReading]:
        """Readings that have come since the last call."""
        if not self._readings:
            return {}
        with self._lock:
            readings, self._readings = self._readings, {}
        return readings

    def close(self) -> None:
        """Read nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            self.look()
            if self._stop.wait(self._guard.slo_period_s / _ROUNDS_PER_PERIOD):
                return

    def look(self) -> None:
        """Read all tasks once and judge what happened since the last time."""
        left, problems = MOST_TASKS, []
        workloads, before = self._workloads, self._before
        self._before = {}
        for name, workload in workloads.items():
            tasks = self._tasks_of(workload.cgroup)
            if tasks is None or len(tasks) > left:
                problems.append(
                    f"the latency of {name} is not known: there is no query for it (slo_query), it does not push, and "
                    "its tasks cannot be seen from here, or are too many"
                )
                continue
            left -= len(tasks)
            now = {task: seen for task in tasks if (seen := read_task(self._proc, task)) is not None}
            self._before[name] = now
            objective = workload.contract.slo_p99_s
            if name in before and objective is not None:
                self._tell(name, judge(before[name], now, objective))
        self._problems = tuple(problems)
        self._looks += 1

    def _tell(self, name: WorkloadId, judged: tuple[float, bool] | None) -> None:
        if judged is None:
            return
        took_s, violated = judged
        with self._lock:
            self._readings[name] = LatencyReading(self._clock.now_s(), LatencySourceKind.RUN_QUEUE, took_s, violated)


def judge(before: Mapping[int, Waited], now: Mapping[int, Waited], objective: float) -> tuple[float, bool] | None:
    """Judge what the tasks of one workload did between two readings.

    Returns:
        How long an activation took on the average, in seconds, of the task that tells most against the objective, and
        whether the objective is violated; None: no task that serves requests was active.
    """
    worst_s = None
    for task, seen in now.items():
        known = before.get(task)
        if known is None or seen.activations - known.activations < LEAST_ACTIVATIONS:
            continue
        activations = seen.activations - known.activations
        ran_s = (seen.ran_s - known.ran_s) / activations
        took_s = ran_s + (seen.waited_s - known.waited_s) / activations
        if 0 <= ran_s <= objective and (worst_s is None or took_s > worst_s):
            worst_s = took_s
    return None if worst_s is None else (worst_s, worst_s > objective)


def read_task(proc: str, task: int) -> Waited | None:
    """Read one task's counters; None: it has ended, or the kernel does not keep them."""
    try:
        with open(f"{proc}/{task}/schedstat", "rb") as file:  # noqa: PTH123 - hundreds of them
            ran_ns, waited_ns, *_ = map(int, file.read(256).split())
        with open(f"{proc}/{task}/status", "rb") as file:  # noqa: PTH123
            switches = next(
                int(line.split()[1]) for line in file.read(8192).splitlines() if line.startswith(b"voluntary_ctxt")
            )
    except (OSError, ValueError, StopIteration, IndexError):
        return None
    return Waited(ran_ns / 1e9, waited_ns / 1e9, switches)
