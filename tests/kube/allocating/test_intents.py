import pytest
from fakes.podobjects import a_pod, a_uid, an_allocation, cpu

from mbcasd.kube.allocating.intents import (
    Circumstances,
    Intent,
    PodFacts,
    RequestRule,
    Seat,
    Standing,
    body_of,
    intent_of,
    outcome_of,
)
from mbcasd.kube.objects import AllocationSpec
from mbcasd.model.resizing import ResizeStatus

POD = a_pod()


def facts(*seats, standing=Standing.MANAGED, why=""):
    return PodFacts("shop", "web", a_uid("web"), standing, seats or (Seat("app", 200, 100),), why)


def intent(about=None, known=None, wanted=None, shares=None, *, recommends=False):
    return intent_of(about or facts(), known, wanted or {}, shares or {}, recommends=recommends)


def known(containers=None, original=None, **spec):
    return an_allocation(POD, containers or {"app": 400}, original or {"app": (200, 100)}, **spec)


def test_nothing_is_said_of_a_pod_for_which_nothing_was_decided():
    assert intent() is None


def test_the_first_decision_remembers_what_the_owner_had_set():
    assert intent(wanted={"app": 400}) == Intent((cpu("app", 400),), (cpu("app", 200, 100),), False, False)


def test_all_managed_containers_are_said_together():
    seats = Seat("app", 200, 100), Seat("proxy", 50, None), Seat("fixed", 70, 10, is_managed=False)
    said = intent(facts(*seats), wanted={"app": 400})
    assert said.containers == (cpu("app", 400), cpu("proxy", 50))
    assert said.original == (cpu("app", 200, 100), cpu("proxy", 50))


def test_what_was_decided_before_stays_and_the_original_is_never_renewed():
    moved = facts(Seat("app", 400, 100), Seat("proxy", 50, None))
    said = intent(moved, known({"app": 400, "proxy": 50}, {"app": (200, 100), "proxy": (50, None)}), {"proxy": 80})
    assert said.containers == (cpu("app", 400), cpu("proxy", 80))
    assert said.original[0] == cpu("app", 200, 100)


def test_a_restarted_agent_finds_nothing_to_write():
    before = known()
    assert intent(facts(Seat("app", 400, 100)), before) == Intent.written(before)
    # Also while the controller is still on its way there.
    assert intent(facts(Seat("app", 200, 100)), before) == Intent.written(before)


def test_a_limit_is_never_asked_below_a_request_that_is_kept():
    assert intent(facts(Seat("app", 200, 150)), wanted={"app": 90}).containers == (cpu("app", 150),)


def test_a_pod_that_is_not_managed_any_more_is_released_with_its_last_words():
    released = intent(facts(standing=Standing.RELEASED), known())
    assert released == Intent((cpu("app", 400),), (cpu("app", 200, 100),), False, True)
    assert intent(facts(standing=Standing.RELEASED)) is None


def test_what_is_to_be_left_is_not_touched():
    assert intent(facts(standing=Standing.LEFT), known(), {"app": 800}) is None


def test_a_pod_that_is_managed_again_goes_on_from_what_it_has():
    again = intent(facts(Seat("app", 200, 100)), known(released=True))
    assert again == Intent((cpu("app", 200),), (cpu("app", 200, 100),), False, False)


def test_recommendations_are_marked_and_become_no_orders_when_the_mode_changes():
    assert intent(wanted={"app": 400}, recommends=True).recommend_only
    enforced = intent(
        facts(Seat("app", 200, 100)),
        known(recommendOnly=True, status={"containers": [{"name": "app", "limitMilli": 300}]}),
    )
    assert enforced == Intent((cpu("app", 200),), (cpu("app", 200, 100),), False, False)
    recommended = intent(facts(Seat("app", 400, 100)), known(), recommends=True)
    assert recommended == Intent((cpu("app", 400),), (cpu("app", 200, 100),), True, False)


def test_an_owner_who_changes_a_limit_under_a_mere_recommendation_has_set_a_new_original():
    # What the owner had set cannot be changed in the object, so that one goes and the next one remembers the new.
    gone = intent(facts(Seat("app", 300, 100)), known(recommendOnly=True), recommends=True)
    assert gone.released


def test_a_container_that_is_given_back_gets_its_owners_value_and_then_is_named_no_more():
    both = known({"app": 400, "proxy": 90}, {"app": (200, 100), "proxy": (50, 10)})
    given = Seat("proxy", 90, 10, is_managed=False, gives_back=True)
    said = intent(facts(Seat("app", 400, 100), given), both)
    assert said.containers == (cpu("app", 400), cpu("proxy", 50, 10))

    back = Seat("proxy", 50, 10, is_managed=False, gives_back=True)
    later = intent(facts(Seat("app", 400, 100), back), both)
    assert later.containers == (cpu("app", 400),)
    assert later.original == both.spec.original
    # Whatever somebody else sets then is theirs.
    theirs = Seat("proxy", 70, 10, is_managed=False, gives_back=True)
    after = known({"app": 400}, {"app": (200, 100), "proxy": (50, 10)})
    assert intent(facts(Seat("app", 400, 100), theirs), after) == Intent.written(after)


@pytest.mark.parametrize(
    ("rule", "request_milli"),
    [(RequestRule.KEEP, None), (RequestRule.EQUAL, 400), (RequestRule.RATIO, 360), (RequestRule.SHARE, 250)],
)
def test_requests_follow_their_rule(rule, request_milli):
    said = intent(facts(Seat("app", 200, 100, request_rule=rule)), wanted={"app": 400}, shares={"app": 250})
    assert said.containers == (cpu("app", 400, request_milli),)


def test_a_share_stays_below_the_limit_and_stays_what_it_was_until_the_next():
    seat = Seat("app", 200, 100, request_rule=RequestRule.SHARE)
    assert intent(facts(seat), wanted={"app": 200}, shares={"app": 900}).containers == (cpu("app", 200, 190),)
    assert intent(facts(seat), known({"app": (400, 250)})).containers == (cpu("app", 400, 250),)
    assert intent(facts(seat), wanted={"app": 400}).containers == (cpu("app", 400, 100),)
    # A share is a decision too, where no limit was ever moved.
    assert intent(facts(seat), shares={"app": 150}).containers == (cpu("app", 200, 150),)


def test_requests_that_were_moved_go_back_when_they_are_to_be_kept():
    moved = Seat("app", 400, 250)
    back = intent(facts(moved), known({"app": (400, 250)}))
    assert back.containers == (cpu("app", 400, 100),)
    done = intent(facts(Seat("app", 400, 100)), known({"app": (400, 100)}))
    assert done.containers == (cpu("app", 400),)


def test_the_object_is_owned_by_its_pod_and_says_what_it_was_decided_in():
    around = Circumstances("node-1", "nash", "congested", 0.0043, "app: price" + "!" * 400, "2026-11-25T12:00:00Z")
    body = body_of(facts(), intent(wanted={"app": 400}), around)

    uid = a_uid("web")
    assert body["metadata"]["name"] == f"web.{uid[:8]}"
    assert body["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}]
    spec = body["spec"]
    assert isinstance(spec, AllocationSpec)
    assert (spec.price_micro, spec.mode, len(spec.reason)) == (4300, "congested", 256)
    assert spec.total_limit_milli == 400
    assert body_of(facts(), intent(wanted={"app": 1}), Circumstances("n", price=None))["spec"].price_micro is None


def status(**more):
    return known(generation=3, status={"observedGeneration": 3, **more})


def test_the_controllers_words_settle_only_the_generation_that_they_are_about():
    failed = status(
        phase="Failed",
        reason="QuotaExceeded",
        conditions=[{"type": "Applied", "status": "False", "message": "exceeded quota"}],
    )
    assert outcome_of(failed, 3) == (ResizeStatus.FAILED, "exceeded quota")
    assert outcome_of(failed, 4) is None
    assert outcome_of(known(), 1) is None


def test_each_phase_means_something():
    assert outcome_of(status(phase="Failed", reason="Infeasible"), 3) == (ResizeStatus.INFEASIBLE, "Infeasible")
    assert outcome_of(status(phase="Applied"), 3) == (ResizeStatus.APPLIED, "")
    assert outcome_of(status(phase="Pending", reason="InProgress"), 3) is None
    deferred = status(phase="Pending", conditions=[{"type": "ResizePending", "status": "True", "message": "no room"}])
    assert outcome_of(deferred, 3) == (ResizeStatus.DEFERRED, "no room")
