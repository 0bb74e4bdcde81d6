"""`mbcasctl upgrade`: this version's files over what is on a cluster."""

from typing import Annotated

import typer

from mbcasctl.cluster.options import ContextOption, KubeconfigOption
from mbcasctl.commands.install import (
    CgroupVersion,
    ComponentOption,
    DryRun,
    DryRunOption,
    HostNetworkOption,
    ImageOption,
    ModeOption,
    MonitoringOption,
    OptOutOption,
    OwnNamespaceOption,
    TimeoutOption,
    WaitOption,
)
from mbcasctl.session import OutputFormat, OutputOption


def upgrade(
    mode: ModeOption = None,
    cgroup: Annotated[
        CgroupVersion | None, typer.Option("--cgroup", help="cgroup version of the nodes; auto asks them again.")
    ] = None,
    image: ImageOption = None,
    host_network: HostNetworkOption = None,
    opt_out: OptOutOption = None,
    monitoring: MonitoringOption = None,
    component: ComponentOption = None,
    dry_run: DryRunOption = None,
    timeout: TimeoutOption = "5m",
    wait: WaitOption = True,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: OwnNamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Bring the MBCAS on a cluster to this version, or to another mode, and wait until it runs.

    What is not said stays as it was: mode, image, cgroup version, components, and the configuration in the ConfigMap
    mbcas-config. Objects that this version does not have any more are removed. A newer MBCAS is not replaced by an
    older one. Resumes after `mbcasctl restore`.

    Exit code 0: it runs; 1: it could not be applied, or does not run yet.
    """
    from dataclasses import replace

    from mbcasctl.cluster import cgroups, installing
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasctl.cluster.reach import connect
    from mbcasctl.commands.install import apply_and_wait, must_be_own_namespace, show_unsent, timeout_s
    from mbcasctl.terminal.steps import Steps
    from mbcasd import __version__
    from mbcasd.errors import InstallError
    from mbcasd.kube.install import Installer

    within_s = timeout_s(timeout)
    must_be_own_namespace(namespace)
    cluster = connect(ClusterOptions(kubeconfig, context))
    installer, steps = Installer(cluster.api), Steps(quiet=output in {OutputFormat.JSON, OutputFormat.YAML})
    there = installing.installed_on(cluster)
    if there is None or there.variant is None:
        raise InstallError(f"MBCAS is not installed on {cluster.place}: mbcasctl install")
    installing.must_not_be_older(there)
    if there.variant.components and component is None:
        raise InstallError(
            f"it was installed with --component {' --component '.join(there.variant.components)}: name them again, "
            "as only this machine has them"
        )
    said = installing.Variant(
        mode=mode.value if mode else "",
        image=installing.image_to_keep(there, image),
        host_network=bool(host_network),
        opt_out=bool(opt_out),
        monitoring=bool(monitoring),
        components=tuple(component or ()),
    )
    variant = installing.kept(there.variant, said, mode=mode, host_network=host_network, opt_out=opt_out,
                              monitoring=monitoring, components=component)  # fmt: skip
    variant = replace(variant, image=said.image)
    about_cgroup = ""
    if cgroup is not None:
        version, about_cgroup = cgroups.choose(cluster, cgroup.value, None)
        variant = replace(variant, cgroup=version)
    if dry_run is DryRun.CLIENT:
        show_unsent(variant.objects(), output, render=False)
        return
    was = there.version or "an unknown version"
    same = f"{__version__}, again" if there.version == __version__ else f"{was} → {__version__}"
    steps.title(f"Upgrading MBCAS on {cluster.place}: {same}{' (dry run)' if dry_run else ''}")
    kubernetes = installing.check(cluster, installer, variant.objects())
    steps.done(f"Kubernetes {kubernetes}: pods/resize, and you may do all that is needed")
    if about_cgroup:
        steps.note(about_cgroup)
    apply_and_wait(
        cluster,
        installer,
        variant,
        steps,
        within_s=within_s if wait else 0.0,
        dry_run=dry_run is not None,
        output=output,
        prune=True,
    )
