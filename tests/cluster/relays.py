"""Starts `relay`, the program that carries connections into and out of the networks of nodes."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from cluster.daemons import Daemon

PROGRAM = Path(__file__).with_name("relay.py")


def relay_argv(wanted: dict[str, Any]) -> list[str]:
    """The command line of a relay; `wanted` is what `relay` describes."""
    return [sys.executable, "-IS", str(PROGRAM), json.dumps(wanted)]


def start_relay(name: str, wanted: dict[str, Any], log: Path) -> Daemon:
    """Start one on this machine."""
    relay = Daemon(f"the relay {name}", relay_argv(wanted), log)
    relay.start()
    return relay


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
