"""A record of twenty seconds in which two workloads have enough and then have not."""

from pathlib import Path

from pictures import a_picture, a_row
from rigs.recording import API, WEB, a_recorder, a_workload

from mbcasd.accounting import receipts
from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
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


def write_two_clearings(path: Path) -> None:
    """At 5 s there is enough for both, at 15 s there is not; web is gone at 19 s."""
    clock = SteppedClock(now_s=1000.0)
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
