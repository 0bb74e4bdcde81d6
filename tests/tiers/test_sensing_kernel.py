"""Sensing on real cgroups with real burners: counters rise, incarnations differ, pressure is where it should be."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.kernel import Rig, a_rig, wait_until

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.readings import CpuSample
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.container import ContainerReader
from mbcasd.sensing.reader import CgroupReader
from mbcasd.sensing.tree import CgroupTree, kernel_version

pytestmark = pytest.mark.kernel


@pytest.fixture
def rig():
    with a_rig() as rig:
        yield rig


@pytest.fixture
def tree() -> CgroupTree:
    return CgroupTree.detect()


@contextlib.contextmanager
def a_reader(tree: CgroupTree, path: str) -> Iterator[CgroupReader]:
    reader = tree.open(tree.ref(path))
    try:
        yield reader
    finally:
        reader.close()


@contextlib.contextmanager
def beside_in_unified(tree: CgroupTree, rig: Rig, child: str) -> Iterator[Path]:
    """The child's directory below the mount that has pressure; on v2 that is the child itself."""
    unified = tree.mounts.unified
    if unified is None:
        pytest.skip("no cgroup2 mount: this host has no pressure per cgroup")
    directory = Path(unified + rig.path, child)
    if rig.is_v2:
        yield directory
        return
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        rig.stop_burning()
        wait_until(lambda: _is_empty(directory), 5, "its processes are gone")
        directory.rmdir()
        directory.parent.rmdir()


def _is_empty(directory: Path) -> bool:
    return "populated 0" in (directory / "cgroup.events").read_text()


def test_a_throttled_burners_counters_rise(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    rig.burn("web")
    with a_reader(tree, f"{rig.path}/web") as reader:
        before = reader.sample(time.monotonic())
        wait_until(lambda: reader.sample(0).throttled_periods >= before.throttled_periods + 10, 10, "ten are throttled")
        after = reader.sample(time.monotonic())
        elapsed_s = after.read_at_s - before.read_at_s
        used_usec = after.usage_usec - before.usage_usec
        # 200m of the time at most, and a quota more for the period that was under way.
        assert 0 < used_usec <= 0.2 * elapsed_s * 1e6 + 40_000
        # It ran 20 ms and was held 80 ms in each period; the last one may not be credited yet.
        assert after.throttled_usec - before.throttled_usec > 9 * 50_000
        assert after.periods - before.periods >= after.throttled_periods - before.throttled_periods


def test_the_limit_is_read_back_as_written(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 350)
    with a_reader(tree, f"{rig.path}/web") as reader:
        assert reader.limit().limit_milli == 350
        rig.write_limit("web", None)
        assert reader.limit().limit_milli is None
        assert reader.limit().period_usec == 100_000
        assert reader.limit().weight == (10_000 if rig.is_v2 else 262_144)


def test_burst_is_read_back_where_the_kernel_has_it(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    assert tree.has_burst() is (kernel_version() >= (5, 14))
    with a_reader(tree, f"{rig.path}/web") as reader:
        if not tree.has_burst():
            assert reader.limit().burst_usec is None
            return
        (rig.cpu / "web" / ("cpu.max.burst" if rig.is_v2 else "cpu.cfs_burst_us")).write_text("15000")
        assert reader.limit().burst_usec == 15_000


def test_a_vanished_cgroup_is_gone(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    with a_reader(tree, f"{rig.path}/web") as reader:
        reader.limit()
        rig.remove("web")
        for read in (lambda: reader.sample(0), reader.limit):
            with pytest.raises(CgroupGone):
                read()


def test_a_recreated_cgroup_is_another_one(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    old = tree.ref(f"{rig.path}/web")
    with a_reader(tree, old.path) as reader:
        rig.remove("web")
        rig.add("web", 300)
        with pytest.raises(CgroupGone):
            reader.sample(0)
    with pytest.raises(CgroupGone, match="made again"):
        tree.open(old)
    with a_reader(tree, old.path) as reader:
        assert reader.limit().limit_milli == 300


def test_children_appear_disappear_and_are_made_again(rig: Rig, tree: CgroupTree) -> None:
    rig.add("kept", None)
    rig.add("gone", None)
    rig.add("again", None)
    before = tree.children(rig.path)
    assert before == {name: tree.ref(f"{rig.path}/{name}") for name in ("kept", "gone", "again")}
    rig.remove("gone")
    rig.remove("again")
    rig.add("again", None)
    rig.add("new", None)
    after = tree.children(rig.path)
    assert set(after) == {"kept", "again", "new"}
    assert after["kept"] == before["kept"]
    # Made again under the same name: another incarnation.
    assert after["again"] != before["again"]


def test_a_cgroup_that_vanishes_between_listing_and_opening_is_gone(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", None)
    (ref,) = tree.children(rig.path).values()
    rig.remove("web")
    with pytest.raises(CgroupGone):
        tree.open(ref)


def test_any_mounted_path_leads_to_the_same_cgroup(rig: Rig, tree: CgroupTree) -> None:
    for root in rig.roots:
        assert tree.resolve(f"{root}{rig.path}") == rig.path


def test_pressure_rises_while_a_burner_is_held(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    with beside_in_unified(tree, rig, "web") as directory:
        (pid,) = rig.burn("web")
        (directory / "cgroup.procs").write_text(str(pid))
        with a_reader(tree, f"{rig.path}/web") as reader:
            before = reader.sample(0)
            if before.some_usec is None:
                pytest.skip("this kernel was started without PSI")
            wait_until(lambda: (reader.sample(0).some_usec or 0) > before.some_usec + 300_000, 10, "it has waited")
            wait_until(lambda: (reader.sample(0).full_usec or 0) > (before.full_usec or 0) + 300_000, 10, "all waited")


def test_pressure_without_processes_is_unknown_until_they_come(rig: Rig, tree: CgroupTree) -> None:
    if rig.is_v2:
        pytest.skip("on v2 pressure and limit share their processes")
    rig.add("web", 200)
    with beside_in_unified(tree, rig, "web") as directory:
        (pid,) = rig.burn("web")
        with a_reader(tree, f"{rig.path}/web") as reader:
            assert reader.sample(0).some_usec is None
            (directory / "cgroup.procs").write_text(str(pid))
            reader.limit()
            # A second later, when also a quiet one is read as a whole.
            assert reader.sample(1).some_usec is not None


def test_pressure_that_is_switched_off_leaves_the_rest_readable(rig: Rig, tree: CgroupTree) -> None:
    rig.add("web", 200)
    with beside_in_unified(tree, rig, "web") as directory:
        if not (directory / "cgroup.pressure").exists():
            pytest.skip("before Linux 6.1 pressure cannot be switched off for a cgroup")
        (pid,) = rig.burn("web")
        (directory / "cgroup.procs").write_text(str(pid))
        with a_reader(tree, f"{rig.path}/web") as reader:
            assert reader.sample(0).some_usec is not None
            (directory / "cgroup.pressure").write_text("0")
            sample = reader.sample(0)
            assert (sample.some_usec, sample.full_usec) == (None, None)
            wait_until(lambda: reader.sample(0).usage_usec > 0, 10, "its use is counted")


def test_a_parents_limit_is_told_apart_from_its_own(rig: Rig, tree: CgroupTree) -> None:
    rig.add("slice", 200)
    for root in rig.roots:
        if rig.is_v2:
            (rig.cpu / "slice/cgroup.subtree_control").write_text("+cpu")
        (root / rig.name / "slice/held").mkdir()
    try:
        rig.burn("slice/held")
        with a_reader(tree, f"{rig.path}/slice/held") as reader, a_reader(tree, f"{rig.path}/slice") as parent:
            wait_until(lambda: parent.sample(0).throttled_periods >= 5, 10, "the parent is throttled")
            sample = reader.sample(0)
            assert (sample.throttled_periods, sample.throttled_usec) == (0, 0)
            above_usec = reader.throttled_above_usec()
            if kernel_version() < (6, 6):
                assert above_usec is None
            else:
                assert above_usec is not None
                assert above_usec > 5 * 50_000
                assert parent.throttled_above_usec() == 0
    finally:
        rig.stop_burning()
        for root in rig.roots:
            wait_until(lambda root=root: _removed(root / rig.name / "slice/held"), 5, "it can be removed")


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def test_a_v1_cgroup_of_the_cpu_controller_alone_is_explained(rig: Rig, tree: CgroupTree) -> None:
    if len(rig.roots) < 2:
        pytest.skip("here usage and limit are one hierarchy")
    (rig.cpu / "lonely").mkdir()
    try:
        with pytest.raises(SensingError, match="its use is not counted"):
            tree.open(tree.ref(f"{rig.path}/lonely"))
    finally:
        (rig.cpu / "lonely").rmdir()


def test_the_node_uses_what_a_burner_uses(rig: Rig) -> None:
    rig.add("web", None)
    node = NodeReader()
    try:
        node.read()
        rig.burn("web")
        wait_until(lambda: rig.usage_s("web") > 0.5, 15, "it has burnt half a second")
        reading = node.read()
    finally:
        node.close()
    assert reading.usage_milli is not None
    assert 100 < reading.usage_milli <= 1000 * len(os.sched_getaffinity(0))


def test_a_lone_container_shows_all_its_throttling_whichever_of_the_two_quotas_held_it(
    rig: Rig, tree: CgroupTree
) -> None:
    # As the kubelet has it: the pod's quota is the sum of its containers'. The kernel takes whichever runs out first.
    rig.write_limit("", 680)
    rig.add("web", 680)
    rig.burn("web")
    reader = ContainerReader(tree.mounts, tree.ref(f"{rig.path}/web"), rig.path)
    try:
        reader.limit()
        samples: list[CpuSample] = []
        began_s = time.monotonic()
        for number in range(41):
            wait_until(lambda at_s=began_s + number * 0.1: time.monotonic() >= at_s, 5, "a tenth of a second")
            samples.append(reader.sample(time.monotonic()))
    finally:
        reader.close()
    after, before = samples[-1], samples[10]
    elapsed_s = after.read_at_s - before.read_at_s
    periods = after.periods - before.periods
    assert after.throttled_periods - before.throttled_periods >= 0.8 * periods
    assert 0.8 * periods <= elapsed_s / 0.1
    # It ran 68 ms and was held for 32 ms in each period.
    assert after.throttled_usec - before.throttled_usec == pytest.approx(0.32 * elapsed_s * 1e6, rel=0.2)
