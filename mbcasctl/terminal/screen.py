"""The alternate screen: drawn by difference, given back as it was on every way out."""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn, Self

from mbcasctl.terminal.keys import KeyDecoder

# Alternate screen with cursor and attributes saved, cursor hidden, no automatic wrap at the right edge.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
# Show what is written in between at once; terminals that do not know it ignore it (DEC private mode 2026).
_HOLD, _RELEASE = "\x1b[?2026h", "\x1b[?2026l"

# An escape sequence comes in one piece, also over ssh; what has not followed by now was the escape key.
_ESCAPE_WAIT_S = 0.05
_READ_BYTES = 1024

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hangup(Exception):
    """The program was asked to end by a signal, or its terminal is gone."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Screen:
    """A terminal taken over while the context lasts; must be used on the main thread, because signals come there.

    A stop from the keyboard (Ctrl-Z) gives the terminal back and takes it again afterwards. SIGINT, SIGTERM and SIGHUP
    leave the context as `Hangup`, so that everything is put back before the process ends.
    """

    def __init__(self) -> None:
        self._output = sys.stdout
        self._input_fd = -1
        self._own_input = False
        self._saved: list[int | list[bytes | int]] | None = None
        self._shown: list[str] = []
        self._wake_read, self._wake_write = -1, -1
        self._handlers: dict[int, signal.Handlers | int | object] = {}
        self._decoder = KeyDecoder()

    def __enter__(self) -> Self:
        self._open_input()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        try:
            self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._on_resize)
            self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._on_stop)
            for signum in _ENDS:
                self._handlers[signum] = signal.signal(signum, self._on_end)
            self._take()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for signum in _ENDS:
            signal.signal(signum, signal.SIG_IGN)  # a second one must not break this off
        self._give_back()
        wake_write, self._wake_write = self._wake_write, -1  # first, so that a late `wake` meets no other file
        os.close(wake_write)
        os.close(self._wake_read)
        if self._own_input:
            os.close(self._input_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        width, height = shutil.get_terminal_size((80, 24))
        try:
            actual = os.get_terminal_size(self._output.fileno())
        except OSError:
            return width, height
        return actual.columns or width, actual.lines or height

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines from the top; only those that differ from the last drawing are sent.

        Args:
            lines: Each fills the width of the screen: nothing is erased, so that nothing flickers.
        """
        sent = []
        for at, line in enumerate(lines):
            if at >= len(self._shown) or self._shown[at] != line:
                sent.append(f"\x1b[{at + 1};1H{line}\x1b[0m")
        if len(lines) < len(self._shown):
            sent.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self._shown = list(lines)
        if sent:
            self._write(_HOLD + "".join(sent) + _RELEASE)

    def redraw(self) -> None:
        """Forget what is shown: the next drawing is sent whole."""
        self._shown = []
        self._write("\x1b[2J")

    def wake(self) -> None:
        """End the current `keys` call; from any thread."""
        with suppress(OSError):  # it is full, so it wakes; or it is closed, so nobody waits
            os.write(self._wake_write, b".")

    def keys(self, within_s: float) -> list[str]:
        """The keys pressed, as soon as there are any; none after `within_s`, a `wake` or a change of size.

        Raises:
            Hangup: The terminal is gone.
        """
        wait_s = _ESCAPE_WAIT_S if self._decoder.waits else within_s
        ready, _, _ = select.select([self._input_fd, self._wake_read], [], [], max(0.0, wait_s))
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, _READ_BYTES)
        if self._input_fd in ready:
            try:
                data = os.read(self._input_fd, _READ_BYTES)
            except OSError:
                data = b""
            if not data:
                raise Hangup(signal.SIGHUP)
            return self._decoder.feed(data)
        return self._decoder.flush() if self._decoder.waits and not ready else []

    def _open_input(self) -> None:
        """Keys come from stdin, or from the terminal itself where stdin is something else."""
        if sys.stdin is not None and sys.stdin.isatty():
            self._input_fd = sys.stdin.fileno()
            return
        self._input_fd = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
        self._own_input = True

    def _take(self) -> None:
        self._saved = termios.tcgetattr(self._input_fd)
        tty.setcbreak(self._input_fd, termios.TCSADRAIN)
        self._shown = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        with suppress(Hangup):  # the terminal is gone: nobody sees it any more
            self._write(_LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self._input_fd, termios.TCSADRAIN, saved)

    def _write(self, text: str) -> None:
        try:
            self._output.write(text)
            self._output.flush()
        except OSError as err:
            raise Hangup(signal.SIGHUP) from err

    def _on_resize(self, _signum: int, _frame: FrameType | None) -> None:
        self._shown = []
        self.wake()

    def _on_end(self, signum: int, _frame: FrameType | None) -> NoReturn:
        raise Hangup(signum)

    def _on_stop(self, _signum: int, _frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # stops here, until SIGCONT
        signal.signal(signal.SIGTSTP, self._on_stop)
        self._take()
        self.wake()
