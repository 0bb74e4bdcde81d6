"""What only a real cgroup v2 can show: pressure beside the limit, `max`, and a controller that is off for children.

On a host with cgroup v1 these facts are tried in the virtual machine of `tests/vm`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rigs.kernel import Rig, a_daemon, a_rig, wait_until

from mbcasd.errors import ActuationError, ConfigError
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.readings import CpuSample
from mbcasd.sensing.tree import CgroupTree

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="this host has cgroup v1: see the tier v2"
    ),
]


@pytest.fixture
def rig():
    with a_rig() as rig:
        yield rig


@pytest.fixture
def tree() -> CgroupTree:
    return CgroupTree.detect()


def has_psi() -> bool:
    try:
        return bool(Path("/proc/pressure/cpu").read_text())
    except OSError:
        return False


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", program, *words], capture_output=True, text=True, check=False)


def test_one_mount_has_everything(tree: CgroupTree) -> None:
    mounts = tree.mounts
    assert mounts.version is CgroupVersion.V2
    assert (mounts.cpu, mounts.cpuacct, mounts.unified) == ("/sys/fs/cgroup",) * 3
    assert tree.systemd_mount == "/sys/fs/cgroup"
    assert tree.has_quota()


@pytest.mark.skipif(not has_psi(), reason="this kernel was started without PSI")
def test_every_counter_of_a_held_burner_rises(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    reader = tree.open(tree.ref(f"{rig.path}/web"))
    before = reader.sample(0)
    rig.burn("web")

    def risen(sample: CpuSample) -> bool:
        """Ten periods on, with pressure, which PSI adds up every two seconds and on every read."""
        assert sample.some_usec is not None
        assert sample.full_usec is not None
        return (
            sample.usage_usec > before.usage_usec
            and sample.periods >= before.periods + 10
            and sample.throttled_periods >= before.throttled_periods + 10
            and sample.throttled_usec > before.throttled_usec
            and sample.some_usec > (before.some_usec or 0)
            and sample.full_usec > (before.full_usec or 0)
        )

    wait_until(lambda: risen(reader.sample(0)), 10, "every counter has risen")
    reader.close()


@pytest.mark.skipif(not has_psi(), reason="this kernel was started without PSI")
def test_why_a_held_burner_waited_is_told_by_daemon_and_command(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path) as daemon:
        rig.burn("web")
        wait_until(lambda: (daemon.row("web")["stall_limit_ratio"] or 0) > 0.5, 10, "it waits for its own limit")
        row = daemon.row("web")
        assert row["stalled_s"] > 0
        assert sum(row[f"stall_{cause}_ratio"] for cause in ("limit", "neighbour", "self")) == pytest.approx(1)

        told = run("mbcasctl", "explain", "web", "--socket", str(daemon.socket))
        assert told.returncode == 0, told.stderr
        words = " ".join(told.stdout.split())
        assert re.search(r"it waited [0-9.]+ s: [0-9.]+ % for its own limit, [0-9.]+ % for neighbours", words), words
        judged = run("mbcasctl", "status", "--socket", str(daemon.socket))
        assert judged.returncode == 0, judged.stdout


@pytest.mark.skipif(has_psi(), reason="this kernel was started with PSI")
def test_without_psi_only_the_reasons_for_waiting_are_unknown(rig: Rig, tree: CgroupTree, tmp_path: Path) -> None:
    rig.add("web", 200)
    reader = tree.open(tree.ref(f"{rig.path}/web"))
    with a_daemon(rig, tmp_path) as daemon:
        rig.burn("web")
        wait_until(lambda: reader.sample(0).throttled_periods > 0, 10, "it is throttled")
        sample = reader.sample(0)
        assert (sample.some_usec, sample.full_usec) == (None, None)
        wait_until(lambda: (daemon.row("web")["need_milli"] or 0) > 200, 10, "its need is seen all the same")
        assert daemon.row("web")["stall_limit_ratio"] is None
        told = run("mbcasctl", "explain", "web", "--socket", str(daemon.socket))
        assert "why it waited is not known: this kernel has no PSI" in " ".join(told.stdout.split()), told
    reader.close()
    assert "start the kernel with psi=1" in " ".join(run("mbcasctl", "doctor").stdout.split())


def test_a_throttled_burner_is_raised_and_given_back(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    rig.add("free", None)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        rig.burn("web")
        wait_until(lambda: (rig.limit("web") or 0) > 400, 10, "its limit is raised")
        wait_until(lambda: rig.limit("free") is not None, 10, "the unlimited one got a limit")
        assert daemon.stop() == 0

    assert (rig.limit("web"), (rig.cpu / "free/cpu.max").read_text()) == (200, "max 100000\n")


def test_a_burst_follows_the_limit_and_is_given_back(rig: Rig, tree: CgroupTree, tmp_path: Path) -> None:
    if not tree.has_burst():
        pytest.skip("before Linux 5.14 unused quota does not carry over")
    rig.add("web", 200)
    burst = rig.cpu / "web" / "cpu.max.burst"
    burst.write_text("5000")
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        rig.burn("web")
        wait_until(lambda: (rig.limit("web") or 0) > 400, 10, "its limit is raised")
        assert daemon.stop() == 0

    assert (rig.limit("web"), burst.read_text().strip()) == (200, "5000")


def test_a_parents_smaller_limit_stops_no_write_but_holds_the_child(rig: Rig, tree: CgroupTree) -> None:
    (rig.cpu / "cpu.max").write_text("20000 100000")
    rig.add("web", 900)
    reader, parent = tree.open(tree.ref(f"{rig.path}/web")), tree.open(tree.ref(rig.path))
    rig.burn("web")
    wait_until(lambda: parent.sample(0).throttled_periods >= 10, 10, "the parent is throttled")
    assert reader.limit().limit_milli == 900
    # It never gets far enough for its own limit: the estimators must not take its parent's for it.
    assert reader.sample(0).throttled_periods <= 1
    reader.close()
    parent.close()


def test_children_without_the_controller_get_a_remedy(rig: Rig, tree: CgroupTree, tmp_path: Path) -> None:
    (rig.cpu / "cgroup.subtree_control").write_text("-cpu")
    (rig.cpu / "bare").mkdir()
    remedy = f"echo +cpu > {rig.cpu}/cgroup.subtree_control"

    refused = run("mbcasd", "local", "--parent", rig.path, "--state-dir", str(tmp_path), "--socket", f"{tmp_path}/s")
    assert (refused.returncode, remedy in refused.stderr) == (2, True), refused.stderr
    with pytest.raises(ConfigError, match="the cpu controller is off for the children"):
        tree.resolve(rig.path)
    bare = tree.ref(f"{rig.path}/bare")
    with pytest.raises(ActuationError) as unwritable:
        tree.check_writable(bare, "bare")
    assert remedy in str(unwritable.value)

    # It can be watched all the same: what it uses is counted.
    reader = tree.open(bare)
    assert reader.limit().limit_milli is None
    assert reader.sample(0).periods == 0
    reader.close()

    (rig.cpu / "cgroup.subtree_control").write_text("+cpu")
    assert tree.resolve(rig.path) == rig.path
