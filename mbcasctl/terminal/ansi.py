"""Rich text to the bytes of a terminal, and what the terminal can show."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from mbcasctl.views.text import Glyphs


def is_interactive() -> bool:
    """Whether stdout is a terminal that can be drawn on and somebody is there to press keys."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def glyphs() -> "Glyphs":
    """The signs that stdout can carry."""
    from mbcasctl.views.text import ASCII, UNICODE

    try:
        "▁█…│↑".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def rendered(console: "Console", lines: Sequence["Text"], width: int) -> list[str]:
    """Each line with its colours as control sequences, exactly `width` cells wide; colours as `console` has them."""
    with console.capture() as capture:
        for line in lines:
            line.truncate(width, overflow="crop", pad=True)
            console.print(line, width=width, no_wrap=True, overflow="crop", crop=True)
    return capture.get().split("\n")[: len(lines)]
