"""The whole screen: header, problems, rows or what covers them, keys."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.text import UNICODE, Glyphs
from mbcasctl.views.top import columns, header, overlays
from mbcasctl.views.top.state import Overlay, TopState, identity, visible
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

NO_WORKLOAD = (
    "No workload is managed: start `mbcasd local` with `--parent CGROUP`",
    "(each child of that cgroup is a workload) or with `--unit GLOB`.",
)
NO_WORKLOAD_IN_CLUSTER = (
    "No workload is managed: opt a namespace in with",
    "`kubectl label namespace NAME mbcas.io/managed=true`.",
)


class Drawing(NamedTuple):
    """Lines for a terminal, and what a key needs to know about them."""

    lines: list[Text]
    page: int  # rows that fit
    depth: int  # how far the overlay can be scrolled


def frame(
    snapshot: NodeSnapshot,
    width: int = 80,
    height: int | None = None,
    state: TopState | None = None,
    *,
    glyphs: Glyphs = UNICODE,
    advice: Sequence[str] = NO_WORKLOAD,
) -> RenderableType:
    """One picture of a node that any rich console can print, also inside `rich.live.Live`.

    Args:
        snapshot: What to show.
        width: Cells in a line, at least 20; no line is longer, so that nothing wraps.
        height: Lines in all; None: as many as there are rows, and no line of keys.
        state: Sorting, filter, selection; without one, the most throttled come first.
        glyphs: Signs that the terminal can show.
        advice: What to do where there is no workload.
    """
    return Group(*lines(snapshot, width, height, state, glyphs=glyphs, advice=advice).lines)


def lines(
    snapshot: NodeSnapshot,
    width: int = 80,
    height: int | None = None,
    state: TopState | None = None,
    *,
    trouble: str = "",
    pictures: int = 0,
    glyphs: Glyphs = UNICODE,
    advice: Sequence[str] = NO_WORKLOAD,
) -> Drawing:
    """The same picture as single lines, exactly `height` of them where a height is given.

    Args:
        snapshot: What to show.
        width: Cells in a line.
        height: Lines in all; None: as many as there are rows, and no line of keys.
        state: What the person chose.
        trouble: What is wrong with the source, in one sentence; shown before the daemon's own problems.
        pictures: How many pictures a record has before its last one; 0: a running daemon.
        glyphs: Signs that the terminal can show.
        advice: What to do where there is no workload.
    """
    state = state or TopState()
    rows = visible(snapshot, state)
    head = [header.title(snapshot, width, _moment(snapshot, state, trouble, pictures), glyphs)]
    head += header.bars(snapshot, width, glyphs)
    head += header.problem_lines(snapshot, trouble, width, glyphs)
    room = None if height is None else max(0, height - len(head) - 1)

    if state.overlay is not Overlay.NONE:
        whole = _overlay(snapshot, state, trouble, width, glyphs)
        depth = 0 if room is None else max(0, len(whole) - max(1, room - 1))
        scroll = min(state.scroll, depth)
        body = [style.line(), *whole[scroll:]]
        page = max(1, (room or len(whole)) - 1)
    else:
        depth = 0
        page = len(rows) if room is None else max(1, room - 2)
        body = _table(snapshot, rows, state, width, page, glyphs, advice)
    if height is None or room is None:
        return Drawing(head + body, max(1, page), depth)
    body = body[:room] + [style.line()] * (room - len(body))
    drawn = [*head, *body, _keys(state, width, glyphs, deeper=depth > state.scroll, record=pictures > 0)]
    return Drawing(drawn[-height:] if height < len(head) + 1 else drawn, page, depth)


def _table(
    snapshot: NodeSnapshot,
    rows: Sequence[WorkloadSnapshot],
    state: TopState,
    width: int,
    page: int,
    glyphs: Glyphs,
    advice: Sequence[str],
) -> list[Text]:
    first = _first_row(rows, state, page)
    shown = rows[first : first + page]
    where = f"{first + 1}-{first + len(shown)} of {len(rows)}" if len(shown) < len(rows) else ""
    status = style.line(_filter_words(snapshot, rows, state, glyphs), style.HELD)
    status = header.beside(status, Text(where, style=style.QUIET), width)
    if not snapshot.workloads:
        return [status, *(style.line(text.fit(words, width).rstrip()) for words in advice)]
    shape = columns.layout(snapshot.workloads, width, glyphs)
    context = columns.Context(now_wall_s=snapshot.taken_wall_s, glyphs=glyphs)
    table = [status, columns.heading(shape, width, glyphs)]
    table += [
        columns.line(row, shape, chosen=identity(row) == state.selected, width=width, context=context) for row in shown
    ]
    if not rows:
        table.append(style.line("  No workload matches the filter; Esc clears it."))
    return table


def _first_row(rows: Sequence[WorkloadSnapshot], state: TopState, page: int) -> int:
    """The first row on screen, such that the selected one is in the middle as far as there are rows around it."""
    at = next((at for at, row in enumerate(rows) if identity(row) == state.selected), 0)
    return max(0, min(at - page // 2, len(rows) - page))


def _filter_words(snapshot: NodeSnapshot, rows: Sequence[WorkloadSnapshot], state: TopState, glyphs: Glyphs) -> str:
    if state.typing or state.filter:
        return f"filter: {text.clean(state.filter, glyphs)}{'_' if state.typing else ''}  ({len(rows)} match)"
    if snapshot.workloads and not any(row.managed for row in snapshot.workloads):
        return "No workload is managed; these are only watched."
    return ""


def _overlay(snapshot: NodeSnapshot, state: TopState, trouble: str, width: int, glyphs: Glyphs) -> list[Text]:
    match state.overlay:
        case Overlay.HELP:
            return overlays.help_lines(width, glyphs)
        case Overlay.NODE:
            return overlays.node_lines(snapshot, trouble, width, glyphs)
        case _:
            return overlays.explain_lines(snapshot, state.selected, width, glyphs)


def _moment(snapshot: NodeSnapshot, state: TopState, trouble: str, pictures: int) -> Text:
    """The right end of the first line: whether the picture moves, and when it was taken."""
    if trouble:
        return Text("NO NEWS", style=f"bold {style.BAD}")
    taken_s = text.known(snapshot.taken_wall_s)
    clock = "" if taken_s is None else time.strftime("%H:%M:%S", time.localtime(taken_s))
    if pictures:
        return Text(f"RECORD {pictures + 1 - state.step}/{pictures + 1} {clock}", style=f"bold {style.HELD}")
    if state.paused:
        return Text(f"PAUSED {clock}", style=f"bold {style.HELD}")
    return Text(clock, style=style.QUIET)


def _keys(state: TopState, width: int, glyphs: Glyphs, *, deeper: bool, record: bool) -> Text:
    """The keys that do something now."""
    if state.typing:
        offers = [("Enter", "keep"), ("Esc", "clear")]
    elif state.overlay is not Overlay.NONE:
        offers = [("Esc", "back"), ("q", "quit"), ("j k", "scroll")]
        offers += [("", "more below")] if deeper else []
    else:
        turned = state.reverse != (state.sort.value == "name")
        direction = glyphs.up if turned else glyphs.down
        offers = [("q", "quit"), ("s", f"sort:{state.sort.value}{direction}"), ("/", "filter"), ("e", "explain")]
        offers += [("n", "node"), ("<- ->", "step") if record else ("p", "go on" if state.paused else "pause")]
        offers += [("?", "help")]
    drawn = style.line()
    for key, meaning in offers:
        piece = f"{key} {meaning}".strip()
        if drawn.cell_len + 2 + len(piece) > width:
            break
        if drawn.plain:
            drawn.append("  ")
        if key:
            drawn.append(f"{key} ", style=style.KEY)
        drawn.append(meaning, style="" if key else style.QUIET)
    return drawn
