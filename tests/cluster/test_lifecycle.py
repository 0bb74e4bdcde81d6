"""A cluster takes nothing from the machine that it does not give back, however it ends, and lives beside others."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.instance import PREFIX, hierarchies
from cluster.pods import a_pod
from cluster.polling import poll_until

pytestmark = pytest.mark.node

TESTS = Path(__file__).parents[1]
# Where kubelet, containerd and CNI would write on a machine of their own.
FIXED_PATHS = [
    *("/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/log/pods", "/var/log/containers"),
    *("/run/containerd", "/run/netns", "/usr/libexec/kubernetes", "/etc/cni", "/opt/cni", "/opt/containerd"),
]
HELD_BY_A_TEST = """
import sys
from cluster.cluster import Cluster
from cluster.pods import a_pod
with Cluster(nodes=1) as cluster, cluster.namespace() as namespace:
    cluster.pods.start(namespace, a_pod("burning"))
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder for everything in this test; of a short name, since sockets stand in it."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


def what_remains(folder: Path) -> list[str]:
    """Files, cgroups, mounts and processes of clusters in this folder."""
    names = {path.name for path in folder.iterdir()}
    found = [str(path) for path in folder.iterdir()]
    found += [str(cgroup) for root in hierarchies() for cgroup in root.glob(f"{PREFIX}*") if cgroup.name in names]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mounts = (process / "mountinfo").read_text()
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
        if f"{folder}/" in mounts:
            found.append(f"a mount that process {process.name} sees")
    return found


def fixed_paths() -> list[str]:
    return [path for path in FIXED_PATHS if Path(path).exists()]


def cgroups_of_clusters() -> set[Path]:
    return {cgroup for root in hierarchies() for cgroup in root.glob(f"{PREFIX}*")}


def test_nothing_remains_of_a_cluster_that_was_ended(folder: Path) -> None:
    before = fixed_paths()
    with Cluster(nodes=1) as cluster:
        name = cluster.instance.name
        cluster.pods.start("default", a_pod("burning"))
        assert len(what_remains(folder)) > 5

    assert what_remains(folder) == []
    assert not [cgroup for cgroup in cgroups_of_clusters() if cgroup.name == name]
    assert fixed_paths() == before


def test_what_a_killed_owner_leaves_is_removed_by_the_next_one(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD_BY_A_TEST], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.kill()
    (left,) = folder.iterdir()
    # Linux ends its processes with it; files and cgroups cannot go by themselves.
    poll_until(lambda: what_remains(folder) == [str(left), *cgroups(left)], 10, lambda: str(what_remains(folder)))

    down = subprocess.run(
        [sys.executable, "-m", "cluster", "down"], cwd=TESTS, capture_output=True, text=True, check=True, timeout=60
    )
    assert down.stdout == "No cluster was up.\n"
    assert what_remains(folder) == []
    assert not cgroups(left)


def cgroups(instance: Path) -> list[str]:
    return [str(root / instance.name) for root in hierarchies() if (root / instance.name).exists()]


def test_people_get_one_cluster_and_are_told_when_it_is_up_already(folder: Path) -> None:
    def say(action: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cluster", action],
            cwd=TESTS,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    first = say("up")
    assert "2 Ready nodes, up in " in first
    kubeconfig = next(line.split("=")[1] for line in first.splitlines() if "export KUBECONFIG=" in line)
    kubectl = next(line.split()[0] for line in first.splitlines() if line.endswith(" get nodes"))
    environ = os.environ | {"KUBECONFIG": kubeconfig}
    nodes = subprocess.run(
        [kubectl, "get", "nodes"], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert nodes.stdout.count(" Ready ") == 2

    second = say("up")
    assert second.startswith("The cluster is already up.\n")
    assert kubeconfig in second

    assert "nothing of it is left" in say("down")
    assert what_remains(folder) == []
    assert say("down") == "No cluster was up.\n"


def test_two_clusters_do_not_meet(cluster: Cluster, folder: Path) -> None:
    with Cluster(nodes=1) as other, other.namespace() as namespace, cluster.namespace() as name_of_ours:
        other.pods.start(namespace, a_pod("theirs"))
        cluster.pods.start(name_of_ours, a_pod("ours", node="node-1"))

        assert other.server != cluster.server
        assert other.cgroup_root("node-1") != cluster.cgroup_root("node-1")
        pods = cluster.get("/api/v1/pods")["items"]
        assert "theirs" not in {pod["metadata"]["name"] for pod in pods}

    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("still", node="node-1"))


def test_a_cluster_that_is_told_to_end_while_it_starts_leaves_nothing(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "cluster", "keep"], cwd=TESTS, stdout=subprocess.PIPE) as keeper:
        poll_until(lambda: any(folder.glob(f"{PREFIX}*/node-1/ready")), 30, lambda: "its first node starts")
        keeper.send_signal(signal.SIGTERM)
        keeper.wait(30)

    assert what_remains(folder) == []
