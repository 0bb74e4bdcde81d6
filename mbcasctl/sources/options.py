"""The options by which every command that looks at a node is told where."""

from typing import Annotated

import typer

from mbcasctl.sources import DEFAULT_SOCKET

SocketOption = Annotated[
    str | None,
    typer.Option("--socket", metavar="PATH", help=f"Unix socket of the daemon on this host ({DEFAULT_SOCKET})."),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Address of a daemon with --metrics-address: http://HOST:9102, or HOST."),
]
RecordOption = Annotated[
    str | None,
    typer.Option("--record", metavar="FILE", help="A daemon's record instead of a running daemon."),
]
