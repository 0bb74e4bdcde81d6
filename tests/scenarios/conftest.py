"""What scenarios start from: MBCAS's API in a control plane or cluster, proxies before it, fleets of pods."""

import itertools
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from faults import certificates
from faults.proxy import Proxy
from scenarios import grounds, recoveries
from scenarios.fleet import Door, Fleet, Kubelets
from scenarios.grounds import Grounds

_numbers = itertools.count(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in recoveries.table():
        terminalreporter.line(line)


def proxy_before(plane: ControlPlane) -> Proxy:
    """A proxy that sees the requests to this API server."""
    parts = urlsplit(plane.server)
    serving = certificates.Certificate(plane.pki.server_cert, plane.pki.server_key).serving()
    address = (parts.hostname or "", parts.port or 443)
    return Proxy(address, serving=serving, calling=certificates.calling(plane.ca_file))


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """An API server of its own that knows PodAllocations, without rules about who writes them: tests play agents."""
    with ControlPlane() as plane:
        grounds.define_podallocations(plane)
        yield plane


@pytest.fixture
def door(plane: ControlPlane) -> Door:
    return Door(plane.server, plane.ca_file, plane.pki.tokens["admin"])


@pytest.fixture
def fleet(door: Door) -> Iterator[Fleet]:
    """Three pods that run, with kubelets that do what they are told."""
    fleet = Fleet(door, 3, namespace=f"fleet-{next(_numbers)}")
    with Kubelets(fleet):
        yield fleet
    fleet.remove()


@pytest.fixture
def a_proxy(plane: ControlPlane) -> Iterator[Callable[[], Proxy]]:
    """Makes proxies before the control plane."""
    made: list[Proxy] = []

    def make() -> Proxy:
        made.append(proxy_before(plane))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="module")
def ground(cluster: Cluster) -> Iterator[Grounds]:
    """The real cluster with everything of MBCAS but its pods."""
    with grounds.prepared(cluster) as prepared:
        yield prepared


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh one that is opted in."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """One before the cluster."""
    proxy = proxy_before(cluster)
    yield proxy
    proxy.close()
