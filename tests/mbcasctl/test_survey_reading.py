from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasctl.survey import reading, targets
from mbcasctl.survey.values import Survey
from mbcasd.clock import SteppedClock


def stat(usage_usec: int, periods: int = 0, throttled: int = 0, throttled_usec: int = 0) -> str:
    return (
        f"usage_usec {usage_usec}\nuser_usec 0\nsystem_usec 0\n"
        f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {throttled_usec}\n"
    )


def psi(some_usec: int, full_usec: int) -> str:
    averages = "avg10=0.00 avg60=0.00 avg300=0.00"
    return f"some {averages} total={some_usec}\nfull {averages} total={full_usec}\n"


class Host:
    """A v2 host whose clock moves when the survey sleeps, and then something happens."""

    def __init__(self, root: Path) -> None:
        self.fake = FakeTree(root, "v2")
        self.clock = SteppedClock(100.0)
        self.ticks = 0

    def take(self, happens: Callable[[int], None], window_s: float = 1.0) -> Survey:
        def sleep(seconds: float) -> None:
            self.clock.advance(seconds)
            self.ticks += 1
            happens(self.ticks)

        tree = self.fake.tree()
        return reading.take(tree, targets.find(tree, ("/demo",)), window_s, self.clock, sleep)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "fs")


def test_a_window_is_sampled_each_tenth_of_a_second_and_summed_up(host: Host) -> None:
    directory = host.fake.add("/demo/web")
    (directory / "cpu.stat").write_text(stat(0))
    (directory / "cpu.pressure").write_text(psi(0, 0))

    def happens(tick: int) -> None:
        # 20 ms of use in each tenth, throttled in every second period; in the last one it gets 60 ms.
        usage = 20_000 * tick if tick < 10 else 240_000
        (directory / "cpu.stat").write_text(stat(usage, tick, tick // 2, 40_000 * (tick // 2)))
        (directory / "cpu.pressure").write_text(psi(50_000 * tick, 50_000 * tick))

    survey = host.take(happens)
    (row,) = survey.rows
    assert host.ticks == 10
    assert survey.window_s == pytest.approx(1.0)
    assert row.name == "demo/web"
    assert row.usage_milli == pytest.approx(240)
    assert row.peak_milli == pytest.approx(600)
    assert (row.periods, row.throttled_periods, row.throttled_ratio) == (10, 5, 0.5)
    assert row.throttled_s == pytest.approx(0.2)
    assert row.limit_milli == 200
    assert row.waited_ratio == pytest.approx(0.5)
    # 200 of 500 ms waited are what the throttled time explains.
    assert row.stall_limit_ratio == pytest.approx(0.4)
    assert row.stall_neighbour_ratio == pytest.approx(0.6)


def test_a_limit_that_changes_is_shown_as_it_is_at_the_end(host: Host) -> None:
    directory = host.fake.add("/demo/web")
    survey = host.take(lambda tick: (directory / "cpu.max").write_text(f"{tick * 10_000} 100000\n") and None)
    assert survey.rows[0].limit_milli == 1000


def test_without_pressure_what_it_waited_for_is_unknown(host: Host) -> None:
    (host.fake.add("/demo/web") / "cpu.pressure").unlink()
    survey = host.take(lambda tick: None)
    assert (survey.rows[0].waited_ratio, survey.rows[0].stall_limit_ratio) == (None, None)
    assert not survey.has_pressure


def test_what_cannot_be_read_spoils_nothing_else(host: Host) -> None:
    host.fake.add("/demo/web")
    broken = host.fake.add("/demo/broken")
    (host.fake.add("/demo/empty") / "cpu.stat").unlink()

    def happens(tick: int) -> None:
        if tick == 5:
            (broken / "cpu.stat").write_text("nonsense")

    survey = host.take(happens)
    assert [row.name for row in survey.rows] == ["demo/web"]
    assert {one.name: one.reason.split(":")[0] for one in survey.not_read} == {
        "demo/broken": "cpu.stat is not in the expected form",
        "demo/empty": "vanished while reading",
    }


def test_counters_that_go_back_start_over(host: Host) -> None:
    directory = host.fake.add("/demo/web")
    (directory / "cpu.stat").write_text(stat(5_000_000))

    def happens(tick: int) -> None:
        (directory / "cpu.stat").write_text(stat(10_000 * tick))

    # The first tenth is lost, the other nine have 10 ms each.
    assert host.take(happens).rows[0].usage_milli == pytest.approx(100)


def test_a_cgroup_without_processes_has_nothing_runnable(host: Host) -> None:
    (host.fake.add("/demo/web") / "cgroup.threads").write_text("")
    assert host.take(lambda tick: None).rows[0].runnable == 0


def test_nothing_to_look_at_takes_no_time(host: Host) -> None:
    host.fake.add("/demo")
    tree = host.fake.tree()
    empty = targets.find(tree, (), container="none")
    assert reading.take(tree, empty, 60.0, host.clock, lambda seconds: None).rows == ()
    assert host.clock.now_s() == 100.0
