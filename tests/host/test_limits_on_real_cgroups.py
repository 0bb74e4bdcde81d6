"""Real cgroups, real burners, real counters. Shares are raised, because the machine may be busy with other things."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mbcasd.clock import SystemClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import RestoreResult, restore
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus

pytestmark = pytest.mark.kernel

MOST_SHARES = 262_144  # v1; v2's highest weight is 10000


class RealTree:
    """A parent of its own in the real hierarchies, and what runs in it."""

    def __init__(self, name: str) -> None:
        v1 = Path("/sys/fs/cgroup/cpu")
        self.is_v1 = (v1 / "cpu.shares").exists()
        cpu = v1 if self.is_v1 else Path("/sys/fs/cgroup")
        cpuacct = Path("/sys/fs/cgroup/cpuacct") if self.is_v1 else cpu
        self.mounts = CgroupMounts(
            version=CgroupVersion.V1 if self.is_v1 else CgroupVersion.V2, cpu=str(cpu), cpuacct=str(cpuacct)
        )
        self.parent = f"/{name}"
        self.burners: list[subprocess.Popen[bytes]] = []
        self._made: list[Path] = []
        self.make(self.parent)

    def make(self, path: str, *, quota: int | None = None) -> CgroupRef:
        for root in {self.mounts.cpu, self.mounts.cpuacct}:
            directory = Path(root + path)
            if not directory.exists():
                directory.mkdir()
                self._made.append(directory)
        here = self.directory(path)
        if self.is_v1:
            (here / "cpu.shares").write_text(str(MOST_SHARES))
        else:
            # Only a cgroup whose parent hands the controller down has files of it.
            (here.parent / "cgroup.subtree_control").write_text("+cpu")
            (here / "cpu.weight").write_text("10000")
        if quota is not None:
            self.write_quota(path, quota)
        return self.ref(path)

    def ref(self, path: str) -> CgroupRef:
        return CgroupRef(path=path, inode=self.directory(path).stat().st_ino)

    def directory(self, path: str) -> Path:
        return Path(self.mounts.cpu + path)

    def recreate(self, path: str, *, quota: int) -> CgroupRef:
        for root in {self.mounts.cpu, self.mounts.cpuacct}:
            Path(root + path).rmdir()
            self._made.remove(Path(root + path))
        return self.make(path, quota=quota)

    def write_quota(self, path: str, quota: int) -> None:
        """What the owner or a stranger does."""
        if self.is_v1:
            (self.directory(path) / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.directory(path) / "cpu.max").write_text("max" if quota < 0 else str(quota))

    def quota(self, path: str) -> int:
        """-1: unlimited."""
        if self.is_v1:
            return int((self.directory(path) / "cpu.cfs_quota_us").read_text())
        return int((self.directory(path) / "cpu.max").read_text().split()[0].replace("max", "-1"))

    def burst(self, path: str) -> int | None:
        file = self.directory(path) / ("cpu.cfs_burst_us" if self.is_v1 else "cpu.max.burst")
        return int(file.read_text()) if file.exists() else None

    def usage_s(self, path: str) -> float:
        if self.is_v1:
            return int(Path(self.mounts.cpuacct + path, "cpuacct.usage").read_text()) / 1e9
        return int((self.directory(path) / "cpu.stat").read_text().split()[1]) / 1e6

    def burn(self, path: str) -> None:
        burner = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
        self.burners.append(burner)
        for root in {self.mounts.cpu, self.mounts.cpuacct}:
            Path(root + path, "cgroup.procs").write_text(str(burner.pid))

    def remove(self) -> None:
        for burner in self.burners:
            burner.kill()
            burner.wait()
        deadline_s = time.monotonic() + 5
        for directory in reversed(self._made):
            while directory.exists() and time.monotonic() < deadline_s:
                # A killed burner leaves its cgroup a moment after it was waited for.
                with contextlib.suppress(OSError):
                    directory.rmdir()
                time.sleep(0.01)


@pytest.fixture
def real() -> Iterator[RealTree]:
    tree = RealTree(f"mbcas-test-{os.getpid()}-host")
    try:
        yield tree
    finally:
        tree.remove()


@pytest.fixture
def actuator(real: RealTree, ledger: Ledger) -> CgroupActuator:
    return CgroupActuator(real.mounts, ledger, SystemClock())


def submit(
    actuator: CgroupActuator, cgroup: CgroupRef, to_milli: float | None, *, burst: bool = False
) -> ResizeOutcome:
    workload = WorkloadId("test", cgroup.path)
    actuator.submit(Resize(workload=workload, cgroup=cgroup, from_milli=None, to_milli=to_milli, burst=burst))
    (outcome,) = actuator.collect()
    return outcome


def used_ratio(real: RealTree, path: str, *, over_s: float, meanwhile: Callable[[], None] = lambda: None) -> float:
    """CPUs used over a while, `meanwhile` being done ten times per second."""
    began_s, used_s = time.monotonic(), real.usage_s(path)
    while (elapsed_s := time.monotonic() - began_s) < over_s:
        meanwhile()
        time.sleep(0.1)
    return (real.usage_s(path) - used_s) / elapsed_s


def test_a_resize_takes_effect_and_its_burst_never_exceeds_the_quota(real: RealTree, actuator: CgroupActuator) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    has_burst = real.burst(web.path) is not None

    for milli in (800, 200, 1500, 10, 30, 700):
        outcome = submit(actuator, web, milli, burst=True)
        assert outcome.status is ResizeStatus.APPLIED, outcome.detail
        assert real.quota(web.path) == milli * 100
        assert real.burst(web.path) == (milli * 100 if has_burst else None)
    outcome = submit(actuator, web, 300)
    assert outcome.status is ResizeStatus.APPLIED
    assert outcome.limit is not None
    assert outcome.limit.limit_milli == 300
    assert real.burst(web.path) == (0 if has_burst else None)


def test_asking_for_what_is_in_force_hands_out_nothing(real: RealTree, actuator: CgroupActuator) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    real.burn(web.path)
    submit(actuator, web, 200)
    time.sleep(0.2)  # the write itself refilled the quota once
    writes = actuator.writes

    ratio = used_ratio(real, web.path, over_s=2, meanwhile=lambda: submit(actuator, web, 200) and None)

    # With a rewrite each time it would be 0.4: every write refills the quota.
    assert ratio <= 0.2 * 1.12
    assert actuator.writes == writes == 1


def test_the_leak_of_real_writes_stays_within_what_is_counted(real: RealTree, actuator: CgroupActuator) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    real.burn(web.path)
    submit(actuator, web, 200)
    time.sleep(0.2)
    used_s, leaked_usec, began_s = real.usage_s(web.path), actuator.leaked_usec, time.monotonic()
    milli = 200
    while time.monotonic() - began_s < 1.5:
        milli = 410 - milli  # 200 and 210 in turn
        submit(actuator, web, milli)
        time.sleep(0.1)
    elapsed_s = time.monotonic() - began_s

    over_s = real.usage_s(web.path) - used_s - 0.21 * elapsed_s
    # One period more than its share may lie in the window (21 ms), and a CPU keeps slices of 5 ms.
    assert over_s <= (actuator.leaked_usec - leaked_usec) / 1e6 + 0.05


def test_a_real_rewrite_by_somebody_else_is_reported_and_not_fought(real: RealTree, actuator: CgroupActuator) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    submit(actuator, web, 300)
    real.write_quota(web.path, 70_000)

    for _ in range(3):
        outcome = submit(actuator, web, 400)
        assert outcome.status is ResizeStatus.DRIFTED
        assert real.quota(web.path) == 70_000


def test_a_really_recreated_cgroup_is_not_touched(real: RealTree, actuator: CgroupActuator, ledger: Ledger) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    submit(actuator, web, 300)
    real.recreate(web.path, quota=30_000)

    assert submit(actuator, web, 400).status is ResizeStatus.GONE
    assert restore(ledger, real.mounts).cgroups == ()
    assert real.quota(web.path) == 30_000


def test_a_cgroup_removed_behind_an_open_handle_is_gone(real: RealTree, actuator: CgroupActuator) -> None:
    web = real.make(f"{real.parent}/web", quota=50_000)
    for root in {real.mounts.cpu, real.mounts.cpuacct}:
        Path(root + web.path).rmdir()

    outcome = submit(actuator, web, 300)

    assert outcome.status is ResizeStatus.GONE
    assert web.path in outcome.detail


def test_a_v1_parent_in_the_way_is_named(real: RealTree, actuator: CgroupActuator) -> None:
    if not real.is_v1:
        pytest.skip("v2 takes the smaller of parent and child without a word")
    real.write_quota(real.parent, 50_000)
    web = real.make(f"{real.parent}/web", quota=40_000)

    outcome = submit(actuator, web, 600, burst=True)

    assert outcome.status is ResizeStatus.FAILED
    assert f"its parent {real.parent} is limited to 500m" in outcome.detail
    assert "raise the parent's limit first" in outcome.detail
    assert (real.quota(web.path), real.burst(web.path)) == (40_000, 0)


def test_a_v1_child_in_the_way_is_named_and_the_burst_is_taken_back(real: RealTree, actuator: CgroupActuator) -> None:
    if not real.is_v1:
        pytest.skip("v2 takes the smaller of parent and child without a word")
    web = real.make(f"{real.parent}/web", quota=50_000)
    submit(actuator, web, 500, burst=True)
    real.make(f"{web.path}/child", quota=40_000)

    outcome = submit(actuator, web, 300, burst=True)

    assert outcome.status is ResizeStatus.FAILED
    assert f"its child {web.path}/child is limited to 400m" in outcome.detail
    assert (real.quota(web.path), real.burst(web.path)) == (50_000, 50_000)


def test_a_parent_and_its_child_are_put_back_in_whatever_order_works(
    real: RealTree, actuator: CgroupActuator, ledger: Ledger
) -> None:
    parent, raised = real.make(f"{real.parent}/p", quota=80_000), real.make(f"{real.parent}/q", quota=30_000)
    child, grown = real.make(f"{parent.path}/c", quota=60_000), real.make(f"{raised.path}/c", quota=20_000)
    # Down: the child first. It comes first in the ledger too, but back up it must wait for its parent.
    for cgroup, milli in ((child, 200), (parent, 300), (raised, 900), (grown, 800)):
        assert submit(actuator, cgroup, milli, burst=True).status is ResizeStatus.APPLIED

    report = restore(ledger, real.mounts)

    assert [entry.result for entry in report.cgroups] == [RestoreResult.RESTORED] * 4
    assert [real.quota(cgroup.path) for cgroup in (parent, child, raised, grown)] == [80_000, 60_000, 30_000, 20_000]


MOVES_FOR_EVER = """
import sys
from mbcasd.clock import SystemClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.resizing import Resize

state, version, cpu, *cgroups = sys.argv[1:]
mounts = CgroupMounts(version=CgroupVersion(version), cpu=cpu, cpuacct=cpu)
actuator = CgroupActuator(mounts, Ledger(state), SystemClock())
milli = 100
while True:
    milli = 100 if milli > 900 else milli + 10
    for inode, path in (cgroup.split(":", 1) for cgroup in cgroups):
        cgroup = CgroupRef(path=path, inode=int(inode))
        actuator.submit(
            Resize(workload=WorkloadId("", path), cgroup=cgroup, from_milli=None, to_milli=milli, burst=True)
        )
    if any(outcome.status.value != "applied" for outcome in actuator.collect()):
        sys.exit("a resize was not applied")
    print("moved", flush=True)
"""


@pytest.mark.parametrize("after_rounds", [1, 7, 40])
def test_after_kill_9_the_owners_limits_come_back(real: RealTree, tmp_path: Path, after_rounds: int) -> None:
    owned = {f"{real.parent}/limited": 50_000, f"{real.parent}/unlimited": -1}
    cgroups = [real.make(path, quota=quota) for path, quota in owned.items()]
    names = [f"{cgroup.inode}:{cgroup.path}" for cgroup in cgroups]
    state = tmp_path / "state"
    arguments = [sys.executable, "-c", MOVES_FOR_EVER, str(state), real.mounts.version.value, real.mounts.cpu, *names]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        for _ in range(after_rounds):
            assert daemon.stdout.readline() == "moved\n"
        daemon.send_signal(signal.SIGKILL)
    assert any(real.quota(path) != quota for path, quota in owned.items())

    for expected in (RestoreResult.RESTORED, None):
        ledger = Ledger.reopen(state)
        assert ledger is not None
        report = restore(ledger, real.mounts)
        ledger.close()
        assert {entry.result for entry in report.cgroups} <= {expected}
        assert {path: real.quota(path) for path in owned} == owned
        assert {real.burst(path) for path in owned} <= {0, None}
