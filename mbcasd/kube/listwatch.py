"""A list that stays current: what the API has of one kind, held in memory and kept while the API is away.

Lists in pages, then watches from there, with bookmarks so that a quiet watch can be taken up again. Everything that
can end a watch ends it sooner or later, so ending is the normal case: a watch that has lived goes on at once, all else
waits longer from try to try and is told in one sentence. Readers see levels, never events: what was missed while the
watch was away is found by the next list.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.api import Api, Lines
from mbcasd.kube.backoff import FIRST_S, LONGEST_S, Backoff, sentence
from mbcasd.kube.objects import Identity
from mbcasd.kube.store import Key, Store
from mbcasd.kube.wire import Bookmark, Change, NotUnderstood, T, Trouble, Wire

__all__ = ["Key", "ListWatch", "Patience"]

log = logging.getLogger(__name__)

# Codes after which a watch may be taken up where it was; after any other the list is made anew.
_GO_ON_AFTER = frozenset({429, 500, 502, 503})

_GONE, _ABSENT = 410, 404

# So many different reasons are logged until it works again; a server may find new words each time.
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a list-watch waits for what; the defaults are for a cluster, tests have less of it.

    first_s, longest_s: the waits between tries.
    watch_s: how long the server keeps a watch; drawn from this range for each.
    silence_s: the longest silence of a watch. Bookmarks come about once a minute, so more than this means that the
        connection leads nowhere; if a server sends none, a watch that is taken up again costs it one request.
    lives_s: a watch that has lasted this long is a healthy one.
    list_s: the longest a page may take.
    answer_s: the longest until a watch begins; the server queues requests for up to 15 s.
    absent_s: when to ask again for an optional kind that the server does not have.
    join_s: how long `stop` waits for the thread.
    """

    first_s: float = FIRST_S
    longest_s: float = LONGEST_S
    watch_s: tuple[float, float] = (240.0, 300.0)
    silence_s: float = 100.0
    lives_s: float = 5.0
    list_s: float = 30.0
    answer_s: float = 30.0
    absent_s: float = 300.0
    join_s: float = 2.0


def by_name(metadata: Identity) -> Key:
    """The usual key."""
    return metadata.namespace, metadata.name


class ListWatch(Generic[T]):
    """Keeps what the API has of one kind, on a thread of its own.

    Attributes:
        lists: How many lists were begun.
        watches: How many watches were opened.
        events: How many changes came by watches.
        failures: How many tries failed.
        unreadable: How many objects were left out, or left as they were, because their form is not the expected one.
        corrupt: How many lines or pages were no JSON of the expected form; each leads to a new list.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        kind: type[T],
        *,
        clock: Clock,
        params: Mapping[str, str] = MappingProxyType({}),
        key: Callable[[Identity], Key] = by_name,
        on_change: Callable[[Key, T | None], None] | None = None,
        optional: bool = False,
        versions_matter: bool = True,
        page_size: int = 500,
        patience: Patience | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            api: The client; without budget, or with one that a relist cannot exhaust.
            path: The collection, as `names.pods_path()`.
            kind: What each object is decoded into.
            clock: For intervals.
            params: Selectors.
            key: Under what to keep an object; by default (namespace, name).
            on_change: Called on the watching thread for each object that came, changed or went (None), after the
                store has it. It must be quick and raise nothing: a bug in it ends the watch, see `items`.
            optional: The server may not have this kind: then there is nothing of it.
            versions_matter: False: an object that differs in nothing but its version is no change worth calling
                `on_change` for. Others write the status of a HorizontalPodAutoscaler four times a minute.
            page_size: Objects per page of a list.
            patience: How long to wait for what.
        """
        self._api, self._path, self._wire, self._clock = api, path, Wire(kind), clock
        self._params, self._key, self._optional, self._page_size = dict(params), key, optional, page_size
        self._store: Store[T] = Store(on_change, versions_matter=versions_matter)
        self._patience = patience or Patience()
        self._backoff = Backoff(self._patience.first_s, self._patience.longest_s)
        self._name = path.rpartition("/")[2]
        self.lists = self.watches = self.events = self.failures = self.unreadable = self.corrupt = 0

        # Slots that one thread writes and others read.
        self._lines: Lines | None = None
        self._bug: BaseException | None = None

        self._version = ""  # where to watch from; empty: list first
        self._opened_s: float | None = None  # since when this turn's watch is open
        self._heard = False  # whether it has said something
        self._expired_in_a_row = 0
        self._trouble: str | None = None
        self._troubled_since_s = 0.0
        self._is_flapping = False  # the last failure was of a watch that had opened well
        self._told: set[str] = set()  # what was logged since it last worked
        self._last_heard_s: float | None = None
        self._synced, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watch-{self._name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End: a watch is cut, a wait is cut short. A thread that is just connecting ends by itself soon after."""
        self._stopping.set()
        lines = self._lines
        if lines is not None:
            lines.cut()
        if self._thread.is_alive():
            self._thread.join(self._patience.join_s)

    @property
    def items(self) -> Mapping[Key, T]:
        """What there is, as of now; does not change while it is looked at.

        Raises:
            RuntimeError: A bug has ended the watching; it is the cause.
        """
        if self._bug is not None:
            raise RuntimeError(f"watching {self._name} ended") from self._bug
        return self._store.items

    def get(self, key: Key) -> T | None:
        """One object, without a snapshot of all."""
        return self._store.get(key)

    @property
    def synced(self) -> bool:
        """Whether a whole list has been read; stays so while the API is away."""
        return self._synced.is_set()

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait for that; returns whether it came."""
        return self._synced.wait(timeout_s)

    @property
    def trouble(self) -> str | None:
        """One sentence for a person; None: all is well."""
        # A quiet watch that is open for some time is all that one can wish for, also before it says the first word.
        return None if self._has_lived() else self._trouble

    @property
    def last_heard_s(self) -> float | None:
        """When the server last said something, monotonic; None: never. A healthy watch says something each minute."""
        return self._last_heard_s

    # ---- below: only on the watching thread ----------------------------------------------------------------

    def _work(self) -> None:
        try:
            wait_s = 0.0
            while not self._stopping.wait(wait_s):
                wait_s = self._turn()
        except BaseException as err:
            self._bug = err
            self._trouble = f"watching {self._name} ended by a bug: {err!r}"
            raise  # to threading.excepthook, by which a role ends itself

    def _turn(self) -> float:
        """List if need be, watch once; returns how long to wait then."""
        self._opened_s, self._heard = None, False
        problem: ApiAway | ApiRefused | None = None
        try:
            if not self._version:
                self._list()
            if not self._version:
                return self._patience.absent_s
            self._watch()
        except (ApiAway, ApiRefused) as err:
            problem = err
        return 0.0 if self._stopping.is_set() else self._after(problem)

    def _after(self, problem: ApiAway | ApiRefused | None) -> float:
        """How long to wait after a turn that ended like this."""
        has_lived = self._has_lived()
        if has_lived or (self._heard and not isinstance(problem, NotUnderstood)):
            self._backoff.reset()
            self._expired_in_a_row = 0
            self._recovered()
        match problem:
            case NotUnderstood():
                self.corrupt += 1
                self._version = ""
                return self._failed(str(problem))
            case ApiRefused():
                return self._refused(problem)
        if has_lived:
            # The normal end. One that broke off did so for many watches at once, perhaps.
            return 0.0 if problem is None else self._backoff.soon_s()
        if self._heard:
            return self._backoff.first_s()  # it worked, but whatever ends watches this fast may do so again
        return self._failed(
            "API server not reachable (it closes the watch at once)" if problem is None else str(problem)
        )

    def _refused(self, refusal: ApiRefused) -> float:
        if refusal.code == _GONE:
            # The version is too old to watch from: quite normal after a while without a connection.
            self._version = ""
            self._expired_in_a_row += 1
            if self._expired_in_a_row == 1:
                return 0.0
        elif refusal.code not in _GO_ON_AFTER:
            self._version = ""
        return self._failed(f"API server refuses {self._name} ({refusal})", refusal.retry_after_s)

    def _failed(self, why: str, retry_after_s: float | None = None) -> float:
        self.failures += 1
        wait_s = self._backoff.failed(retry_after_s)
        if self._trouble is None:
            self._troubled_since_s = self._clock.now_s()
        self._is_flapping = self._opened_s is not None
        self._trouble = sentence(why, wait_s, self._backoff.failures)
        if why in self._told or len(self._told) >= _MOST_TOLD:
            log.debug("%s: %s", self._name, self._trouble)
        else:
            self._told.add(why)
            log.warning("%s: %s", self._name, self._trouble)
        return wait_s

    def _recovered(self) -> None:
        if self._trouble is not None:
            away_s = self._clock.now_s() - self._troubled_since_s
            log.info("%s: API server answers again after %.0f s", self._name, away_s)
        self._trouble = None
        self._is_flapping = False
        self._told.clear()

    def _has_lived(self) -> bool:
        opened_s = self._opened_s
        return opened_s is not None and self._clock.now_s() - opened_s >= self._patience.lives_s

    def _list(self) -> None:
        """Bring the store up to date, page by page; what is in no page is gone."""
        params = {**self._params, "limit": str(self._page_size)}
        self.lists += 1
        seen: set[Key] = set()
        while True:
            try:
                page = self._wire.page(self._api.get(self._path, params, timeout_s=self._patience.list_s))
            except ApiRefused as refusal:
                if refusal.code != _ABSENT or not self._optional:
                    raise
                self._store.drop_all_but(set())
                self._synced.set()
                self._backoff.reset()
                self._recovered()
                return
            self._last_heard_s = self._clock.now_s()
            for about in page.unreadable:
                self.unreadable += 1
                seen.add(self._key(about.metadata))  # what was known of it stays
            for item in page.items:
                key = self._key(item.metadata)
                seen.add(key)
                self._store.put(key, item)
            if not page.more:
                break
            params["continue"] = page.more
        self._store.drop_all_but(seen)
        self._version = page.version
        self._synced.set()

    def _watch(self) -> None:
        """Take in changes until the watch ends."""
        params = {
            **self._params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(round(random.uniform(*self._patience.watch_s))),  # noqa: S311 - no secret
        }
        self.watches += 1
        with self._api.stream(
            self._path, params, timeout_s=self._patience.silence_s, answer_timeout_s=self._patience.answer_s
        ) as lines:
            self._opened_s = self._last_heard_s = self._clock.now_s()
            if not self._is_flapping:
                self._recovered()
            self._lines = lines
            if self._stopping.is_set():  # `stop` may have looked for it a moment too early
                return
            try:
                for line in lines:
                    self._take(line)
            finally:
                self._lines = None

    def _take(self, line: bytes) -> None:
        event = self._wire.event(line)
        self._last_heard_s = self._clock.now_s()
        match event:
            case Trouble(status=status):
                self._version = ""  # whatever it is, this version has led to it
                raise status.refusal()
            case Bookmark(version=version):
                self._version = version
            case Change(about=about, item=item, is_gone=is_gone):
                self.events += 1
                self._version = about.resource_version
                key = self._key(about)
                if item is not None:
                    self._store.put(key, item)
                elif is_gone:
                    self._store.drop(key)
                else:
                    self.unreadable += 1
        self._heard = True
