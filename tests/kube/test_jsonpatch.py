"""JSON patches as manifests use them."""

import pytest

from mbcasd.errors import ConfigError
from mbcasd.kube.jsonpatch import patched

POD = {"spec": {"containers": [{"name": "a", "args": ["x", "y"]}], "labels": {"a/b": "1", "c~d": "2"}}}


@pytest.mark.parametrize(
    ("operation", "place", "value"),
    [
        ({"op": "add", "path": "/spec/hostNetwork", "value": True}, ("hostNetwork",), True),
        (
            {"op": "add", "path": "/spec/containers/0/args/1", "value": "new"},
            ("containers", 0, "args"),
            ["x", "new", "y"],
        ),
        ({"op": "add", "path": "/spec/containers/0/args/-", "value": "z"}, ("containers", 0, "args"), ["x", "y", "z"]),
        ({"op": "replace", "path": "/spec/containers/0/args/0", "value": "z"}, ("containers", 0, "args"), ["z", "y"]),
        ({"op": "remove", "path": "/spec/containers/0/args/0"}, ("containers", 0, "args"), ["y"]),
        ({"op": "replace", "path": "/spec/labels/a~1b", "value": "3"}, ("labels", "a/b"), "3"),
        ({"op": "replace", "path": "/spec/labels/c~0d", "value": "3"}, ("labels", "c~d"), "3"),
        ({"op": "test", "path": "/spec/containers/0/name", "value": "a"}, ("containers", 0, "name"), "a"),
    ],
)
def test_an_operation_does_what_its_name_says(operation, place, value):
    found = patched(POD, [operation])["spec"]
    for step in place:
        found = found[step]

    assert found == value


def test_the_original_stays():
    patched(POD, [{"op": "remove", "path": "/spec/containers/0"}])

    assert POD["spec"]["containers"][0]["name"] == "a"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "replace", "path": "/spec/nodeName", "value": 1}, "/spec/nodeName leads nowhere"),
        ({"op": "remove", "path": "/spec/containers/1"}, "/spec/containers/1 leads nowhere"),
        ({"op": "add", "path": "/metadata/labels/a", "value": 1}, "/metadata/labels/a leads nowhere"),
        ({"op": "add", "path": "/spec/containers/7", "value": 1}, "'7' is no place in a list of 1"),
        ({"op": "add", "path": "/spec/containers/0/name/x", "value": 1}, "leads nowhere"),
        ({"op": "test", "path": "/spec/containers/0/name", "value": "b"}, "is 'a', the patch is for 'b'"),
        ({"op": "move", "path": "/spec/a", "from": "/spec/b"}, "no operation 'move'"),
        ({"op": "add", "path": "spec", "value": 1}, "begins with /"),
    ],
)
def test_what_does_not_fit_is_told(operation, words):
    with pytest.raises(ConfigError, match=words):
        patched(POD, [operation])
