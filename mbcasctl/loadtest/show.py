"""Shows a running load test: a live table on a terminal, a line every few seconds elsewhere. Draws on stderr."""

from types import TracebackType
from typing import Self

from mbcasctl.loadtest.experiment import Progress
from mbcasctl.session import error_console
from mbcasctl.views import loadtest_progress
from mbcasctl.views.text import ASCII, UNICODE

# Often enough to see that it lives, seldom enough for a log.
_LINE_EVERY_S = 5.0


class Show:
    """Takes `Progress` values; use it as a context manager, and call it."""

    def __init__(self, cpus: int) -> None:
        """Draw nothing yet; `cpus` is what a full bar stands for."""
        from rich.live import Live

        self._console = error_console()
        self._glyphs = UNICODE if self._console.encoding.lower().startswith("utf") else ASCII
        self._cpus = cpus
        # Drawn by whoever calls, not by a thread: children are forked meanwhile.
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if self._is_terminal() else None
        self._said: tuple[int, int] | None = None

    def _is_terminal(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Self:
        """Take the screen."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the screen back, without the table."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Draw, or say a line if one is due."""
        if self._live is not None:
            from rich.text import Text

            lines = loadtest_progress.screen(progress, self._glyphs, self._cpus)
            self._live.update(Text("\n").join(lines), refresh=True)
            return
        due = (progress.number, int(progress.elapsed_s // _LINE_EVERY_S))
        if due != self._said and progress.recent:
            self._said = due
            self._console.print(loadtest_progress.words(progress))
