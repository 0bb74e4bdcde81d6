"""A node that behaves: counters follow limits as CFS bandwidth control makes them, one period after the other.

Real cgroups are in the kernel tier; this one serves for steps of the engine that must be exact and quick.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mbcasd import engine
from mbcasd.model.decision import Decision, Observation, RunMode, Workload
from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading, NodeReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus
from mbcasd.model.slo import LatencyReading
from mbcasd.settings import Preset, Settings

PERIOD_S = 0.1


@dataclass
class FakeWorkload:
    """Wants `wants_milli(t)` of CPU in each period, on at most as many CPUs as it has threads."""

    wants_milli: Callable[[float], float]
    limit_milli: float | None
    threads: int = 1
    floor_milli: float = 100.0
    cap_milli: float = 4000.0
    weight: float = 1.0
    workload_class: WorkloadClass = WorkloadClass.STANDARD
    group: str | None = None
    group_weight: float = 1.0
    slo_p99_s: float | None = None
    inode: int = 1
    usage_usec: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_usec: int = 0

    def run_period(self, now_s: float) -> None:
        wants_usec = self.wants_milli(now_s) * 100
        quota_usec = self.limit_milli * 100 if self.limit_milli is not None else float("inf")
        self.usage_usec += int(min(wants_usec, quota_usec))
        if self.limit_milli is not None and wants_usec > 0:
            self.periods += 1
            if wants_usec > quota_usec:
                self.throttled_periods += 1
                self.throttled_usec += int(min(wants_usec, self.threads * 100_000) - quota_usec)

    def sample(self, now_s: float) -> CpuSample:
        return CpuSample(now_s, self.usage_usec, self.periods, self.throttled_periods, self.throttled_usec)

    def reading(self) -> LimitReading:
        quota_usec = None if self.limit_milli is None else round(self.limit_milli * 100)
        return LimitReading(quota_usec=quota_usec, period_usec=100_000)


@dataclass
class FakeNode:
    """Runs the engine over fake workloads; resizes are confirmed `latency_s` after they were asked."""

    workloads: dict[str, FakeWorkload]
    capacity_milli: float | None = 4000.0
    cpus: int = 4
    settings: Settings = field(default_factory=Settings)
    run_mode: RunMode = RunMode.ENFORCE
    latency_s: float = 0.0
    follows_changes: bool = False
    refuse: Callable[[Resize], str] = lambda resize: ""
    usage_milli: float | None = None  # of the whole node
    latencies: Callable[[float], Mapping[WorkloadId, LatencyReading]] = lambda _: {}
    preset: Preset = Preset.K
    burst: bool = False
    now_s: float = 0.0
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    resizes: list[tuple[float, Resize]] = field(default_factory=list)
    sums_milli: list[float] = field(default_factory=list)
    limits_over_time: list[dict[str, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = engine.EngineConfig(
            settings=self.settings,
            run_mode=self.run_mode,
            preset=self.preset,
            burst=self.burst,
            cpus=self.cpus,
            capacity_milli=self.capacity_milli,
            follows_changes=self.follows_changes,
        )
        self.state = engine.start(self.config, self.now_s)
        self._due: list[tuple[float, float, Resize]] = []

    def id(self, name: str) -> WorkloadId:
        return WorkloadId("test", name)

    def levels(self) -> dict[WorkloadId, Workload]:
        return {
            self.id(name): Workload(
                cgroup=CgroupRef(path=f"/test/{name}", inode=w.inode),
                contract=Contract(
                    floor_milli=w.floor_milli,
                    cap_milli=w.cap_milli,
                    weight=w.weight,
                    workload_class=w.workload_class,
                    owner_limit_milli=w.limit_milli,
                    slo_p99_s=w.slo_p99_s,
                    group=w.group,
                    group_weight=w.group_weight,
                ),
            )
            for name, w in self.workloads.items()
        }

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s = round(self.now_s + PERIOD_S, 6)
            for workload in self.workloads.values():
                workload.run_period(self.now_s)
            self._step()

    def _step(self) -> None:
        looking = round(self.now_s * 10) % 10 == 1
        outcomes = self._confirm()
        seen = Observation(
            samples={self.id(name): w.sample(self.now_s) for name, w in self.workloads.items()},
            workloads=self._contracts() if looking else None,
            limits={self.id(name): w.reading() for name, w in self.workloads.items()} if looking else None,
            outcomes=outcomes,
            node=NodeReading(cpu_milli=self.cpus * 1000.0, usage_milli=self.usage_milli) if looking else None,
            latencies=self.latencies(self.now_s),
        )
        for _ in range(8):
            self.state, decision = engine.step(self.state, seen, self.now_s)
            self.decisions.append((self.now_s, decision))
            if not decision.plan or self.run_mode is not RunMode.ENFORCE:
                break
            for resize in decision.plan.resizes:
                self.resizes.append((self.now_s, resize))
                self._due.append((self.now_s + self.latency_s, self.now_s, resize))
            outcomes = self._confirm()
            if not outcomes:
                break
            seen = Observation(outcomes=outcomes)
        self.limits_over_time.append({name: w.limit_milli for name, w in self.workloads.items()})

    def _contracts(self) -> dict[WorkloadId, Workload]:
        """Contracts keep the owner's first limit."""
        known = {name: track.workload for name, track in self.state.tracks.items()}
        return {
            name: known[name] if name in known and known[name].cgroup == workload.cgroup else workload
            for name, workload in self.levels().items()
        }

    def _confirm(self) -> tuple[ResizeOutcome, ...]:
        due = [entry for entry in self._due if entry[0] <= self.now_s]
        self._due = [entry for entry in self._due if entry[0] > self.now_s]
        outcomes = []
        for _, asked_at_s, resize in due:
            workload = self.workloads.get(resize.workload.name)
            if workload is None:
                continue
            refusal = self.refuse(resize)
            if not refusal:
                workload.limit_milli = resize.to_milli
            self.sums_milli.append(sum(w.limit_milli or self.cpus * 1000 for w in self.workloads.values()))
            outcomes.append(
                ResizeOutcome(
                    resize=resize,
                    status=ResizeStatus.FAILED if refusal else ResizeStatus.APPLIED,
                    limit=workload.reading(),
                    asked_at_s=asked_at_s,
                    ended_at_s=self.now_s,
                    detail=refusal,
                )
            )
        return tuple(outcomes)

    def limit(self, name: str) -> float | None:
        return self.workloads[name].limit_milli


def hungry(limit_milli: float | None = 200.0, *, threads: int = 1, **more: object) -> FakeWorkload:
    """CPU-bound threads: as much as they can get."""
    return FakeWorkload(lambda _: threads * 1000.0, limit_milli, threads=threads, **more)  # type: ignore[arg-type]


def steady(milli: float, limit_milli: float | None = 1000.0, **more: object) -> FakeWorkload:
    """The same use in each period."""
    return FakeWorkload(lambda _: milli, limit_milli, **more)  # type: ignore[arg-type]
