"""From targets to a plan: differences only, decreases first, never above the bound.

The bound holds at every instant, also while several resizes are under way: each workload counts with the
larger of the limit in force and the limit on its way, and an increase is only planned into room that exists
already. What has to wait is planned again when the decreases have been confirmed.
"""

from collections.abc import Iterable
from math import fsum
from typing import NamedTuple

from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.resizing import Resize, ResizePlan
from mbcasd.settings import MarketSettings

# Millicores by which a float sum may miss: far less than the smallest step.
SLACK_MILLI = 1e-6


class Change(NamedTuple):
    """What is in force for one workload, and where the market wants it."""

    workload: WorkloadId
    cgroup: CgroupRef
    limit_milli: float | None  # in force; None: unlimited
    effective_milli: float  # what it counts against the bound: the larger of in force and pending
    target_milli: float
    pending: bool  # a resize is under way: it counts, but nothing new is planned
    urgent: bool  # it stalls, so it goes first


class Planned(NamedTuple):
    """A plan, and whether something has to wait for room."""

    plan: ResizePlan
    waiting: bool


def plan(
    changes: Iterable[Change],
    bound_milli: float,
    market: MarketSettings,
    *,
    burst: bool,
    lower_all: bool,
) -> Planned:
    """Say which resizes to start now.

    A decrease smaller than the dead-band spares a write that nobody waits for; as soon as somebody is short of
    room the dead-band does not protect it. Between two passes of the optimizer (`lower_all` false) decreases
    happen only to make room.

    Args:
        changes: Every managed workload, in any order.
        bound_milli: Overcommit × capacity: the sum of effective limits never exceeds it, unless it did before.
        market: For the dead-bands.
        burst: Also set the burst.
        lower_all: The optimizer's own pass: take back what is not needed.
    """
    entries = tuple(changes)
    used_milli = fsum(change.effective_milli for change in entries)
    sorted_out = _sort_out(entries, market, lower_all=lower_all)
    decreases, increases = list(sorted_out.decreases), sorted_out.increases

    wanted_milli = fsum(change.target_milli - change.effective_milli for change in increases)
    short_milli = used_milli + max(0.0, wanted_milli) - bound_milli
    freed_milli = fsum(_takes_back(change) for change in decreases)
    for change in sorted(sorted_out.spare, key=_takes_back, reverse=True):
        if freed_milli >= short_milli - SLACK_MILLI:
            break
        decreases.append(change)
        freed_milli += _takes_back(change)

    room_milli = bound_milli - used_milli
    granted: list[Change] = []
    waiting = False
    for change in sorted(increases, key=lambda change: (not change.urgent, str(change.workload))):
        extra_milli = change.target_milli - change.effective_milli
        if extra_milli <= room_milli + SLACK_MILLI:
            granted.append(change)
            room_milli -= extra_milli
        else:
            waiting = True
    return Planned(
        ResizePlan(
            decreases=tuple(_resize(change, burst=burst) for change in decreases),
            increases=tuple(_resize(change, burst=burst) for change in granted),
        ),
        waiting,
    )


class _SortedOut(NamedTuple):
    decreases: list[Change]
    spare: list[Change]  # decreases that only happen when somebody needs the room
    increases: list[Change]


def _sort_out(changes: Iterable[Change], market: MarketSettings, *, lower_all: bool) -> _SortedOut:
    out = _SortedOut([], [], [])
    up_ratio, down_ratio = market.min_change_up_percent / 100, market.min_change_down_percent / 100
    for change in changes:
        if change.pending:
            continue
        limit_milli = change.limit_milli
        if limit_milli is None:
            (out.decreases if lower_all else out.spare).append(change)
            continue
        step_milli = change.target_milli - limit_milli
        if step_milli < -SLACK_MILLI:
            worth_it = -step_milli >= limit_milli * down_ratio - SLACK_MILLI
            (out.decreases if worth_it and lower_all else out.spare).append(change)
        elif step_milli > SLACK_MILLI and step_milli >= limit_milli * up_ratio - SLACK_MILLI:
            out.increases.append(change)
    return out


def _takes_back(change: Change) -> float:
    return change.effective_milli - change.target_milli


def _resize(change: Change, *, burst: bool) -> Resize:
    return Resize(
        workload=change.workload,
        cgroup=change.cgroup,
        from_milli=change.limit_milli,
        to_milli=change.target_milli,
        burst=burst,
    )
