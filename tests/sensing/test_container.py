"""What a pod's limit holds back counts for the container that wants more, and for nobody else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.readings import CpuSample
from mbcasd.sensing.reader import CgroupReader

POD = "/kubepods/burstable/pod12345678-1234-1234-1234-123456789abc"
CONTAINER = f"{POD}/{'c' * 64}"
QUOTA_USEC, PERIOD_USEC = 50_000, 100_000


class Cgroup:
    """Counters of a cgroup that only the test moves."""

    def __init__(self, fake: FakeTree, path: str, *, has_local: bool) -> None:
        self._is_v2, self.directory, self._has_local = fake.kind == "v2", fake.add(path), has_local
        self._usage_usec, self._counters, self._local_usec = 0, (0, 0, 0), 0
        self._cpuacct = fake.cpuacct / path.strip("/")
        (self.directory / "cpu.stat.local").unlink(missing_ok=True)
        if self._is_v2:
            (self.directory / "cpu.max").write_text(f"{QUOTA_USEC} {PERIOD_USEC}\n")
        else:
            (self.directory / "cpu.cfs_quota_us").write_text(f"{QUOTA_USEC}\n")
        self.moves()

    def moves(self, used_usec: int = 0, *, periods: int = 0, throttled: int = 0, usec: int = 0, local: int = 0) -> None:
        """Let its counters grow: `usec` by its own limit, `local` microseconds by any."""
        self._usage_usec += used_usec
        self._counters = tuple(map(sum, zip(self._counters, (periods, throttled, usec), strict=True)))
        self._local_usec += local
        all_periods, all_throttled, all_usec = self._counters
        text, local_text = f"nr_periods {all_periods}\nnr_throttled {all_throttled}\n", "throttled_"
        if self._is_v2:
            text = f"usage_usec {self._usage_usec}\nuser_usec 0\nsystem_usec 0\n{text}throttled_usec {all_usec}\n"
            local_text += f"usec {self._local_usec}\n"
        else:
            text += f"throttled_time {all_usec * 1000}\n"
            local_text += f"time {self._local_usec * 1000}\n"
            (self._cpuacct / "cpuacct.usage").write_text(f"{self._usage_usec * 1000}\n")
        (self.directory / "cpu.stat").write_text(text)
        if self._has_local:
            (self.directory / "cpu.stat.local").write_text(local_text)


class Watched:
    """A container and its pod, with a reader that is asked every 100 ms."""

    def __init__(self, fake: FakeTree, *, has_local: bool) -> None:
        self.has_local = has_local
        self.pod, self.container = (Cgroup(fake, path, has_local=has_local) for path in (POD, CONTAINER))
        tree = fake.tree()
        self.reader: CgroupReader = tree.open_container(tree.ref(CONTAINER))
        self.reader.limit()
        self._now_s = 100.0
        self.first = self.sample()

    def sample(self, after_s: float = 0.1) -> CpuSample:
        self._now_s += after_s
        return self.reader.sample(self._now_s)

    def grown(self) -> tuple[int, int, int]:
        """Periods, throttled ones, and throttled microseconds since the beginning."""
        now = self.sample()
        return (
            now.periods - self.first.periods,
            now.throttled_periods - self.first.throttled_periods,
            now.throttled_usec - self.first.throttled_usec,
        )


@pytest.fixture(params=["v1", "v1 before 6.6", "v2", "v2 before 6.6"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    kind, _, old = request.param.partition(" ")
    watched = Watched(FakeTree(tmp_path / "fs", kind), has_local=not old)
    yield watched
    watched.reader.close()


def test_what_its_pod_held_back_counts_for_a_container_that_used_up_its_quota(watched: Watched) -> None:
    watched.container.moves(50_000, periods=1, local=50_000)
    watched.pod.moves(50_000, periods=1, throttled=1, usec=50_000)

    assert watched.grown() == (1, 1, 50_000)


def test_a_period_that_both_held_one_after_the_other_counts_once_with_the_time_of_both(watched: Watched) -> None:
    watched.container.moves(50_000, periods=1, throttled=1, usec=10_000, local=50_000)
    watched.pod.moves(50_000, periods=1, throttled=1, usec=40_000)

    # Where the kernel does not tell, time may be missing, but never counts twice.
    assert watched.grown() == (1, 1, 50_000 if watched.has_local else 40_000)


def test_time_for_which_both_held_it_counts_once_whoever_tells_first(watched: Watched) -> None:
    for _ in range(5):
        watched.container.moves(50_000, periods=1, throttled=1, usec=50_000)
        watched.sample()
        watched.container.moves(local=50_000)
        watched.pod.moves(50_000, periods=1, throttled=1, usec=50_000)
        watched.sample()

    assert watched.grown()[2] == 5 * 50_000


def test_what_was_before_it_was_watched_does_not_count(tmp_path: Path) -> None:
    for has_local in (True, False):
        fake = FakeTree(tmp_path / f"fs-{has_local}", "v2")
        pod, container = (Cgroup(fake, path, has_local=has_local) for path in (POD, CONTAINER))
        pod.moves(50_000, periods=9, throttled=9, usec=900_000)
        container.moves(50_000, periods=9, throttled=9, usec=500_000, local=800_000)
        tree = fake.tree()
        reader = tree.open_container(tree.ref(CONTAINER))
        reader.limit()
        assert reader.sample(1.0).throttled_usec == 500_000
        container.moves(50_000, periods=1, local=50_000)
        pod.moves(50_000, periods=1, throttled=1, usec=50_000)
        assert reader.sample(1.1).throttled_usec == 550_000
        reader.close()


def test_what_its_own_limit_held_back_counts_as_ever(watched: Watched) -> None:
    watched.container.moves(50_000, periods=1, throttled=1, usec=50_000, local=50_000)

    assert watched.grown() == (1, 1, 50_000)


def test_a_calm_container_beside_a_hungry_one_is_not_blamed(watched: Watched) -> None:
    for _ in range(5):
        watched.container.moves(15_000, periods=1, local=50_000)
        watched.pod.moves(50_000, periods=1, throttled=1, usec=50_000)
        assert watched.grown()[1:] == (0, 0)


def test_what_its_pod_was_held_for_a_neighbour_before_is_forgotten(watched: Watched) -> None:
    watched.container.moves(50_000, periods=1, local=550_000)
    watched.pod.moves(550_000, periods=11, throttled=11, usec=550_000)

    # Two periods are all that can have been since the last reading.
    assert watched.grown() == (2, 2, 100_000)


def test_after_a_second_without_reading_all_of_it_counts(watched: Watched) -> None:
    watched.container.moves(500_000, periods=10, local=450_000)
    watched.pod.moves(500_000, periods=10, throttled=9, usec=450_000)

    after = watched.sample(1.0)
    assert (after.throttled_periods, after.throttled_usec) == (9, 450_000)


def test_there_are_never_more_throttled_periods_than_periods_and_no_counter_falls(watched: Watched) -> None:
    last = watched.first
    # The container's own limit credits its time a period earlier than the two together.
    for own, held, local in [(1, 0, 0), (0, 1, 60_000), (1, 2, 10_000), (0, 0, 0), (2, 1, 0), (0, 2, 90_000)]:
        watched.container.moves(50_000, periods=own, throttled=own, usec=own * 30_000, local=local)
        watched.pod.moves(50_000, periods=held, throttled=held, usec=held * 20_000)
        now = watched.sample()
        assert now.throttled_periods <= now.periods
        assert all(after >= before for after, before in zip(now[1:5], last[1:5], strict=True))
        last = now


def test_a_pod_without_a_quota_adds_nothing(watched: Watched) -> None:
    watched.container.moves(50_000, periods=1)
    watched.pod.moves(50_000)

    assert watched.grown() == (1, 0, 0)


def test_a_pod_that_is_removed_takes_its_container_with_it(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.container.moves(50_000, periods=1)
    _fails(monkeypatch, watched.reader, 19)  # ENODEV
    with pytest.raises(CgroupGone, match="was removed"):
        watched.sample()


def test_a_pods_file_that_cannot_be_read_says_so(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.container.moves(50_000, periods=1)
    _fails(monkeypatch, watched.reader, 5)  # EIO
    with pytest.raises(SensingError, match=r"cannot read .*pod.*cpu\.stat"):
        watched.sample()


def test_a_container_whose_pod_has_gone_is_gone_and_leaves_no_handle_open(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add(CONTAINER)  # its pod's directory has no files
    tree = fake.tree()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(CgroupGone):
        tree.open_container(tree.ref(CONTAINER))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("path", [POD, "/demo/web"])
def test_what_is_no_container_of_a_pod_is_read_as_ever(tmp_path: Path, path: str) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add(path)
    tree = fake.tree()
    reader = tree.open_container(tree.ref(path))
    assert type(reader) is CgroupReader
    reader.close()


def _fails(monkeypatch: pytest.MonkeyPatch, reader: CgroupReader, number: int) -> None:
    """Let readings of the pod fail as the kernel's would."""
    real: Callable[..., bytes] = os.pread

    def pread(handle: int, size: int, offset: int) -> bytes:
        if handle == reader._pod_stat:
            raise OSError(number, os.strerror(number))
        return real(handle, size, offset)

    monkeypatch.setattr("mbcasd.sensing.container.os.pread", pread)
