"""`mbcasd local`: the daemon's command line (argparse: typer would cost its memory all day long)."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from mbcasd import __version__
from mbcasd.errors import BrokenInput, MbcasError
from mbcasd.places import DEFAULT_SOCKET, DEFAULT_STATE_DIR
from mbcasd.units import parse_cpu_milli, parse_duration_s

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one role and exit: 0 clean stop, 1 failed, 2 wrong input."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run one role and return the exit code."""
    options = parser().parse_args(argv)
    # Imported late: `mbcasd --help` needs none of it.
    from mbcasd.roles import local, logs

    logs.configure(options.log_level, options.log_format)
    try:
        return local.run(options, os.environ)
    except BrokenInput as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_INPUT
    except MbcasError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED


def parser() -> argparse.ArgumentParser:
    """All flags of all roles."""
    root = argparse.ArgumentParser(
        prog="mbcasd",
        description="The MBCAS node daemon: senses what workloads need and divides the node's CPU among them.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"mbcasd {__version__}")
    roles = root.add_subparsers(dest="role", required=True, metavar="ROLE")
    local = roles.add_parser(
        "local",
        help="a plain Linux host: sense, decide and move limits, no other service needed",
        description="Sense the cgroups named by --parent and --unit, clear their market, and in `enforce` mode move "
        "their limits. The owner's limits come back when it stops.",
        epilog="examples:\n"
        "  mbcasd local --parent /machine.slice                     watch, change nothing\n"
        "  mbcasd local --unit 'web-*.service' --mode enforce       manage units\n"
        "  mbcasd local --parent /demo --once                       one picture as JSON, then stop\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(local)
    local.add_argument(
        "--parent",
        action="append",
        default=[],
        metavar="PATH",
        help="a cgroup whose direct children are the workloads: as /proc/PID/cgroup shows it, or an absolute path "
        "in any mounted hierarchy; repeatable",
    )
    local.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="GLOB",
        help="systemd units or slices whose name matches; repeatable",
    )
    local.add_argument(
        "--capacity",
        type=_cpu,
        metavar="QUANTITY",
        help="CPU to hand out, as 1500m or 1.5 (default: measured: the node less reserve and what is not managed)",
    )
    local.add_argument(
        "--state-dir", metavar="DIR", help=f"the owner's limits and the record (default: {DEFAULT_STATE_DIR})"
    )
    local.add_argument(
        "--socket", metavar="PATH", help=f"Unix socket for mbcasctl and POST /slo (default: {DEFAULT_SOCKET})"
    )
    local.add_argument("--once", action="store_true", help="clear the market once, print the picture as JSON and stop")
    local.add_argument("--duration", type=_duration, metavar="TIME", help="stop cleanly after this long, as 30s")
    return root


def _add_common(role: argparse.ArgumentParser) -> None:
    role.add_argument("--config", metavar="FILE", help="settings (TOML); see `mbcasctl config init`")
    role.add_argument(
        "--mode",
        choices=("observe", "recommend", "enforce"),
        default="observe",
        help="observe and recommend change nothing, enforce moves limits (default: observe)",
    )
    role.add_argument("--metrics-address", metavar="HOST:PORT", help="also serve /metrics, /status and health on TCP")
    role.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    role.add_argument("--log-format", choices=("text", "json"), default="text")


def _cpu(text: str) -> float:
    try:
        milli = parse_cpu_milli(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
    if milli < 10:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 10m, the smallest limit there is")
    return milli


def _duration(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
