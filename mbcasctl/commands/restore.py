"""`mbcasctl restore`."""

from pathlib import Path
from typing import Annotated

import typer

from mbcasctl.session import OutputFormat, OutputOption


def restore(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="DIR",
            help="The daemon's state directory (/var/lib/mbcas, or ~/.local/state/mbcas for an ordinary user).",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also while the daemon is running; it will move the limits again.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Put back the CPU limits that their owners had set before mbcasd moved them.

    For a daemon that was killed; one that is stopped does it itself. What somebody else has set since, and cgroups
    that were made again, are left alone. Running it again changes nothing. Exit code 0: every limit is its owner's;
    1: some could not be put back.
    """
    import os

    from mbcasctl import exits
    from mbcasctl.session import console, print_data
    from mbcasctl.views import restoration
    from mbcasd import places
    from mbcasd.host.ledger import Ledger
    from mbcasd.host.restore import RestoreReport
    from mbcasd.host.restore import restore as put_back
    from mbcasd.sensing.tree import CgroupTree

    directory = state_dir or places.state_dir(os.environ)
    ledger = Ledger.reopen(directory, force=force)
    report = RestoreReport()
    if ledger is not None:
        try:
            report = put_back(ledger, CgroupTree.detect().mounts)
        finally:
            ledger.close()
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(restoration.as_data(report, str(directory)), output)
    else:
        console().print(restoration.as_table(report, str(directory)))
    if report.failed:
        raise typer.Exit(exits.FAILED)
