"""Lists and watches as they come over the wire, decoded object by object straight into lean structs. Pure."""

from typing import Generic, Protocol, TypeVar

import msgspec

from mbcasd.errors import ApiAway
from mbcasd.kube.answers import Status
from mbcasd.kube.objects import Identity


class Named(Protocol):
    """What everything in a cluster has."""

    @property
    def metadata(self) -> Identity:
        """Its name, namespace, version and so on."""


T = TypeVar("T", bound=Named)


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None  # an empty list may be null


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _OnlyVersion(msgspec.Struct, frozen=True):
    metadata: _ListMetadata


class OnlyMetadata(msgspec.Struct, frozen=True):
    """What can be told of an object that cannot be read otherwise."""

    metadata: Identity


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `more` continues it; empty: that was the last one."""

    version: str
    more: str
    items: list[T]
    unreadable: list[OnlyMetadata]


class Change(msgspec.Struct, Generic[T], frozen=True):
    """One object added, changed (both have `item`) or deleted; without `item` and not gone: it cannot be read."""

    about: Identity
    item: T | None
    is_gone: bool


class Bookmark(msgspec.Struct, frozen=True):
    """Nothing changed up to this version."""

    version: str


class Trouble(msgspec.Struct, frozen=True):
    """The watch cannot go on, says the server within it."""

    status: Status


class NotUnderstood(ApiAway):
    """What came is no JSON, or not of the form that was asked for."""


class Wire(Generic[T]):
    """Decodes pages and events of one kind."""

    def __init__(self, kind: type[T]) -> None:
        """Prepare the decoders."""
        self._item: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._page = msgspec.json.Decoder(_Page)
        self._event = msgspec.json.Decoder(_Event)
        self._version = msgspec.json.Decoder(_OnlyVersion)
        self._status = msgspec.json.Decoder(Status)
        self._metadata = msgspec.json.Decoder(OnlyMetadata)

    def page(self, text: bytes) -> Page[T]:
        """One page of a list; one object that cannot be read does not hide the others.

        Raises:
            NotUnderstood: It is no list.
        """
        try:
            page = self._page.decode(text)
            items, unreadable = [], []
            for raw in page.items or ():
                try:
                    items.append(self._item.decode(raw))
                except msgspec.ValidationError:
                    unreadable.append(self._metadata.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise NotUnderstood(f"API server not understood (a list that is none: {err})") from err
        return Page(
            version=page.metadata.resource_version, more=page.metadata.continue_, items=items, unreadable=unreadable
        )

    def event(self, line: bytes) -> Change[T] | Bookmark | Trouble:
        """One line of a watch.

        Raises:
            NotUnderstood: It is no event.
        """
        try:
            event = self._event.decode(line)
            match event.type:
                case "BOOKMARK":
                    return Bookmark(self._version.decode(event.object).metadata.resource_version)
                case "ERROR":
                    return Trouble(self._status.decode(event.object))
                case "DELETED":
                    return Change(about=self._metadata.decode(event.object).metadata, item=None, is_gone=True)
                case _:
                    return self._change(event.object)
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise NotUnderstood(f"API server not understood (a watch event that is none: {err})") from err

    def _change(self, raw: msgspec.Raw) -> Change[T]:
        try:
            item = self._item.decode(raw)
        except msgspec.ValidationError:
            return Change(about=self._metadata.decode(raw).metadata, item=None, is_gone=False)
        return Change(about=item.metadata, item=item, is_gone=False)
