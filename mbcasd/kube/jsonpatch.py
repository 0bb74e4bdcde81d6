"""JSON patches (RFC 6902): the four operations that manifests use, on plain data."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from mbcasd.errors import ConfigError


def patched(document: object, operations: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - plain data, as it came
    """Apply operations in order to a copy.

    Raises:
        ConfigError: An operation is unknown, a path leads nowhere, or a test does not hold; the message has the path.
    """
    result = deepcopy(document)
    for operation in operations:
        _apply(result, operation)
    return result


def _apply(document: object, operation: Mapping[str, Any]) -> None:
    op, path = operation.get("op"), str(operation.get("path", ""))
    parent, key = _parent(document, path)
    if op == "add":
        _add(parent, key, deepcopy(operation["value"]))
    elif op == "replace":
        _at(parent, key, path)
        parent[_index(key) if isinstance(parent, list) else key] = deepcopy(operation["value"])
    elif op == "remove":
        _at(parent, key, path)
        del parent[_index(key) if isinstance(parent, list) else key]
    elif op == "test":
        if (found := _at(parent, key, path)) != operation["value"]:
            raise ConfigError(f"{path} is {found!r}, the patch is for {operation['value']!r}")
    else:
        raise ConfigError(f"{path}: no operation {op!r}; there are add, replace, remove and test")


def _parent(document: object, path: str) -> tuple[Any, str]:
    if not path.startswith("/"):
        raise ConfigError(f"{path!r} is no path: it begins with /")
    *above, key = (part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    place: Any = document
    for part in above:
        place = _at(place, part, path)
    if not isinstance(place, dict | list):
        raise ConfigError(f"{path} leads nowhere")
    return place, key


def _at(place: object, key: str, path: str) -> Any:  # noqa: ANN401 - plain data
    if isinstance(place, dict) and key in place:
        return place[key]
    if isinstance(place, list) and key.isdecimal() and _index(key) < len(place):
        return place[_index(key)]
    raise ConfigError(f"{path} leads nowhere")


def _add(parent: Any, key: str, value: object) -> None:  # noqa: ANN401 - plain data
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    elif key.isdecimal() and _index(key) <= len(parent):
        parent.insert(_index(key), value)
    else:
        raise ConfigError(f"{key!r} is no place in a list of {len(parent)}")


def _index(key: str) -> int:
    return int(key)
