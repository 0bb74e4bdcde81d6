"""Where a picture comes from: a daemon's Unix socket, its URL, a record on disk, or all the nodes of a cluster.

Each adapter gives the same `NodeSnapshot`, so that a view never knows which one it was. Only reading happens here;
a source changes nothing.
"""

import os
from typing import TYPE_CHECKING, Protocol

from mbcasd import places

if TYPE_CHECKING:
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasd.model.snapshot import NodeSnapshot

DEFAULT_RECORD = places.record_path(os.environ)
DEFAULT_SOCKET = places.socket_path(os.environ)


class Source(Protocol):
    """Gives one node's picture after the other."""

    @property
    def place(self) -> str:
        """Where it looks, for people: a path or a URL."""

    def snapshot(self) -> "NodeSnapshot":
        """The node as it is now.

        Raises:
            SourceError: Nothing answers, or not with a picture; asking again later may help.
            RecordError: The record cannot be read.
        """


def means_cluster(cluster: "ClusterOptions", socket: str | None, url: str | None, record: str | None = None) -> bool:
    """Whether a command that looks at a node or at a cluster means the cluster.

    Raises:
        ConfigError: Options of both were given.
    """
    from pathlib import Path

    from mbcasctl.cluster import options

    host = {"--socket": socket, "--url": url, "--record": record}
    return options.means_cluster(cluster, host, lives_here=Path(DEFAULT_SOCKET).exists(), environ=os.environ)


def open_cluster(cluster: "ClusterOptions") -> Source:
    """All nodes of a cluster, as one picture.

    Raises:
        ConfigError: There is no kubeconfig, or it is wrong.
    """
    from mbcasctl.cluster.reach import connect
    from mbcasctl.sources.cluster import ClusterSource

    return ClusterSource(connect(cluster), cluster.namespace)


def open_source(socket: str | None = None, url: str | None = None, record: str | None = None) -> Source:
    """Choose the source that the options of a command name; without any, the daemon's usual Unix socket.

    Args:
        socket: Path of the daemon's Unix socket.
        url: `http://HOST:PORT` of a daemon that was started with --metrics-address; `HOST` alone means port 9102.
        record: Path of a record that a daemon wrote.

    Raises:
        ConfigError: More than one was named, or one cannot be used as it is written.
    """
    from mbcasd.errors import ConfigError

    named = [flag for flag, value in (("--socket", socket), ("--url", url), ("--record", record)) if value is not None]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} exclude each other: name one place to look at")
    if record is not None:
        from mbcasctl.sources.record import RecordSource

        return RecordSource(record)

    from mbcasctl.sources import daemon

    return daemon.over_url(url) if url is not None else daemon.over_socket(DEFAULT_SOCKET if socket is None else socket)
