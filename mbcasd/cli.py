"""`mbcasd local | agent | controller`: the daemon's command line (argparse, as typer would cost its memory all day)."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

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
    # Imported late: `mbcasd --help` needs none of it, and no role needs the others.
    from mbcasd.roles import logs

    logs.configure(options.log_level, options.log_format)
    try:
        return _role(options.role)(options, os.environ)
    except BrokenInput as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201
        return EXIT_BAD_INPUT
    except MbcasError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED


def _role(name: str) -> Callable[[argparse.Namespace, Mapping[str, str]], int]:
    if name == "agent":
        from mbcasd.roles import agent

        return agent.run
    if name == "controller":
        from mbcasd.roles import controller

        return controller.run
    from mbcasd.roles import local

    return local.run


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
    _add_agent(roles)
    _add_controller(roles)
    return root


def _add_agent(roles: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    agent = roles.add_parser(
        "agent",
        help="a Kubernetes node: sense its pods, decide, and write PodAllocations",
        description="Sense the containers of this node's pods, clear their market, and write one PodAllocation for "
        "each pod whose limits should move. Never patches a pod.",
        epilog="examples:\n"
        "  mbcasd agent                                             in a DaemonSet: node, token and cgroups are given\n"
        "  mbcasd agent --kubeconfig /etc/mbcas/kubeconfig          as a systemd unit of the node\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(agent)
    _add_cluster(agent)
    agent.add_argument("--node-name", metavar="NAME", help="this node (default: $NODE_NAME, else the host's name)")
    agent.add_argument(
        "--capacity",
        type=_cpu,
        metavar="QUANTITY",
        help="allocatable CPU of the node, as 3800m (default: $NODE_ALLOCATABLE_CPU in millicores, else its CPUs)",
    )
    agent.add_argument(
        "--cgroup-mount",
        metavar="DIR",
        help="only use cgroup hierarchies mounted below this directory, as /host/cgroup (default: all there are)",
    )
    agent.add_argument(
        "--kubepods", metavar="PATH", help="the kubelet's cgroup, as /kubepods.slice (default: looked for)"
    )
    agent.add_argument("--state-dir", metavar="DIR", help=f"the record (default: {DEFAULT_STATE_DIR})")
    agent.add_argument(
        "--socket", metavar="PATH", help=f"Unix socket for mbcasctl and POST /slo (default: {DEFAULT_SOCKET})"
    )


def _add_controller(roles: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    controller = roles.add_parser(
        "controller",
        help="a Kubernetes cluster: apply PodAllocations through pods/resize",
        description="Watch PodAllocations and move the CPU limits of their pods in place, one leader at a time.",
        allow_abbrev=False,
    )
    _add_common(controller)
    _add_cluster(controller)
    controller.add_argument(
        "--namespace", metavar="NAME", help="where the Lease lives (default: $POD_NAMESPACE, else mbcas-system)"
    )
    controller.add_argument(
        "--identity", metavar="NAME", help="this replica in the Lease (default: $POD_NAME, else the host's name)"
    )


def _add_cluster(role: argparse.ArgumentParser) -> None:
    role.add_argument(
        "--kubeconfig", metavar="FILE", help="how to reach the API (default: in a pod its own token, else $KUBECONFIG)"
    )
    role.add_argument("--context", metavar="NAME", help="which context of the kubeconfig (default: its current one)")


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
