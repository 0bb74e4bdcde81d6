"""Whole lists, page by page, for whoever looks once and does not watch."""

from collections.abc import Mapping
from typing import Generic, TypeVar, cast

import msgspec

from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.api import Api

PAGE = 500

# A list that cannot be read through in so many beginnings changes faster than it can be read.
_MOST_BEGINNINGS = 3

T = TypeVar("T")


class _ListMeta(msgspec.Struct):
    next_page: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[T] | None = None


def list_all(
    api: Api, path: str, kind: type[T], params: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
) -> list[T]:
    """All objects of a collection, as the API server has them now.

    Args:
        api: The client.
        path: Of the collection.
        kind: What to decode each into.
        params: Selectors.
        timeout_s: For each page.

    Raises:
        ApiAway, ApiRefused: It cannot be had.
    """
    decoder = cast("msgspec.json.Decoder[_Page[T]]", msgspec.json.Decoder(_Page[kind]))  # type: ignore[valid-type]
    for _ in range(_MOST_BEGINNINGS):
        try:
            return _read_through(api, path, decoder, dict(params or {}), timeout_s)
        except ApiRefused as err:
            if err.code != 410:  # the pages of this beginning have expired
                raise
    raise ApiAway(f"{path} could not be read to its end {_MOST_BEGINNINGS} times: it changes too fast")


def _read_through(
    api: Api, path: str, decoder: "msgspec.json.Decoder[_Page[T]]", params: dict[str, str], timeout_s: float
) -> list[T]:
    found: list[T] = []
    asked = {**params, "limit": str(PAGE)}
    while True:
        page = decoder.decode(api.get(path, asked, timeout_s=timeout_s))
        found += page.items or ()
        if not page.metadata.next_page:
            return found
        asked["continue"] = page.metadata.next_page
