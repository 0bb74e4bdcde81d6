"""Where a host's daemon keeps its state and answers, when nobody says otherwise.

Root's is for the whole host; every other user has their own, so that trying it out needs no permission.
"""

import os
from collections.abc import Mapping
from pathlib import Path

DEFAULT_STATE_DIR = "/var/lib/mbcas"
DEFAULT_SOCKET = "/run/mbcas/mbcasd.sock"


def state_dir(environ: Mapping[str, str]) -> str:
    """The directory of the owner's limits and of the record."""
    if os.geteuid() == 0:
        return DEFAULT_STATE_DIR
    return str(Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mbcas")


def record_path(environ: Mapping[str, str]) -> str:
    """The record."""
    return str(Path(state_dir(environ)) / "record.db")


def socket_path(environ: Mapping[str, str]) -> str:
    """The Unix socket."""
    if os.geteuid() == 0:
        return DEFAULT_SOCKET
    return str(Path(environ.get("XDG_RUNTIME_DIR") or state_dir(environ)) / "mbcasd.sock")
