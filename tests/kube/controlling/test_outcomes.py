"""Every answer that real API servers were seen to give has its place in the table."""

import json
from pathlib import Path
from typing import Any

import pytest

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.controlling.outcomes import Outcome, of_error

ANSWERS = Path(__file__).parents[2] / "data" / "api-answers"
CAPTURED = {
    f"{file.stem}: {answer['asked']}": answer
    for file in sorted(ANSWERS.glob("kube-*.json"))
    for answer in json.loads(file.read_text())
}

# What was asked → what the answer means. One line for each that was captured, whether a resize can meet it or not.
MEANS = {
    "QoS change: guaranteed, only limit": Outcome.INFEASIBLE,
    "QoS change: burstable -> guaranteed": Outcome.INFEASIBLE,
    "besteffort: add limit": Outcome.INFEASIBLE,
    "pod running but status.resources nil": Outcome.INFEASIBLE,
    "windows node": Outcome.INFEASIBLE,
    "windows pod os": Outcome.INFEASIBLE,
    "static (mirror) pod": Outcome.INFEASIBLE,
    "init container resize": Outcome.INFEASIBLE,
    "pod-level resources: pod resize": Outcome.INFEASIBLE,
    "node capacity (requests 3 cpu > 2)": Outcome.CAPACITY,
    "quota exceeded by request": Outcome.QUOTA,
    "quota exceeded by limit": Outcome.QUOTA,
    "limitrange over max": Outcome.LIMIT_RANGE,
    "limitrange under min": Outcome.LIMIT_RANGE,
    "limitrange ratio": Outcome.LIMIT_RANGE,
    "stale resourceVersion": Outcome.CONFLICT,
    "wrong uid": Outcome.GONE,
    "pod not found": Outcome.GONE,
    "node missing": Outcome.RETRY,
    "RBAC denied resize": Outcome.FORBIDDEN,
    "VAP other node denied": Outcome.FORBIDDEN,
    "VAP other node's object patched": Outcome.FORBIDDEN,
    "VAP unbound token denied": Outcome.FORBIDDEN,
    # Mistakes that MBCAS does not make; if it ever does, it must not repeat them.
    "request > limit": Outcome.BUG,
    "remove limit (null)": Outcome.BUG,
    "remove by JSON merge patch (whole list)": Outcome.BUG,
    "ephemeral-storage": Outcome.BUG,
    "resizePolicy change": Outcome.BUG,
    "unknown container name": Outcome.BUG,
    "container without name": Outcome.BUG,
    "bad quantity": Outcome.BUG,
    "negative cpu": Outcome.BUG,
    "plain pod PATCH of resources": Outcome.BUG,
    "CR request>limit": Outcome.BUG,
    "CR nodeName change": Outcome.BUG,
    "Lease create as SA": Outcome.BUG,
    "Event create as SA": Outcome.BUG,
}


def a_refusal(code: int, message: str = "", *, causes: tuple[tuple[str, str, str], ...] = ()) -> ApiRefused:
    return ApiRefused(code, "", message, causes)


def refusal(answer: dict[str, Any]) -> ApiRefused:
    causes = tuple((one.get("reason", ""), one.get("field", ""), one.get("message", "")) for one in answer["causes"])
    return ApiRefused(answer["code"], answer["reason"], answer["message"], causes)


@pytest.mark.parametrize("name", CAPTURED)
def test_an_answer_of_a_real_server_means_what_it_says(name: str) -> None:
    answer = CAPTURED[name]

    assert of_error(refusal(answer)) is MEANS[answer["asked"]]


def test_nothing_in_the_table_of_meanings_was_never_seen() -> None:
    assert set(MEANS) == {answer["asked"] for answer in CAPTURED.values()}


def test_no_answer_says_nothing_so_it_is_asked_again() -> None:
    assert of_error(ApiAway("connection refused")) is Outcome.RETRY


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        (429, "too many requests", Outcome.RETRY),
        (500, "etcdserver: request timed out", Outcome.RETRY),
        (503, "", Outcome.RETRY),
        (504, "", Outcome.RETRY),
        (408, "", Outcome.RETRY),
        (401, "Unauthorized", Outcome.FORBIDDEN),
        (415, "", Outcome.BUG),
        (410, "", Outcome.GONE),
        (404, "the server could not find the requested resource", Outcome.INFEASIBLE),
        (403, "status unknown for quota: q, resources: limits.cpu", Outcome.RETRY),
        (403, 'pods "p" is forbidden: failed quota: q: must specify limits.memory', Outcome.QUOTA),
        (403, "cpu max limit to request ratio per Pod is 3, but provided ratio is 4.0", Outcome.LIMIT_RANGE),
        (403, "maximum cpu usage per Pod is 1, but limit is 1100m", Outcome.LIMIT_RANGE),
        (403, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Outcome.FORBIDDEN),
        (400, 'admission webhook "guard.example.test" denied the request: no', Outcome.FORBIDDEN),
        (403, 'admission webhook "guard.example.test" denied the request: no', Outcome.FORBIDDEN),
    ],
)
def test_answers_that_no_capture_has(code: int, message: str, outcome: Outcome) -> None:
    assert of_error(a_refusal(code, message)) is outcome


def test_a_cause_is_found_among_others() -> None:
    causes = (("Other", "", ""), ("NodeCapacity", "", ""))

    assert of_error(a_refusal(403, "node didn't have enough", causes=causes)) is Outcome.CAPACITY
