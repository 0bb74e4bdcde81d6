"""`mbcasctl uninstall`: put every limit back, then take MBCAS off a cluster."""

from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl.cluster.options import ContextOption, KubeconfigOption
from mbcasctl.commands.install import OwnNamespaceOption
from mbcasctl.session import OutputFormat, OutputOption

if TYPE_CHECKING:
    from mbcasctl.cluster.reach import Cluster
    from mbcasctl.cluster.removing import Removal
    from mbcasctl.terminal.steps import Steps


def uninstall(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be put back and removed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove everything also when some limits could not be put back.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long to wait until everything is gone.")
    ] = "2m",
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: OwnNamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Put every limit back that MBCAS has moved on a cluster, then remove all of its objects.

    The controllers stop first, so that nobody moves limits any more; then each pod gets, with your own rights, what
    its owner had set, without a restart. Only when that is done are the objects of MBCAS deleted, its PodAllocations
    and its namespace with them. Limits that somebody else has set since are left alone. Running it again goes on
    where it stopped.

    Exit code 0: nothing of MBCAS is left; 1: some limits could not be put back (then nothing is removed without
    --force), or something is still there.
    """
    from mbcasctl import exits
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasctl.cluster.reach import connect
    from mbcasctl.commands.install import must_be_own_namespace, timeout_s
    from mbcasctl.terminal.steps import Steps

    within_s = timeout_s(timeout)
    must_be_own_namespace(namespace)
    cluster = connect(ClusterOptions(kubeconfig, context))
    steps = Steps(quiet=output in {OutputFormat.JSON, OutputFormat.YAML})
    steps.title(f"Removing MBCAS from {cluster.place}{' (dry run)' if dry_run else ''}")
    removal = _remove(cluster, steps, dry_run=dry_run, force=force, within_s=within_s)
    _print(removal, output)
    if not removal.is_good:
        raise typer.Exit(exits.FAILED)


def _remove(cluster: "Cluster", steps: "Steps", *, dry_run: bool, force: bool, within_s: float) -> "Removal":
    from mbcasctl.cluster import removing, restoring
    from mbcasctl.cluster.removing import Removal
    from mbcasctl.views import installation, restored_pods
    from mbcasd.kube.install import Installer

    installer = Installer(cluster.api)
    removing.check(cluster, installer)
    with steps.waiting() as waiting:
        waiting.show("stopping the controllers")
        restored = restoring.restore_all(
            cluster,
            dry_run=dry_run,
            force=force,
            on_progress=lambda done, of: waiting.show(f"limits of {done} of {of} pods put back"),
        )
    if restored.failed and not force:
        steps.failed(restored_pods.summary(restored))
        return Removal(restored=restored, dry_run=dry_run, stopped_early=True)
    (steps.note if restored.failed else steps.done)(restored_pods.summary(restored))
    with steps.waiting() as waiting:
        removed = removing.remove(
            installer, dry_run=dry_run, on_change=lambda change: waiting.show(f"removing {change.kind} {change.name}")
        )
    steps.done(installation.summary_of(removed, dry_run=dry_run))
    left: list[str] = []
    if removed and not dry_run:
        with steps.waiting() as waiting:
            left = removing.wait_until_gone(
                installer, within_s, lambda now: waiting.show(f"still going: {len(now)}", now[:3])
            )
        if left:
            steps.failed(f"still there after {within_s:g} s: {', '.join(left)}")
        else:
            steps.done("all of them are gone")
    return Removal(
        restored=restored,
        removed=tuple(removed),
        left=tuple(left),
        dry_run=dry_run,
        labelled=removing.labelled_namespaces(cluster),
    )


def _print(removal: "Removal", output: OutputFormat) -> None:
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views import removal as view

    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(view.as_data(removal), output)
    else:
        console().print(view.as_text(removal, ansi.glyphs()))
