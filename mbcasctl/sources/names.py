"""Names of workloads for a shell that asks what may come next; quick, and silent when there is nobody to ask."""

import typer

# A person waits for Tab: a daemon that does not answer at once is as good as none.
PATIENCE_S = 0.3


def complete_workload(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The candidates for a command that takes a workload: of the daemon that its `--socket` names, or of a cluster."""
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasctl.sources import DEFAULT_SOCKET, means_cluster
    from mbcasd.errors import ConfigError

    params = context.params
    cluster = ClusterOptions(params.get("kubeconfig"), params.get("context"), params.get("namespace"))
    try:
        of_cluster = means_cluster(cluster, params.get("socket"), params.get("url"), params.get("record"))
    except ConfigError:
        return []
    if of_cluster:
        from mbcasctl.cluster import completing

        return completing.workloads(incomplete, cluster)
    return workloads_like(incomplete, context.params.get("socket") or DEFAULT_SOCKET, PATIENCE_S)


def workloads_like(beginning: str, socket: str, within_s: float) -> list[tuple[str, str]]:
    """Names that begin like this, each with its use and its limit; none when no daemon answers within seconds."""
    from mbcasctl.sources import daemon
    from mbcasd.errors import MbcasError
    from mbcasd.model.identity import WorkloadId
    from mbcasd.units import format_cpu_milli

    try:
        node = daemon.over_socket(socket, timeout_s=within_s).snapshot()
    except MbcasError:
        return []
    return [
        (name, f"{format_cpu_milli(row.usage_milli)} of {format_cpu_milli(row.limit_milli)}")
        for row in node.workloads
        if (name := str(WorkloadId(row.namespace, row.name, row.container))).startswith(beginning)
    ]
