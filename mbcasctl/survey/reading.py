"""Samples over a window, to what each cgroup did in it."""

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from mbcasctl.survey.targets import Target, Targets
from mbcasctl.survey.values import NotRead, Survey, SurveyRow
from mbcasd.clock import Clock
from mbcasd.errors import CgroupGone, SensingError
from mbcasd.estimation import stall, window
from mbcasd.model.readings import CpuSample, Interval, LimitReading
from mbcasd.sensing import tasks
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.reader import CgroupReader
from mbcasd.sensing.tree import CgroupTree

# As often as the daemon looks at a busy container.
INTERVAL_S = 0.1


@dataclass(slots=True)
class _Watch:
    """One cgroup while it is looked at."""

    target: Target
    reader: CgroupReader
    limit: LimitReading
    sample: CpuSample
    above_usec: int | None
    intervals: list[Interval] = field(default_factory=list)
    runnable: list[int] = field(default_factory=list)
    trouble: str = ""


def take(tree: CgroupTree, targets: Targets, window_s: float, clock: Clock, sleep: Callable[[float], None]) -> Survey:
    """Look at these cgroups for a while.

    Cgroups that vanish meanwhile, or cannot be read, are reported as such and spoil nothing else.

    Args:
        tree: Where they are.
        targets: Which ones.
        window_s: For how long, at least one interval of 100 ms.
        clock: The machine's.
        sleep: Waits so many seconds.
    """
    not_read: list[NotRead] = []
    watches: list[_Watch] = []
    began_s = clock.now_s()
    try:
        for target in targets.found:
            try:
                watches.append(_open(tree, target, clock))
            except SensingError as err:
                not_read.append(NotRead(name=str(target.name), reason=_why(err)))
        ticks = max(1, round(window_s / INTERVAL_S)) if watches else 0
        for tick in range(1, ticks + 1):
            sleep(max(0.0, began_s + window_s * tick / ticks - clock.now_s()))
            for watch in watches:
                _look(tree, watch, clock)
        cpus, cpu_milli = _cpus()
        rows = []
        for watch in watches:
            row = None if watch.trouble else _row(watch, cpus)
            if row is None:
                not_read.append(NotRead(name=str(watch.target.name), reason=watch.trouble or "its counters went back"))
            else:
                rows.append(row)
    finally:
        for watch in watches:
            watch.reader.close()
    drivers = {target.place.driver.value for target in targets.found if target.place is not None}
    return Survey(
        node=socket.gethostname(),
        taken_wall_s=clock.wall_s(),
        window_s=clock.now_s() - began_s,
        roots=targets.roots,
        cgroup_version=tree.mounts.version.value,
        driver=min(drivers) if drivers else None,
        cpu_milli=cpu_milli,
        has_pressure=any(row.waited_ratio is not None for row in rows),
        has_burst=tree.has_burst(),
        rows=tuple(rows),
        not_read=tuple(not_read),
    )


def _open(tree: CgroupTree, target: Target, clock: Clock) -> _Watch:
    reader = tree.open(target.ref)
    try:
        limit, above_usec = reader.limit(), reader.throttled_above_usec()
        return _Watch(target, reader, limit, reader.sample(clock.now_s()), above_usec)
    except BaseException:
        reader.close()
        raise


def _look(tree: CgroupTree, watch: _Watch, clock: Clock) -> None:
    if watch.trouble:
        return
    try:
        sample = watch.reader.sample(clock.now_s())
        watch.limit = watch.reader.limit()
    except SensingError as err:
        watch.trouble = _why(err)
        return
    interval = window.between(watch.sample, sample)
    watch.sample = sample
    if interval is not None:
        watch.intervals.append(interval)
    count = tasks.runnable(tree, watch.target.ref)
    if count is not None:
        watch.runnable.append(count)


def _row(watch: _Watch, cpus: int) -> SurveyRow | None:
    """What the cgroup did; None where no interval is left."""
    if not watch.intervals:
        return None
    pooled, limit = window.pool(watch.intervals), watch.limit
    split = stall.split(pooled, limit.limit_milli, cpus, limit.period_usec / 1e6)
    place = watch.target.place
    return SurveyRow(
        name=str(watch.target.name),
        cgroup=watch.target.ref.path,
        workload_class="" if place is None else place.qos.value,
        usage_milli=pooled.usage_milli,
        peak_milli=max(interval.usage_milli for interval in watch.intervals),
        limit_milli=limit.limit_milli,
        period_usec=limit.period_usec,
        burst_usec=limit.burst_usec,
        weight=limit.weight,
        periods=pooled.periods,
        throttled_periods=pooled.throttled_periods,
        throttled_ratio=pooled.throttled_ratio,
        throttled_s=pooled.throttled_usec / 1e6,
        throttled_above_s=_above_s(watch),
        waited_ratio=None if split is None else min(1.0, split.stalled_s / pooled.elapsed_s),
        stall_limit_ratio=None if split is None else split.limit_ratio,
        stall_neighbour_ratio=None if split is None else split.neighbour_ratio,
        stall_self_ratio=None if split is None else split.self_ratio,
        runnable=math.fsum(watch.runnable) / len(watch.runnable) if watch.runnable else None,
    )


def _above_s(watch: _Watch) -> float | None:
    """For how long limits of ancestors held it in the window."""
    try:
        now_usec = watch.reader.throttled_above_usec()
    except SensingError:
        return None
    if now_usec is None or watch.above_usec is None:
        return None
    return max(0, now_usec - watch.above_usec) / 1e6


def _cpus() -> tuple[int, float]:
    node = NodeReader()
    try:
        cpu_milli = node.read().cpu_milli
    finally:
        node.close()
    return max(1, round(cpu_milli / 1000)), cpu_milli


def _why(err: SensingError) -> str:
    return "vanished while reading" if isinstance(err, CgroupGone) else str(err)
