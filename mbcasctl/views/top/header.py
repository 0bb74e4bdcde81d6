"""The lines above the rows: what the node is, what it needs against what it gives, and what is wrong with it.

The bars share one scale, so that need beside given shows at a glance how short the node is; the mark is its capacity.
"""

from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.text import Glyphs
from mbcasd.model.snapshot import NodeSnapshot

_LABEL_WIDTH = 6
_FIGURE_WIDTH = 8
_MOST_PROBLEMS = 2


def title(snapshot: NodeSnapshot, width: int, right: Text, glyphs: Glyphs) -> Text:
    """Node, how far the daemon may go, the market's mode and price; what does not fit is left out from the end."""
    drawn = style.line()
    drawn.append("mbcas", style=style.TITLE)
    node = text.shorten(text.clean(snapshot.node, glyphs), 24, glyphs)
    mode = text.clean(snapshot.market_mode or "nothing cleared yet", glyphs)
    drawn.append(f"  {node}")
    run_style = "" if snapshot.run_mode == "enforce" else style.HELD
    drawn.append(f"  {text.clean(snapshot.run_mode, glyphs)}", style=run_style)
    drawn.append(f"  {mode}", style=style.market(snapshot))
    pieces = [f"price {price(snapshot.price, glyphs)}"]
    pieces.append(f"{text.clean(snapshot.mechanism, glyphs)} + {text.clean(snapshot.estimator, glyphs)}")
    pieces.append(_receipt(snapshot, glyphs))
    pieces.append(f"up {text.age(snapshot.taken_wall_s - snapshot.started_wall_s, glyphs)}")
    pieces.append(f"v{text.clean(snapshot.version, glyphs)}")
    for piece in pieces:
        if drawn.cell_len + 2 + len(piece) + 2 + right.cell_len <= width:
            drawn.append(f"  {piece}")
    return beside(drawn, right, width)


def bars(snapshot: NodeSnapshot, width: int, glyphs: Glyphs) -> tuple[Text, Text]:
    """Need and given on one scale, with the capacity marked, and the node's sums beside them."""
    capacity_milli = text.known(snapshot.capacity_milli) or 0.0
    need_milli = text.known(snapshot.need_milli) or 0.0
    given_milli = text.known(snapshot.allocated_milli) or 0.0
    full = max(capacity_milli, need_milli, given_milli, 1.0)
    sums = (
        f"cap {_whole(capacity_milli, glyphs)}  used {_whole(snapshot.used_milli, glyphs)}",
        f"limits {_whole(snapshot.limits_milli, glyphs)} of {_whole(snapshot.limit_capacity_milli, glyphs)}",
    )
    moves = f"{glyphs.up}{snapshot.raises_last_15s} {glyphs.down}{snapshot.lowers_last_15s} /15s"
    sums_width = max(map(len, sums))
    bar_width = width - _LABEL_WIDTH - _FIGURE_WIDTH - 2 - sums_width - 2 - len(moves)
    bar_width = max(0, min(bar_width, 100))
    drawn = []
    for name, value, colour, right in (
        ("need", need_milli, style.market(snapshot), sums[0]),
        ("given", given_milli, style.GOOD, sums[1]),
    ):
        line = style.line(text.fit(name, _LABEL_WIDTH))
        line.append_text(_marked(value, capacity_milli, bar_width, full, colour, glyphs))
        line.append(f"{_whole(value, glyphs):>{_FIGURE_WIDTH}}  {right:<{sums_width}}")
        drawn.append(line)
    drawn[0].append(f"  {moves}")
    return drawn[0], drawn[1]


def problem_lines(snapshot: NodeSnapshot, trouble: str, width: int, glyphs: Glyphs) -> list[Text]:
    """What a person should look at: the source's trouble first, then the daemon's, at most two lines."""
    found = ([trouble] if trouble else []) + list(snapshot.problems)
    shown = found[:_MOST_PROBLEMS]
    left_out = len(found) - len(shown)
    drawn = []
    for at, problem in enumerate(shown):
        more = f" ({left_out} more: n)" if left_out and at == len(shown) - 1 else ""
        cut = _cut(f"! {text.clean(problem, glyphs)}", width - len(more), glyphs)
        drawn.append(style.line(cut + more, style.BAD))
    return drawn


def price(value: float | None, glyphs: Glyphs) -> str:
    """Log-welfare per extra millicore: `0.0043`; nothing where no price exists."""
    value = text.known(value)
    if value is None:
        return glyphs.none
    return "0" if value == 0 else f"{value:.2g}" if value < 0.001 else f"{value:.4f}"


def beside(left: Text, right: Text, width: int) -> Text:
    """One line with `right` at its right end, as far as both fit."""
    if left.cell_len > width:
        left.truncate(width, overflow="crop")
    gap = width - left.cell_len - right.cell_len
    if right.cell_len and gap >= 1:
        left.append(" " * gap)
        left.append_text(right)
    return left


def _marked(value: float, capacity_milli: float, width: int, full: float, colour: str, glyphs: Glyphs) -> Text:
    """A bar with the capacity's mark in it; what is beyond the mark is what the node does not have."""
    cells = list(text.fit(text.bar(value, width, full, glyphs), width))
    drawn = style.line()
    at = min(width - 1, round(capacity_milli / full * width)) if width else 0
    if cells and capacity_milli > 0:
        cells[at] = glyphs.mark
        drawn.append("".join(cells[:at]), style=colour)
        drawn.append(cells[at], style=style.TITLE)
        drawn.append("".join(cells[at + 1 :]), style=style.BAD)
    else:
        drawn.append("".join(cells), style=colour)
    return drawn


def _receipt(snapshot: NodeSnapshot, glyphs: Glyphs) -> str:
    if snapshot.receipt_id is None:
        return "no receipt yet"
    sign = {True: glyphs.yes, False: glyphs.no, None: "?"}[snapshot.receipt_holds]
    return f"receipt {text.clean(snapshot.receipt_id, glyphs)[:6]} {sign}"


def _whole(value: float | None, glyphs: Glyphs) -> str:
    """Sums of a node stay in millicores up to 100 CPUs, so that they can be compared with each other."""
    value = text.known(value)
    if value is None:
        return glyphs.none
    return f"{max(0.0, value):.0f}m" if abs(value) < 99_999.5 else f"{value / 1000:.0f}c"


def _cut(line: str, width: int, glyphs: Glyphs) -> str:
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, max(0, width - 1)) + glyphs.gap
