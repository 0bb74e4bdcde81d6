"""One key and the state before it give the state after it; nothing else happens here.

Keys are named: a printed character is itself, the others are "up", "down", "page-up", "page-down", "home", "end",
"left", "right", "enter", "escape", "backspace", "clear-line".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mbcasctl.views.sorting import Sort
from mbcasctl.views.top.state import Overlay, TopState
from mbcasd.model.identity import WorkloadId

# Longer filters match nothing that fits a screen.
LONGEST_FILTER = 60

_OVERLAY_KEYS = {
    "?": Overlay.HELP,
    "h": Overlay.HELP,
    "n": Overlay.NODE,
    "e": Overlay.EXPLAIN,
    "enter": Overlay.EXPLAIN,
}
_STEPS = {"left": 1, "right": -1}
_MOVES = {"j": 1, "down": 1, "k": -1, "up": -1}


def press(  # noqa: PLR0911  one return for each kind of key reads better than nesting
    state: TopState, key: str, rows: Sequence[WorkloadId], *, page: int = 10, depth: int = 0, pictures: int = 0
) -> TopState:
    """The state after `key`.

    Args:
        state: Before the key.
        key: Its name.
        rows: The workloads on screen, in their order, also those that are scrolled out of sight.
        page: How many lines a page has, at least 1.
        depth: How many lines the overlay can be scrolled, at least 0.
        pictures: How many pictures there are before the last one: more than 0 only in a record.
    """
    if state.typing:
        return _type(state, key)
    if key == "q":
        return replace(state, quit=True)
    if key in {"p", " "}:
        return replace(state, paused=not state.paused)
    if key in _STEPS:
        return replace(state, step=min(pictures, max(0, state.step + _STEPS[key])))
    if state.overlay is not Overlay.NONE:
        return _read_overlay(state, key, page, depth)
    if key in _OVERLAY_KEYS:
        return _open(state, _OVERLAY_KEYS[key], rows)
    if key in _CHOICES:
        return _CHOICES[key](state)
    return _move(state, key, rows, page)


def _resorted(state: TopState, step: int) -> TopState:
    orders = list(Sort)
    return replace(state, sort=orders[(orders.index(state.sort) + step) % len(orders)], reverse=False)


def _let_go(state: TopState) -> TopState:
    """Escape: first the selection, then the filter."""
    return replace(state, filter="") if state.selected is None else replace(state, selected=None)


_CHOICES: Mapping[str, Callable[[TopState], TopState]] = {
    "s": lambda state: _resorted(state, 1),
    "S": lambda state: _resorted(state, -1),
    "r": lambda state: replace(state, reverse=not state.reverse),
    "/": lambda state: replace(state, typing=True),
    "escape": _let_go,
}


def _type(state: TopState, key: str) -> TopState:
    match key:
        case "enter" | "down" | "up":
            return replace(state, typing=False)
        case "escape":
            return replace(state, typing=False, filter="")
        case "clear-line":
            return replace(state, filter="")
        case "backspace":
            # A backspace too many leaves the field, as in vi and less.
            return replace(state, filter=state.filter[:-1], typing=bool(state.filter))
        case _ if len(key) == 1 and key.isprintable() and len(state.filter) < LONGEST_FILTER:
            return replace(state, filter=state.filter + key)
    return state


def _open(state: TopState, overlay: Overlay, rows: Sequence[WorkloadId]) -> TopState:
    selected = state.selected
    if overlay is Overlay.EXPLAIN and selected not in rows:
        if not rows:
            return state
        selected = rows[0]
    return replace(state, overlay=overlay, scroll=0, selected=selected)


def _read_overlay(state: TopState, key: str, page: int, depth: int) -> TopState:
    if key == "escape" or _OVERLAY_KEYS.get(key) is state.overlay:
        return replace(state, overlay=Overlay.NONE, scroll=0)
    if key in {"?", "h", "n"}:
        return replace(state, overlay=_OVERLAY_KEYS[key], scroll=0)
    moved = _MOVES.get(key, 0) + _jumps(page, depth).get(key, 0)
    return replace(state, scroll=min(depth, max(0, state.scroll + moved)))


def _move(state: TopState, key: str, rows: Sequence[WorkloadId], page: int) -> TopState:
    """Move the selection; without one, the first move selects the first row (or the last one, upwards)."""
    steps = _MOVES | _jumps(page, len(rows))
    if key not in steps or not rows:
        return state
    if state.selected in rows:
        at = rows.index(state.selected) + steps[key]
    else:
        at = {"page-down": page - 1, "k": len(rows), "up": len(rows), "end": len(rows), "G": len(rows)}.get(key, 0)
    return replace(state, selected=rows[min(len(rows) - 1, max(0, at))])


def _jumps(page: int, everything: int) -> dict[str, int]:
    """How many lines the larger moves go."""
    ends = {"home": -everything, "g": -everything, "end": everything, "G": everything}
    return {"page-down": page, "page-up": -page} | ends
