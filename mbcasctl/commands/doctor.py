"""`mbcasctl doctor`: is this host fit, and what has to be done if it is not."""

from pathlib import Path
from typing import Annotated

import typer

from mbcasctl import exits
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import SocketOption


def doctor(
    socket: SocketOption = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The daemon's state directory (default: /var/lib/mbcas)."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check this host and say what to do: cgroups, PSI, burst, permissions, kernel, clock, daemon, leftovers.

    Changes nothing. Exit code 0: no problem, though there may be warnings; 3: there is one.
    """
    import os
    import shutil

    from mbcasctl.doctor.checks import diagnose
    from mbcasctl.doctor.gather import gather
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views.doctor import lines
    from mbcasd import places
    from mbcasd.clock import SystemClock

    diagnosis = diagnose(
        gather(
            socket or places.socket_path(os.environ),
            str(state_dir or places.state_dir(os.environ)),
            SystemClock(),
        )
    )
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(diagnosis, output)
    else:
        out = console()
        for line in lines(diagnosis, shutil.get_terminal_size((80, 24)).columns, ansi.glyphs()):
            out.print(line, soft_wrap=True)
    if not diagnosis.healthy:
        raise typer.Exit(exits.NOT_HEALTHY)
