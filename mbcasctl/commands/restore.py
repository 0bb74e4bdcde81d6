"""`mbcasctl restore`."""

from pathlib import Path
from typing import Annotated

import typer

from mbcasctl.cluster.options import ClusterOptions, ContextOption, KubeconfigOption, NamespaceOption
from mbcasctl.session import OutputFormat, OutputOption


def restore(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="DIR",
            help="The daemon's state directory (/var/lib/mbcas, or ~/.local/state/mbcas for an ordinary user).",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also while a daemon is running, which will move the limits again; or a foreign controller."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="On a cluster: only say what would be put back, and stop nothing.")
    ] = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Put back the CPU limits that their owners had set before MBCAS moved them.

    On a host: for a daemon that was killed; one that is stopped does it itself. What somebody else has set since, and
    cgroups that were made again, are left alone.

    On a cluster (with --kubeconfig, --context or --namespace, or without any option where this host has no state of
    MBCAS and you have a kubeconfig): scales the controllers to none, so that nobody moves limits any more, then
    resizes each pod back with your own rights, without a restart. `mbcasctl upgrade` starts the controllers again.

    Running it again changes nothing. Exit code 0: every limit is its owner's; 1: some could not be put back.
    """
    import os

    from mbcasctl.cluster.options import means_cluster
    from mbcasd import places

    directory = Path(state_dir or places.state_dir(os.environ))
    cluster = ClusterOptions(kubeconfig, context, namespace)
    if means_cluster(cluster, {"--state-dir": state_dir}, lives_here=_has_state(directory), environ=os.environ):
        _on_cluster(cluster, output, force=force, dry_run=dry_run)
    else:
        _on_host(directory, output, force=force, dry_run=dry_run)


def _has_state(directory: Path) -> bool:
    """Whether a host's daemon has limits to put back there; an empty ledger is as good as none."""
    from mbcasd.host.ledger import LEDGER_NAME

    try:
        return (directory / LEDGER_NAME).stat().st_size > 0
    except OSError:
        return False


def _on_host(directory: Path, output: OutputFormat, *, force: bool, dry_run: bool) -> None:
    from mbcasctl import exits
    from mbcasctl.session import console, print_data
    from mbcasctl.views import restoration
    from mbcasd.errors import ConfigError
    from mbcasd.host.ledger import Ledger
    from mbcasd.host.restore import RestoreReport
    from mbcasd.host.restore import restore as put_back
    from mbcasd.sensing.tree import CgroupTree

    if dry_run:
        raise ConfigError("--dry-run is for clusters; what a host's daemon left is told by `mbcasctl doctor`")
    ledger = Ledger.reopen(directory, force=force)
    report = RestoreReport()
    if ledger is not None:
        try:
            report = put_back(ledger, CgroupTree.detect().mounts)
        finally:
            ledger.close()
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(restoration.as_data(report, str(directory)), output)
    else:
        console().print(restoration.as_table(report, str(directory)))
    if report.failed:
        raise typer.Exit(exits.FAILED)


def _on_cluster(cluster: ClusterOptions, output: OutputFormat, *, force: bool, dry_run: bool) -> None:
    from mbcasctl import exits
    from mbcasctl.cluster import preflight, restoring
    from mbcasctl.cluster.reach import connect
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.terminal.steps import Steps
    from mbcasctl.views import restored_pods
    from mbcasd.errors import InstallError

    reached = connect(cluster)
    steps = Steps(quiet=output in {OutputFormat.JSON, OutputFormat.YAML})
    steps.title(f"Putting limits back on {reached.place}{' (dry run)' if dry_run else ''}")
    missing = preflight.missing(reached, preflight.rights_to_restore(cluster.namespace))
    if missing:
        raise InstallError(f"the user of this kubeconfig may not: {preflight.listed(missing)}. Nothing was changed")
    with steps.waiting() as waiting:
        waiting.show("stopping the controllers")
        report = restoring.restore_all(
            reached,
            namespace=cluster.namespace,
            dry_run=dry_run,
            force=force,
            on_progress=lambda done, of: waiting.show(f"limits of {done} of {of} pods put back"),
        )
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(restored_pods.as_data(report), output)
    else:
        if report.stopped_replicas:
            steps.note(f"the {report.stopped_replicas} controllers were stopped; start them with: mbcasctl upgrade")
        console().print(restored_pods.as_text(report, ansi.glyphs()))
    if report.failed:
        raise typer.Exit(exits.FAILED)
