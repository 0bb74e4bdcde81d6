"""What every command shares: where output goes, in which form, and how a refusal sounds.

Data goes to stdout, messages to stderr. Rich is imported where something is drawn.
"""

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mbcasctl import exits

if TYPE_CHECKING:
    from rich.console import Console


class OutputFormat(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[
    OutputFormat,
    typer.Option("-o", "--output", help="Print a table, a wide table, JSON or YAML.", show_default=True),
]


def console() -> "Console":
    """Where data goes: stdout, with colour only on a terminal and without NO_COLOR."""
    from rich.console import Console

    class DataConsole(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            stop_without_reader()

    return DataConsole(highlight=False, soft_wrap=not sys.stdout.isatty())


def error_console() -> "Console":
    """Where messages go: stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_data(value: Any, output: OutputFormat) -> None:  # noqa: ANN401
    """Print a value of dicts, lists, dataclasses, numbers and strings as JSON or YAML on stdout.

    NaN and infinity become null, as JSON has none.
    """
    import msgspec

    if output is OutputFormat.YAML:
        written = msgspec.yaml.encode(msgspec.to_builtins(value)).decode()
    else:
        written = msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    try:
        print(written, end="", flush=True)  # noqa: T201
    except BrokenPipeError:
        stop_without_reader()


def stop_without_reader() -> NoReturn:
    """End well: whoever read stdout has gone (`mbcasctl … | head`), so nothing is wrong, nor more to be said."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # else the interpreter complains when it flushes at the end
    os.close(nowhere)
    raise SystemExit(exits.DONE)
