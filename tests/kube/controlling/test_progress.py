"""How far a resize is stands in the pod: generation, conditions, and what is in force."""

from typing import Any

import msgspec
import pytest
from rigs.resizing import a_container, a_pod_json

from mbcasd.kube.controlling.pods import ResizablePod
from mbcasd.kube.controlling.progress import Stage, progress_of


def stage(pod: dict[str, Any]) -> Stage:
    return progress_of(msgspec.convert(pod, ResizablePod), {"app"}).stage


def resized(limit: int, *conditions: dict[str, Any], observed: int | None = 2, request: int = 100) -> dict[str, Any]:
    """A pod whose spec was changed to this limit, generation 2, while 200m are in force."""
    pod = a_pod_json(metadata={"generation": 2}, status={"conditions": list(conditions)})
    pod["spec"]["containers"] = [a_container(limit=limit, request=request)]
    if observed is None:
        del pod["status"]["observedGeneration"]
    else:
        pod["status"]["observedGeneration"] = observed
    return pod


def condition(kind: str, reason: str = "", *, observed: int | None = 2, status: str = "True") -> dict[str, Any]:
    more = {} if observed is None else {"observedGeneration": observed}
    return {"type": kind, "status": status, "reason": reason, "message": "words", **more}


def test_what_nobody_changed_is_done() -> None:
    assert stage(a_pod_json()) is Stage.DONE


def test_a_spec_that_the_kubelet_has_not_seen_is_under_way_whatever_else_the_status_says() -> None:
    assert stage(resized(200, observed=1)) is Stage.UNDER_WAY


def test_the_generation_alone_proves_nothing() -> None:
    assert stage(resized(300)) is Stage.UNDER_WAY


def test_systemd_rounds_up_to_ten_so_that_much_is_the_same() -> None:
    assert stage(resized(209)) is Stage.DONE
    assert stage(resized(211)) is Stage.UNDER_WAY


def test_a_request_counts_too() -> None:
    assert stage(resized(200, request=150)) is Stage.UNDER_WAY


def test_the_condition_in_progress_is_believed_over_equal_values() -> None:
    assert stage(resized(200, condition("PodResizeInProgress"))) is Stage.UNDER_WAY


def test_an_error_of_this_generation_is_a_failure_and_one_of_an_earlier_is_not() -> None:
    assert stage(resized(300, condition("PodResizeInProgress", "Error"))) is Stage.FAILING
    assert stage(resized(300, condition("PodResizeInProgress", "Error", observed=1))) is Stage.UNDER_WAY


@pytest.mark.parametrize(("reason", "expected"), [("Deferred", Stage.DEFERRED), ("Infeasible", Stage.INFEASIBLE)])
def test_a_pending_resize_says_why(reason: str, expected: Stage) -> None:
    progress = progress_of(msgspec.convert(resized(300, condition("PodResizePending", reason)), ResizablePod), {"app"})

    assert progress == (expected, "words")


def test_what_was_pending_of_an_earlier_spec_says_nothing_about_this_one() -> None:
    assert stage(resized(300, condition("PodResizePending", "Infeasible", observed=1))) is Stage.UNDER_WAY


def test_a_condition_that_is_false_is_as_good_as_none() -> None:
    assert stage(resized(200, condition("PodResizePending", "Deferred", status="False"))) is Stage.DONE


def test_a_kubelet_that_tells_no_generations_is_believed() -> None:
    assert stage(resized(200, observed=None)) is Stage.DONE
    assert (
        stage(resized(300, condition("PodResizePending", "Deferred", observed=None), observed=None)) is Stage.DEFERRED
    )


def test_a_container_that_does_not_run_gets_its_limit_when_it_starts() -> None:
    pod = resized(300)
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}

    assert stage(pod) is Stage.DONE


def test_containers_that_are_not_managed_do_not_matter() -> None:
    pod = a_pod_json(a_container(), a_container("other"))
    pod["status"]["containerStatuses"][1]["resources"] = {}

    assert stage(pod) is Stage.DONE
