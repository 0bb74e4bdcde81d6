"""Which figures a row shows, and which of them fit.

80 cells hold what a person needs to act: use, throttling and its cause, need, limit, what holds it, the last change.
A wider terminal first gives room to the names, then gets more figures, in the order of GROWTH. A narrower one
loses figures in the order of SHRINKAGE; the name, the use, the limit and its holder stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.style import Standing
from mbcasctl.views.text import Glyphs
from mbcasctl.views.top.state import identity, of_limit_ratio
from mbcasd.model.snapshot import WorkloadSnapshot

MARKS_WIDTH = 2
NAME_WIDTH = 15
NAME_WIDTH_OF_CLUSTER = 24  # pods have long names
LONGEST_NAME = 44
LEAST_NAME = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What stands in one column of one row."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a cell may know besides its row."""

    now_wall_s: float
    glyphs: Glyphs


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure: its heading, its width in cells, and how it is read off a row of this width."""

    title: str
    width: int
    cell: Callable[[WorkloadSnapshot, int, Context], Cell]
    left: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns that fit, in order, and the width of the name in front of them."""

    name_width: int
    namespace: str | None  # common to all names and therefore shown only in the heading
    columns: tuple[tuple[str, Column], ...]


def _milli(read: Callable[[WorkloadSnapshot], float | None]) -> Callable[[WorkloadSnapshot, int, Context], Cell]:
    return lambda row, _width, context: Cell(text=text.milli(read(row), context.glyphs))


def _limit(value: float | None, glyphs: Glyphs) -> Cell:
    return Cell(text="none" if value is None else text.milli(value, glyphs))


def _spark(row: WorkloadSnapshot, width: int, context: Context) -> Cell:
    bars = text.sparkline(row.usage_history_milli, width, row.limit_milli, context.glyphs)
    return Cell(text=bars, style=style.standing(row).value)


def _stall(row: WorkloadSnapshot, _width: int, context: Context) -> Cell:
    shares = [text.known(x) for x in (row.stall_limit_ratio, row.stall_neighbour_ratio, row.stall_self_ratio)]
    if any(share is None for share in shares):
        return Cell(text=context.glyphs.none)
    return Cell(text="/".join(f"{min(share or 0.0, 1.0) * 100:.0f}" for share in shares))


def _last(row: WorkloadSnapshot, _width: int, context: Context) -> Cell:
    if row.last_change_wall_s is None:
        return Cell(text=context.glyphs.none)
    delta = text.change(row.last_change_milli, context.glyphs)
    return Cell(text=f"{delta} {text.age(context.now_wall_s - row.last_change_wall_s, context.glyphs):>3}")


def _ratio(read: Callable[[WorkloadSnapshot], float | None]) -> Callable[[WorkloadSnapshot, int, Context], Cell]:
    return lambda row, _width, context: Cell(text=_whole_percent(read(row), context.glyphs))


def _whole_percent(ratio: float | None, glyphs: Glyphs) -> str:
    ratio = text.known(ratio)
    return glyphs.none if ratio is None else f"{min(ratio * 100, 999):.0f}"


def _held(row: WorkloadSnapshot, width: int, context: Context) -> Cell:
    word = text.shorten(text.clean(row.held_by, context.glyphs), width, context.glyphs)
    return Cell(text=word, style=style.standing(row).value)


def _throttled(row: WorkloadSnapshot, _width: int, context: Context) -> Cell:
    return Cell(text=text.percent(row.throttled_ratio, context.glyphs), style=style.throttling(row.throttled_ratio))


def _advice(row: WorkloadSnapshot, width: int, context: Context) -> Cell:
    return Cell(text=text.fit(text.clean(row.advice, context.glyphs), width).rstrip(), style=style.QUIET)


def _node(row: WorkloadSnapshot, width: int, context: Context) -> Cell:
    return Cell(text=text.shorten(text.clean(row.node, context.glyphs), width, context.glyphs))


COLUMNS: dict[str, Column] = {
    "node": Column(title="NODE", width=6, cell=_node, left=True),
    "usage": Column(title="USAGE", width=5, cell=_milli(lambda row: row.usage_milli)),
    "spark": Column(title="TREND", width=6, cell=_spark, left=True),
    "of_limit": Column(title="%LIM", width=4, cell=_ratio(of_limit_ratio)),
    "throttled": Column(title="THR%", width=4, cell=_throttled),
    "stall": Column(title="ST l/n/s", width=8, cell=_stall),
    "stalled": Column(
        title="STALL", width=5, cell=lambda row, _, context: Cell(text=_seconds(row.stalled_s, context.glyphs))
    ),
    "forecast": Column(title="FCAST", width=5, cell=_milli(lambda row: row.forecast_milli)),
    "need": Column(title="NEED", width=5, cell=_milli(lambda row: row.need_milli)),
    "target": Column(title="TARG", width=5, cell=_milli(lambda row: row.target_milli)),
    "limit": Column(title="LIMIT", width=5, cell=lambda row, _, context: _limit(row.limit_milli, context.glyphs)),
    "floor": Column(title="FLOOR", width=5, cell=_milli(lambda row: row.floor_milli)),
    "cap": Column(title="CAP", width=5, cell=_milli(lambda row: row.cap_milli)),
    "owner": Column(title="OWNER", width=5, cell=lambda row, _, context: _limit(row.owner_limit_milli, context.glyphs)),
    "weight": Column(
        title="WGHT", width=5, cell=lambda row, _, context: Cell(text=_weight(row.weight, context.glyphs))
    ),
    "class": Column(title="CLASS", width=8, cell=lambda row, _, context: Cell(text=_class(row, context)), left=True),
    "utility": Column(title="UTIL", width=4, cell=_ratio(lambda row: row.utility)),
    "held": Column(title="HELD BY", width=8, cell=_held, left=True),
    "last": Column(title="LAST", width=9, cell=_last),
    "resizes": Column(title="MOVES", width=5, cell=lambda row, _, __: Cell(text=f"{row.resizes}"[:5])),
    "advice": Column(title="ADVICE", width=24, cell=_advice, left=True),
}
ESSENTIAL = ("usage", "spark", "of_limit", "throttled", "stall", "need", "limit", "held", "last")

# Of a cluster: where it runs is worth more than how it went; a wider terminal has both.
ESSENTIAL_OF_CLUSTER = ("node", *(key for key in ESSENTIAL if key != "spark"))
_LONGEST_NODE = 24

# What a row that is not managed has anyway; its other figures do not exist.
_WITHOUT_MARKET = ("node", "usage", "spark", "of_limit", "limit", "class", "owner")

SHRINKAGE = ("stall", "last", "spark", "of_limit", "node", "need", "throttled", "held", "limit", "usage")

# A wider terminal: a column to add, or (column, width) to widen one.
GROWTH: tuple[str | tuple[str, int], ...] = (
    "target",
    ("spark", 12),
    "floor",
    "cap",
    "class",
    "owner",
    "weight",
    "utility",
    ("spark", 20),
    "stalled",
    "resizes",
    "forecast",
    "advice",
    ("spark", 60),
)
GROWTH_OF_CLUSTER = (("node", 10), "spark", ("node", _LONGEST_NODE), *GROWTH)


def _class(row: WorkloadSnapshot, context: Context) -> str:
    return text.shorten(text.clean(row.workload_class, context.glyphs), 8, context.glyphs)


def _weight(value: float, glyphs: Glyphs) -> str:
    """A weight in at most five cells."""
    known = text.known(value)
    if known is None:
        return glyphs.none
    if 0 < known < 0.01:
        return "<0.01"
    return f"{known:.3g}" if known < 99.5 else f"{min(known, 99_999):.0f}"


def _seconds(value: float, glyphs: Glyphs) -> str:
    """Seconds of waiting, in at most five cells."""
    known = text.known(value)
    if known is None:
        return glyphs.none
    return f"{known:.1f}s" if known < 99.95 else f"{min(known, 9999):.0f}s"


def layout(rows: Sequence[WorkloadSnapshot], width: int, glyphs: Glyphs) -> Layout:
    """Choose what fits into `width` cells for these rows; they need not all be on screen."""
    from rich.cells import cell_len

    longest_node = max((cell_len(text.clean(row.node, glyphs)) for row in rows), default=0)
    essential, least = (ESSENTIAL_OF_CLUSTER, NAME_WIDTH_OF_CLUSTER) if longest_node else (ESSENTIAL, NAME_WIDTH)
    chosen = _shrunk(width, essential, least)
    name_width = width - _taken(chosen)
    longest = max((cell_len(text.clean(str(identity(row)), glyphs)) for row in rows), default=0)
    namespaces = {row.namespace for row in rows}
    namespace = None
    if longest > name_width and len(namespaces) == 1 and (only := namespaces.pop()):
        namespace = only
        longest -= cell_len(text.clean(only, glyphs)) + 1
    room = name_width - max(least, min(longest, LONGEST_NAME))
    if len(chosen) == len(essential) and room > 0:
        _grow(chosen, room, longest_node)
    return Layout(
        name_width=max(1, width - _taken(chosen)),
        namespace=namespace,
        columns=tuple((key, chosen[key]) for key in COLUMNS if key in chosen),
    )


def _shrunk(width: int, essential: tuple[str, ...], name_width: int) -> dict[str, Column]:
    """The essential columns, less those for which there is no room beside a name."""
    chosen = {key: COLUMNS[key] for key in essential}
    if _taken(chosen) + name_width <= width:
        return chosen
    # A short name is enough where there is hardly room for figures, but not before.
    least = LEAST_NAME if name_width == NAME_WIDTH or width < _taken(chosen) else name_width
    for key in SHRINKAGE:
        if chosen.pop(key, None) is None:
            continue
        if _taken(chosen) + least <= width:
            break
    return chosen


def _grow(chosen: dict[str, Column], room: int, longest_node: int) -> None:
    """Add and widen columns in the order of GROWTH until `room` cells are used up."""
    for step in GROWTH_OF_CLUSTER if longest_node else GROWTH:
        if isinstance(step, str):
            wider, needed = COLUMNS[step].width, COLUMNS[step].width + 1
            key = step
        else:
            key = step[0]
            if key not in chosen:
                continue
            most = min(step[1], longest_node) if key == "node" else step[1]
            wider = min(most, chosen[key].width + room)
            needed = wider - chosen[key].width
        if 0 < needed <= room:
            chosen[key] = replace(COLUMNS[key], width=wider)
            room -= needed
    if "advice" in chosen:
        chosen["advice"] = replace(chosen["advice"], width=chosen["advice"].width + room)


def _taken(chosen: Mapping[str, Column]) -> int:
    """Cells that the marks and the columns take, with a blank in front of each column."""
    return MARKS_WIDTH + sum(column.width + 1 for column in chosen.values())


def heading(shape: Layout, width: int, glyphs: Glyphs) -> Text:
    """The line above the rows."""
    title = "WORKLOAD"
    if shape.namespace is not None:
        room = shape.name_width - len(title) - 1
        inside = f"in {text.clean(shape.namespace, glyphs)}"
        title = f"{title} {text.shorten(inside, room, glyphs)}" if room >= 6 else title
    line = " " * MARKS_WIDTH + text.fit(title, shape.name_width)
    for _, column in shape.columns:
        line += " " + text.fit(column.title, column.width, left=column.left)
    return style.line(text.fit(line, width).rstrip(), style.TITLE)


def line(row: WorkloadSnapshot, shape: Layout, *, chosen: bool, width: int, context: Context) -> Text:
    """One row, exactly `width` cells wide."""
    glyphs, stands = context.glyphs, style.standing(row)
    quiet = style.QUIET if stands is Standing.NOT_MANAGED else ""
    name = str(identity(row)) if shape.namespace is None else str(identity(row))[len(shape.namespace) + 1 :]
    drawn = style.line("", "reverse" if chosen else quiet)
    drawn.append(glyphs.chosen if chosen else " ")
    drawn.append(stands.mark(glyphs), style=stands.value)
    drawn.append(text.fit(text.shorten(text.clean(name, glyphs), shape.name_width, glyphs), shape.name_width))
    for key, column in shape.columns:
        if key == "held" and not row.managed:
            left = width - drawn.cell_len - 1
            reason = f": {text.clean(row.reason, glyphs)}" if row.reason else ""
            drawn.append(" " + text.fit(f"not managed{reason}", left), style=stands.value)
            return drawn
        cell = column.cell(row, column.width, context)
        if not row.managed and key not in _WITHOUT_MARKET:
            cell = Cell(text=glyphs.none)
        drawn.append(" " + text.fit(cell.text, column.width, left=column.left), style=cell.style or quiet)
    return drawn
