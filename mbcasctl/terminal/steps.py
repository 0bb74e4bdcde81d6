"""Says on stderr how far a long command is: a live picture on a terminal, a line at each change elsewhere."""

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mbcasctl.session import error_console
from mbcasctl.views import style, text
from mbcasctl.views.text import ASCII, UNICODE

# A log gets a line when something changes, not more often than this, and a sign of life where nothing does.
_LINE_AFTER_S = 2.0
_LINE_EVERY_S = 15.0


class Steps:
    """The steps of one command; each ends as done, noted or failed."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Say nothing yet; `quiet` keeps it so."""
        self._console = error_console()
        self.glyphs = UNICODE if self._console.encoding.lower().startswith("utf") else ASCII
        self._quiet = quiet

    def title(self, words: str) -> None:
        """What is being done, and where."""
        self.line(words, style.TITLE)

    def done(self, words: str) -> None:
        """A step went well."""
        self._marked(self.glyphs.yes, words, style.GOOD)

    def note(self, words: str) -> None:
        """Something that a person may want to know."""
        self._marked("!", words, style.HELD)

    def failed(self, words: str) -> None:
        """A step did not go well."""
        self._marked(self.glyphs.no, words, style.BAD)

    @contextmanager
    def waiting(self) -> Iterator["Waiting"]:
        """Show one changing picture until the block ends, and leave nothing of it behind."""
        is_live = not self._quiet and self._console.is_terminal and not self._console.is_dumb_terminal
        if not is_live:
            yield _Log(self)
            return
        from rich.live import Live

        with Live(console=self._console, transient=True, refresh_per_second=10) as live:
            yield _Picture(live, self.glyphs)

    def _marked(self, mark: str, words: str, colour: str) -> None:
        from rich.text import Text

        if self._quiet:
            return
        words, indent = text.clean(words, self.glyphs), " " * (3 + len(mark))
        pieces = [words]
        if self._console.is_terminal:  # a log is searched, so there each thing stays on its line
            pieces = textwrap.wrap(words, max(20, self._console.width - len(indent))) or [""]
        first = Text(f"  {mark} ", style=colour)
        first.append(pieces[0], style="default")
        for line in (first, *(Text(indent + piece) for piece in pieces[1:])):
            self._console.print(line)

    def line(self, words: str, colour: str = "") -> None:
        """One line without a mark."""
        from rich.text import Text

        if not self._quiet:
            self._console.print(Text(text.clean(words, self.glyphs), style=colour))


class Waiting:
    """What a wait shows."""

    def show(self, words: str, details: Sequence[str] = ()) -> None:
        """How far it is, in one line, and what is in the way, each in a line of its own."""
        raise NotImplementedError


class _Log(Waiting):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._words, self._details = "", frozenset[str]()
        self._said_s = time.monotonic()

    def show(self, words: str, details: Sequence[str] = ()) -> None:
        passed_s = time.monotonic() - self._said_s
        changed = words != self._words or not self._details.issuperset(details)
        if passed_s < (_LINE_AFTER_S if changed else _LINE_EVERY_S):
            return
        self._steps.line(f"  {self._steps.glyphs.gap} {words}")
        for detail in details:
            if detail not in self._details:
                self._steps.note(detail)
        self._words, self._details, self._said_s = words, frozenset(details), time.monotonic()


class _Picture(Waiting):
    def __init__(self, live: "object", glyphs: text.Glyphs) -> None:
        from rich.spinner import Spinner

        self._live, self.glyphs = live, glyphs
        self._spinner = Spinner("line" if glyphs.ascii_only else "dots")
        self._began_s = time.monotonic()

    def show(self, words: str, details: Sequence[str] = ()) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.padding import Padding
        from rich.text import Text

        assert isinstance(self._live, Live)  # noqa: S101  for the type checker
        passed = text.age(time.monotonic() - self._began_s, self.glyphs)
        self._spinner.update(text=Text(f"{text.clean(words, self.glyphs)}  {passed}"))
        width = max(20, self._live.console.width - 6)
        lines = [
            Text(f"{'! ' if at == 0 else '  '}{piece}", style=style.HELD)
            for detail in details
            for at, piece in enumerate(textwrap.wrap(text.clean(detail, self.glyphs), width))
        ]
        shown = Group(Padding(self._spinner, (0, 0, 0, 2)), *(Padding(line, (0, 0, 0, 4)) for line in lines))
        self._live.update(shown)
