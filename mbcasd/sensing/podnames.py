"""Names of pods and containers on this node, without asking anybody: the kubelet's links to their logs have them.

    /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log

None of the three names may contain an underscore, so the form is unambiguous. The sandbox of a pod has no log.
"""

import os
import re
from typing import NamedTuple

LOGS = "/var/log/containers"

_LINK = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>[^_]+)-(?P<id>[0-9a-f]{64})\.log")


class ContainerName(NamedTuple):
    """How people call a container."""

    namespace: str
    pod: str
    container: str


def parse_link(name: str) -> tuple[str, ContainerName] | None:
    """Container id and names in a link's name; None: it is no such link."""
    match = _LINK.fullmatch(name)
    if match is None:
        return None
    return match["id"], ContainerName(match["namespace"], match["pod"], match["container"])


def read(directory: str = LOGS) -> dict[str, ContainerName]:
    """List the names of all containers by id; empty where there is no kubelet, or its logs may not be listed."""
    try:
        links = os.listdir(directory)
    except OSError:
        return {}
    return dict(parsed for link in links if (parsed := parse_link(link)) is not None)
