"""Turns the signals that end a program into an exception, once, so that every block cleans up behind itself."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A person or the system wants the program to end. Not an error: nothing may swallow it."""

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number  # what shells report for a program that a signal ended


@contextmanager
def raised_once() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first such signal; later ones must not disturb the clean-up."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
