"""PodAllocations are written when something has changed, and only then; nothing is lost while the API is away."""

import contextlib
import time
from collections import Counter

import pytest
from fakes.allocations_api import AllocationsApi, away
from fakes.podobjects import a_pod, a_uid, an_allocation
from rigs.kernel import wait_until

from mbcasd.allocation.market import clear
from mbcasd.clock import SystemClock
from mbcasd.errors import ApiRefused
from mbcasd.kube.allocating.intents import PodFacts, RequestRule, Seat, Standing
from mbcasd.kube.allocating.writer import AllocationWriter
from mbcasd.model.market import Bid, Market

UID = a_uid("web")
KEY = ("shop", f"web.{UID[:8]}")


def facts(limit=200, *, standing=Standing.MANAGED, name="web", more=()):
    return PodFacts("shop", name, a_uid(name), standing, (Seat("app", limit, 100), *more), "opted out")


@pytest.fixture
def api():
    return AllocationsApi()


@pytest.fixture
def counted():
    return Counter()


@contextlib.contextmanager
def writing(api, *, recommends=False, count=lambda _: None):
    writer = AllocationWriter(api, node_name="node-1", recommends=recommends, clock=SystemClock(), count=count)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture
def writer(api, counted):
    with writing(api, count=lambda result: counted.update([result])) as writer:
        writer.survey([facts()])
        yield writer


def decide(writer, milli, container="app", uid=UID, reason="step"):
    writer.want(uid, container, milli, reason)
    writer.flush([uid], None)


def settled(api, writes):
    """Exactly so many writes, also a moment later."""
    wait_until(lambda: api.writes >= writes, 5, f"{writes} writes")
    time.sleep(0.05)
    assert api.writes == writes


def test_a_decision_is_written_at_once_with_the_original_beside_it(api, writer):
    began_s = time.monotonic()
    decide(writer, 400)
    wait_until(lambda: api.writes == 1, 5, "it is written")
    assert time.monotonic() - began_s < 0.5

    spec = api.only().spec
    assert (spec.containers[0].limit_milli, spec.original[0].limit_milli) == (400, 200)
    assert (spec.reason, spec.node_name) == ("app: step", "node-1")
    assert not writer.is_waiting(UID, "app")
    assert writer.known(UID).metadata.generation == 1


def test_what_stands_there_already_is_not_written_again(api, writer):
    decide(writer, 400)
    settled(api, 1)
    decide(writer, 400)
    writer.survey([facts(400)])
    writer.heard(KEY, api.only())
    writer.heard(KEY, api.with_status(phase="Applied"))
    settled(api, 1)


def test_several_containers_of_a_pod_go_in_one_write(api, writer):
    writer.survey([facts(more=(Seat("proxy", 50, None),))])
    writer.want(UID, "app", 400, "step")
    writer.want(UID, "proxy", 80, "need")
    writer.flush([UID], None)
    settled(api, 1)
    assert [cpu.limit_milli for cpu in api.only().spec.containers] == [400, 80]
    assert api.only().spec.reason == "app: step; proxy: need"


def test_while_the_api_is_away_only_the_newest_decision_waits(api, writer, counted):
    api.trouble = away()
    decide(writer, 400)
    wait_until(lambda: api.tries >= 1, 5, "it was tried")
    decide(writer, 300)
    assert "connection refused" in writer.troubles[0]
    assert writer.is_waiting(UID, "app")
    api.trouble = None
    wait_until(lambda: api.writes, 5, "it is written")
    settled(api, 1)
    assert api.only().spec.containers[0].limit_milli == 300
    assert writer.troubles == ()
    assert counted["away"] >= 1


def test_an_api_that_is_away_is_not_asked_in_a_busy_loop(api, writer):
    api.trouble = away()
    for milli in range(300, 400):
        decide(writer, milli)
    time.sleep(1.2)
    assert api.tries <= 4


def test_a_word_of_the_api_ends_the_wait(api, writer):
    api.trouble = away()
    decide(writer, 400)
    wait_until(lambda: api.tries >= 3, 10, "it was tried several times")
    api.trouble = None
    writer.heard(("shop", "other.12345678"), an_allocation(a_pod(name="other"), {"app": 100}, {"app": (100, None)}))
    assert wait_until(lambda: api.writes, 5, "it is written") < 0.5


def test_a_refusal_for_good_is_told_to_whoever_decided_it_and_not_repeated(api, writer, counted):
    api.trouble = ApiRefused(403, "Forbidden", "agent may write only PodAllocations of its own node")
    decide(writer, 400)
    wait_until(lambda: writer.refusal(UID, "app"), 5, "it is refused")
    time.sleep(0.6)
    assert api.tries == 1
    assert not writer.is_waiting(UID, "app")
    assert "own node" in writer.troubles[0]
    assert counted == {"refused": 1}

    api.trouble = None
    decide(writer, 500)
    settled(api, 1)
    assert (writer.refusal(UID, "app"), writer.troubles) == ("", ())


def test_a_busy_api_is_left_alone_for_as_long_as_it_says(api, writer):
    api.trouble = ApiRefused(429, "TooManyRequests", "slow down", retry_after_s=1.0)
    decide(writer, 400)
    wait_until(lambda: api.tries == 1, 5, "it was tried")
    began_s = time.monotonic()
    api.trouble = None
    wait_until(lambda: api.writes == 1, 5, "it is written")
    assert time.monotonic() - began_s >= 0.9


def test_a_pod_that_opts_out_is_released_once(api, writer):
    decide(writer, 400)
    settled(api, 1)
    writer.survey([facts(400, standing=Standing.RELEASED)])
    settled(api, 2)
    spec = api.only().spec
    assert (spec.released, spec.reason) == (True, "opted out")
    writer.heard(KEY, api.only())
    writer.survey([facts(200, standing=Standing.RELEASED)])
    settled(api, 2)


def test_a_pod_without_an_object_is_not_released(api, writer):
    writer.survey([facts(standing=Standing.RELEASED)])
    settled(api, 0)


def test_an_agent_that_starts_anew_goes_on_from_what_is_written(api):
    found = an_allocation(a_pod(), {"app": 400}, {"app": (200, 100)}, generation=7)
    with writing(api) as writer:
        writer.heard(KEY, found)
        writer.survey([facts(400)])
        settled(api, 0)
        decide(writer, 800)
        settled(api, 1)
    assert api.only().spec.original[0].limit_milli == 200


def test_an_object_that_a_person_deletes_makes_the_present_value_the_new_original(api, writer):
    decide(writer, 400)
    settled(api, 1)
    writer.heard(KEY, api.only())
    api.objects.clear()
    writer.survey([facts(400)])
    writer.heard(KEY, None)
    assert writer.known(UID) is None
    settled(api, 1)
    decide(writer, 800)
    settled(api, 2)
    assert api.only().spec.original[0].limit_milli == 400


def test_a_watch_that_lags_behind_an_answer_is_no_reason_to_write(api, writer):
    decide(writer, 400)
    settled(api, 1)
    old = api.only()
    decide(writer, 800)
    settled(api, 2)
    writer.heard(KEY, old)
    assert writer.known(UID).spec.containers[0].limit_milli == 800
    settled(api, 2)


def test_somebody_elses_words_in_the_object_are_put_right(api, writer):
    decide(writer, 400)
    settled(api, 1)
    path = next(iter(api.objects))
    api.objects[path]["spec"]["released"] = True
    api.objects[path]["metadata"]["generation"] += 1
    writer.heard(KEY, api.only())
    settled(api, 2)
    assert not api.only().spec.released


def test_a_pod_that_is_gone_is_forgotten_with_what_was_decided_for_it(api, writer):
    api.trouble = away()
    decide(writer, 400)
    wait_until(lambda: api.tries, 5, "it was tried")
    writer.survey([])
    api.trouble = None
    time.sleep(1)
    assert api.writes == 0
    assert writer.all_known() == ()


def test_a_decision_can_be_taken_back_before_it_is_written(api, writer):
    api.trouble = away()
    decide(writer, 400)
    wait_until(lambda: api.tries, 5, "it was tried")
    writer.drop(UID, "app")
    api.trouble = None
    time.sleep(1)
    assert api.writes == 0


def test_recommendations_are_marked(api):
    with writing(api, recommends=True) as writer:
        writer.survey([facts()])
        decide(writer, 400)
        settled(api, 1)
        assert writer.said_milli(UID, "app") == 400
    assert api.only().spec.recommend_only


def test_shares_are_written_where_the_request_follows_them(api):
    shared = PodFacts("shop", "web", UID, Standing.MANAGED, (Seat("app", 200, 100, request_rule=RequestRule.SHARE),))
    with writing(api) as writer:
        writer.survey([shared])
        decide(writer, 400)
        settled(api, 1)
        writer.share({UID: {"app": 250}})
        settled(api, 2)
        assert api.only().spec.containers[0].request_milli == 250
        writer.share({UID: {"app": 250}})
        settled(api, 2)


def test_the_clearing_is_told_along_with_the_decision(api, writer):
    writer.want(UID, "app", 400, "price")
    # 400 − 2 × 100 = 200 of surplus for two: 1 / 100 per millicore.
    bids = tuple(Bid(name=name, floor_milli=100, cap_milli=900) for name in ("app", "other"))
    writer.flush([UID], clear(Market(capacity_milli=400, bids=bids)))
    settled(api, 1)
    spec = api.only().spec
    assert (spec.mechanism, spec.mode, spec.price_micro) == ("nash", "congested", 10_000)


def test_it_ends_at_once_also_while_it_waits_for_the_api(api):
    api.trouble = away()
    with writing(api) as writer:
        writer.survey([facts()])
        decide(writer, 400)
        wait_until(lambda: api.tries, 5, "it was tried")
        began_s = time.monotonic()
        writer.close()
        assert time.monotonic() - began_s < 0.5
