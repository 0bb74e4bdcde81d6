"""Figures, names and bars as people read them in a narrow column; pure.

Names come from outside: whoever makes a cgroup chooses its name. `clean` stands between them and the terminal.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs of a screen, so that a terminal without Unicode gets readable ones too."""

    levels: str  # of a sparkline, from nothing to full
    parts: str  # of the last cell of a bar, from nothing to full
    mark: str  # where the capacity is on a bar
    gap: str  # what was cut out of a long name
    unknown: str  # instead of a sign that must not reach a terminal
    none: str  # instead of a figure that does not exist
    up: str
    down: str
    minus: str
    dot: str  # in front of a workload that is not managed
    chosen: str  # in front of the selected row
    yes: str
    no: str
    ascii_only: bool = False  # the terminal cannot write anything else


UNICODE = Glyphs(
    levels="▁▂▃▄▅▆▇█",
    parts=" ▏▎▍▌▋▊▉█",
    mark="│",
    gap="…",
    unknown="�",
    none="–",
    up="↑",
    down="↓",
    minus="−",
    dot="·",
    chosen="›",
    yes="✓",
    no="✗",
)
ASCII = Glyphs(
    levels="_.-=+*%#",
    parts=" #",
    mark="|",
    gap="~",
    unknown="?",
    none="-",
    up="+",
    down="-",
    minus="-",
    dot=".",
    chosen=">",
    yes="ok",
    no="!!",
    ascii_only=True,
)


def clean(text: str, glyphs: Glyphs = UNICODE) -> str:
    """Make text from outside safe to show: control, format, bidirectional and unassigned characters are replaced."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else glyphs.unknown for char in text)
    return text.encode("ascii", "replace").decode("ascii") if glyphs.ascii_only else text


def shorten(text: str, width: int, glyphs: Glyphs = UNICODE) -> str:
    """Fit text into `width` cells by cutting out its middle, where names differ least; the end keeps more."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width <= 1:
        return glyphs.gap[:width]
    head_width = (width - 1) // 2
    head = set_cell_size(text, head_width).rstrip()
    tail_width = width - 1 - cell_len(head)
    tail = ""
    for char in reversed(text):
        if cell_len(char + tail) > tail_width:
            break
        tail = char + tail
    return f"{head}{glyphs.gap}{tail}"


def fit(text: str, width: int, *, left: bool = True) -> str:
    """Pad text to exactly `width` cells, or cut what is too much off its end."""
    from rich.cells import cell_len, set_cell_size

    missing = width - cell_len(text)
    if missing <= 0:
        return set_cell_size(text, width)
    return text + " " * missing if left else " " * missing + text


def known(value: float | None) -> float | None:
    """The value, or None where it is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def milli(value: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Millicores in at most five cells: `850m`, `9999m`, and from ten CPUs on `12.5c`, `256c`."""
    value = known(value)
    if value is None:
        return glyphs.none
    value = max(0.0, value)
    if value < 9_999.5:
        return f"{value:.0f}m"
    cpus = value / 1000
    return f"{cpus:.1f}c" if cpus < 99.95 else f"{cpus:.0f}c"


def change(delta_milli: float | None, glyphs: Glyphs = UNICODE) -> str:
    """A change of a limit in at most five cells: `+180m`, `−40m`, `+1.4c`; `set` where there was no limit before."""
    delta_milli = known(delta_milli)
    if delta_milli is None:
        return "set"
    size = abs(delta_milli)
    sign = "+" if delta_milli >= 0 else glyphs.minus
    if size < 999.5:
        return f"{sign}{size:.0f}m"
    return f"{sign}{size / 1000:.1f}c" if size < 9_950 else f"{sign}{size / 1000:.0f}c"


def percent(ratio: float | None, glyphs: Glyphs = UNICODE) -> str:
    """A ratio as percent without the sign, in at most four cells: `0.0`, `14.2`, `100`."""
    ratio = known(ratio)
    if ratio is None:
        return glyphs.none
    value = ratio * 100
    return f"{value:.1f}" if value < 99.95 else f"{min(value, 9999):.0f}"


def age(seconds: float | None, glyphs: Glyphs = UNICODE) -> str:
    """How long ago, in at most three cells: `3s`, `59m`, `23h`, `9d`."""
    seconds = known(seconds)
    if seconds is None:
        return glyphs.none
    seconds = max(0.0, seconds)
    for size_s, most, unit in ((1, 60, "s"), (60, 60, "m"), (3600, 24, "h")):
        if seconds < size_s * most:
            return f"{seconds // size_s:.0f}{unit}"
    return f"{min(seconds // 86_400, 99):.0f}d"


def sparkline(values: Iterable[float], width: int, full: float | None, glyphs: Glyphs = UNICODE) -> str:
    """The last `width` values as bars, right-aligned; a full bar is `full`, or the largest value without it."""
    shown = [known(value) or 0.0 for value in values][-width:] if width > 0 else []
    top = known(full) or max(shown, default=0.0)
    highest = len(glyphs.levels) - 1
    filled = (min(1.0, max(0.0, value / top)) if top > 0 else 0.0 for value in shown)
    bars = "".join(glyphs.levels[round(part * highest)] for part in filled)
    return bars.rjust(width)


def bar(value: float | None, width: int, full: float, glyphs: Glyphs = UNICODE) -> str:
    """A bar of at most `width` cells, where `full` fills it; without trailing blanks."""
    value = known(value)
    if value is None or full <= 0 or width <= 0:
        return ""
    steps = len(glyphs.parts) - 1
    filled = round(min(1.0, max(0.0, value / full)) * width * steps)
    whole, part = divmod(filled, steps)
    return glyphs.parts[steps] * whole + (glyphs.parts[part] if part else "")
