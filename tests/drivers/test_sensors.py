"""Each cgroup is read as often as it deserves, and those that come and go do no harm."""

from dataclasses import dataclass, field

import pytest

from mbcasd.drivers.sensors import Sensors
from mbcasd.errors import CgroupGone, SensingError
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.settings import LoopSettings

WEB = WorkloadId("test", "web")


@dataclass
class FakeReader:
    """Counts what is asked of it."""

    usage_usec: int = 0
    throttled_periods: int = 0
    trouble: Exception | None = None
    reads: int = 0
    closed: bool = False

    def sample(self, now_s: float) -> CpuSample:
        if self.trouble is not None:
            raise self.trouble
        self.reads += 1
        return CpuSample(now_s, self.usage_usec, throttled_periods=self.throttled_periods)

    def limit(self) -> LimitReading:
        if self.trouble is not None:
            raise self.trouble
        return LimitReading(quota_usec=20_000, period_usec=100_000)

    def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """Which cgroups exist; `sensors` watches them, `run` lets passes go by every 100 ms."""

    found: dict[WorkloadId, CgroupRef] = field(default_factory=lambda: {WEB: a_ref(1)})
    readers: dict[int, FakeReader] = field(default_factory=dict)
    refuse: Exception | None = None
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.sensors = Sensors(lambda: self.found, self._open, LoopSettings())  # type: ignore[arg-type]
        self.sensors.look(self.now_s)

    def _open(self, ref: CgroupRef) -> FakeReader:
        if self.refuse is not None:
            raise self.refuse
        return self.readers.setdefault(ref.inode, FakeReader())

    def run(self, seconds: float, usage_usec: int = 0) -> int:
        """Let time pass while each reader uses `usage_usec` per pass; returns how many samples were taken."""
        taken = 0
        for _ in range(round(seconds * 10)):
            self.now_s = round(self.now_s + 0.1, 3)
            for reader in self.readers.values():
                reader.usage_usec += usage_usec
            taken += len(self.sensors.samples(self.now_s, lambda: self.now_s))
        return taken


def a_ref(inode: int) -> CgroupRef:
    return CgroupRef(path="/test/web", inode=inode)


def test_one_that_does_anything_is_read_ten_times_per_second() -> None:
    assert World().run(2, usage_usec=500) == 20


def test_an_idle_one_is_read_once_per_second_after_three_seconds() -> None:
    world = World()
    world.run(4)

    assert 4 <= world.run(5) <= 6


def test_idle_ones_are_read_together_with_the_look_whenever_they_fell_idle() -> None:
    world = World()
    world.found = {WorkloadId("test", f"w{i}"): CgroupRef(path=f"/w{i}", inode=i + 10) for i in range(3)}
    world.sensors.look(world.now_s)
    for inode in (10, 11, 12):
        world.readers[inode].usage_usec += 1_000_000
        world.run(0.3)
    for _ in range(5):
        world.run(1.0)
        world.sensors.look(world.now_s)

    assert [world.run(0.1) for _ in range(10)] == [0] * 9 + [3]


def test_an_idle_one_that_wakes_up_is_noticed_within_a_second_and_then_read_quickly() -> None:
    world = World()
    world.run(6)

    world.run(1, usage_usec=50_000)

    assert world.run(1, usage_usec=50_000) == 10


def test_throttling_alone_keeps_it_under_close_watch() -> None:
    world = World()
    world.run(6)
    world.readers[1].throttled_periods += 1
    world.run(1)

    assert world.run(1) == 10


def test_a_recreated_cgroup_is_opened_anew_and_the_old_handle_closed() -> None:
    world = World()
    world.found = {WEB: a_ref(2)}

    assert world.sensors.look(world.now_s) == {WEB: a_ref(2)}
    assert world.readers[1].closed
    assert not world.readers[2].closed


def test_one_that_vanishes_between_listing_and_reading_is_dropped_quietly() -> None:
    world = World()
    world.readers[1].trouble = CgroupGone("gone")

    assert world.run(0.2) == 0
    assert world.readers[1].closed
    assert world.sensors.unreadable == {}


def test_one_that_vanishes_between_listing_and_opening_is_not_there() -> None:
    world = World()
    world.refuse = CgroupGone("gone")
    world.found = {WEB: a_ref(2)}

    assert world.sensors.look(world.now_s) == {}
    assert world.sensors.unreadable == {}


def test_one_that_cannot_be_read_is_named_and_tried_again() -> None:
    world = World()
    world.readers[1].trouble = SensingError("permission denied")
    world.run(0.2)
    assert world.sensors.unreadable == {WEB: "permission denied"}

    world.readers[1].trouble = None
    world.run(2)
    assert world.readers[1].reads > 0


def test_limits_are_read_of_all_and_what_is_gone_is_left_out() -> None:
    world = World()
    assert world.sensors.limits()[WEB].limit_milli == 200

    world.readers[1].trouble = CgroupGone("gone")
    assert world.sensors.limits() == {}


@pytest.mark.parametrize("count", [0, 3])
def test_the_next_deadline_is_the_earliest_of_all(count: int) -> None:
    world = World()
    world.found = {WorkloadId("test", f"w{i}"): CgroupRef(path=f"/w{i}", inode=i + 10) for i in range(count)}
    world.sensors.look(world.now_s)

    assert (world.sensors.next_due_s() is None) is (count == 0)


def test_the_limit_of_one_incarnation_can_be_read_alone() -> None:
    world = World()

    assert world.sensors.limit_of(WEB, a_ref(1)).limit_milli == 200
    with pytest.raises(CgroupGone):
        world.sensors.limit_of(WEB, a_ref(2))
