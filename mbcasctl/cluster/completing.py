"""What may come next on a command line that is about a cluster; quick, and silent when there is nobody to ask."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbcasctl.cluster.options import ClusterOptions
from mbcasd import __version__
from mbcasd.clock import SystemClock
from mbcasd.errors import MbcasError
from mbcasd.kube import names
from mbcasd.kube.access import detect
from mbcasd.kube.api import Api
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import Namespace, PodAllocation

# A person waits for Tab: a cluster that does not answer at once is as good as none.
PATIENCE_S = 0.7


def contexts(beginning: str, kubeconfig: str | None, environ: Mapping[str, str]) -> list[str]:
    """The contexts of the person's kubeconfigs that begin like this."""
    import yaml

    found: dict[str, None] = {}
    listed = [kubeconfig] if kubeconfig else environ.get("KUBECONFIG", "").split(os.pathsep)
    files = [file for file in listed if file] or [str(Path(environ.get("HOME", "~")).expanduser() / ".kube/config")]
    for file in files:
        try:
            document = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        entries = document.get("contexts") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                found[str(entry.get("name", ""))] = None
    return [name for name in found if name.startswith(beginning)]


def namespaces(beginning: str, options: ClusterOptions) -> list[str]:
    """The cluster's namespaces that begin like this."""
    try:
        found = list_all(_quick(options), "/api/v1/namespaces", Namespace, timeout_s=PATIENCE_S)
    except MbcasError:
        return []
    return [one.metadata.name for one in found if one.metadata.name.startswith(beginning)]


def workloads(beginning: str, options: ClusterOptions) -> list[tuple[str, str]]:
    """Pods with a PodAllocation that begin like this, each with what became of its last decision."""
    try:
        path = names.allocations_path(options.namespace)
        found = list_all(_quick(options), path, PodAllocation, timeout_s=PATIENCE_S)
    except MbcasError:
        return []
    named = [(f"{one.metadata.namespace}/{one.spec.pod_name}", one.status.phase or "Pending") for one in found]
    return [(name, phase) for name, phase in named if name.startswith(beginning)]


def of_params(params: Mapping[str, Any]) -> ClusterOptions:
    """The options that stand on the line already."""
    return ClusterOptions(params.get("kubeconfig"), params.get("context"), params.get("namespace"))


def _quick(options: ClusterOptions) -> Api:
    access = detect(options.kubeconfig, options.context, os.environ)
    return Api(access, clock=SystemClock(), user_agent=f"mbcasctl/{__version__}", connect_timeout_s=PATIENCE_S)
