"""Tiers: which real things this machine has, and a last word about what was left out.

A test that needs a real thing carries the tier's marker. Where the thing is missing the test is skipped and
the last lines say so; with CI set, or `--require-tiers`, a tier left out fails the run.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import cluster as nodes
from cluster import control_plane as kubernetes
from cluster import programs, virtual_node
from hypothesis import HealthCheck, settings
from rigs import monitoring
from vm import machine

settings.register_profile("mbcas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mbcas")


def _kernel_is_missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root to make cgroups"
    v1 = (
        Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists()
        or any(Path("/sys/fs/cgroup").glob("cpu*/*/cpu.cfs_quota_us"))
        or Path("/sys/fs/cgroup/cpu/cpu.shares").exists()
    )
    v2 = (
        "cpu" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
        if Path("/sys/fs/cgroup/cgroup.controllers").exists()
        else False
    )
    return None if v1 or v2 else "no cgroup hierarchy with a cpu controller"


def _shells_are_missing() -> str | None:
    missing = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def _terminal_is_missing() -> str | None:
    return None if shutil.which("tmux") else "not installed: tmux"


def _binary_is_missing() -> str | None:
    binary = Path(__file__).parent.parent / "dist" / "mbcas"
    return None if binary.exists() else "not built: run `make build`"


def _mounts_are_missing() -> str | None:
    return None if os.geteuid() == 0 and shutil.which("mount") else "needs root to mount a small file system"


TIERS = {
    "kernel": _kernel_is_missing,
    "v2": machine.missing,
    "shells": _shells_are_missing,
    "terminal": _terminal_is_missing,
    "mounts": _mounts_are_missing,
    "binary": _binary_is_missing,
    "monitoring": monitoring.missing,
    "node": nodes.missing,
    "node_v2": lambda: nodes.missing() or virtual_node.missing(),
    "control_plane": lambda: kubernetes.missing() or kubernetes.missing(programs.OLDEST),
}

_left_out: dict[str, str] = {}
_ran: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-tiers",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="a tier that cannot run here fails the run (the default where CI is set)",
    )


# These share a Kubernetes that runs from the first to the last of them, and costs CPU: they come last.
OF_A_CLUSTER = ("control_plane", "node", "node_v2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: any(item.get_closest_marker(tier) for tier in OF_A_CLUSTER))
    reasons = {tier: missing() for tier, missing in TIERS.items()}
    for item in items:
        for tier, reason in reasons.items():
            if item.get_closest_marker(tier) is None:
                continue
            if reason is None:
                _ran[tier] += 1
            else:
                _left_out[tier] = reason
                item.add_marker(pytest.mark.skip(reason=f"tier {tier}: {reason}"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _left_out and session.config.getoption("--require-tiers") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for tier, count in _ran.items():
        terminalreporter.line(f"tier {tier}: {count} tests")
    for tier, reason in _left_out.items():
        terminalreporter.line(f"tier {tier}: LEFT OUT, {reason}", red=True)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[kubernetes.ControlPlane]:
    """A real API server of the newest Kubernetes; tests take namespaces or names of their own in it."""
    with kubernetes.ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def control_plane_oldest() -> Iterator[kubernetes.ControlPlane]:
    """The same, of the oldest Kubernetes that is supported."""
    with kubernetes.ControlPlane(programs.OLDEST) as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[nodes.Cluster]:
    """A whole Kubernetes with two real nodes; tests take namespaces of their own in it."""
    with nodes.Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def node_v2(cluster: nodes.Cluster) -> Iterator[str]:
    """The name of a third node of the cluster, with cgroup v2; slow, and gone when the module's tests are done."""
    with cluster.with_virtual_node() as name:
        yield name
