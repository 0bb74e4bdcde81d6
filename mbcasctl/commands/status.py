"""`mbcasctl status`: one screen that says what is wrong with a node or a cluster."""

import typer

from mbcasctl import exits
from mbcasctl.cluster.options import ClusterOptions, ContextOption, KubeconfigOption, NamespaceOption
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import RecordOption, SocketOption, UrlOption


def status(
    socket: SocketOption = None,
    url: UrlOption = None,
    record: RecordOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say how a node or a cluster does and what is wrong with it.

    With --kubeconfig, --context or --namespace it is the cluster: agents, controllers, allocations by phase; without
    any option it is this host if a daemon runs here, else the cluster of your kubeconfig.

    Exit code 0: healthy; 3: it is not; 1: nobody could be asked.
    """
    import time

    from mbcasctl.session import console, print_data
    from mbcasctl.sources import means_cluster, open_source
    from mbcasctl.terminal import ansi
    from mbcasctl.views.status import judge, screen

    cluster = ClusterOptions(kubeconfig, context, namespace)
    if means_cluster(cluster, socket, url, record):
        _of_cluster(cluster, output)
        return
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


def _of_cluster(cluster: ClusterOptions, output: OutputFormat) -> None:
    from mbcasctl.cluster.picture import look
    from mbcasctl.cluster.reach import connect
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views.cluster_status import screen

    status = look(connect(cluster), cluster.namespace)
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(status, output)
    else:
        out = console()
        out.width = max(out.width, 160) if output is OutputFormat.WIDE else out.width
        out.print(screen(status, ansi.glyphs(), wide=output is OutputFormat.WIDE))
    if not status.healthy:
        raise typer.Exit(exits.NOT_HEALTHY)
