"""`mbcasctl install`: put MBCAS on a cluster."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl.cluster.options import ContextOption, KubeconfigOption
from mbcasctl.session import OutputFormat, OutputOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mbcasctl.cluster.installing import Variant
    from mbcasctl.cluster.reach import Cluster
    from mbcasctl.terminal.steps import Steps
    from mbcasd.kube.install import Changed, Installer
    from mbcasd.kube.kinds import Object


class InstallMode(StrEnum):
    """How far MBCAS may go; the words of `mbcasd --mode`."""

    OBSERVE = "observe"
    RECOMMEND = "recommend"
    ENFORCE = "enforce"


class CgroupVersion(StrEnum):
    """What the nodes have."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"


class DryRun(StrEnum):
    """Who looks at what would be done."""

    CLIENT = "client"
    SERVER = "server"


ModeOption = Annotated[
    InstallMode | None,
    typer.Option(
        "--mode", help="observe only watches, recommend also publishes what it would do, enforce moves limits."
    ),
]
CgroupOption = Annotated[
    CgroupVersion,
    typer.Option("--cgroup", help="cgroup version of the nodes: auto asks them, as far as they can be asked."),
]
ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="REF", help="Container image, as where yours is (default: mbcas:VERSION)."),
]
DryRunOption = Annotated[
    DryRun | None,
    typer.Option("--dry-run", help="Change nothing: client lists the objects, server has each one checked."),
]
HostNetworkOption = Annotated[
    bool | None,
    typer.Option(
        "--host-network/--no-host-network",
        help="Use the nodes' network, where pods have none that reaches the API server.",
    ),
]
OptOutOption = Annotated[
    bool | None,
    typer.Option(
        "--opt-out/--opt-in",
        help="Allow to move pods that nobody has labelled; goes with the setting selection.opt_in = false.",
    ),
]
MonitoringOption = Annotated[
    bool | None,
    typer.Option("--monitoring/--no-monitoring", help="Also what a Prometheus operator reads, where there is one."),
]
ComponentOption = Annotated[
    list[str] | None,
    typer.Option("--component", metavar="DIR", help="A kustomize component of yours, applied last; repeatable."),
]
RenderOption = Annotated[
    bool, typer.Option("--render", help="Print the manifests instead of applying them; needs no cluster.")
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait until everything runs.")
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every agent and controller is ready.")]
OwnNamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Where MBCAS itself lives; always mbcas-system."),
]


def install(
    mode: ModeOption = None,
    cgroup: CgroupOption = CgroupVersion.AUTO,
    image: ImageOption = None,
    host_network: HostNetworkOption = None,
    opt_out: OptOutOption = None,
    monitoring: MonitoringOption = None,
    component: ComponentOption = None,
    dry_run: DryRunOption = None,
    render: RenderOption = False,
    timeout: TimeoutOption = "5m",
    wait: WaitOption = True,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: OwnNamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Put MBCAS on a Kubernetes cluster, and wait until it runs.

    Looks first whether the cluster (1.33 or newer) and your rights suffice; if not, nothing is changed. Then
    applies the manifests of deploy/ on the server's side, so that running it again changes nothing. It begins in
    mode observe, which moves no limit; `mbcasctl upgrade --mode enforce` switches it on.

    Exit code 0: it runs; 1: it could not be applied, or does not run yet.
    """
    from dataclasses import replace

    from mbcasctl.cluster import cgroups, installing
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasctl.cluster.reach import connect
    from mbcasctl.terminal.steps import Steps
    from mbcasd import __version__
    from mbcasd.errors import InstallError
    from mbcasd.kube.install import Installer

    within_s = timeout_s(timeout)
    must_be_own_namespace(namespace)
    variant = installing.Variant(
        mode=(mode or InstallMode.OBSERVE).value,
        cgroup=cgroups.or_newest(cgroup.value),
        image=image,
        host_network=bool(host_network),
        opt_out=bool(opt_out),
        monitoring=bool(monitoring),
        components=tuple(component or ()),
    )
    if render or dry_run is DryRun.CLIENT:
        show_unsent(variant.objects(), output, render=render)
        return
    cluster = connect(ClusterOptions(kubeconfig, context))
    installer, steps = Installer(cluster.api), Steps(quiet=output in {OutputFormat.JSON, OutputFormat.YAML})
    steps.title(f"Installing MBCAS {__version__} on {cluster.place}{' (dry run)' if dry_run else ''}")
    kubernetes = installing.check(cluster, installer, variant.objects())
    there = installing.installed_on(cluster)
    if there is not None:
        installing.must_not_be_older(there)
    chosen = there.variant if there is not None else None
    if there is not None and chosen is not None:
        if there.version not in {"", __version__}:
            raise InstallError(f"MBCAS {there.version} is installed there already: mbcasctl upgrade")
        # Said again without its choices, it is no wish to have others.
        variant = installing.kept(chosen, variant, mode=mode, image=image, host_network=host_network,
                                  opt_out=opt_out, monitoring=monitoring, components=component)  # fmt: skip
    steps.done(f"Kubernetes {kubernetes}: pods/resize, and you may do all that is needed")
    version, about_cgroup = cgroups.choose(cluster, cgroup.value, chosen.cgroup if chosen else None)
    if about_cgroup:
        steps.note(about_cgroup)
    apply_and_wait(
        cluster,
        installer,
        replace(variant, cgroup=version),
        steps,
        within_s=within_s if wait else 0.0,
        dry_run=dry_run is not None,
        output=output,
    )


def timeout_s(text: str) -> float:
    """Read `--timeout`.

    Raises:
        ConfigError: It is no duration.
    """
    from mbcasd.errors import ConfigError
    from mbcasd.units import parse_duration_s

    try:
        return parse_duration_s(text)
    except ValueError as err:
        raise ConfigError(f"--timeout: {err}") from err


def must_be_own_namespace(namespace: str | None) -> None:
    """Refuse another namespace: the policies that fence agents and controller name their accounts in this one.

    Raises:
        ConfigError: It is another one.
    """
    from mbcasd.errors import ConfigError
    from mbcasd.kube import names

    if namespace not in {None, names.NAMESPACE}:
        raise ConfigError(
            f"--namespace {namespace}: MBCAS always lives in {names.NAMESPACE}; which namespaces it manages is said "
            "by their label mbcas.io/managed=true"
        )


def show_unsent(objects: "Sequence[Object]", output: OutputFormat, *, render: bool) -> None:
    """Print manifests, or (in a client's dry run) what would be applied, without a cluster."""
    import sys

    import msgspec

    from mbcasctl.session import print_data, stop_without_reader
    from mbcasd.kube.install import ordered
    from mbcasd.kube.kinds import label

    things = ordered(objects)
    if output is OutputFormat.JSON:
        print_data({"apiVersion": "v1", "kind": "List", "items": things}, output)
        return
    if render or output is OutputFormat.YAML:
        text = "---\n".join(msgspec.yaml.encode(thing).decode() for thing in things)
    else:
        text = "".join(f"{label(thing)} would be applied (dry run)\n" for thing in things)
    try:
        print(text, end="", flush=True, file=sys.stdout)  # noqa: T201
    except BrokenPipeError:
        stop_without_reader()


def apply_and_wait(
    cluster: "Cluster",
    installer: "Installer",
    variant: "Variant",
    steps: "Steps",
    *,
    within_s: float,
    dry_run: bool,
    output: OutputFormat,
    prune: bool = False,
) -> None:
    """Apply, remove what is not needed any more, wait, and tell the result.

    Args:
        cluster: Which.
        installer: Of the same cluster.
        variant: What there is to be.
        steps: Where progress goes.
        within_s: How long to wait; 0: not at all.
        dry_run: Have everything checked, and nothing stored.
        output: How the result is printed.
        prune: Also remove objects of an older version.
    """
    from mbcasctl import exits
    from mbcasctl.cluster import installing
    from mbcasctl.cluster.readiness import Readiness
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views import installation

    objects, mode = variant.objects(), variant.mode
    changes: list[Changed] = []
    with steps.waiting() as waiting:
        for change in installer.apply(objects, dry_run=dry_run):
            changes.append(change)
            waiting.show(f"{len(changes)} of {len(objects)} objects applied")
        if prune:
            changes += installer.prune(objects, dry_run=dry_run)
    steps.done(installation.summary_of(changes, dry_run=dry_run))
    for change in changes:
        if change.note and not change.note.startswith("checked in"):
            steps.note(str(change))
    ready: Readiness | None = None
    if within_s and not dry_run:
        with steps.waiting() as waiting:
            ready = installing.wait_until_ready(
                cluster, within_s, lambda now: waiting.show(installation.progress(now), now.troubles)
            )
        (steps.done if ready.complete else steps.failed)(installation.progress(ready))
        if not ready.complete:
            for trouble in ready.troubles:
                steps.note(trouble)
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(installation.as_data(changes, ready, mode=mode, dry_run=dry_run), output)
    else:
        console().print(
            installation.ending(changes, ready, mode=mode, dry_run=dry_run, glyphs=ansi.glyphs()), soft_wrap=True
        )
    if ready is not None and not ready.complete:
        raise typer.Exit(exits.FAILED)
