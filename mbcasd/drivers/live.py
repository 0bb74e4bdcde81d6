"""The live clock: one thread that senses, steps the engine and moves limits on a grid of deadlines.

Everything that may be slow (the HTTP server, the record, a systemd that takes its time) has a thread of its own
and exchanges frozen values with this one.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from mbcasd import engine
from mbcasd.accounting import receipts
from mbcasd.accounting.metrics import Metrics
from mbcasd.accounting.record import Recorder
from mbcasd.actuation.port import Actuator
from mbcasd.clock import Clock
from mbcasd.drivers.loop import Grid
from mbcasd.drivers.picture import Painter
from mbcasd.drivers.sensors import Sensors
from mbcasd.engine.step import OPTIMIZER
from mbcasd.errors import ExpectedTrouble
from mbcasd.latency.sources import Latencies
from mbcasd.model.decision import Decision, HeldBy, Observation, RunMode, Workload
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading, NodeReading
from mbcasd.model.resizing import ResizeOutcome, ResizeStatus
from mbcasd.model.snapshot import NodeSnapshot
from mbcasd.units import format_cpu_milli

log = logging.getLogger(__name__)

# Decreases are confirmed, then increases follow in the same pass; more rounds than this mean a bug.
ROUNDS_AT_MOST = 8

# A pass that starts later than this is worth a person's look (CPU starvation of the daemon itself).
LATE_S = 1.0


class Live:
    """Runs the engine on real cgroups until told to stop.

    `describe` turns what was found into workloads with contracts; `on_pass` is called after each pass with the
    latest picture and tells the service manager that the loop is alive; `on_decision` sees each decision before its
    plan is carried out; `more_problems` says what else of the role's own a person should look at.
    """

    def __init__(
        self,
        *,
        config: engine.EngineConfig,
        sensors: Sensors,
        read_node: Callable[[], NodeReading],
        describe: Callable[
            [Mapping[WorkloadId, CgroupRef], Mapping[WorkloadId, LimitReading]], dict[WorkloadId, Workload]
        ],
        actuator: Actuator,
        leak_usec: Callable[[], int],
        painter: Painter,
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
        on_pass: Callable[[NodeSnapshot | None], None],
        latencies: Latencies | None = None,
        on_decision: Callable[[Decision], None] = lambda _: None,
        more_problems: Callable[[], Iterable[str]] = tuple,
        nothing_managed: str | None = "No workload is managed: the parents named have no child cgroup yet",
    ) -> None:
        """Wire the parts; nothing is read or written yet."""
        now_s = clock.now_s()
        self._config, self._sensors, self._read_node, self._describe = config, sensors, read_node, describe
        self._actuator, self._leak_usec, self._painter = actuator, leak_usec, painter
        self._recorder, self._metrics, self._clock, self._on_pass = recorder, metrics, clock, on_pass
        self._on_decision, self._more_problems, self._nothing_managed = on_decision, more_problems, nothing_managed
        self._latencies = latencies
        self._state = engine.start(config, now_s)
        loops = config.settings.loops
        self._pace = Grid(now_s, loops.hot_sampling_interval_s)
        self._look = Grid(now_s, loops.sampling_interval_s)
        self._used_usec = 0.0
        self._latest: NodeSnapshot | None = None
        self._counters: Counter[str] = Counter()
        self._trouble = ""
        self._reload: engine.EngineConfig | None = None
        self._cleared = False
        self._guarded_at_s: dict[WorkloadId, float] = {}  # not raised yet

    @property
    def latest(self) -> NodeSnapshot | None:
        """The last picture; None before the first pass is through."""
        return self._latest

    @property
    def has_cleared(self) -> bool:
        """Whether the optimizer has been through once."""
        return self._cleared

    def reconfigure(self, config: engine.EngineConfig) -> None:
        """Take over changed settings with the next pass; may be called from a signal handler."""
        self._reload = config

    def run(self, stop: threading.Event, until: Callable[[], bool] = lambda: False) -> None:
        """Keep the pace until `stop` is set or `until` says so; returns within one pass of it.

        Expected trouble skips the pass and is counted; anything else is a bug and leaves this function.
        """
        while not stop.is_set() and not until():
            began_s = self._clock.now_s()
            self._metrics.observe_lateness("sampling", max(0.0, began_s - self._pace.due_s))
            self._pace.is_due(began_s)
            try:
                self.run_pass(began_s)
                self._trouble = ""
            except ExpectedTrouble as err:
                self._counters["failed_passes"] += 1
                if str(err) != self._trouble:
                    log.warning("pass skipped, limits stay as they are, next try in 1 s: %s", err)
                self._trouble = str(err)
                self._on_pass(self._latest)
            stop.wait(self._rest_s())

    def _rest_s(self) -> float:
        """How long nothing is due: to the next point of the grid at which something is."""
        now_s = self._clock.now_s()
        next_s = min(self._look.due_s, self._sensors.next_due_s() or self._look.due_s)
        points = max(0.0, (next_s - self._pace.due_s) / self._pace.period_s)
        # Round up to the grid; what is due a hair after a point belongs to it.
        self._pace.due_s += int(points + 0.999) * self._pace.period_s
        return max(0.0, self._pace.due_s - now_s)

    def run_pass(self, now_s: float) -> None:
        """Sense, step, act, tell."""
        self._counters["passes"] += 1
        if self._reload is not None:
            self._take_over(self._reload, now_s)
            self._reload = None
        outcomes = self._collect(now_s)
        workloads = limits = node = None
        looking = self._look.is_due(now_s)
        if looking:
            found = self._sensors.look(now_s)
            self._metrics.observe_discovery(self._clock.now_s() - now_s)
            limits = self._sensors.limits()
            workloads = self._describe(found, limits)
            if self._latencies is not None:
                self._latencies.watch(workloads)
            node = self._read_node()
        began_s = self._clock.now_s()
        samples = self._sensors.samples(now_s, self._clock.now_s)
        self._metrics.observe_sensing(self._clock.now_s() - began_s)
        latencies = self._latencies.collect() if self._latencies is not None else {}
        self._advance(
            Observation(
                samples=samples, workloads=workloads, limits=limits, outcomes=outcomes, node=node, latencies=latencies
            ),
            now_s,
        )
        if looking:
            self._latest = self._paint(now_s)
            self._metrics.publish(self._latest)
            self._recorder.put_snapshot(self._latest)
        self._on_pass(self._latest)

    def _take_over(self, config: engine.EngineConfig, now_s: float) -> None:
        self._config = config
        self._state = engine.reconfigure(self._state, config, now_s)
        self._sensors.reconfigure(config.settings.loops)
        self._pace = Grid(now_s, config.settings.loops.hot_sampling_interval_s)
        self._look = Grid(now_s, config.settings.loops.sampling_interval_s)

    def _advance(self, seen: Observation, now_s: float) -> None:
        """Step the engine until it has nothing more to start: decreases, then the increases they make room for."""
        for _ in range(ROUNDS_AT_MOST):
            self._recorder.put_observation(seen, now_s)
            began_s = self._clock.now_s()
            self._state, decision = engine.step(self._state, seen, now_s)
            self._account(decision, now_s, self._clock.now_s() - began_s)
            self._on_decision(decision)
            if not decision.plan or self._config.run_mode is not RunMode.ENFORCE:
                return
            for resize in decision.plan.resizes:
                self._actuator.submit(resize)
            outcomes = self._collect(now_s)
            if not outcomes:
                return
            seen = Observation(outcomes=outcomes)

    def _collect(self, now_s: float) -> tuple[ResizeOutcome, ...]:
        outcomes = tuple(self._actuator.collect())
        if not outcomes:
            return outcomes
        wall_s = self._clock.wall_s()
        self._painter.note_outcomes(outcomes, now_s, wall_s)
        for outcome in outcomes:
            resize = outcome.resize
            took_s = outcome.ended_at_s - outcome.asked_at_s
            self._metrics.count_resize(resize.workload.namespace, resize.workload.name, outcome.status.value, took_s)
            if outcome.status is ResizeStatus.APPLIED:
                guarded_at_s = self._guarded_at_s.pop(resize.workload, None)
                if guarded_at_s is not None and not resize.is_decrease:
                    self._metrics.observe_guard((outcome.ended_at_s - guarded_at_s) * 1000)
                log.info(
                    "resized %s from %s to %s in %.1f ms",
                    resize.workload,
                    format_cpu_milli(resize.from_milli),
                    format_cpu_milli(outcome.limit.limit_milli if outcome.limit else None),
                    took_s * 1000,
                )
        return outcomes

    def _account(self, decision: Decision, now_s: float, took_s: float) -> None:
        """Record, measure and log one decision."""
        self._painter.note_decision(decision, self._clock.wall_s())
        self._recorder.put_decision(decision, now_s)
        # Each demand stands for about a second.
        self._used_usec += sum(demand.usage_milli * 1000 for demand in decision.demands.values())
        for name in decision.guarded:
            self._metrics.count_guard_trigger()
            self._guarded_at_s.setdefault(name, now_s)
        for event in decision.events:
            self._counters[event.kind] += 1
            if event.kind == "drift":
                self._metrics.count_drift("external")
            level = logging.WARNING if event.kind in {"drift", "refused", "violation"} else logging.INFO
            log.log(level, "%s", event.message)
        self._cleared = self._cleared or decision.trigger == OPTIMIZER
        if decision.clearing is None or decision.market is None:
            return
        for held_by in decision.held_by.values():
            if held_by is HeldBy.COOLDOWN:
                self._metrics.count_cooldown_violation()
            elif held_by is HeldBy.STEP:
                self._metrics.count_step_violation()
        self._metrics.observe_clear(took_s, decision.market, decision.clearing)
        log.debug("cleared (%s): %s", decision.trigger, decision.clearing.mode.value)
        # What neither moved a limit nor is the optimizer's own word leaves no trace: it would fill the record.
        if decision.plan or decision.trigger == OPTIMIZER:
            receipt = receipts.make(decision.market, decision.clearing, decision.trigger, now_s)
            self._painter.receipt_id = receipt.receipt_id
            self._painter.receipt_holds = decision.clearing.certificate.holds
            if not decision.clearing.certificate.holds:
                self._metrics.count_receipt_failed()
                log.error("receipt %s does not hold", receipt.receipt_id)
            self._recorder.put_receipt(receipt)

    def _paint(self, now_s: float) -> NodeSnapshot:
        leak_ratio = self._leak_usec() / self._used_usec if self._used_usec > 0 else 0.0
        health = self._recorder.health
        problems = [*self._more_problems(), *(f"{name}: {why}" for name, why in self._sensors.unreadable.items())]
        if health.trouble is not None:
            problems.append(f"the record is not written: {health.trouble}")
        problems += [f"{name} is held by somebody else" for name, t in self._state.tracks.items() if t.owner_held]
        if self._trouble:
            problems.append(self._trouble)
        if self._nothing_managed is not None and not any(
            track.workload.managed for track in self._state.tracks.values()
        ):
            problems.append(self._nothing_managed)
        sources = self._latencies.health if self._latencies is not None else ()
        for source in sources:
            if source.trouble:
                problems.append(f"{source.kind.value} at {source.place}: {source.trouble}; targets stay as they are")
            problems += source.problems
        counters = {**self._counters, "missed_passes": self._look.missed, "dropped_records": health.dropped}
        return self._painter.paint(
            self._state,
            now_s,
            self._clock.wall_s(),
            problems=tuple(problems),
            counters=counters,
            quota_leak_ratio=leak_ratio,
            latency_sources=sources,
        )
