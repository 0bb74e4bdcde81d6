"""The options by which kubectl is told which cluster, and when a command means a cluster instead of this host."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer


def _complete_context(context: typer.Context, incomplete: str) -> list[str]:
    """Candidates for `--context`."""
    import os

    from mbcasctl.cluster import completing

    return completing.contexts(incomplete, context.params.get("kubeconfig"), os.environ)


def _complete_namespace(context: typer.Context, incomplete: str) -> list[str]:
    """Candidates for `--namespace`."""
    from mbcasctl.cluster import completing

    return completing.namespaces(incomplete, completing.of_params(context.params))


KubeconfigOption = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Kubeconfig to use (KUBECONFIG, else ~/.kube/config)."),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        help="Context of the kubeconfig (its current one).",
        autocompletion=_complete_context,
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Only workloads of this namespace (all).",
        autocompletion=_complete_namespace,
    ),
]


class ClusterOptions(NamedTuple):
    """Which cluster, and which part of it."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None

    @property
    def named(self) -> list[str]:
        """The flags that were given."""
        flags = zip(("--kubeconfig", "--context", "--namespace"), self, strict=True)
        return [flag for flag, value in flags if value is not None]


def means_cluster(
    cluster: ClusterOptions, host: Mapping[str, object], *, lives_here: bool, environ: Mapping[str, str]
) -> bool:
    """Whether a command that knows both means the cluster.

    An option of either side decides. Without any it is this host if something of MBCAS lives here, else the cluster
    of the person's kubeconfig, if there is one.

    Args:
        cluster: What was said about the cluster.
        host: Options of the host by flag; None: not given.
        lives_here: A daemon's socket or its state exists on this host.
        environ: Where KUBECONFIG and HOME are looked up.

    Raises:
        ConfigError: Both were named.
    """
    from mbcasd.errors import ConfigError

    of_host = [flag for flag, value in host.items() if value is not None]
    if cluster.named and of_host:
        raise ConfigError(f"{cluster.named[0]} means a cluster and {of_host[0]} this host: name one of them")
    if cluster.named:
        return True
    return not of_host and not lives_here and has_kubeconfig(environ)


def has_kubeconfig(environ: Mapping[str, str]) -> bool:
    """Whether the person has a kubeconfig where kubectl would look for it."""
    named = environ.get("KUBECONFIG", "")
    if named:
        return any(Path(part).is_file() for part in named.split(":") if part)
    home = environ.get("HOME", "")
    return bool(home) and (Path(home) / ".kube" / "config").is_file()
