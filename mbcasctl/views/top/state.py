"""What the person in front of `top` chose, and which rows follow from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mbcasctl.views.sorting import Sort
from mbcasctl.views.text import known
from mbcasd.model.identity import WorkloadId
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot


class Overlay(Enum):
    """What covers the rows."""

    NONE = "none"
    HELP = "help"
    NODE = "node"
    EXPLAIN = "explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopState:
    """One moment's choices. The selection is a workload, not a line: it stays with it while rows move."""

    sort: Sort = Sort.THROTTLED
    reverse: bool = False
    filter: str = ""
    typing: bool = False  # keys go into the filter
    selected: WorkloadId | None = None
    overlay: Overlay = Overlay.NONE
    scroll: int = 0  # lines of the overlay that are above the screen
    paused: bool = False
    step: int = 0  # pictures before the last one of a record; 0 is the last
    quit: bool = False


def identity(row: WorkloadSnapshot) -> WorkloadId:
    """Which workload a row is about."""
    return WorkloadId(row.namespace, row.name, row.container)


def of_limit_ratio(row: WorkloadSnapshot) -> float | None:
    """Usage as a share of the limit in force; None without a limit."""
    usage_milli, limit_milli = known(row.usage_milli), known(row.limit_milli)
    return usage_milli / limit_milli if usage_milli is not None and limit_milli else None


def visible(snapshot: NodeSnapshot, state: TopState) -> tuple[WorkloadSnapshot, ...]:
    """The rows to show, in order: filtered, sorted, what is not managed always below the rest.

    Each word of the filter must occur in the name, the node, the class or what holds the workload, in any case.
    """
    words = state.filter.casefold().split()
    rows = [row for row in snapshot.workloads if all(word in _searched(row) for word in words)]
    rows.sort(key=identity)
    if state.sort is Sort.NAME:
        rows.sort(key=identity, reverse=state.reverse)
    else:
        figure = _FIGURES[state.sort]
        rows.sort(key=lambda row: _orderly(figure(row)), reverse=not state.reverse)
    rows.sort(key=lambda row: not row.managed)
    return tuple(rows)


def _searched(row: WorkloadSnapshot) -> str:
    held_by = row.held_by if row.managed else f"not managed {row.reason}"
    return f"{identity(row)} {row.node} {row.workload_class} {held_by}".casefold()


def _orderly(figure: float | None) -> float:
    """A figure that can be compared: what does not exist comes below everything, unlimited above."""
    return -math.inf if figure is None or math.isnan(figure) else figure


_FIGURES: dict[Sort, Callable[[WorkloadSnapshot], float | None]] = {
    Sort.THROTTLED: lambda row: row.throttled_ratio,
    Sort.USAGE: lambda row: row.usage_milli,
    Sort.OF_LIMIT: of_limit_ratio,
    Sort.STALLED: lambda row: row.stalled_s,
    Sort.NEED: lambda row: row.need_milli,
    Sort.LIMIT: lambda row: math.inf if row.limit_milli is None else row.limit_milli,
    Sort.LAST: lambda row: row.last_change_wall_s,
}
