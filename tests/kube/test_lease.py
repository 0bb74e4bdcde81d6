import contextlib
import json
import re
import threading
import time

import pytest
from fakes.api_server import ApiServer
from rigs.kernel import wait_until

from mbcasd.clock import SteppedClock, SystemClock
from mbcasd.kube.api import Api
from mbcasd.kube.lease import Elector

MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


class LeaseServer:
    """Keeps one Lease as the API server does: versions, conflicts, and trouble on demand."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.trouble = None  # a function of the request; returns whether it answered
        self.writes = 0
        self.lock = threading.Lock()

    def __call__(self, request):
        if self.trouble is not None and self.trouble(request):
            return
        with self.lock:
            self.answer(request)

    def answer(self, request):
        if request.method == "GET":
            if self.lease is None:
                request.refuse(404, "NotFound")
            else:
                request.answer(200, self.lease)
            return
        sent = json.loads(request.body)
        if request.method == "POST" and self.lease is not None:
            request.refuse(409, "AlreadyExists")
        elif request.method == "PUT" and self.lease is None:
            request.refuse(404, "NotFound")
        elif request.method == "PUT" and sent["metadata"]["resourceVersion"] != str(self.version):
            request.refuse(409, "Conflict")
        else:
            self.take(sent)
            request.answer(200, self.lease)

    def take(self, sent):
        self.writes += 1
        if sent["spec"] != (self.lease or {}).get("spec"):
            self.version += 1
        self.lease = {**sent, "metadata": {**sent["metadata"], "resourceVersion": str(self.version)}}

    @property
    def spec(self):
        return self.lease["spec"]

    @property
    def holder(self):
        return self.spec["holderIdentity"]


@contextlib.contextmanager
def candidates(*names, **more):
    """Electors on one stepped clock; each is driven by hand."""
    clock, world = SteppedClock(100.0), LeaseServer()
    with ApiServer(world) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        yield clock, world, *(Elector(api, "mbcas-system", "lease", name, clock=clock, **more) for name in names)
        api.close()


def away(request):
    request.hang_up()
    return True


def test_the_first_one_makes_the_lease_and_leads():
    with candidates("a") as (_clock, world, a):
        assert not a.is_leader
        a._try()
        assert a.is_leader
        assert a.remaining_s() == 10.0
        assert world.lease["metadata"]["name"] == "lease"
        assert (world.holder, world.spec["leaseDurationSeconds"], world.spec["leaseTransitions"]) == ("a", 15, 0)
        assert a.holder == "a"


def test_times_always_have_six_digits_of_microseconds():
    # 1 700 000 000.0 s: a time whose microseconds are zero.
    with candidates("a") as (_, world, a):
        a._try()
        assert MICRO_TIME.match(world.spec["renewTime"])
        assert world.spec["acquireTime"] == "2023-11-14T22:13:20.000000Z"


def test_a_renewal_is_counted_from_before_it_was_asked_for():
    with candidates("a") as (clock, world, a):
        a._try()

        def slow(request):
            clock.advance(3.0)
            return False

        world.trouble = slow
        a._try()
        assert a.remaining_s() == 7.0


def test_a_holder_that_cannot_renew_stops_before_another_one_may_begin():
    with candidates("a", "b") as (clock, world, a, b):
        a._try()
        b._try()
        b_first_leads_s = None
        a_leads_until_s = None
        # From now on a's network is cut, b's is well.
        for _ in range(400):
            clock.advance(0.05)
            world.trouble = away
            if a.is_leader:
                a_leads_until_s = clock.now_s()
            world.trouble = None
            b._try()
            if b.is_leader and b_first_leads_s is None:
                b_first_leads_s = clock.now_s()
            assert not (a.is_leader and b.is_leader)
        assert a_leads_until_s < 110.0
        assert 115.0 < b_first_leads_s < 115.2
        assert (b.transitions, world.spec["leaseTransitions"]) == (1, 1)


def test_a_leader_goes_on_through_a_short_outage():
    with candidates("a") as (clock, world, a):
        a._try()
        world.trouble = away
        for _ in range(4):
            clock.advance(2.0)
            a._try()
            assert a.is_leader
        assert a.trouble == (
            "lease not renewed, the leader until the deadline: "
            "API server not reachable (connection closed by the other end) (4th)"
        )
        world.trouble = None
        clock.advance(1.0)
        a._try()
        assert (a.remaining_s(), a.trouble, world.spec["leaseTransitions"]) == (10.0, None, 0)


def test_a_leader_that_was_cut_off_renews_where_nobody_took_over():
    with candidates("a") as (clock, world, a):
        a._try()
        world.trouble = away
        clock.advance(12.0)
        a._try()
        assert not a.is_leader
        world.trouble = None
        a._try()
        assert a.is_leader
        assert world.spec["leaseTransitions"] == 0


def test_a_leader_that_meets_another_holder_stops_at_once():
    with candidates("a", "b") as (_clock, world, a, _b):
        a._try()
        world.lease["spec"] = {**world.spec, "holderIdentity": "b", "acquireTime": "2030-01-01T00:00:00.000000Z"}
        world.version += 1
        world.lease["metadata"]["resourceVersion"] = str(world.version)
        a._try()  # a conflict: somebody has written
        a._try()
        assert not a.is_leader
        assert a.holder == "b"


def test_the_wall_clock_may_jump_as_it_likes():
    with candidates("a", "b") as (clock, _world, a, b):
        a._try()
        b._try()
        for jump_s in (86400.0, -90000.0, 3600.0, -1e8):
            clock.jump_wall(jump_s)
            clock.advance(2.0)
            a._try()
            b._try()
            assert (a.is_leader, b.is_leader) == (True, False)


def test_a_wall_clock_that_stands_still_does_not_make_a_renewal_invisible():
    with candidates("a", "b") as (clock, _world, a, b):
        a._try()
        b._try()
        for _ in range(20):
            clock.advance(2.0)
            clock.jump_wall(-2.0)
            a._try()
            b._try()
            assert (a.is_leader, b.is_leader) == (True, False)


def test_the_name_of_an_earlier_process_gives_no_right():
    with candidates("a") as (clock, world, a):
        a._try()
        with ApiServer(world) as server:
            api = Api(server.access(), clock=SystemClock(), user_agent="test")
            again = Elector(api, "mbcas-system", "lease", "a", clock=clock)
            again._try()
            assert not again.is_leader
            clock.advance(15.5)
            again._try()
            assert again.is_leader
            api.close()


def test_an_answer_that_was_lost_does_not_cost_the_lease():
    with candidates("a") as (_clock, world, a):

        def lose_the_answer(request):
            if request.method == "POST":
                world.take(json.loads(request.body))
                request.hang_up()
                return True
            return False

        world.trouble = lose_the_answer
        a._try()
        assert not a.is_leader
        a._try()
        assert a.is_leader


def test_two_that_want_it_at_the_same_moment_do_not_both_get_it():
    with candidates("a", "b") as (_clock, world, a, b):
        world.lease = {"metadata": {"name": "lease", "resourceVersion": "0"}, "spec": {"holderIdentity": ""}}
        a._look()
        b._look()
        a._write()
        b._write()
        assert (a.is_leader, b.is_leader) == (True, False)


def test_a_lease_deleted_under_a_holder_is_not_made_by_another_one_too_soon():
    with candidates("a", "b") as (clock, world, a, b):
        a._try()
        b._try()
        world.lease = None
        clock.advance(5.0)
        b._try()
        assert not b.is_leader
        assert world.lease is None
        a._try()  # its renewal is not found
        a._try()
        assert a.is_leader
        assert world.holder == "a"


def test_what_others_wrote_into_the_lease_stays():
    with candidates("a") as (_clock, world, a):
        world.lease = {
            "metadata": {"name": "lease", "resourceVersion": "0", "labels": {"team": "x"}},
            "spec": {"strategy": "OldestEmulationVersion"},
        }
        a._try()
        assert world.lease["metadata"]["labels"] == {"team": "x"}
        assert (world.spec["strategy"], world.holder) == ("OldestEmulationVersion", "a")


def test_a_holder_with_a_longer_duration_is_waited_for_as_long_as_it_asked():
    with candidates("b") as (clock, world, b):
        world.lease = {
            "metadata": {"name": "lease", "resourceVersion": "0"},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 60, "renewTime": "2023-11-14T22:13:20.000000Z"},
        }
        b._try()
        clock.advance(59.0)
        b._try()
        assert not b.is_leader
        clock.advance(2.0)
        b._try()
        assert b.is_leader


@pytest.mark.parametrize("code", [401, 403, 422, 429, 500])
def test_refusals_are_trouble_and_nothing_more(code):
    with candidates("a") as (_, world, a):

        def refuse(request):
            request.refuse(code, "Reason", "no")
            return True

        world.trouble = refuse
        a._try()
        assert a.trouble == "lease not renewed, not the leader: no (1st)"


def test_an_object_that_is_no_lease_is_trouble_and_nothing_more():
    with candidates("a") as (_, world, a):
        world.lease = ["what"]
        a._try()
        assert "a Lease that is none" in a.trouble


@contextlib.contextmanager
def running(server, *names, **more):
    quick = {"duration_s": 1.0, "renew_deadline_s": 0.5, "retry_s": 0.1, "join_s": 0.5, **more}
    apis = [Api(server.access(), clock=SystemClock(), user_agent=name) for name in names]
    electors = [
        Elector(api, "mbcas-system", "lease", name, clock=SystemClock(), **quick)
        for api, name in zip(apis, names, strict=True)
    ]
    for elector in electors:
        elector.start()
    try:
        yield electors
    finally:
        for elector, api in zip(electors, apis, strict=True):
            elector.stop()
            api.close()


def test_giving_it_back_lets_the_next_one_lead_at_once():
    world = LeaseServer()
    with ApiServer(world) as server, running(server, "a", duration_s=60.0) as (a,):
        wait_until(lambda: a.is_leader, 5, "a leads")
        with running(server, "b", duration_s=60.0) as (b,):
            a.stop()
            assert not a.is_leader
            assert wait_until(lambda: b.is_leader, 30, "b leads") < 30
            assert b.transitions == 1
        # b was stopped too, and gave it back to nobody.
        assert (world.holder, world.spec["leaseDurationSeconds"]) == ("", 1)
        assert MICRO_TIME.match(world.spec["renewTime"])


def test_stopping_does_not_wait_for_a_server_that_says_nothing():
    world = LeaseServer()
    with ApiServer(world) as server, running(server, "a", join_s=0.3) as (a,):
        wait_until(lambda: a.is_leader, 5, "a leads")
        held = threading.Event()

        def hold(request):
            held.set()
            request.hold()
            return True

        world.trouble = hold
        assert held.wait(5)
        wait_until(lambda: not a.is_leader, 5, "a's time is up")
        began_s = time.monotonic()
        a.stop()
        assert time.monotonic() - began_s < 5  # it is told to wait for 0.3


def test_a_candidate_that_never_led_leaves_the_lease_alone():
    world = LeaseServer()
    with ApiServer(world) as server, running(server, "a", duration_s=60.0) as (a,):
        wait_until(lambda: a.is_leader, 5, "a leads")
        with running(server, "b", duration_s=60.0) as (b,):
            wait_until(lambda: b.holder == "a", 5, "b has looked")
        assert world.holder == "a"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_is_raised_at_whoever_asks_for_the_leadership():
    class Broken:
        now_s = staticmethod(SystemClock.now_s)

        def wall_s(self):
            raise ZeroDivisionError

    with ApiServer(LeaseServer()) as server:
        api = Api(server.access(), clock=SystemClock(), user_agent="test")
        elector = Elector(api, "mbcas-system", "lease", "a", clock=Broken())
        elector.start()
        wait_until(lambda: not elector._thread.is_alive(), 5, "the thread has ended")
        with pytest.raises(RuntimeError, match="the election ended"):
            elector.is_leader  # noqa: B018
        elector.stop()
        api.close()


@pytest.mark.parametrize(
    "times", [{"duration_s": 10.0}, {"retry_s": 6.0}, {"retry_s": 0.0}, {"renew_deadline_s": 15.0}]
)
def test_times_that_would_be_unsafe_are_refused(times):
    with pytest.raises(ValueError, match="need"):
        Elector(None, "ns", "lease", "a", clock=SystemClock(), **times)
