from pathlib import Path

import pytest
from pictures import a_picture, a_row
from rigs.recording import API, WEB, a_recorder, a_workload

from mbcasctl.sources import open_source
from mbcasctl.sources.record import RecordSource
from mbcasd.accounting import receipts
from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
from mbcasd.errors import RecordError
from mbcasd.model.decision import Decision, Observation
from mbcasd.model.demand import Demand, StallSplit
from mbcasd.model.identity import CgroupRef
from mbcasd.model.market import Bid, Market
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus

STALL = StallSplit(limit_ratio=0.9, neighbour_ratio=0.1, self_ratio=0.0, stalled_s=2.0)


def a_demand(usage: float, need: float) -> Demand:
    return Demand(usage_milli=usage, smoothed_milli=usage, throttled_ratio=0.25, need_milli=need, stall=STALL)


def a_limit(milli: float) -> LimitReading:
    return LimitReading(quota_usec=round(milli * 100), period_usec=100_000)


def a_receipt(clock: SteppedClock, capacity: float, *bids: Bid):
    market = Market(capacity_milli=capacity, bids=bids)
    return receipts.make(market, clear(market), "optimizer", clock.now_s())


@pytest.fixture
def record(tmp_path) -> Path:
    """Twenty seconds of two workloads: at 5 s there is enough for both, at 15 s there is not; web is gone at 19 s."""
    clock = SteppedClock(now_s=1000.0)
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    workloads = {WEB: a_workload(), API: a_workload("/demo/api", 8)}
    recorder.put_observation(Observation(workloads=workloads, limits={WEB: a_limit(200), API: a_limit(300)}), 1000.0)
    for second in range(20):
        demands = {WEB: a_demand(100.0 + second, 150.0 if second < 10 else 800.0), API: a_demand(50.0, 60.0)}
        recorder.put_decision(Decision(demands=demands), clock.now_s())
        if second == 5:
            bids = (
                Bid(name=str(WEB), floor_milli=100, cap_milli=150),
                Bid(name=str(API), floor_milli=50, cap_milli=60),
            )
            recorder.put_receipt(a_receipt(clock, 1000, *bids))
        if second == 12:
            resize = Resize(workload=WEB, cgroup=CgroupRef(path="/demo/web", inode=7), from_milli=200, to_milli=400)
            outcome = ResizeOutcome(
                resize=resize,
                status=ResizeStatus.APPLIED,
                limit=a_limit(400),
                asked_at_s=clock.now_s(),
                ended_at_s=clock.now_s(),
            )
            recorder.put_observation(
                Observation(outcomes=(outcome,), limits={WEB: a_limit(400), API: a_limit(300)}), clock.now_s()
            )
        if second == 15:
            bids = (
                Bid(name=str(WEB), floor_milli=100, cap_milli=900),
                Bid(name=str(API), floor_milli=50, cap_milli=60),
            )
            recorder.put_receipt(a_receipt(clock, 500, *bids))
        if second == 19:
            recorder.put_observation(Observation(workloads={API: workloads[API]}), clock.now_s())
        recorder.write_waiting()
        clock.advance(1.0)
    recorder.put_snapshot(a_picture(a_row("api", namespace="demo", limit_milli=300.0), taken_wall_s=clock.wall_s()))
    recorder.close()
    return path


def test_the_last_picture_is_the_one_that_the_daemon_left(record) -> None:
    past = RecordSource(str(record)).past(600)

    assert past.depth == 2
    assert past.picture(0) == open_source(record=str(record)).snapshot()
    assert [row.name for row in past.picture(0).workloads] == ["api"]


def test_an_earlier_picture_shows_who_had_what_then(record) -> None:
    then = RecordSource(str(record)).past(600).picture(1)
    web = next(row for row in then.workloads if row.name == "web")
    api = next(row for row in then.workloads if row.name == "api")

    assert (then.market_mode, then.raises_last_15s, then.lowers_last_15s) == ("congested", 1, 0)
    # 500 less what api can use, 60: web gets 440 of the 800 that it needs.
    assert (web.target_milli, web.need_milli, web.held_by) == (pytest.approx(440), 800, "price")
    assert (web.limit_milli, web.last_change_milli, web.usage_milli) == (400, 200, 115)
    assert web.last_change_wall_s == pytest.approx(then.taken_wall_s - 3)
    assert (web.stall_limit_ratio, web.stalled_s) == (pytest.approx(0.9), 2.0)
    assert (api.limit_milli, api.held_by, api.last_change_wall_s) == (300, "need", None)
    assert then.allocated_milli == pytest.approx(500)


def test_use_before_a_picture_is_its_history(record) -> None:
    past = RecordSource(str(record)).past(600)
    web = next(row for row in past.picture(1).workloads if row.name == "web")
    api = next(row for row in past.picture(1).workloads if row.name == "api")

    assert web.usage_history_milli == tuple(100.0 + second for second in range(16))
    assert set(api.usage_history_milli) == {50.0}  # written once, because it did not change
    assert len(api.usage_history_milli) == 16


def test_the_first_picture_has_the_first_limits_and_what_lies_before_it_ends(record) -> None:
    past = RecordSource(str(record)).past(600)
    first = past.picture(2)

    assert {row.name: row.limit_milli for row in first.workloads} == {"web": 200, "api": 300}
    assert first.market_mode == "uncongested"
    assert past.picture(99) == first


def test_a_short_window_reads_only_what_lies_in_it(record) -> None:
    past = RecordSource(str(record)).past(7)

    assert past.depth == 1
    assert past.picture(1).market_mode == "congested"


def test_a_limit_whose_reading_lies_before_the_window_is_what_the_next_change_began_with(record) -> None:
    past = RecordSource(str(record)).past(600)._replace(limits={})

    assert {row.name: row.limit_milli for row in past.picture(2).workloads} == {"web": 200, "api": 300}


def test_a_record_without_a_picture_says_when_there_will_be_one(tmp_path) -> None:
    recorder = a_recorder(tmp_path / "record.db", SteppedClock())
    recorder.write_waiting()
    recorder.close()

    with pytest.raises(RecordError, match="holds no picture yet"):
        open_source(record=str(tmp_path / "record.db")).snapshot()
