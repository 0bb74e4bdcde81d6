"""What is done about one pod, told as its life: decided, resized, refused, changed by others, given back."""

from dataclasses import replace

import pytest
from rigs.resizing import RULES, UID, World, a_container, a_pod_json, an_allocation, cpu

from mbcasd.kube.allocating.limitranges import CpuBounds
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.verdict import Action, Memory
from mbcasd.kube.objects import AllocationStatus
from mbcasd.settings import ResizeSettings

OBSERVE = replace(RULES, is_enforcing=False)


def a_moved_world(to: int = 300) -> World:
    """A pod of 200m that MBCAS has given 300m, all told and calm."""
    world = World(allocation=an_allocation(cpu(to)))
    world.settle()
    assert world.limit == to
    assert world.status.phase == "Applied"
    world.patches.clear()
    world.announced.clear()
    world.incidents.clear()
    world.now_s += 60
    return world


def said(world: World) -> tuple[str, str]:
    return world.status.phase, world.status.reason


def conditions(world: World) -> dict[str, str]:
    return {one.type: one.status for one in world.status.conditions}


def kinds(world: World) -> list[str]:
    return [one.kind for one in world.incidents]


# ---- moving ------------------------------------------------------------------------------------------------


def test_a_decision_becomes_one_patch_and_one_status() -> None:
    world = World()

    world.settle()

    assert [patch["spec"] for patch in world.patches] == [
        {"containers": [{"name": "app", "resources": {"limits": {"cpu": "300m"}}}]}
    ]
    assert said(world) == ("Applied", "Resized")
    assert world.status.containers == (cpu(300),)
    assert world.status.observed_generation == 1
    assert conditions(world) == {"Applied": "True"}
    assert world.statuses_written == 1
    assert [one.reason for one in world.announced] == ["Resized"]
    assert kinds(world) == ["applied"]


def test_what_is_as_it_should_be_costs_nothing() -> None:
    world = a_moved_world()
    written = world.statuses_written

    for _ in range(5):
        verdict = world.look()
        world.now_s += 100

    assert verdict.again_in_s is None
    assert world.statuses_written == written
    assert world.patches == []


def test_a_new_decision_of_the_same_values_only_moves_the_generation() -> None:
    world = a_moved_world()
    world.decide(reason="still so")

    world.settle()

    assert world.patches == []
    assert world.status.observed_generation == 2
    assert world.announced == []


def test_only_one_resize_is_under_way_at_a_time() -> None:
    world = World()
    world.look()
    world.decide(cpu(350))

    for _ in range(5):
        world.look()
        world.now_s += 1
    assert len(world.patches) == 1

    world.kubelet()
    world.look()
    assert world.limit == 350


def test_a_view_from_before_the_patch_is_not_acted_upon() -> None:
    world = World()
    before = world.pod
    world.look()
    world.pod, after = before, world.pod

    verdict = world.look()

    assert verdict.action is Action.NOTHING
    assert verdict.again_in_s is not None
    world.pod = after
    world.settle()
    assert len(world.patches) == 1


def test_applied_is_only_told_once_it_has_been_so_for_a_moment() -> None:
    world = World()
    world.look()
    world.kubelet()

    world.look()
    assert world.statuses_written == 0
    world.kubelet({"type": "PodResizeInProgress"})
    world.now_s += 0.2
    world.look()
    world.kubelet()
    world.look()
    world.now_s += 0.2
    world.look()
    assert world.statuses_written == 0

    world.now_s += 0.2
    world.look()
    assert said(world) == ("Applied", "Resized")


def test_a_slow_kubelet_is_told_and_a_silent_one_is_a_failure_that_still_can_end_well() -> None:
    world = World()
    world.look()
    world.now_s += 1
    world.look()
    assert world.statuses_written == 0

    world.now_s += 2
    world.look()
    assert said(world) == ("Pending", "InProgress")

    world.now_s += 90
    world.look()
    assert said(world) == ("Failed", "NotConfirmed")
    assert kinds(world) == ["timeout"]
    assert [one.is_warning for one in world.announced] == [True]

    world.kubelet()
    world.settle()
    assert said(world) == ("Applied", "Resized")


def test_after_a_silent_kubelet_another_decision_may_be_tried() -> None:
    world = World()
    world.look()
    world.decide(cpu(350))
    world.now_s += 89
    world.look()
    assert len(world.patches) == 1

    world.now_s += 2
    world.look()
    assert len(world.patches) == 2


def test_a_decrease_waits_for_the_cooldown_from_the_confirmation_and_a_raise_does_not() -> None:
    world = World()
    world.look()
    world.now_s += 3  # the kubelet took its time
    world.kubelet()
    world.look()
    world.decide(cpu(250))

    world.now_s += 4.9
    verdict = world.look()
    assert world.limit == 300
    assert verdict.again_in_s == pytest.approx(0.1)

    world.now_s += 0.2
    world.look()
    assert world.limit == 250
    assert kinds(world).count("cooldown") == 1


def test_another_leader_takes_the_cooldown_from_the_status() -> None:
    world = a_moved_world()
    world.memory = Memory()
    applied = world.status.last_applied_time
    world.now_s = 1000.0
    world.allocation = replace_status(world, last_applied_time="2023-11-14T22:29:58Z")  # wall 1_700_000_998
    assert applied is not None
    world.decide(cpu(250))

    world.look()
    assert world.limit == 300

    world.now_s += 5
    world.look()
    assert world.limit == 250


def test_a_clock_that_jumped_back_does_not_hold_a_limit_up_for_long() -> None:
    world = a_moved_world()
    world.memory = Memory()
    world.allocation = replace_status(world, last_applied_time="2033-01-01T00:00:00Z")
    world.decide(cpu(250))

    verdict = world.look()

    assert verdict.again_in_s == pytest.approx(5.0)


def replace_status(world: World, **changes: object):
    import msgspec

    assert world.allocation is not None
    status = msgspec.structs.replace(world.allocation.status, **changes)
    return msgspec.structs.replace(world.allocation, status=status)


def test_a_raise_in_steps_takes_a_patch_each_and_one_status_at_the_end() -> None:
    world = World(allocation=an_allocation(cpu(1000)))

    world.settle()

    limits = [patch["spec"]["containers"][0]["resources"]["limits"]["cpu"] for patch in world.patches]
    assert limits == ["400m", "800m", "1000m"]
    assert world.statuses_written == 1
    assert kinds(world).count("step") == 1


def test_a_decrease_in_steps_cools_down_between_them_and_tells_each() -> None:
    world = a_moved_world()
    world.decide(cpu(110))
    began_s = world.now_s

    world.look()
    world.kubelet()
    world.look()
    world.now_s += 0.5
    world.look()
    assert world.limit == 150
    assert said(world) == ("Pending", "InSteps")
    assert world.status.containers == (cpu(150),)

    world.settle()
    assert world.limit == 110
    assert world.now_s - began_s >= 5
    assert said(world) == ("Applied", "Resized")


def test_a_limit_range_holds_it_and_says_so() -> None:
    world = World(allocation=an_allocation(cpu(400)), bounds=CpuBounds(container_max_milli=250))

    world.settle()

    assert world.limit == 250
    assert said(world) == ("Applied", "Held")
    assert "LimitRange" in world.status.conditions[0].message
    assert world.status.containers == (cpu(250),)


def test_without_a_decision_about_requests_they_are_never_sent() -> None:
    world = World(allocation=an_allocation(cpu(1000)))

    world.settle()

    assert all("requests" not in patch["spec"]["containers"][0]["resources"] for patch in world.patches)


def test_requests_follow_decisions_and_come_back_when_they_are_to_be_kept_again() -> None:
    world = World(allocation=an_allocation(cpu(300, 250)))
    world.settle()
    assert (world.limit, world.request) == (300, 250)
    assert world.status.containers == (cpu(300, 250),)

    world.decide(cpu(280))
    world.settle()

    assert (world.limit, world.request) == (280, 100)


def test_what_does_not_run_is_not_resized_until_it_does() -> None:
    pod = a_pod_json()
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    world = World(pod=pod)

    world.look()
    assert world.patches == []
    assert said(world) == ("Pending", "NotRunning")

    world.kubelet()
    world.settle()
    assert world.limit == 300


# ---- the kubelet says no -----------------------------------------------------------------------------------


def test_deferred_is_pending_until_there_is_room() -> None:
    world = World(allocation=an_allocation(cpu(300, 300 - 10)))
    world.look()
    world.kubelet({"type": "PodResizePending", "reason": "Deferred", "message": "no room"})
    world.look()

    assert said(world) == ("Pending", "Deferred")
    assert conditions(world) == {"Applied": "False", "ResizePending": "True"}
    assert [(one.reason, one.note) for one in world.announced] == [("ResizeDeferred", "no room")]
    world.now_s += 1000
    world.look()
    assert said(world) == ("Pending", "Deferred")

    world.kubelet()
    world.settle()
    assert said(world) == ("Applied", "Resized")
    assert conditions(world) == {"Applied": "True"}


def test_a_deferred_resize_gives_way_to_another_decision() -> None:
    world = World(allocation=an_allocation(cpu(300, 290)))
    world.look()
    world.kubelet({"type": "PodResizePending", "reason": "Deferred"})
    world.look()
    world.decide(cpu(300, 100))

    world.look()

    assert len(world.patches) == 2
    assert world.request == 100


def test_infeasible_is_a_failure_until_something_else_is_decided() -> None:
    world = World()
    world.look()
    world.kubelet({"type": "PodResizePending", "reason": "Infeasible", "message": "never"})
    for _ in range(5):
        world.look()
        world.now_s += 100

    assert said(world) == ("Failed", "Infeasible")
    assert len(world.patches) == 1
    assert kinds(world) == ["infeasible"]

    world.decide(cpu(250))
    world.look()
    assert len(world.patches) == 2


def test_a_kubelet_that_fails_is_told_and_given_time() -> None:
    world = World()
    world.look()
    world.kubelet({"type": "PodResizeInProgress", "reason": "Error", "message": "cannot decrease memory limits"})
    world.look()
    assert said(world) == ("Failed", "ResizeError")
    assert "memory" in world.status.conditions[0].message

    world.decide(cpu(350))
    world.look()
    assert len(world.patches) == 1
    world.now_s += 11
    world.look()
    assert len(world.patches) == 2


# ---- the API server says no --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome", [Outcome.QUOTA, Outcome.CAPACITY, Outcome.LIMIT_RANGE, Outcome.FORBIDDEN], ids=lambda one: one.name
)
def test_what_somebody_has_to_lift_is_told_at_once_and_tried_again_ever_more_seldom(outcome: Outcome) -> None:
    world = World(refuses=outcome)
    waits = []
    for _ in range(12):
        verdict = world.look()
        assert verdict.again_in_s is not None
        waits.append(verdict.again_in_s)
        early = world.look()  # whatever else happens to the pod meanwhile
        assert early.again_in_s == pytest.approx(verdict.again_in_s)
        world.now_s += verdict.again_in_s

    assert said(world) == ("Failed", outcome.value)
    assert len(world.patches) == 12
    assert waits == sorted(waits)
    assert 5 <= waits[0] <= 8
    assert waits[-1] == 300
    assert [one.reason for one in world.announced] == ["ResizeRefused"]
    assert world.limit == 200

    world.refuses = None
    world.settle(within_s=1000)
    assert said(world) == ("Applied", "Resized")


def test_a_quota_does_not_stand_in_the_way_of_a_decrease() -> None:
    world = a_moved_world()
    world.refuses = Outcome.QUOTA
    world.decide(cpu(350))
    world.look()
    assert said(world) == ("Failed", "QuotaExceeded")

    world.refuses = None
    world.decide(cpu(250))
    world.look()

    assert world.limit == 250


def test_a_new_wish_for_more_waits_out_the_back_off_and_is_told_so() -> None:
    world = World(refuses=Outcome.QUOTA)
    world.look()
    world.decide(cpu(250))

    world.look()

    assert len(world.patches) == 1
    assert said(world) == ("Failed", "QuotaExceeded")
    assert world.status.observed_generation == 2


@pytest.mark.parametrize("outcome", [Outcome.INFEASIBLE, Outcome.BUG], ids=lambda one: one.name)
def test_what_waiting_does_not_help_is_not_tried_again_until_something_changes(outcome: Outcome) -> None:
    world = World(refuses=outcome)
    for _ in range(5):
        assert world.look().again_in_s is None
        world.now_s += 1000

    assert said(world) == ("Failed", outcome.value)
    assert len(world.patches) == 1

    world.refuses = None
    world.decide(cpu(250))
    world.look()
    assert world.limit == 250


def test_a_stale_view_is_looked_at_again_without_a_word() -> None:
    world = World(refuses=Outcome.CONFLICT)

    verdict = world.look()

    assert verdict.again_in_s is not None
    assert verdict.again_in_s < 0.1
    assert world.statuses_written == 0


def test_a_server_in_trouble_is_told_when_it_lasts() -> None:
    world = World(refuses=Outcome.RETRY)
    for _ in range(2):
        world.now_s += world.look().again_in_s or 0
    assert world.statuses_written == 0

    world.look()
    assert said(world) == ("Pending", "ApiTrouble")


def test_a_patch_without_an_answer_may_have_worked_and_is_recognised() -> None:
    world = World(refuses=Outcome.RETRY)
    world.look()
    world.set({"app": (300, None)}, by="nobody in the record")
    world.decide(cpu(350))
    world.refuses = None
    world.kubelet()
    world.now_s += 10

    world.look()

    assert world.limit == 350


def test_a_pod_that_is_gone_is_forgotten() -> None:
    world = World(refuses=Outcome.GONE)

    verdict = world.look()

    assert verdict.again_in_s is None
    assert verdict.status is None
    assert world.memory == Memory()


# ---- somebody else -----------------------------------------------------------------------------------------


def test_somebody_elses_resize_is_told_once_and_left_alone() -> None:
    world = a_moved_world()
    world.set({"app": (700, None)}, by="kubectl-edit")
    world.kubelet()

    for _ in range(5):
        world.look()
        world.now_s += 100

    assert said(world) == ("Failed", "ChangedByOther")
    assert conditions(world) == {"Applied": "False", "Conflict": "True"}
    assert "kubectl-edit has set the limit of app to 700m" in world.status.conditions[0].message
    assert world.status.containers == (cpu(300),)
    assert world.patches == []
    assert [(one.reason, one.is_warning) for one in world.announced] == [("ChangedByOther", True)]
    assert kinds(world) == ["drift"]


def test_new_decisions_do_not_fight_somebody_elses_value() -> None:
    world = a_moved_world()
    world.set({"app": (700, None)}, by="kubectl-edit")
    world.kubelet()
    world.look()
    world.decide(cpu(400))

    world.settle()

    assert world.limit == 700


@pytest.mark.parametrize("to", [200, 300, 400], ids=["the owner's", "what was set last", "what is decided"])
def test_once_the_value_is_a_known_one_again_work_goes_on(to: int) -> None:
    world = a_moved_world()
    world.decide(cpu(400))
    world.set({"app": (700, None)}, by="kubectl-edit")
    world.kubelet()
    world.look()
    assert said(world)[1] == "ChangedByOther"

    world.set({"app": (to, None)}, by="kubectl-edit")
    world.kubelet()
    world.settle()

    assert world.limit == 400
    assert conditions(world) == {"Applied": "True"}


def test_what_a_killed_leader_had_set_is_recognised_by_the_servers_record() -> None:
    world = World()
    world.look()
    world.kubelet()
    world.memory = Memory()  # killed before it could write a status
    world.decide(cpu(350))

    world.settle()

    assert world.limit == 350
    assert said(world) == ("Applied", "Resized")


def test_an_owner_who_moves_a_kept_request_is_no_stranger() -> None:
    world = a_moved_world()
    world.set({"app": (300, 150)}, by="kubectl-edit")
    world.kubelet()
    world.decide(cpu(350))

    world.settle()

    assert (world.limit, world.request) == (350, 150)


# ---- giving back -------------------------------------------------------------------------------------------


def test_released_puts_the_owners_value_back_in_one_go_and_deletes_the_object() -> None:
    world = a_moved_world(to=1000)
    world.decide(released=True)

    world.settle()

    limits = [patch["spec"]["containers"][0]["resources"]["limits"]["cpu"] for patch in world.patches]
    assert limits == ["200m"]  # no step, no cooldown
    assert world.allocation is None
    assert [one.reason for one in world.announced] == ["Restored"]


def test_released_deletes_only_when_the_kubelet_has_confirmed_or_stays_silent() -> None:
    world = a_moved_world()
    world.decide(released=True)
    world.look()
    world.look()
    assert world.allocation is not None

    world.now_s += 91
    world.look()
    assert world.allocation is None


def test_released_without_anything_moved_is_deleted_without_a_word() -> None:
    world = World(allocation=an_allocation(released=True))

    world.look()

    assert world.allocation is None
    assert world.announced == []
    assert world.patches == []


def test_released_gives_requests_back_only_where_they_were_moved() -> None:
    moved = World(allocation=an_allocation(cpu(300, 250)))
    moved.settle()
    moved.decide(released=True)
    moved.settle()
    assert (moved.limit, moved.request) == (200, 100)

    kept = a_moved_world()
    kept.set({"app": (300, 150)}, by="kubectl-edit")
    kept.kubelet()
    kept.decide(released=True)
    kept.settle()
    assert (kept.limit, kept.request) == (200, 150)


def test_released_leaves_somebody_elses_value_and_lets_go() -> None:
    world = a_moved_world()
    world.set({"app": (700, None)}, by="vpa-updater")
    world.kubelet()
    world.decide(released=True)

    world.settle()

    assert world.limit == 700
    assert world.allocation is None
    assert [one.reason for one in world.announced] == ["ChangedByOther"]
    assert "vpa-updater" in world.announced[0].note


def test_a_recommendation_moves_nothing_and_writes_nothing() -> None:
    world = World(allocation=an_allocation(cpu(300), recommendOnly=True))

    world.settle()

    assert world.patches == []
    assert world.statuses_written == 0


def test_a_decision_that_becomes_a_recommendation_puts_back_what_was_moved() -> None:
    world = a_moved_world()
    world.decide(recommend_only=True)

    world.settle()

    assert world.limit == 200
    assert said(world) == ("Applied", "Restored")
    assert world.status.containers == ()
    assert [one.reason for one in world.announced] == ["Restored"]


def test_under_a_recommendation_the_owner_may_do_as_they_like() -> None:
    world = World(allocation=an_allocation(cpu(300), recommendOnly=True))
    world.set({"app": (300, None)}, by="kubectl-edit")  # just what was recommended
    world.kubelet()

    world.settle()

    assert world.limit == 300
    assert world.statuses_written == 0


def test_a_controller_that_only_observes_moves_nothing_but_what_has_to_go_back() -> None:
    fresh = World(rules=OBSERVE)
    fresh.settle()
    assert fresh.patches == []
    assert fresh.statuses_written == 0

    moved = a_moved_world()
    moved.rules = OBSERVE
    moved.decide(released=True)
    moved.settle()
    assert moved.limit == 200
    assert moved.allocation is None


# ---- pods that are left alone ------------------------------------------------------------------------------


def test_a_pod_on_its_way_out_is_left_alone() -> None:
    world = World(pod=a_pod_json(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))

    world.look()

    assert world.patches == []


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_left_alone(phase: str) -> None:
    world = World(pod=a_pod_json(status={"phase": phase}))

    world.look()

    assert world.patches == []


def test_a_pod_that_was_made_again_is_another_one() -> None:
    world = World(pod=a_pod_json(metadata={"uid": "another"}))

    world.look()

    assert world.patches == []
    assert UID != "another"


@pytest.mark.parametrize("released", [False, True])
def test_an_agent_decides_nothing_for_a_pod_of_another_node(*, released: bool) -> None:
    world = World(allocation=an_allocation(nodeName="node-2", released=released))

    assert world.look().action is Action.DELETE
    assert world.patches == []


def test_the_object_of_a_pod_that_is_gone_is_deleted_only_when_it_was_released() -> None:
    assert World(pod=None).look().action is Action.NOTHING
    assert World(pod=None, allocation=an_allocation(released=True)).look().action is Action.DELETE


def guaranteed_pod(**more: object) -> dict[str, object]:
    resources = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "200m", "memory": "64Mi"}}
    return a_pod_json(a_container(resources=resources), **more)


def a_world_of_a_guaranteed_pod(**metadata: object) -> World:
    allocation = an_allocation(cpu(300, 300), original=(cpu(200, 200),))
    return World(pod=guaranteed_pod(metadata=metadata), allocation=allocation)


def test_guaranteed_pods_are_skipped_unless_the_setting_or_the_pod_says_otherwise() -> None:
    skipped = a_world_of_a_guaranteed_pod()
    skipped.settle()
    assert skipped.limit == 200
    assert said(skipped) == ("Failed", "Guaranteed")

    wanted = a_world_of_a_guaranteed_pod(annotations={"mbcas.io/skip-guaranteed": "false"})
    wanted.settle()
    assert (wanted.limit, wanted.request) == (300, 300)

    all_of_them = a_world_of_a_guaranteed_pod()
    all_of_them.rules = replace(RULES, resize=ResizeSettings(skip_guaranteed=False))
    all_of_them.settle()
    assert all_of_them.limit == 300


def test_a_guaranteed_pod_without_a_decision_about_its_request_cannot_move() -> None:
    world = World(
        pod=guaranteed_pod(metadata={"annotations": {"mbcas.io/skip-guaranteed": "false"}}),
        allocation=an_allocation(cpu(300), original=(cpu(200, 200),)),
    )

    world.settle()

    assert said(world) == ("Failed", "Guaranteed")
    assert world.limit == 200


def test_a_container_that_a_resize_would_restart_is_left_alone() -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    world = World(pod=a_pod_json(a_container(resizePolicy=policy)))

    world.settle()

    assert said(world) == ("Failed", "WouldRestart")
    assert world.patches == []


def test_a_container_without_a_limit_is_not_given_one() -> None:
    world = World(pod=a_pod_json(a_container(limit=None)), allocation=an_allocation())
    world.limit_authors["app"] = "mbcas-controller"

    world.settle()

    assert said(world) == ("Failed", "NoLimit")


def test_a_container_that_the_pod_does_not_have_is_told() -> None:
    world = World(
        allocation=an_allocation(cpu(300), cpu(300, name="other"), original=(cpu(200, 100), cpu(9, 9, "other")))
    )

    world.settle()

    assert said(world) == ("Failed", "NoContainer")
    assert world.patches == []


def test_sidecars_move_in_the_same_patch() -> None:
    world = World(
        pod=a_pod_json(sidecars=(a_container("proxy", limit=100, request=50),)),
        allocation=an_allocation(cpu(300), cpu(150, name="proxy"), original=(cpu(200, 100), cpu(100, 50, "proxy"))),
    )

    world.settle()

    assert len(world.patches) == 1
    assert set(world.patches[0]["spec"]) == {"containers", "initContainers"}
    assert world.status.containers == (cpu(300), cpu(150, name="proxy"))


def test_a_failure_of_old_is_cleared_by_success() -> None:
    world = World(refuses=Outcome.QUOTA)
    world.look()
    world.refuses = None
    world.decide(cpu(200))

    world.settle()

    assert said(world) == ("Applied", "Resized")
    assert isinstance(world.status, AllocationStatus)
