"""A survey as lines: what was looked at, one row per cgroup, and what could not be read; pure."""

import textwrap
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.text import Text

from mbcasctl.survey.values import Survey, SurveyRow
from mbcasctl.views import style, text
from mbcasctl.views.text import UNICODE, Glyphs

# A name keeps at least so many cells; what a narrow terminal has no room for is dropped from the right.
_LEAST_NAME = 20
_LONGEST_NAME = 60

_LEAST_ROOT = 12

# Held by a parent's limit for a smaller share of the time than this is not worth a line.
_WORTH_SAYING_RATIO = 0.01

# Names of cgroups that were not read, before the rest is only counted.
_NAMED = 2


class _Cell(NamedTuple):
    text: str
    colour: str = ""


class _Column(NamedTuple):
    title: str
    width: int  # with the gap to the left
    cell: Callable[[SurveyRow, Glyphs], _Cell]
    left: bool = False


def lines(survey: Survey, width: int = 80, *, wide: bool = False, glyphs: Glyphs = UNICODE) -> list[Text]:
    """The whole screen.

    Args:
        survey: What was seen; rows in the order in which they are to be shown.
        width: Cells in a line, at least 40; no line is longer, except in a wide table.
        wide: All figures, and the path of each cgroup, however long the lines become.
        glyphs: Signs that the terminal can show.
    """
    names, common = _names(survey.rows, glyphs)
    drawn = [_title(survey, width, glyphs)]
    if survey.rows:
        columns = _columns(survey, width, wide=wide)
        name_width = _name_width(names, columns, width, wide=wide)
        drawn += [style.line(), _heading(survey, common, columns, name_width)]
        drawn += [_row(name, row, columns, name_width, glyphs) for name, row in zip(names, survey.rows, strict=True)]
    else:
        nothing = f"Nothing to look at: {_no_rows(survey)}"
        drawn += [style.line(), *(style.line(line) for line in textwrap.wrap(nothing, width, break_on_hyphens=False))]
    drawn += [style.line()]
    drawn += [
        Text(line)
        for remark in _remarks(survey, glyphs)
        for line in textwrap.wrap(remark, width, break_on_hyphens=False)
    ]
    return drawn


def screenful(survey: Survey | None, width: int, height: int, glyphs: Glyphs = UNICODE) -> list[Text]:
    """The same, exactly as high and wide as a terminal; None: the first look is not over yet."""
    drawn = [style.line("looking ...")] if survey is None else lines(survey, width, glyphs=glyphs)
    room = max(0, height - 1)
    if len(drawn) > room:
        # The last remark stays in sight; what does not fit are the last rows.
        drawn = [*drawn[: max(0, room - 1)], drawn[-1]]
    drawn += [style.line()] * (room - len(drawn)) + [style.line("q quit", style.QUIET)]
    for line in drawn:
        line.truncate(width, pad=True)
    return drawn[:height]


def _title(survey: Survey, width: int, glyphs: Glyphs) -> Text:
    kind = ("container" if survey.driver else "cgroup") + ("" if len(survey.rows) == 1 else "s")
    words = [f"{len(survey.rows)} {kind}", f"cgroup {survey.cgroup_version}", f"{survey.window_s:.1f} s window"]
    if survey.driver:
        words.insert(2, f"{survey.driver} driver")
    clock = time.strftime("%H:%M:%S", time.localtime(survey.taken_wall_s))
    # A narrow terminal loses the least important words first.
    while words and sum(len(word) + 2 for word in words) + len(clock) + 2 > width - _LEAST_ROOT:
        words.pop()
    rest = "".join(f"  {word}" for word in words)
    root = text.clean(" ".join(survey.roots), glyphs)
    title = Text(text.shorten(root, max(1, width - len(rest) - len(clock) - 2), glyphs), style=style.TITLE)
    title.append(rest, style="not bold")
    title.append(" " * max(2, width - title.cell_len - len(clock)))
    title.append(clock, style="not bold dim")
    title.truncate(width)
    return title


def _names(rows: Sequence[SurveyRow], glyphs: Glyphs) -> tuple[list[str], str]:
    """The rows' names, without the part that all of them share, and that part."""
    spaces = {row.name.rpartition("/")[0] for row in rows}
    common = next(iter(spaces)) if len(spaces) == 1 else ""
    cut = len(common) + 1 if common else 0
    return [text.clean(row.name[cut:], glyphs) for row in rows], common


def _columns(survey: Survey, width: int, *, wide: bool) -> list[_Column]:
    """The figures that fit, in the order of their importance."""
    columns = [_USAGE, _LIMIT, _THROTTLED, _WAITED, _SPLIT, _RUNNABLE]
    if survey.driver:
        columns.append(_CLASS)
    if wide:
        return [_USAGE, _PEAK, *columns[1:], _PERIODS, _THROTTLED_S, _ABOVE, _BURST, _WEIGHT, _CGROUP]
    while len(columns) > 2 and sum(column.width for column in columns) > width - _LEAST_NAME:
        columns.pop()
    return columns


def _name_width(names: Sequence[str], columns: Sequence[_Column], width: int, *, wide: bool) -> int:
    longest = max(len("CONTAINER"), *(len(name) for name in names))
    if wide:
        return longest
    return min(longest, _LONGEST_NAME, max(_LEAST_NAME, width - sum(column.width for column in columns)))


def _heading(survey: Survey, common: str, columns: Sequence[_Column], name_width: int) -> Text:
    kind = "CONTAINER" if survey.driver else "CGROUP"
    title = f"{kind} in {common}" if common and len(common) + len(kind) + 4 <= name_width else kind
    heading = style.line(text.fit(title, name_width), style.QUIET)
    for column in columns:
        heading.append(_padded(column.title, column))
    return heading


def _row(name: str, row: SurveyRow, columns: Sequence[_Column], name_width: int, glyphs: Glyphs) -> Text:
    line = style.line()
    line.append(
        text.fit(text.shorten(name, name_width, glyphs), name_width), style=style.throttling(row.throttled_ratio)
    )
    for column in columns:
        cell = column.cell(row, glyphs)
        line.append(_padded(cell.text, column), style=cell.colour)
    line.rstrip()
    return line


def _padded(words: str, column: _Column) -> str:
    if column.left:
        return " " + text.fit(words, max(column.width - 1, len(words)))
    return text.fit(words, column.width, left=False)


def _stall_split(row: SurveyRow, glyphs: Glyphs) -> _Cell:
    shares = (row.stall_limit_ratio, row.stall_neighbour_ratio, row.stall_self_ratio)
    if any(share is None for share in shares):
        return _Cell(glyphs.none)
    whole = [round((share or 0.0) * 100) for share in shares]
    if not any(whole):
        return _Cell(glyphs.none, style.QUIET)
    return _Cell("/".join(f"{share:>2}" for share in whole))


def _figure(read: Callable[[SurveyRow, Glyphs], str]) -> Callable[[SurveyRow, Glyphs], _Cell]:
    return lambda row, glyphs: _Cell(read(row, glyphs))


def _percent(ratio: float | None, glyphs: Glyphs) -> str:
    return glyphs.none if ratio is None else f"{text.percent(ratio, glyphs)}%"


_USAGE = _Column("USAGE", 7, _figure(lambda row, glyphs: text.milli(row.usage_milli, glyphs)))
_PEAK = _Column("PEAK", 7, _figure(lambda row, glyphs: text.milli(row.peak_milli, glyphs)))
_LIMIT = _Column("LIMIT", 7, _figure(lambda row, glyphs: text.milli(row.limit_milli, glyphs)))
_THROTTLED = _Column(
    "THROT",
    7,
    lambda row, glyphs: _Cell(
        _percent(row.throttled_ratio if row.periods else None, glyphs), style.throttling(row.throttled_ratio)
    ),
)
_WAITED = _Column("WAITS", 7, _figure(lambda row, glyphs: _percent(row.waited_ratio, glyphs)))
_SPLIT = _Column("STALL l/n/s", 12, _stall_split)
_RUNNABLE = _Column(
    "RUNNABLE", 9, _figure(lambda row, glyphs: glyphs.none if row.runnable is None else f"{row.runnable:.1f}")
)
_CLASS = _Column("CLASS", 11, _figure(lambda row, _: row.workload_class), left=True)
_PERIODS = _Column("PERIODS", 9, _figure(lambda row, _: f"{row.throttled_periods}/{row.periods}"))
_THROTTLED_S = _Column("THROT s", 9, _figure(lambda row, _: f"{row.throttled_s:.2f}"))
_ABOVE = _Column(
    "ABOVE s",
    9,
    _figure(lambda row, glyphs: glyphs.none if row.throttled_above_s is None else f"{row.throttled_above_s:.2f}"),
)
_BURST = _Column(
    "BURST",
    8,
    _figure(lambda row, glyphs: glyphs.none if row.burst_usec is None else f"{row.burst_usec / 1000:g}ms"),
)
_WEIGHT = _Column("WEIGHT", 8, _figure(lambda row, glyphs: glyphs.none if row.weight is None else str(row.weight)))
_CGROUP = _Column("CGROUP", 10, lambda row, glyphs: _Cell(text.clean(row.cgroup, glyphs), style.QUIET), left=True)


def _no_rows(survey: Survey) -> str:
    if survey.not_read:
        return "none of the cgroups could be read."
    return f"no cgroup below {' or '.join(survey.roots)} matches. Name another one: --cgroup PATH"


def _remarks(survey: Survey, glyphs: Glyphs) -> list[str]:
    """What the figures do not say."""
    remarks = []
    held = [
        (row.throttled_above_s / survey.window_s, row)
        for row in survey.rows
        if row.throttled_above_s is not None and row.throttled_above_s > _WORTH_SAYING_RATIO * survey.window_s
    ]
    if held:
        held.sort(key=lambda pair: -pair[0])
        ratio, row = held[0]
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        remarks.append(
            f"Held by a limit above them, not by their own: {text.clean(row.name, glyphs)}{more} "
            f"({ratio:.1f} CPU-seconds per second)."
        )
    periods_ms = sorted({row.period_usec / 1000 for row in survey.rows if row.limit_milli is not None})
    facts = []
    if survey.not_read:
        named = ", ".join(f"{text.clean(one.name, glyphs)} {one.reason}" for one in survey.not_read[:_NAMED])
        facts.append(f"Not read: {len(survey.not_read)} ({named}{', ...' if len(survey.not_read) > _NAMED else ''}).")
    if survey.rows:
        facts.append(f"PSI: {'on' if survey.has_pressure else 'not counted here, so nobody knows what they wait for'}.")
    facts.append(f"Burst: {'can be set' if survey.has_burst else 'not in this kernel'}.")
    if periods_ms:
        facts.append(f"CFS quota period: {', '.join(f'{period:g}' for period in periods_ms)} ms.")
    return [*remarks, " ".join(facts)]
