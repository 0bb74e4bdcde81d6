from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.sensing.reader import CgroupReader


@pytest.fixture
def opened():
    readers: list[CgroupReader] = []

    def open_reader(tree: FakeTree, path: str) -> CgroupReader:
        cgroups = tree.tree()
        readers.append(cgroups.open(cgroups.ref(path)))
        return readers[-1]

    yield open_reader
    for reader in readers:
        reader.close()


@pytest.mark.parametrize("kind", ["v1", "joined"])
def test_v1_has_counters_and_limit_but_no_pressure(tmp_path: Path, opened, kind: str) -> None:
    fake = FakeTree(tmp_path / "cgroup fs", kind)
    fake.add("/demo/web")
    reader = opened(fake, "/demo/web")
    assert reader.sample(7.5) == CpuSample(7.5, 850_112, 41, 40, 3_832_783, None, None)
    assert reader.limit() == LimitReading(quota_usec=20_000, period_usec=100_000, burst_usec=10_000, weight=262_144)
    assert reader.limit().limit_milli == 200


def test_a_hybrid_host_has_pressure_below_the_other_mount(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    fake.add("/demo/web")
    assert opened(fake, "/demo/web").sample(1.0) == CpuSample(1.0, 850_112, 41, 40, 3_832_783, 3_614_341, 3_052_592)


def test_v2_has_all_in_one_place(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/demo/web")
    reader = opened(fake, "/demo/web")
    assert reader.sample(1.0) == CpuSample(1.0, 1_050_987, 51, 50, 4_422_367, 4_310_512, 3_711_529)
    assert reader.limit() == LimitReading(quota_usec=20_000, period_usec=100_000, burst_usec=10_000, weight=100)


def test_without_a_quota_there_is_no_limit(tmp_path: Path, opened) -> None:
    for kind in ("v1", "v2"):
        fake = FakeTree(tmp_path / kind, kind)
        fake.add("/idle", "idle")
        limit = opened(fake, "/idle").limit()
        assert (limit.quota_usec, limit.limit_milli, limit.period_usec) == (None, None, 100_000)


def test_where_the_cpu_controller_is_off_use_is_read_and_nothing_limits(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/bare", "off/bare")
    reader = opened(fake, "/bare")
    assert reader.sample(1.0).periods == 0
    assert reader.limit() == LimitReading(quota_usec=None, period_usec=100_000)


def test_a_kernel_without_burst_reads_as_one(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    (fake.add("/web") / "cpu.max.burst").unlink()
    assert opened(fake, "/web").limit().burst_usec is None


def test_a_changed_limit_is_read_back_and_an_unchanged_one_costs_no_parsing(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    directory = fake.add("/web")
    reader = opened(fake, "/web")
    first = reader.limit()
    assert reader.limit() is first
    (directory / "cpu.max").write_text("50000 100000\n")
    assert reader.limit().limit_milli == 500


def test_pressure_that_is_empty_or_switched_off_is_unknown_for_good(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    pressure = fake.add("/web") / "cpu.pressure"
    text = pressure.read_text()
    reader = opened(fake, "/web")
    pressure.write_text("")  # what EOPNOTSUPP is to a file without a kernel behind it
    assert reader.sample(1.0).some_usec is None
    pressure.write_text(text)
    assert reader.sample(2.0).some_usec is None


def test_pressure_of_a_directory_without_processes_says_nothing(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    fake.add("/web")
    events = tmp_path / "fs/unified/web/cgroup.events"
    events.write_text("populated 0\nfrozen 0\n")
    reader = opened(fake, "/web")
    assert reader.sample(1.0).some_usec is None
    # Its processes arrive; the next looks at the limit, one per second, find out.
    events.write_text("populated 1\nfrozen 0\n")
    reader.limit()
    assert reader.sample(2.0).some_usec == 3_614_341


def test_looking_for_pressure_gets_rare_but_never_stops(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    fake.add("/web")
    events = tmp_path / "fs/unified/web/cgroup.events"
    events.unlink()
    reader = opened(fake, "/web")
    for _ in range(1000):
        reader.limit()
    events.write_text("populated 1\nfrozen 0\n")
    looks = 0
    while reader.sample(float(looks)).some_usec is None:
        reader.limit()
        looks += 1
    assert looks <= 31


def test_time_throttled_by_a_parent_is_told_apart_from_its_own(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    fake.add("/parent", "parent")
    fake.add("/parent/held", "parent/held")
    held = opened(fake, "/parent/held")
    assert held.sample(1.0).throttled_usec == 0
    assert held.throttled_above_usec() == 1_785_171
    assert held.throttled_above_usec() == 1_785_171
    assert opened(fake, "/parent").throttled_above_usec() == 0


def test_older_kernels_do_not_tell_whose_limit_it_was(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")  # 6.1
    fake.add("/web")
    reader = opened(fake, "/web")
    assert reader.throttled_above_usec() is None
    assert reader.throttled_above_usec() is None


def test_a_malformed_file_is_an_error_and_the_next_sample_may_be_fine(tmp_path: Path, opened) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    stat = fake.add("/web") / "cpu.stat"
    text = stat.read_text()
    reader = opened(fake, "/web")
    stat.write_text("nonsense\n")
    with pytest.raises(SensingError, match=r"cpu\.stat is not in the expected form"):
        reader.sample(1.0)
    stat.write_text(text)
    assert reader.sample(2.0).periods == 51


def test_a_cgroup_that_vanished_between_listing_and_opening_is_gone(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    fake.add("/web")
    tree = fake.tree()
    ref = tree.ref("/web")
    fake.remove("/web")
    with pytest.raises(CgroupGone, match="does not exist any more"):
        tree.open(ref)


def test_a_recreated_cgroup_is_not_the_one_that_was_listed(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/web")
    tree = fake.tree()
    ref = tree.ref("/web")
    fake.recreate("/web")
    with pytest.raises(CgroupGone, match="made again"):
        tree.open(ref)


def test_a_cgroup_of_the_cpu_controller_alone_cannot_be_measured(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    fake.add("/web")
    (fake.cpuacct / "web/cpuacct.usage").unlink()
    tree = fake.tree()
    with pytest.raises(SensingError, match="its use is not counted; make it in the other hierarchy too: mkdir"):
        tree.open(tree.ref("/web"))


def test_more_workloads_than_handles_raise_the_soft_limit(tmp_path: Path, opened) -> None:
    import resource

    fake = FakeTree(tmp_path / "fs", "v1")
    fake.add("/web")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        samples = [opened(fake, "/web").sample(1.0) for _ in range(20)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(samples) == 20


def test_handles_are_given_back_also_when_opening_fails(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    (fake.add("/web") / "cpu.stat").unlink()
    tree = fake.tree()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(SensingError):
            tree.open(tree.ref("/web"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    fake.add("/web")
    tree = fake.tree()
    reader = tree.open(tree.ref("/web"))
    reader.close()
    reader.close()


def test_a_quiet_cgroup_is_read_as_a_whole_once_a_second_and_at_once_when_it_nears_its_quota(
    tmp_path: Path, opened
) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    cgroup = fake.add("/web")
    usage = tmp_path / "fs/cpuacct/web/cpuacct.usage"
    (cgroup / "cpu.cfs_quota_us").write_text("40000\n")
    usage.write_text("1000000000\n")
    reader = opened(fake, "/web")
    reader.limit()
    reader.sample(1.0)
    reader.sample(1.1)
    (cgroup / "cpu.stat").write_text("nr_periods 9\nnr_throttled 7\nthrottled_time 5000\n")

    # 2 ms of 40 ms: nothing can have been throttled, so nobody looks.
    usage.write_text("1002000000\n")
    assert reader.sample(1.2).throttled_periods != 7
    # 11 ms more are over a quarter of the quota.
    usage.write_text("1013000000\n")
    assert reader.sample(1.3).throttled_periods == 7

    # The period in which they fell may end now; then it is quiet, and a second later somebody looks all the same.
    assert reader.sample(1.4).throttled_periods == 7
    (cgroup / "cpu.stat").write_text("nr_periods 10\nnr_throttled 8\nthrottled_time 6000\n")
    assert reader.sample(1.5).throttled_periods == 7
    assert reader.sample(2.4).throttled_periods == 8

    # While it uses nothing at all nobody looks; once it does, within a second.
    (cgroup / "cpu.stat").write_text("nr_periods 11\nnr_throttled 9\nthrottled_time 7000\n")
    assert reader.sample(3.4).throttled_periods == 8
    usage.write_text("1013100000\n")
    assert reader.sample(3.5).throttled_periods == 9
