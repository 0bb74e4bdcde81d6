"""Events that `kubectl describe` and `kubectl events` show: told in passing, never waited for.

The same thing said again becomes a series with a count, and each object has a small budget, so that a controller that
is unhappy a thousand times does not fill etcd. What cannot be delivered is dropped and counted: an event is a courtesy.
"""

import contextlib
import logging
import queue
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway, ApiError, ApiRefused
from mbcasd.kube.api import Api, PatchKind
from mbcasd.kube.backoff import Backoff
from mbcasd.kube.budget import Budget
from mbcasd.kube.times import rfc3339_micro

log = logging.getLogger(__name__)

LONGEST_NOTE_BYTES = 1024

# What waits to be sent; what comes beyond that is dropped.
_MOST_WAITING = 500

# How many different things are remembered to be recognised when they are said again, and for how long.
_MOST_SERIES, _SERIES_S = 2000, 360.0

# A count that grew is told at once the first time, then at most this often.
_REFRESH_S = 60.0

# Per object, and for all: some at once, then few. As much as the official recorder lets through.
_PER_OBJECT, _PER_OBJECT_BURST = 1 / 60.0, 10.0
_PER_S, _BURST = 5.0, 50.0

_TIMEOUT_S = 5.0

_NOT_FOUND = 404

_Said = tuple[str, str, str, str, bool, str]  # namespace, name, uid, reason, whether a warning, note


class _Series:
    """One thing, and how often it was said."""

    def __init__(self, event: dict[str, object], path: str, now_s: float) -> None:
        self.event, self.path = event, path
        self.count, self.told = 1, 0  # told: the count that the API has; 0: it has no such event
        self.said_s = now_s
        self.told_s = now_s


class Events:
    """Sends events on a thread of its own."""

    def __init__(self, api: Api, *, component: str, instance: str, clock: Clock, refresh_s: float = _REFRESH_S) -> None:
        """Start the thread; nothing is sent before the first `emit`.

        Args:
            api: The client.
            component: Who reports, as `names.AGENT`.
            instance: Which of them: the pod's or the node's name.
            clock: Monotonic for budgets, wall for what is written.
            refresh_s: How often a growing count is told.
        """
        self._api, self._clock = api, clock
        self._component, self._instance, self._refresh_s = component, instance[:128], refresh_s
        self._waiting: queue.Queue[tuple[_Said, dict[str, object]] | None] = queue.Queue(_MOST_WAITING)
        self._series: OrderedDict[_Said, _Series] = OrderedDict()
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._budget = Budget(_PER_S, _BURST, clock=clock)
        self._backoff = Backoff()
        self._told: set[str] = set()  # kinds of failure that were logged since it last worked
        self._not_before_s = 0.0  # while the API server is away, nothing is even tried
        self.sent = self.dropped = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def emit(
        self, regarding: Mapping[str, str], *, reason: str, note: str, action: str, is_warning: bool = False
    ) -> None:
        """Say something about an object; returns at once, may be called from any thread.

        Args:
            regarding: apiVersion, kind, namespace (none: cluster-wide), name and uid of the object.
            reason: Why, as one word: "LimitRaised".
            note: For people; cut after 1 kB.
            action: What was done, as one word: "Resize".
            is_warning: Whether somebody may want to look.
        """
        # A cluster-wide object's events live in "default": the API wants them there.
        namespace = regarding.get("namespace") or "default"
        note = _cut(note)
        event: dict[str, object] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": namespace},
            "eventTime": rfc3339_micro(self._clock.wall_s()),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "regarding": dict(regarding),
            "note": note,
            "type": "Warning" if is_warning else "Normal",
        }
        said = (namespace, regarding.get("name", ""), regarding.get("uid", ""), reason, is_warning, note)
        try:
            self._waiting.put_nowait((said, event))
        except queue.Full:
            self.dropped += 1

    def stop(self, within_s: float = 2.0) -> None:
        """Send what waits, but for no longer than this."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)  # wakes the thread
        self._thread.join(within_s)

    # ---- below: only on the events' thread -----------------------------------------------------------------

    def _work(self) -> None:
        while not (self._stopping.is_set() and self._waiting.empty()):
            try:
                waiting = self._waiting.get(timeout=self._refresh_s / 4)
            except queue.Empty:
                waiting = None
            if waiting is not None:
                self._say(*waiting)
            self._refresh(everything=self._stopping.is_set() and self._waiting.empty())

    def _say(self, said: _Said, event: dict[str, object]) -> None:
        now_s = self._clock.now_s()
        series = self._series.get(said)
        if series is not None and now_s - series.said_s <= _SERIES_S:
            series.count += 1
            series.said_s = now_s
            series.event["series"] = {"count": series.count, "lastObservedTime": event["eventTime"]}
            self._series.move_to_end(said)
            if series.count == 2:
                self._tell_growth(series)
            return
        if not self._may_say(said[2] or said[1]):
            self.dropped += 1
            return
        namespace, name = said[0], said[1]
        event["metadata"] = {"namespace": namespace, "name": f"{name[:200]}.{secrets.token_hex(8)}"}
        series = _Series(event, f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", now_s)
        self._series[said] = series
        while len(self._series) > _MOST_SERIES:
            self._series.popitem(last=False)
        self._create(series)

    def _refresh(self, *, everything: bool = False) -> None:
        """Tell the counts that grew a while ago, and forget what is not said any more."""
        now_s = self._clock.now_s()
        for said, series in tuple(self._series.items()):
            if series.told and series.told < series.count and (everything or now_s - series.told_s >= self._refresh_s):
                self._tell_growth(series)
            if now_s - series.said_s > _SERIES_S:
                del self._series[said]

    def _may_say(self, about: str) -> bool:
        budget = self._budgets.get(about)
        if budget is None:
            budget = self._budgets[about] = Budget(_PER_OBJECT, _PER_OBJECT_BURST, clock=self._clock)
            while len(self._budgets) > _MOST_SERIES:
                self._budgets.popitem(last=False)
        return budget.reserve(0.0) is not None and self._budget.reserve(0.0) is not None

    def _create(self, series: _Series) -> None:
        if self._deliver(lambda: self._api.post(series.path, series.event, timeout_s=_TIMEOUT_S)) is None:
            series.told, series.told_s = series.count, self._clock.now_s()

    def _tell_growth(self, series: _Series) -> None:
        if not series.told:  # the first one did not get through
            self._create(series)
            return
        metadata = series.event["metadata"]
        name = metadata["name"] if isinstance(metadata, dict) else ""
        path, body = f"{series.path}/{name}", {"series": series.event["series"]}
        err = self._deliver(lambda: self._api.patch(path, body, PatchKind.MERGE, timeout_s=_TIMEOUT_S))
        series.told_s = self._clock.now_s()
        if err is None:
            series.told = series.count
        elif isinstance(err, ApiRefused) and err.code == _NOT_FOUND:  # they live for an hour
            self._create(series)

    def _deliver(self, send: Callable[[], bytes]) -> ApiError | None:
        """Send one; returns why it did not get through, None if it did."""
        if self._clock.now_s() < self._not_before_s:
            self.dropped += 1
            return ApiAway("API server not asked (it was away a moment ago)")
        try:
            send()
        except (ApiAway, ApiRefused) as err:
            self.dropped += 1
            self._hold_back(err)
            return err
        self._backoff.reset()
        self._told.discard("away")
        self.sent += 1
        return None

    def _hold_back(self, err: ApiError) -> None:
        """Leave the API server alone for a while, unless it only disliked this one event."""
        kind = err.reason or str(err.code) if isinstance(err, ApiRefused) else "away"
        log.log(logging.DEBUG if kind in self._told else logging.WARNING, "event not delivered: %s", err)
        self._told.add(kind)
        if isinstance(err, ApiRefused) and err.code not in {429, 500, 502, 503, 504}:
            return
        retry_after_s = err.retry_after_s if isinstance(err, ApiRefused) else None
        self._not_before_s = self._clock.now_s() + self._backoff.failed(retry_after_s)


def _cut(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= LONGEST_NOTE_BYTES:
        return note
    return encoded[: LONGEST_NOTE_BYTES - 3].decode("utf-8", "ignore") + "…"
