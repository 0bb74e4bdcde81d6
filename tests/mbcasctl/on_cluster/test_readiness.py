import pytest
from cluster_objects import a_condition, a_worker, agents, controllers

from mbcasctl.cluster.objects import Terminated, Waiting
from mbcasctl.cluster.readiness import judge, why_not
from mbcasd.kube.objects import Condition


def test_everything_that_was_asked_for_and_runs_is_complete() -> None:
    ready = judge(agents(), controllers(), [a_worker()])

    assert ready.complete
    assert ready.troubles == ()


@pytest.mark.parametrize(
    ("of_agents", "of_controllers"),
    [
        (agents(ready=1), controllers()),
        (agents(), controllers(ready=1)),
        (agents(updated=1), controllers()),  # pods of the version before
        (agents(), controllers(pods=3)),  # one of them too
    ],
)
def test_what_is_not_there_yet_is_not_complete(of_agents, of_controllers) -> None:
    assert not judge(of_agents, of_controllers, []).complete


def test_a_change_that_nobody_has_seen_yet_is_not_complete() -> None:
    seen = agents()
    unseen = type(seen)(
        metadata=type(seen.metadata)(name="mbcas-agent", generation=4), spec=seen.spec, status=seen.status
    )

    assert not judge(unseen, controllers(), []).complete


def test_where_no_node_takes_agents_there_is_nothing_to_wait_for() -> None:
    assert judge(agents(ready=0, wanted=0), controllers(), []).complete


def test_the_same_reason_is_told_once_with_how_often_it_is_true() -> None:
    message = 'failed to pull "mbcas:9": failed to do request: dial tcp: no such host'
    waiting = Waiting(reason="ErrImagePull", message=message)
    back_off = Waiting(reason="ImagePullBackOff", message=f'Back-off pulling image "mbcas:9": ErrImagePull: {message}')
    workers = [
        a_worker("mbcas-agent-1", ready=False, phase="Pending", waiting=waiting),
        a_worker("mbcas-agent-2", ready=False, phase="Pending", waiting=back_off),
    ]

    (trouble,) = judge(agents(ready=0), None, workers).troubles
    assert trouble == "mbcas-agent-1 and 1 more: image mbcas:0.1.0 cannot be pulled: dial tcp: no such host"


def test_what_keeps_a_pod_is_said_in_words() -> None:
    unscheduled = Condition(type="PodScheduled", status="False", message="0/2 nodes are available: 2 Too many pods.")
    pending = a_worker(ready=False, phase="Pending", conditions=(unscheduled,))
    crashing = a_worker(ready=False, waiting=Waiting(reason="CrashLoopBackOff"), ended=Terminated(exit_code=2))

    assert why_not(pending) == "not scheduled: 0/2 nodes are available: 2 Too many pods."
    assert why_not(crashing) == "it ends again and again (exit code 2); see its log"
    assert why_not(a_worker(ready=False)) == "runs, but is not ready yet"


def test_a_pod_on_its_way_is_no_trouble() -> None:
    coming = a_worker(ready=False, phase="Pending", waiting=Waiting(reason="ContainerCreating"))

    assert why_not(coming) == ""
    assert why_not(a_worker(ready=False, deleted="2026-11-25T10:00:00Z")) == ""


def test_controllers_that_may_not_be_made_are_a_trouble() -> None:
    failing = Condition(type="ReplicaFailure", status="True", message='pods "x" is forbidden: exceeded quota')
    assert judge(None, controllers(ready=0, conditions=(failing,)), []).troubles == (
        'controllers cannot be made: pods "x" is forbidden: exceeded quota',
    )
    assert judge(None, controllers(conditions=(a_condition("Available"),)), []).troubles == ()


def test_a_message_of_pages_is_cut() -> None:
    waiting = Waiting(reason="CreateContainerError", message="no " * 500)

    assert len(why_not(a_worker(ready=False, waiting=waiting))) < 210
