"""`mbcasctl status`: one screen that says what is wrong."""

import typer

from mbcasctl import exits
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import RecordOption, SocketOption, UrlOption


def status(
    socket: SocketOption = None,
    url: UrlOption = None,
    record: RecordOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say how a node does and what is wrong with it.

    Exit code 0: healthy; 3: it is not; 1: no daemon could be asked.
    """
    import time

    from mbcasctl.session import console, print_data
    from mbcasctl.sources import open_source
    from mbcasctl.terminal import ansi
    from mbcasctl.views.status import judge, screen

    snapshot = open_source(socket, url, record).snapshot()
    # Only a daemon on this host has this clock.
    age_s = time.time() - snapshot.taken_wall_s if url is None and record is None else None
    verdict = judge(snapshot, age_s)
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(verdict, output)
    else:
        console().print(screen(verdict, ansi.glyphs()), soft_wrap=True)
    if not verdict.healthy:
        raise typer.Exit(exits.NOT_HEALTHY)
