"""Resizes that others carry out: what counts as done, as failed and as gone, seen in cgroup and status."""

from dataclasses import dataclass, field

import pytest
from fakes.podobjects import a_pod, a_uid, an_allocation

from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
from mbcasd.errors import CgroupGone, SensingError
from mbcasd.kube.allocating.allocator import CONFIRMED_WITHIN_S, Allocator
from mbcasd.kube.allocating.intents import PodFacts, Seat, Standing
from mbcasd.model.decision import Decision, HeldBy
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.market import Bid, Market
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeStatus
from mbcasd.settings import MarketSettings

APP, PROXY = WorkloadId("shop", "web", "app"), WorkloadId("shop", "web", "proxy")
CGROUP = CgroupRef(path="/kubepods/web/app", inode=7)
UID = a_uid("web")
POD = a_pod()


@dataclass
class Desk:
    """Stands in for the writer: what it was told, and what it says."""

    wanted: list[tuple[str, int, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    flushed: list[set[str]] = field(default_factory=list)
    object: object = None
    waiting: bool = True
    refused: str = ""
    troubles: tuple[str, ...] = ()
    surveyed: list[PodFacts] = field(default_factory=list)

    def survey(self, facts):
        self.surveyed = list(facts)

    def want(self, uid, container, limit_milli, reason):
        assert uid == UID
        self.wanted.append((container, limit_milli, reason))

    def drop(self, uid, container):
        self.dropped.append(container)

    def flush(self, uids, clearing):
        self.flushed.append(set(uids))
        self.clearing = clearing

    def known(self, uid):
        return self.object

    def is_waiting(self, uid, container):
        return self.waiting

    def refusal(self, uid, container):
        return self.refused

    def said_milli(self, uid, container):
        return self.wanted[-1][1] if self.wanted else None


@dataclass
class Bench:
    """An allocator with a writer and a cgroup that tests can turn."""

    def __post_init__(self):
        self.desk, self.clock = Desk(), SteppedClock(100.0)
        self.limits = {APP: 200.0, PROXY: 50.0}
        self.trouble = None
        self.allocator = Allocator(self.desk, self._read, self.clock)
        self.survey()

    def _read(self, workload, cgroup):
        assert cgroup == CGROUP
        if self.trouble is not None:
            raise self.trouble
        return LimitReading(quota_usec=round(self.limits[workload] * 100), period_usec=100_000)

    def survey(self, standing=Standing.MANAGED, *, is_managed=True, uid=UID):
        seats = (Seat("app", 200, 100, is_managed=is_managed), Seat("proxy", 50, None))
        self.allocator.survey([PodFacts("shop", "web", uid, standing, seats, "opted out")])

    def submit(self, to_milli=400.0, workload=APP, from_milli=200.0):
        self.allocator.submit(Resize(workload=workload, cgroup=CGROUP, from_milli=from_milli, to_milli=to_milli))

    def collect(self):
        return tuple(self.allocator.collect())

    def one(self):
        (outcome,) = self.collect()
        return outcome

    def written(self, **status):
        """The object says what was decided, and the controller something about it."""
        self.desk.waiting = False
        self.desk.object = an_allocation(
            POD, {"app": 400}, {"app": (200, 100)}, generation=3, status={"observedGeneration": 3, **status}
        )


@pytest.fixture
def bench():
    return Bench()


def test_a_resize_is_decided_and_done_when_the_cgroup_shows_it(bench):
    bench.submit()
    assert bench.collect() == ()
    assert bench.desk.wanted == [("app", 400, "")]
    bench.clock.advance(0.1)
    bench.limits[APP] = 400.0
    outcome = bench.one()
    assert (outcome.status, outcome.limit.limit_milli) == (ResizeStatus.APPLIED, 400)
    assert outcome.ended_at_s - outcome.asked_at_s == pytest.approx(0.1)
    assert bench.allocator.leaked_usec == 40_000  # the kubelet's write refilled one quota
    assert bench.collect() == ()


def test_all_that_is_submitted_before_the_next_collect_goes_together(bench):
    bench.submit()
    bench.submit(80.0, PROXY, 50.0)
    assert bench.desk.flushed == []
    bench.collect()
    assert bench.desk.flushed == [{UID}]
    bench.collect()
    assert len(bench.desk.flushed) == 1


def test_what_drivers_round_is_done_and_what_has_not_moved_is_not(bench):
    bench.submit(401.0)
    bench.limits[APP] = 410.0
    assert bench.one().status is ResizeStatus.APPLIED

    # 10m is within the tolerance, but that it stands where it stood is no success.
    bench.submit(210.0)
    bench.limits[APP] = 200.0
    assert bench.collect() == ()
    bench.limits[APP] = 210.0
    assert bench.one().status is ResizeStatus.APPLIED


def test_a_quota_that_cannot_be_read_now_is_looked_at_again(bench):
    bench.submit()
    bench.trouble = SensingError("too many open files")
    assert bench.collect() == ()
    bench.trouble = None
    bench.limits[APP] = 400.0
    assert bench.one().status is ResizeStatus.APPLIED


def test_a_cgroup_or_pod_that_is_gone_ends_it(bench):
    bench.submit()
    bench.trouble = CgroupGone("it is gone")
    assert bench.one().status is ResizeStatus.GONE

    bench.trouble = None
    bench.submit()
    bench.survey(uid="another")
    assert bench.one().status is ResizeStatus.GONE
    bench.allocator.survey([])
    bench.submit()
    assert bench.one().status is ResizeStatus.GONE
    bench.survey()
    bench.submit(workload=APP._replace(container="unknown"))
    assert bench.one().status is ResizeStatus.GONE


@pytest.mark.parametrize(
    ("reason", "status"), [("QuotaExceeded", ResizeStatus.FAILED), ("Infeasible", ResizeStatus.INFEASIBLE)]
)
def test_what_the_controller_cannot_do_fails_in_its_words_and_is_taken_back(bench, reason, status):
    bench.submit()
    bench.collect()
    message = [{"type": "Applied", "status": "False", "message": "exceeded quota: cpu"}]
    bench.written(phase="Failed", reason=reason, conditions=message)

    outcome = bench.one()

    assert (outcome.status, outcome.detail) == (status, "exceeded quota: cpu")
    assert bench.desk.wanted[-1] == ("app", 200, "400m: exceeded quota: cpu")
    assert len(bench.desk.flushed) == 2


def test_somebody_elses_resize_fails_it_and_nothing_is_taken_back(bench):
    bench.submit()
    bench.written(phase="Failed", reason="ChangedByOther")
    assert bench.one().status is ResizeStatus.FAILED
    assert len(bench.desk.wanted) == 1


def test_an_old_status_says_nothing_about_a_new_decision(bench):
    bench.written(phase="Failed", reason="QuotaExceeded")
    bench.desk.waiting = True
    bench.submit()
    assert bench.collect() == ()
    bench.desk.waiting = False
    bench.desk.object = an_allocation(
        POD, {"app": 400}, {"app": (200, 100)}, generation=4, status={"observedGeneration": 3, "phase": "Failed"}
    )
    assert bench.collect() == ()


def test_a_part_of_the_way_is_done_when_the_controller_says_that_it_will_not_go_further(bench):
    bench.submit()
    bench.limits[APP] = 300.0
    assert bench.collect() == ()
    bench.written(phase="Applied", reason="Held")
    outcome = bench.one()
    assert (outcome.status, outcome.limit.limit_milli) == (ResizeStatus.APPLIED, 300)
    assert len(bench.desk.wanted) == 1


def test_a_deferral_is_told_once_and_the_wait_goes_on(bench):
    bench.submit()
    bench.written(phase="Pending", conditions=[{"type": "ResizePending", "status": "True", "message": "no room"}])
    assert bench.one().status is ResizeStatus.DEFERRED
    assert bench.collect() == ()
    bench.limits[APP] = 400.0
    assert bench.one().status is ResizeStatus.APPLIED


def test_what_is_not_in_force_for_long_fails_and_is_taken_back(bench):
    bench.submit()
    bench.written(phase="Pending", reason="InProgress")
    bench.collect()
    bench.clock.advance(CONFIRMED_WITHIN_S + 1)
    outcome = bench.one()
    assert (outcome.status, outcome.detail) == (ResizeStatus.FAILED, "not in force after 90 s")
    assert bench.desk.wanted[-1][:2] == ("app", 200)


def test_what_could_not_be_written_for_long_is_dropped_so_that_nobody_carries_it_out_later(bench):
    bench.submit()
    bench.desk.troubles = ("API server not reachable",)
    bench.collect()
    bench.clock.advance(CONFIRMED_WITHIN_S + 1)
    outcome = bench.one()
    assert (outcome.status, outcome.detail) == (ResizeStatus.FAILED, "API server not reachable")
    assert bench.desk.dropped == ["app"]
    assert len(bench.desk.wanted) == 1


def test_a_refused_write_fails_at_once(bench):
    bench.submit()
    bench.desk.refused = "agent may write only PodAllocations of its own node"
    outcome = bench.one()
    assert (outcome.status, outcome.detail) == (ResizeStatus.FAILED, bench.desk.refused)


def test_a_container_that_is_not_managed_any_more_is_let_go(bench):
    bench.submit()
    bench.survey(Standing.RELEASED, is_managed=False)
    outcome = bench.one()
    assert (outcome.status, outcome.detail) == (ResizeStatus.FAILED, "opted out")
    assert bench.desk.dropped == ["app"]


def test_the_reason_and_the_clearing_are_told_along(bench):
    clearing = clear(Market(capacity_milli=400, bids=(Bid(name=str(APP), floor_milli=100, cap_milli=900),)))
    bench.allocator.note(Decision(clearing=clearing, held_by={APP: HeldBy.STEP}))
    bench.submit()
    bench.collect()
    assert bench.desk.wanted == [("app", 400, "step")]
    assert bench.desk.clearing is clearing


def test_recommendations_follow_the_clearing_with_its_dead_band(bench):
    def recommend(milli):
        bid = Bid(name=str(APP), floor_milli=100, cap_milli=milli)
        clearing = clear(Market(capacity_milli=4000, bids=(bid,)))
        bench.allocator.recommend(Decision(clearing=clearing, held_by={APP: HeldBy.NEED}), MarketSettings())
        return [limit for _, limit, _ in bench.desk.wanted]

    assert recommend(205) == []  # less than 5 % above what it has
    assert recommend(400) == [400]
    assert recommend(410) == [400]
    assert recommend(370) == [400]  # less than 10 % down
    assert recommend(350) == [400, 350]
    assert bench.collect() == ()


def test_nothing_is_recommended_to_pods_that_are_not_managed(bench):
    bench.survey(Standing.LEFT)
    clearing = clear(Market(capacity_milli=4000, bids=(Bid(name=str(APP), floor_milli=100, cap_milli=900),)))
    bench.allocator.recommend(Decision(clearing=clearing), MarketSettings())
    bench.allocator.recommend(Decision(), MarketSettings())
    assert bench.desk.wanted == []


def test_less_than_the_kernel_enforces_is_never_asked(bench):
    bench.submit(4.0)
    assert bench.desk.wanted == [("app", 10, "")]
