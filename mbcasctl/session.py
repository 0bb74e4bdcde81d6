"""What every command shares: where output goes, in which form, and how a refusal sounds.

Data goes to stdout, messages to stderr. Rich is imported where something is drawn.
"""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


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
        print(msgspec.yaml.encode(msgspec.to_builtins(value)).decode(), end="")  # noqa: T201
    else:
        print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())  # noqa: T201
