"""What is known of one kind of object: written by one thread, read by all, as of one moment."""

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic

from msgspec.structs import replace

from mbcasd.kube.wire import Named, T

Key = tuple[str, str]  # (namespace, name); the namespace is empty for what has none


class Store(Generic[T]):
    """Objects by key; tells a listener what came, changed or went, after it is so."""

    def __init__(self, on_change: Callable[[Key, T | None], None] | None, *, versions_matter: bool) -> None:
        """Begin empty.

        Args:
            on_change: Called on the writing thread, outside of the lock; None for what went.
            versions_matter: False: what differs in nothing but its version is not told.
        """
        self._on_change, self._versions_matter = on_change, versions_matter
        self._lock = threading.Lock()
        self._items: dict[Key, T] = {}
        self._snapshot: Mapping[Key, T] | None = None

    @property
    def items(self) -> Mapping[Key, T]:
        """All, as of now; does not change while it is looked at. Costs a copy after each change: 0.5 ms for 10 000."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = MappingProxyType(dict(self._items))
            return self._snapshot

    def get(self, key: Key) -> T | None:
        """One, without a snapshot of all."""
        with self._lock:
            return self._items.get(key)

    def put(self, key: Key, item: T) -> None:
        """Take in an object; one of the version that is known already is no news."""
        with self._lock:
            old = self._items.get(key)
            if old is not None and old.metadata.resource_version == item.metadata.resource_version:
                return
            self._items[key] = item
            self._snapshot = None
        if self._on_change is None or (old is not None and not self._versions_matter and _is_same(old, item)):
            return
        self._on_change(key, item)

    def drop(self, key: Key) -> None:
        """Forget an object."""
        with self._lock:
            if self._items.pop(key, None) is None:
                return
            self._snapshot = None
        if self._on_change is not None:
            self._on_change(key, None)

    def drop_all_but(self, keys: set[Key]) -> None:
        """Forget what is not among these."""
        for key in [key for key in self._items if key not in keys]:
            self.drop(key)


def _is_same(old: Named, new: Named) -> bool:
    """Whether two states of an object differ in nothing that we read but their versions."""
    versions = {"resource_version": new.metadata.resource_version, "generation": new.metadata.generation}
    return replace(old, metadata=replace(old.metadata, **versions)) == new  # type: ignore[type-var]
