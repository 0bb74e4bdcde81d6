"""Runs one schedule under one regime after the other and turns what was seen into results.

Every regime meets the same services, the same arrivals and the same spikes, and starts from empty queues. Nothing
here draws: whoever wants to show progress is told four times per second.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mbcasctl.loadtest import results
from mbcasctl.loadtest.children import ChildFailed
from mbcasctl.loadtest.counters import CgroupFigures
from mbcasctl.loadtest.daemon import LocalDaemon, configuration
from mbcasctl.loadtest.figures import percentile
from mbcasctl.loadtest.results import LoadtestResult, RegimeResult, Stretch
from mbcasctl.loadtest.rig import Rig
from mbcasctl.loadtest.schedule import Schedule
from mbcasctl.loadtest.traffic import Sent
from mbcasctl.loadtest.watch import Watcher
from mbcasctl.loadtest.workloads import WORKLOADS, Regime, limits_milli
from mbcasd import __version__
from mbcasd.model.readings import NodeReading
from mbcasd.model.snapshot import NodeSnapshot
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.tree import CgroupTree
from mbcasd.units import MILLI_PER_CPU

_TICK_S = 0.25

# Between handing the schedule over and its first request.
_LEAD_S = 0.3

# How much longer than the schedule and its drain the generator may take to hand its results over.
_HANDOVER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the test is, for whoever shows it."""

    regime: Regime
    number: int  # of this regime, from 1
    of: int
    phase: str
    rate_rps: float
    elapsed_s: float
    total_s: float  # of this regime
    recent: Mapping[str, CgroupFigures]  # the last second
    snapshot: NodeSnapshot | None  # the daemon's, where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    regimes: tuple[Regime, ...]
    schedule: Schedule
    cpus: tuple[int, ...]
    time_scale: float
    rate_scale: float
    drain_s: float  # how long after the last request of a regime to wait for answers
    daemon_mode: str = "enforce"
    daemon_capacity_milli: float | None = None  # None: the daemon measures it
    keep_record: Path | None = None  # where to keep the daemon's record


def run(plan: Plan, tree: CgroupTree, rig: Rig, work_dir: Path, show: Callable[[Progress], None]) -> LoadtestResult:
    """Run all regimes on a rig that was entered.

    Raises:
        MbcasError: Something that should not end did, or could not be read; the caller leaves the rig, which cleans up.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    done = [
        _Regime(plan, regime, tree, rig, work_dir / regime.value).run(show, number=number, of=len(plan.regimes))
        for number, regime in enumerate(plan.regimes, start=1)
    ]
    return LoadtestResult(
        version=__version__,
        started_at=started_at,
        cpus=len(plan.cpus),
        seed=plan.schedule.seed,
        arrivals=plan.schedule.arrivals.value,
        time_scale=plan.time_scale,
        rate_scale=plan.rate_scale,
        phases=plan.schedule.phases,
        regimes=tuple(done),
    )


class _Regime:
    """One pass over the schedule."""

    def __init__(self, plan: Plan, regime: Regime, tree: CgroupTree, rig: Rig, folder: Path) -> None:
        self._plan, self._regime, self._tree, self._rig, self._folder = plan, regime, tree, rig, folder
        self._owner = limits_milli(regime, len(plan.cpus))

    def run(self, show: Callable[[Progress], None], *, number: int, of: int) -> RegimeResult:
        rig, plan = self._rig, self._plan
        rig.calm_down()
        rig.set_limits(self._owner)
        before = dict(rig.pids)
        with ExitStack() as stack:
            daemon = None
            if self._regime is Regime.MBCAS:
                daemon = stack.enter_context(self._daemon())
            watcher = stack.enter_context(Watcher(self._tree, rig.cgroups.path, [spec.name for spec in WORKLOADS]))
            node = stack.enter_context(closing(NodeReader()))
            node.read()
            started_cpu_s = daemon.cpu_s() if daemon else None
            start_s = time.monotonic() + _LEAD_S
            rig.start_sending(plan.schedule.offsets_s, start_at_s=start_s, drain_s=plan.drain_s)
            sent = self._follow(watcher, daemon, start_s, show, number=number, of=of)
            node_used = node.read()
            daemon_cpu_milli = _cpu_milli(started_cpu_s, daemon.cpu_s() if daemon else None, start_s)
            restored = self._end(daemon) if daemon else None
        total = self._stretch(watcher, sent, start_s, None)
        return RegimeResult(
            regime=self._regime.value,
            limits_milli=dict(self._owner),
            phases=tuple(self._stretch(watcher, sent, start_s, index) for index in range(len(plan.schedule.phases))),
            total=total,
            restarts=sum(1 for name, pid in rig.pids.items() if before[name] != pid),
            generator_late_p99_ms=percentile(sorted(sent.late_s), 0.99) * 1000 if sent.late_s else 0.0,
            others_milli=self._others_milli(node_used, total.used_milli + (daemon_cpu_milli or 0.0)),
            daemon_mode=plan.daemon_mode if daemon else None,
            daemon_cpu_milli=daemon_cpu_milli,
            limits_restored=restored,
        )

    def _daemon(self) -> LocalDaemon:
        return LocalDaemon(
            parent=self._rig.cgroups.path,
            folder=self._folder,
            mode=self._plan.daemon_mode,
            capacity_milli=self._plan.daemon_capacity_milli,
            config=configuration(WORKLOADS),
        )

    def _follow(
        self,
        watcher: Watcher,
        daemon: LocalDaemon | None,
        start_s: float,
        show: Callable[[Progress], None],
        *,
        number: int,
        of: int,
    ) -> Sent:
        """Wait for the generator, and see to it that all others live meanwhile."""
        schedule = self._plan.schedule
        starts_s = schedule.boundaries_s()
        ends_s = start_s + schedule.duration_s + self._plan.drain_s + _HANDOVER_S
        while (sent := self._rig.poll_sent(_TICK_S)) is None:
            self._rig.check_alive()
            if daemon is not None:
                daemon.check_alive()
            if time.monotonic() > ends_s:
                raise ChildFailed(f"the load generator did not finish within {_HANDOVER_S:g} s of its last request")
            elapsed_s = min(max(0.0, time.monotonic() - start_s), schedule.duration_s)
            index = max(i for i, phase_s in enumerate(starts_s[:-1]) if phase_s <= elapsed_s)
            phase = schedule.phases[index]
            show(
                Progress(
                    regime=self._regime,
                    number=number,
                    of=of,
                    phase=phase.name,
                    rate_rps=phase.rate_at(elapsed_s - starts_s[index]),
                    elapsed_s=elapsed_s,
                    total_s=schedule.duration_s,
                    recent=watcher.recent(),
                    snapshot=daemon.snapshot() if daemon else None,
                )
            )
        return sent

    def _end(self, daemon: LocalDaemon) -> bool:
        """Stop the daemon, keep its record, and see whether the owner's limits are back."""
        daemon.stop()
        if self._plan.keep_record is not None:
            daemon.keep_record(self._plan.keep_record)
        with Watcher(self._tree, self._rig.cgroups.path, list(self._owner)) as after:
            limits = after.latest.limits_milli
        return all(limits[name] == milli for name, milli in self._owner.items())

    def _others_milli(self, node: NodeReading, ours_milli: float) -> float | None:
        """What all other processes used of the same CPUs; None where theirs cannot be told apart."""
        if node.usage_milli is None or node.cpu_milli != len(self._plan.cpus) * MILLI_PER_CPU:
            return None
        return max(0.0, node.usage_milli - ours_milli)

    def _stretch(self, watcher: Watcher, sent: Sent, start_s: float, index: int | None) -> Stretch:
        schedule = self._plan.schedule
        bounds_s = schedule.boundaries_s()
        since_s, until_s = (bounds_s[0], bounds_s[-1]) if index is None else (bounds_s[index], bounds_s[index + 1])
        return Stretch(
            name="all" if index is None else schedule.phases[index].name,
            duration_s=until_s - since_s,
            latencies=results.latencies(schedule, sent, start_s, index),
            workloads=watcher.figures(start_s + since_s, start_s + until_s),
        )


def _cpu_milli(before_s: float | None, after_s: float | None, since_s: float) -> float | None:
    if before_s is None or after_s is None:
        return None
    return (after_s - before_s) / (time.monotonic() - since_s) * MILLI_PER_CPU
