import msgspec
import pytest

from mbcasd.errors import ApiAway
from mbcasd.kube.objects import Pod
from mbcasd.kube.wire import Bookmark, Change, Trouble, Wire

WIRE = Wire(Pod)


def a_line(kind, item):
    return msgspec.json.encode({"type": kind, "object": item})


def a_pod(**more):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"},
        **more,
    }


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_what_was_added_or_changed_is_the_object_as_it_is_now(kind):
    change = WIRE.event(a_line(kind, a_pod(spec={"nodeName": "n"}, unknown={"skipped": True})))
    assert isinstance(change, Change)
    assert (change.item.spec.node_name, change.about.resource_version, change.is_gone) == ("n", "7", False)


def test_what_was_deleted_needs_no_reading():
    change = WIRE.event(a_line("DELETED", a_pod(spec="unreadable")))
    assert (change.about.name, change.item, change.is_gone) == ("a", None, True)


def test_what_cannot_be_read_is_still_known_by_name():
    change = WIRE.event(a_line("MODIFIED", a_pod(spec="unreadable")))
    assert (change.about.name, change.item, change.is_gone) == ("a", None, False)


def test_bookmarks_have_a_version_and_no_name():
    event = WIRE.event(a_line("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "99"}}))
    assert event == Bookmark("99")


def test_errors_have_a_status():
    event = WIRE.event(a_line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))
    assert isinstance(event, Trouble)
    refusal = event.status.refusal()
    assert (refusal.code, refusal.reason, str(refusal)) == (410, "Expired", "too old")


def test_an_error_without_a_code_is_one_of_the_server():
    assert WIRE.event(a_line("ERROR", {})).status.refusal().code == 500


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b'"text"',
        b"{}",
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":{}}',
        b'{"type":"BOOKMARK","object":3}',
        b"\xff",
    ],
)
def test_what_is_no_event_is_refused(line):
    with pytest.raises(ApiAway, match="a watch event that is none"):
        WIRE.event(line)


def test_a_page_tells_its_version_what_continues_it_and_what_it_could_not_read():
    page = WIRE.page(
        msgspec.json.encode(
            {
                "kind": "PodList",
                "metadata": {"resourceVersion": "10", "continue": "2nd", "remainingItemCount": 5},
                "items": [a_pod(), a_pod(spec=[])],
            }
        )
    )
    assert (page.version, page.more) == ("10", "2nd")
    assert [pod.metadata.name for pod in page.items] == ["a"]
    assert [one.metadata.name for one in page.unreadable] == ["a"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"<html>", b"{}", b'{"metadata":{},"items":[{}]}', b'{"metadata":{},"items":[3]}']
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ApiAway, match="a list that is none"):
        WIRE.page(text)
