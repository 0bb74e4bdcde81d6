"""Writes the PodAllocations of one node, and nothing that is written already.

It holds three levels: the pods as they are (facts), the objects as they stand (known), and the limits that were
decided and not written yet (wanted). A thread of its own applies what differs. While the API is away the last
decision stays wanted, and only the newest of each container is written once it answers again.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube import names
from mbcasd.kube.allocating.intents import Circumstances, Intent, PodFacts, body_of, intent_of
from mbcasd.kube.api import Api
from mbcasd.kube.backoff import Backoff, sentence
from mbcasd.kube.objects import PodAllocation
from mbcasd.kube.times import format_time
from mbcasd.model.market import Clearing

log = logging.getLogger(__name__)

# A refusal that only a person can end (a permission, an admission policy) is tried again this often.
REFUSED_AGAIN_S = 60.0

# Answers after which the same write may well succeed a little later.
_TRANSIENT = frozenset({408, 409, 429})

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 10.0


@dataclass(slots=True)
class _Desk:
    """All that is known of one pod."""

    facts: PodFacts | None = None
    known: PodAllocation | None = None
    wanted: dict[str, int] = field(default_factory=dict)  # container → millicores
    reasons: dict[str, str] = field(default_factory=dict)  # container → what holds it there
    shares: Mapping[str, int] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)  # container → why its last limit could not be written


class AllocationWriter:
    """Brings PodAllocations to what they should say; its methods may be called from any thread.

    Attributes:
        objects_seen: Grows with each change of a PodAllocation of this node.
    """

    def __init__(
        self,
        api: Api,
        *,
        node_name: str,
        recommends: bool,
        clock: Clock,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is written before `start`.

        Args:
            api: The client.
            node_name: Whose pods they are.
            recommends: The limits are only published, nothing is to be moved.
            clock: For retries and times.
            count: Told the result of every write: "written", "refused" or "away".
        """
        self._api, self._clock, self._count, self._recommends = api, clock, count, recommends
        self._around = Circumstances(node_name)
        self._desks: dict[str, _Desk] = {}  # by the pod's UID
        self._uids: dict[tuple[str, str], str] = {}  # namespace and name of the object → the pod's UID
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}  # what may have to be written, and not before when
        self._backoff = Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        self._away_until_s = 0.0
        self._troubles: dict[str, str] = {}  # UID → what a person should know; empty UID: the API is away
        self._stopping = False
        self.objects_seen = 0
        self._thread = threading.Thread(target=self._work, name="allocations", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout_s: float = 3.0) -> None:
        """Finish the write in flight and end; what is still wanted is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What keeps it from writing, in sentences."""
        with self._changed:
            return tuple(dict.fromkeys(self._troubles.values()))

    def known(self, uid: str) -> PodAllocation | None:
        """A pod's PodAllocation as it stands, as far as is known."""
        desk = self._desks.get(uid)
        return desk.known if desk is not None else None

    def all_known(self) -> tuple[PodAllocation, ...]:
        """All PodAllocations of this node."""
        with self._changed:
            return tuple(desk.known for desk in self._desks.values() if desk.known is not None)

    def said_milli(self, uid: str, container: str) -> int | None:
        """The limit that was decided last for a container, written or not; None: none was."""
        with self._changed:
            desk = self._desks.get(uid)
            if desk is None:
                return None
            said = {cpu.name: cpu.limit_milli for cpu in desk.known.spec.containers} if desk.known is not None else {}
            return desk.wanted.get(container, said.get(container))

    def is_waiting(self, uid: str, container: str) -> bool:
        """Whether a limit of this container was decided and is not written yet."""
        desk = self._desks.get(uid)
        return desk is not None and container in desk.wanted

    def refusal(self, uid: str, container: str) -> str:
        """Why the last limit of this container could not be written; empty: it was, or will be."""
        desk = self._desks.get(uid)
        return desk.refusals.get(container, "") if desk is not None else ""

    def heard(self, key: tuple[str, str], allocation: PodAllocation | None) -> None:
        """Take in what the API says of one object; None: it is gone.

        A person may delete one: then whatever its pod has now is the new original.
        """
        with self._changed:
            if allocation is None:
                uid = self._uids.pop(key, None)
                desk = self._desks.get(uid) if uid is not None else None
                if uid is None or desk is None:
                    return
                desk.known = None
                self.objects_seen += 1
                desk.wanted.clear()
                self._forget_if_empty(uid, desk)
            else:
                uid = allocation.spec.pod_uid
                desk = self._desks.setdefault(uid, _Desk())
                if desk.known is not None and _is_older(allocation, desk.known):
                    return  # the answer to our own write came first
                self._uids[key] = uid
                desk.known = allocation
                self.objects_seen += 1
                self._look(uid, desk)
            if self._away_until_s:
                # The API answers again.
                self._away_until_s = 0.0
                self._changed.notify()

    def survey(self, facts: Iterable[PodFacts]) -> None:
        """Take in all pods of the node as they are now, and write what follows from that."""
        with self._changed:
            present = {one.uid: one for one in facts}
            for uid, desk in list(self._desks.items()):
                if uid not in present:
                    desk.facts = None
                    desk.wanted.clear()
                    self._forget_if_empty(uid, desk)
            for uid, one in present.items():
                desk = self._desks.setdefault(uid, _Desk())
                if desk.facts != one:
                    desk.facts = one
                    self._look(uid, desk)

    def share(self, shares: Mapping[str, Mapping[str, int]]) -> None:
        """Take in what the share market gives: requests in millicores by UID and container."""
        with self._changed:
            for uid, desk in self._desks.items():
                new = shares.get(uid, {})
                if new != desk.shares:
                    desk.shares = new
                    self._look(uid, desk)

    def want(self, uid: str, container: str, limit_milli: int, reason: str) -> None:
        """Decide one limit; it is written with the next `flush`, together with others of the same pod."""
        with self._changed:
            desk = self._desks.setdefault(uid, _Desk())
            desk.wanted[container] = limit_milli
            desk.reasons[container] = reason
            desk.refusals.pop(container, None)

    def drop(self, uid: str, container: str) -> None:
        """Take a decision back that was not written yet."""
        with self._changed:
            desk = self._desks.get(uid)
            if desk is not None:
                desk.wanted.pop(container, None)

    def flush(self, uids: Iterable[str], clearing: Clearing | None) -> None:
        """Write what was decided for these pods, now; the clearing is that which decided it, if one did."""
        with self._changed:
            if clearing is not None:
                self._around = self._around._replace(
                    mechanism=clearing.mechanism.value, mode=clearing.mode.value, price=clearing.price
                )
            for uid in uids:
                self._due[uid] = 0.0
            self._changed.notify()

    # ---- below: with the lock held ---------------------------------------------------------------------------

    def _look(self, uid: str, desk: _Desk) -> None:
        """Mark a pod whose object does not say what it should."""
        if not desk.wanted and self._intent(desk) is not None:
            self._due.setdefault(uid, 0.0)
            self._changed.notify()

    def _intent(self, desk: _Desk) -> Intent | None:
        """What has to be written; None: nothing."""
        if desk.facts is None:
            return None
        intent = intent_of(desk.facts, desk.known, desk.wanted, desk.shares, recommends=self._recommends)
        if intent is None or (desk.known is not None and intent == Intent.written(desk.known)):
            return None
        return intent

    def _forget_if_empty(self, uid: str, desk: _Desk) -> None:
        if desk.facts is None and desk.known is None:
            self._desks.pop(uid, None)
            self._due.pop(uid, None)
            self._troubles.pop(uid, None)

    def _next(self) -> str | None:
        """Wait for a pod to be due and take it; None: stop."""
        while not self._stopping:
            now_s = self._clock.now_s()
            due_s = min(self._due.values(), default=None)
            wait_s = None if due_s is None else max(due_s, self._away_until_s) - now_s
            if wait_s is not None and wait_s <= 0:
                uid = next(uid for uid, at_s in self._due.items() if at_s <= now_s)
                del self._due[uid]
                return uid
            self._changed.wait(wait_s)
        return None

    # ---- below: on the writing thread ------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                uid = self._next()
                if uid is None:
                    return
                desk = self._desks.get(uid)
                if desk is None or desk.facts is None:
                    continue
                intent, wanted = self._intent(desk), dict(desk.wanted)
                if intent is None:
                    self._settle(uid, desk, wanted)
                    continue
                facts = desk.facts
                reason = facts.why if intent.released else _reason(desk, wanted)
                now = format_time(self._clock.wall_s())
                body = body_of(facts, intent, self._around._replace(reason=reason, decision_time=now))
            self._write(uid, facts, body, wanted)

    def _write(self, uid: str, facts: PodFacts, body: Mapping[str, object], wanted: Mapping[str, int]) -> None:
        path = names.allocations_path(facts.namespace, names.allocation_name(facts.name, facts.uid))
        try:
            answer = self._api.apply(path, body, field_manager=names.AGENT)
            allocation = msgspec.json.decode(answer, type=PodAllocation)
        except ApiAway as err:
            self._count("away")
            self._try_later(uid, str(err), None)
            return
        except ApiRefused as err:
            self._count("refused")
            if err.code in _TRANSIENT or err.code >= 500:
                self._try_later(uid, f"API server refuses PodAllocations for now ({err})", err.retry_after_s)
            else:
                self._refused(uid, facts, wanted, err)
            return
        self._count("written")
        with self._changed:
            self._backoff.reset()
            self._away_until_s = 0.0
            if self._troubles.pop("", None) is not None:
                log.info("PodAllocations are written again")
            self._troubles.pop(uid, None)
            desk = self._desks.get(uid)
            if desk is None:
                return
            # A watch that was quicker than this answer may have brought a newer status of the same generation.
            if (
                desk.known is None
                or desk.known.metadata.uid != allocation.metadata.uid
                or _is_older(desk.known, allocation)
            ):
                desk.known = allocation
                self.objects_seen += 1
                self._uids[allocation.metadata.namespace, allocation.metadata.name] = uid
            self._settle(uid, desk, wanted)

    def _settle(self, uid: str, desk: _Desk, written: Mapping[str, int]) -> None:
        """What stands in the object is not wanted any more; what was decided meanwhile still is."""
        for container, limit_milli in written.items():
            if desk.wanted.get(container) == limit_milli:
                del desk.wanted[container]
        if desk.wanted:
            self._due.setdefault(uid, 0.0)

    def _try_later(self, uid: str, why: str, retry_after_s: float | None) -> None:
        with self._changed:
            wait_s = self._backoff.failed(retry_after_s)
            self._away_until_s = self._clock.now_s() + wait_s
            self._due.setdefault(uid, 0.0)
            if "" not in self._troubles:
                log.warning("no PodAllocation can be written, limits stay as they are: %s", why)
            self._troubles[""] = sentence(why, wait_s, self._backoff.failures)

    def _refused(self, uid: str, facts: PodFacts, wanted: Mapping[str, int], err: ApiRefused) -> None:
        """Nothing will be different for the same write soon: whoever decided it is told."""
        trouble = f"{facts.namespace}/{facts.name}: its PodAllocation is refused: {err}"
        with self._changed:
            if self._troubles.get(uid) != trouble:
                log.warning("%s", trouble)
            self._troubles[uid] = trouble
            desk = self._desks.get(uid)
            if desk is None:
                return
            for container, limit_milli in wanted.items():
                if desk.wanted.get(container) == limit_milli:
                    del desk.wanted[container]
                    desk.refusals[container] = str(err)
            if desk.wanted or self._intent(desk) is not None:
                self._due.setdefault(uid, self._clock.now_s() + REFUSED_AGAIN_S)


def _reason(desk: _Desk, wanted: Mapping[str, int]) -> str:
    """What holds the containers that change; where none does, what was said before."""
    reasons = [f"{container}: {desk.reasons[container]}" for container in wanted if desk.reasons.get(container)]
    return "; ".join(reasons) or (desk.known.spec.reason if desk.known is not None else "")


def _is_older(one: PodAllocation, other: PodAllocation) -> bool:
    """Whether one is an earlier state than the other, by the spec's generation; another object is no earlier one."""
    return one.metadata.uid == other.metadata.uid and one.metadata.generation < other.metadata.generation
