"""Which cgroup version a cluster's nodes have, as far as they can be asked.

No API says it. The kubelet counts it in its metrics, which the API server hands through to whoever may; where that
is not possible, version 2 is the answer for kubelets that refuse version 1 by default.
"""

import re
from concurrent.futures import ThreadPoolExecutor

from mbcasctl.cluster.reach import Cluster
from mbcasd.errors import ApiError, InstallError
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import Namespace

# Nodes of one cluster are alike; and each costs a request of a megabyte.
_MOST_ASKED = 8
# A kubelet that is asked for the first time, on a busy node, takes seconds.
_PATIENCE_S = 10.0
_METRIC = re.compile(rb"^kubelet_cgroup_version (\d)", re.MULTILINE)


def or_newest(wanted: str) -> str:
    """The version where there is nobody to ask."""
    return "v2" if wanted == "auto" else wanted


def choose(cluster: Cluster, wanted: str, installed: str | None) -> tuple[str, str]:
    """The version to install for, and what a person should know about how it was found (empty: nothing).

    Args:
        cluster: Which.
        wanted: "v1", "v2" or "auto".
        installed: What is there already; None: nothing.

    Raises:
        InstallError: Nodes differ.
    """
    if wanted != "auto":
        return wanted, ""
    if installed is not None:
        return installed, ""
    nodes = _nodes(cluster)
    if not nodes:
        return "v2", ""
    with ThreadPoolExecutor(_MOST_ASKED) as pool:
        found = set(filter(None, pool.map(lambda node: _version_of(cluster, node), nodes[:_MOST_ASKED])))
    if found == {"v1", "v2"}:
        raise InstallError(
            "some nodes have cgroup v1 and some v2, and one DaemonSet serves only one of them: bring all to v2, or "
            "say with --cgroup which of them shall have agents"
        )
    if found:
        return found.pop(), ""
    return "v2", "the nodes could not be asked for their cgroup version: taken for v2; if not, say --cgroup v1"


def _nodes(cluster: Cluster) -> list[str]:
    try:
        # Of a node only the name is needed, which every object has.
        return [node.metadata.name for node in list_all(cluster.api, "/api/v1/nodes", Namespace)]
    except ApiError:
        return []


def _version_of(cluster: Cluster, node: str) -> str:
    try:
        found = _METRIC.search(cluster.api.get(f"/api/v1/nodes/{node}/proxy/metrics", timeout_s=_PATIENCE_S))
    except ApiError:
        return ""
    return f"v{found[1].decode()}" if found else ""
