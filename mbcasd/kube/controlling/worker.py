"""Carries verdicts out: one pod at a time, and only while this replica leads and will lead until it is done."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import msgspec

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway, ApiError, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.api import Api, PatchKind
from mbcasd.kube.controlling import answered, outcomes, statuses
from mbcasd.kube.controlling.authors import authors_of
from mbcasd.kube.controlling.gate import UNSURE_S, WRITE_TIMEOUT_S, Gate
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.patches import resize_body
from mbcasd.kube.controlling.pods import ResizablePod
from mbcasd.kube.controlling.queue import Key, WorkQueue
from mbcasd.kube.controlling.reconcile import reconcile
from mbcasd.kube.controlling.verdict import Action, Announcement, Instant, Memory, Rules, Seen, Verdict
from mbcasd.kube.controlling.views import Views
from mbcasd.kube.events import Events
from mbcasd.kube.objects import Identity, PodAllocation

log = logging.getLogger(__name__)

# The cache is behind what the API server says now.
BEHIND_S = 0.25


class Counts(Protocol):
    """Where incidents are counted."""

    def count(self, namespace: str, pod: str, kind: str, duration_s: float | None) -> None:
        """Count one."""

    def forget(self, namespace: str, pod: str) -> None:
        """Drop what was counted for a pod that is gone."""

    def forget_all(self) -> None:
        """Drop what was counted for all pods."""


class _Written(msgspec.Struct):
    """The answer to a write, as far as it matters."""

    metadata: Identity


class Worker:
    """Looks at what is due and does it; `work` runs on several threads at once."""

    def __init__(
        self,
        api: Api,
        views: Views,
        queue: WorkQueue,
        gate: Gate,
        events: Events,
        counts: Counts,
        *,
        rules: Callable[[], Rules],
        clock: Clock,
    ) -> None:
        """Wire the parts.

        Args:
            api: The client, without budget.
            views: What is known.
            queue: What is due.
            gate: Asked before each request.
            events: Told of transitions.
            counts: Told of incidents.
            rules: What is allowed now; may change from call to call.
            clock: For deadlines, and for times in statuses.
        """
        self._api, self._views, self._queue, self._gate = api, views, queue, gate
        self._events, self._counts, self._rules, self._clock = events, counts, rules, clock
        self._memories: dict[Key, Memory] = {}
        self._written: dict[
            Key, tuple[str, PodAllocation]
        ] = {}  # key → version that the cache had, what we wrote since
        self._said: dict[Key, str] = {}

    def work(self) -> None:
        """Work until `stop`."""
        while not self._gate.is_closed:
            key = self._queue.take(1.0)
            if key is None:
                continue
            try:
                self._look_at(key)
                self._queue.succeeded(key)
            except ApiError as err:
                self._gate.failed(err)
                self._put_off(key, err)
            finally:
                self._queue.done(key)

    def stop(self) -> None:
        """Take up nothing any more; a write under way is finished."""
        self._gate.close()

    def forget(self) -> None:
        """Forget all that was remembered: another one has led meanwhile."""
        self._memories.clear()
        self._written.clear()
        self._said.clear()
        self._counts.forget_all()
        self._gate.succeeded()  # whoever has just won an election has been answered

    @property
    def remembered(self) -> int:
        """How many pods are remembered."""
        return len(self._memories)

    # ---- one pod -------------------------------------------------------------------------------------------

    def _look_at(self, key: Key) -> None:
        seen = self._see(key)
        if seen is None:
            for kept in (self._memories, self._written, self._said):
                kept.pop(key, None)
            self._counts.forget(key[0], key[1].rpartition(".")[0])
            return
        verdict = self._judge(key, seen)
        if verdict.action is Action.ASK_AUTHORS:
            if not self._ask_authors(key, seen, verdict.memory):
                return
            verdict = self._judge(key, seen)
        if verdict.action is Action.RESIZE:
            verdict = self._resize(key, seen, verdict)
        self._carry_out(key, seen, verdict)

    def _carry_out(self, key: Key, seen: Seen, verdict: Verdict) -> None:
        """Do the rest of a verdict: say it, delete what has served, tell people."""
        if verdict.status is not None and not self._write_status(key, seen, verdict):
            return
        if verdict.action is Action.DELETE and not self._delete(key, seen):
            return
        for announcement in verdict.announcements:
            self._announce(seen, announcement)
        if verdict.again_in_s is not None:
            self._queue.add_after(key, verdict.again_in_s)

    def _ask_authors(self, key: Key, seen: Seen, memory: Memory) -> bool:
        """Find out who set the pod's values; False: not now."""
        if not self._may_act(key):
            return False
        try:
            authors = authors_of(self._api.get(self._pod(seen), timeout_s=WRITE_TIMEOUT_S))
        except ApiRefused as err:
            if err.code == 404:  # its own event follows
                return False
            raise
        self._memories[key] = replace(memory, authors=authors)
        if seen.pod is None or authors.generation != seen.pod.metadata.generation:
            self._queue.add_after(key, BEHIND_S)
            return False
        return True

    def _see(self, key: Key) -> Seen | None:
        """What is known, with our own last write where the cache has not heard of it yet."""
        seen = self._views.see(key)
        if seen is None:
            return None
        written = self._written.get(key)
        if written is not None:
            if written[0] == seen.allocation.metadata.resource_version:
                return replace(seen, allocation=written[1])
            del self._written[key]
        return seen

    def _judge(self, key: Key, seen: Seen) -> Verdict:
        verdict = reconcile(seen, self._memories.get(key, Memory()), self._rules(), self._now())
        self._remember(key, seen, verdict)
        return verdict

    def _remember(self, key: Key, seen: Seen, verdict: Verdict) -> None:
        self._memories[key] = verdict.memory
        for incident in verdict.incidents:
            self._counts.count(key[0], seen.allocation.spec.pod_name, incident.kind, incident.duration_s)

    def _resize(self, key: Key, seen: Seen, verdict: Verdict) -> Verdict:
        """Send one patch; what follows is a verdict again."""
        pod = seen.pod
        if pod is None or not self._may_act(key):
            return Verdict(memory=verdict.memory)
        values = ", ".join(f"{cpu.name} {cpu.limit_milli}m" for cpu in verdict.resize)
        try:
            answer = self._api.patch(
                names.pods_path(key[0], pod.metadata.name, "resize"),
                resize_body(pod, verdict.resize),
                PatchKind.STRATEGIC,
                {"fieldManager": names.CONTROLLER},
                timeout_s=WRITE_TIMEOUT_S,
            )
        except (ApiAway, ApiRefused) as err:
            outcome = outcomes.of_error(err)
            self._gate.failed(err)
            self._log_refusal(key, seen, outcome, f"{values}: {err}")
            retry_after_s = err.retry_after_s if isinstance(err, ApiRefused) else None
            follows = answered.refused(
                seen, verdict.memory, outcome, str(err), verdict.resize, retry_after_s, self._now()
            )
            self._remember(key, seen, follows)
            return follows
        self._gate.succeeded()
        self._said.pop(key, None)
        generation = msgspec.json.decode(answer, type=_Written).metadata.generation
        log.info("%s/%s: asked for %s", key[0], pod.metadata.name, values)
        memory = answered.accepted(verdict.memory, verdict.resize, generation, self._now())
        self._memories[key] = memory
        # The pod's next events bring us back; this is for the one that may have come before the answer.
        return Verdict(memory=memory, again_in_s=UNSURE_S)

    def _write_status(self, key: Key, seen: Seen, verdict: Verdict) -> bool:
        """Say it in the object; False: not written, the rest of the verdict has to wait."""
        allocation, status = seen.allocation, verdict.status
        if status is None or not self._may_act(key):
            return False
        # What the cache had when this was decided: by now it may have a newer decision, which must not be covered.
        written = self._written.get(key)
        base = allocation.metadata.resource_version if written is None else written[0]
        try:
            answer = self._api.apply(
                names.allocations_path(key[0], allocation.metadata.name, "status"),
                statuses.apply_body(allocation, status),
                field_manager=names.CONTROLLER,
                timeout_s=WRITE_TIMEOUT_S,
            )
        except ApiRefused as err:
            if err.code == 404:  # its own event follows
                return False
            if err.code == 409:  # decided anew, deleted or made again meanwhile: an event says which
                self._queue.add_after(key, BEHIND_S)
                return False
            raise
        self._written[key] = base, msgspec.json.decode(answer, type=PodAllocation)
        return True

    def _delete(self, key: Key, seen: Seen) -> bool:
        """Delete a PodAllocation that has served; False: not yet."""
        if not self._may_act(key):
            return False
        metadata = seen.allocation.metadata
        if seen.pod is None and self._exists(seen):
            self._queue.add_after(key, BEHIND_S)  # the cache of pods is behind that of allocations
            return False
        # Not if the agent has taken the pod up again in this moment.
        condition = {"preconditions": {"uid": metadata.uid, "resourceVersion": metadata.resource_version}}
        try:
            self._api.delete(names.allocations_path(key[0], metadata.name), condition, timeout_s=WRITE_TIMEOUT_S)
        except ApiRefused as err:
            if err.code == 404:
                return True
            if err.code == 409:
                self._queue.add_after(key, BEHIND_S)
                return False
            raise
        return True

    def _exists(self, seen: Seen) -> bool:
        """Whether the API server has this very pod."""
        try:
            answer = self._api.get(self._pod(seen), timeout_s=WRITE_TIMEOUT_S)
        except ApiRefused as err:
            if err.code == 404:
                return False
            raise
        return msgspec.json.decode(answer, type=ResizablePod).metadata.uid == seen.allocation.spec.pod_uid

    # ---- parts ---------------------------------------------------------------------------------------------

    def _may_act(self, key: Key) -> bool:
        """Whether a request may go out; else the pod is looked at again when it may."""
        closed_for_s = self._gate.closed_for_s()
        if closed_for_s > 0:
            self._queue.add_after(key, closed_for_s)
        return closed_for_s <= 0

    def _announce(self, seen: Seen, announcement: Announcement) -> None:
        spec = seen.allocation.spec
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": seen.allocation.metadata.namespace,
            "name": spec.pod_name,
            "uid": spec.pod_uid,
        }
        level = logging.WARNING if announcement.is_warning else logging.INFO
        log.log(level, "%s/%s: %s: %s", regarding["namespace"], spec.pod_name, announcement.reason, announcement.note)
        self._events.emit(
            regarding,
            reason=announcement.reason,
            note=announcement.note,
            action="Resize",
            is_warning=announcement.is_warning,
        )

    def _log_refusal(self, key: Key, seen: Seen, outcome: Outcome, words: str) -> None:
        """Say each thing once: the same refusal again is counted, not printed."""
        if self._said.get(key) == words or outcome in {Outcome.CONFLICT, Outcome.GONE}:
            level = logging.DEBUG
        else:
            level = logging.ERROR if outcome is Outcome.BUG else logging.WARNING
        self._said[key] = words
        log.log(level, "%s/%s: %s: asked for %s", key[0], seen.allocation.spec.pod_name, outcome.value, words)

    def _put_off(self, key: Key, err: ApiError) -> None:
        retry_after_s = err.retry_after_s if isinstance(err, ApiRefused) else None
        wait_s = self._queue.failed(key, retry_after_s or 0.0)
        text = str(err)
        level = logging.DEBUG if self._said.get(key) == text else logging.WARNING
        self._said[key] = text
        log.log(level, "%s/%s: put off for %.1f s: %s", key[0], key[1], wait_s, text)

    def _pod(self, seen: Seen) -> str:
        return names.pods_path(seen.allocation.metadata.namespace, seen.allocation.spec.pod_name)

    def _now(self) -> Instant:
        return Instant(now_s=self._clock.now_s(), wall_s=self._clock.wall_s())
