"""`mbcasctl verify`."""

import sys
from typing import Annotated

import typer

from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources import DEFAULT_RECORD


def verify(
    record: Annotated[
        str | None, typer.Option("--record", metavar="FILE", help=f"The daemon's record ({DEFAULT_RECORD}).")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Recompute every receipt in a record and report any that does not hold.

    Each market is cleared again and every number compared; then the chain that binds the receipts shows whether one
    was removed, exchanged or altered. Exit code 0: all hold; 3: not verified.
    """
    from mbcasctl import exits
    from mbcasctl.session import console, error_console, print_data
    from mbcasctl.views import verification
    from mbcasd.accounting.audit import audit
    from mbcasd.accounting.reading import RecordReader

    with RecordReader(record or DEFAULT_RECORD) as reader:
        if output in {OutputFormat.TABLE, OutputFormat.WIDE} and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=error_console(), transient=True) as progress:
                task = progress.add_task("", total=reader.count_receipts())
                found = audit(reader, lambda done: progress.update(task, completed=done))
        else:
            found = audit(reader)

    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(verification.as_data(found), output)
    else:
        console().print(verification.as_table(found, wide=output is OutputFormat.WIDE))
    if not found.holds:
        raise typer.Exit(exits.NOT_HEALTHY)
