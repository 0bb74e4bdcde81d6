"""What stands in a status, what has changed since, and what is worth an event."""

import msgspec
import pytest
from rigs.resizing import an_allocation, cpu

from mbcasd.kube.bounds import MESSAGE_CHARS
from mbcasd.kube.controlling.statuses import announcements, apply_body, compose
from mbcasd.kube.controlling.verdict import Phase, Reason
from mbcasd.kube.objects import AllocationStatus

EMPTY = AllocationStatus()
AT = 1_700_000_000.0


def a_status(
    old: AllocationStatus = EMPTY,
    phase: Phase = Phase.APPLIED,
    reason: str = Reason.RESIZED,
    message: str = "in force: app 300m",
    *,
    generation: int = 1,
    wall_s: float = AT,
    attempted: float | None = AT,
    applied: bool = True,
) -> AllocationStatus:
    return compose(
        old,
        phase=phase,
        reason=reason,
        message=message,
        generation=generation,
        containers=(cpu(300),),
        wall_s=wall_s,
        attempted_wall_s=attempted,
        is_applied=applied,
    )


def test_times_of_what_has_not_changed_stay() -> None:
    first = a_status()
    later = a_status(first, generation=2, wall_s=AT + 100, attempted=None, applied=False)

    assert later.last_applied_time == first.last_applied_time == "2023-11-14T22:13:20Z"
    assert later.last_attempt_time == first.last_attempt_time
    assert later.conditions[0].last_transition_time == first.conditions[0].last_transition_time
    assert later.conditions[0].observed_generation == 2


def test_a_condition_that_turns_has_a_time_of_its_own() -> None:
    later = a_status(a_status(), Phase.FAILED, "QuotaExceeded", "no", wall_s=AT + 60)

    assert later.conditions[0].status == "False"
    assert later.conditions[0].last_transition_time == "2023-11-14T22:14:20Z"


@pytest.mark.parametrize(
    ("phase", "reason", "expected"),
    [
        (Phase.APPLIED, Reason.RESIZED, {"Applied": "True"}),
        (Phase.PENDING, "Deferred", {"Applied": "False", "ResizePending": "True"}),
        (Phase.FAILED, "Infeasible", {"Applied": "False", "ResizePending": "True"}),
        (Phase.FAILED, Reason.CHANGED_BY_OTHER, {"Applied": "False", "Conflict": "True"}),
        (Phase.FAILED, "QuotaExceeded", {"Applied": "False"}),
    ],
)
def test_conditions_are_there_while_they_are_true(phase: Phase, reason: str, expected: dict[str, str]) -> None:
    status = a_status(phase=phase, reason=reason)

    assert {one.type: one.status for one in status.conditions} == expected


def test_a_message_is_cut_to_what_the_definition_allows() -> None:
    assert len(a_status(message="x" * 5000).conditions[0].message) == MESSAGE_CHARS


def test_only_transitions_are_told() -> None:
    applied = a_status()
    failed = a_status(applied, Phase.FAILED, "QuotaExceeded", "no")

    assert [one.reason for one in announcements(EMPTY, applied)] == ["Resized"]
    assert announcements(applied, a_status(applied, message="in force: app 400m")) == ()
    assert announcements(applied, a_status(applied, reason=Reason.HELD)) == ()
    assert [(one.reason, one.is_warning) for one in announcements(applied, failed)] == [("ResizeRefused", True)]
    assert announcements(failed, a_status(failed, Phase.FAILED, "QuotaExceeded", "still no")) == ()
    assert [one.reason for one in announcements(failed, applied)] == ["Resized"]
    deferred = a_status(applied, Phase.PENDING, "Deferred", "no room")
    assert [(one.reason, one.is_warning) for one in announcements(applied, deferred)] == [("ResizeDeferred", True)]
    in_progress = a_status(applied, Phase.PENDING, Reason.IN_PROGRESS, "…")
    assert announcements(applied, in_progress) == ()


def test_the_body_is_for_this_very_object_in_this_very_state() -> None:
    body = apply_body(an_allocation(), a_status(attempted=None))

    assert body["metadata"] == {
        "name": "web.11111111",
        "namespace": "shop",
        "uid": "a-uid",
        "resourceVersion": "9",
    }
    assert body["status"]["containers"] == ({"name": "app", "limitMilli": 300},)
    assert body["status"]["conditions"][0]["type"] == "Applied"
    assert "lastAttemptTime" not in body["status"]


def test_a_status_reads_back_as_it_was_written() -> None:
    status = a_status()

    assert msgspec.convert(apply_body(an_allocation(), status)["status"], AllocationStatus) == status
