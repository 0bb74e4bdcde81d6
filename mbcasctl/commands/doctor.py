"""`mbcasctl doctor`: is this host or cluster fit, and what has to be done if it is not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl import exits
from mbcasctl.cluster.options import ClusterOptions, ContextOption, KubeconfigOption, NamespaceOption
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import SocketOption

if TYPE_CHECKING:
    from mbcasctl.doctor.facts import Finding


def doctor(
    socket: SocketOption = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The daemon's state directory (default: /var/lib/mbcas)."),
    ] = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check this host or a cluster and say what to do.

    Of a host: cgroups, PSI, burst, permissions, kernel, clock, daemon, leftovers. Of a cluster: version, pods/resize,
    permissions, definitions and policies, agents, controllers and their lease, conflicts with VPA, HPA, LimitRanges
    and quotas, what is managed and what is skipped, conflicts, clock.

    With --kubeconfig, --context or --namespace only the cluster is checked; with --socket or --state-dir only this
    host; without any of them this host, and the cluster of your kubeconfig if you have one.

    Changes nothing. Exit code 0: no problem, though there may be warnings; 3: there is one.
    """
    import os
    import shutil

    from mbcasctl.cluster.options import means_cluster
    from mbcasctl.doctor.checks import diagnose
    from mbcasctl.doctor.gather import gather
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views.doctor import lines
    from mbcasd import places
    from mbcasd.clock import SystemClock

    cluster = ClusterOptions(kubeconfig, context, namespace)
    host = {"--socket": socket, "--state-dir": state_dir}
    # Whether it is the cluster, as if nothing lived here: the host is checked as well then, unless one was named.
    of_cluster = means_cluster(cluster, host, lives_here=False, environ=os.environ)
    of_host = None
    if not cluster.named:
        of_host = gather(
            socket or places.socket_path(os.environ), str(state_dir or places.state_dir(os.environ)), SystemClock()
        )
    place, findings = _of_cluster(cluster) if of_cluster else ("", ())
    diagnosis = diagnose(of_host, place, findings)
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(diagnosis, output)
    else:
        out = console()
        for line in lines(diagnosis, shutil.get_terminal_size((80, 24)).columns, ansi.glyphs()):
            out.print(line, soft_wrap=True)
    if not diagnosis.healthy:
        raise typer.Exit(exits.NOT_HEALTHY)


def _of_cluster(options: ClusterOptions) -> "tuple[str, tuple[Finding, ...]]":
    from mbcasctl.cluster import checks
    from mbcasctl.cluster.facts import gather
    from mbcasctl.cluster.reach import connect

    cluster = connect(options)
    return cluster.place, checks.examine(gather(cluster, options.namespace, is_chosen=bool(options.named)))
