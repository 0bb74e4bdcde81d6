"""Leader election by a Lease: at most one holder acts, whatever the network and the clocks do.

Safe by two rules that need no common time. A holder counts from the moment before it asked for a renewal that was
then confirmed, and stops acting `renew_deadline_s` later. A candidate counts from the moment after it first saw the
record as it is, and takes it `duration_s` later at the earliest. The second moment is later than the first, and the
second span is longer, so the holder has stopped before anybody takes over. Wall clocks are written for people only.

Source: client-go's leaderelection, of which the record's fields are kept; kubernetes.md 4.4 on what to do better.
"""

import logging
import random
import threading
from typing import Any

import msgspec

from mbcasd.clock import Clock
from mbcasd.errors import ApiAway, ApiError, ApiRefused
from mbcasd.kube.api import Api
from mbcasd.kube.backoff import ordinal
from mbcasd.kube.times import rfc3339_micro

log = logging.getLogger(__name__)

_NOT_FOUND, _CONFLICT = 404, 409


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class Elector:
    """Tries to hold one Lease, on a thread of its own.

    Before each write the holder asks `remaining_s` and gives the write no more time than that. The requests of the
    election need an `Api` without a budget, or with one that other requests cannot exhaust.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Clock,
        duration_s: float = 15.0,
        renew_deadline_s: float = 10.0,
        retry_s: float = 2.0,
        join_s: float = 3.0,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            api: The client.
            namespace: The Lease's.
            name: The Lease's.
            identity: Ours: no other process may have it at the same time; a pod's name is such.
            clock: Monotonic for all decisions, wall for what is written.
            duration_s: How long the others wait for a sign of life; written in whole seconds, rounded up.
            renew_deadline_s: How long to act after the last confirmed renewal; less than `duration_s`.
            retry_s: How often to renew, or to look whether the Lease is free; at most half of the deadline.
            join_s: How long `stop` takes at most when the API server does not answer.
        """
        if not (0 < 2 * retry_s <= renew_deadline_s < duration_s):
            raise ValueError("need 2 · retry_s <= renew_deadline_s < duration_s")
        self._api, self._clock, self._identity = api, clock, identity
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace, self._name = namespace, name
        self._duration_s, self._deadline_s, self._retry_s = duration_s, renew_deadline_s, retry_s
        self._join_s = join_s
        # One try may fail by time-out, and another one still fits before the deadline.
        self._timeout_s = max(0.1, (renew_deadline_s - retry_s) / 2)

        self._safe_until_s: float | None = None  # one slot, written by the thread, read by anybody
        self._lease: dict[str, Any] | None = None  # the object as last seen or written; None: look first
        self._seen = _Spec()
        self._seen_s = 0.0
        self._acquired_time: str | None = None  # what we wrote, or tried to write, when we took it
        self._bug: BaseException | None = None
        self._failures = 0
        self.trouble: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to try."""
        self._thread.start()

    def stop(self) -> None:
        """Stop leading at once and give the Lease back, so that another one need not wait; stop writing before."""
        has_something_to_give_back = self._safe_until_s is not None
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._join_s if has_something_to_give_back else min(self._join_s, 0.5))
        self._safe_until_s = None

    @property
    def is_leader(self) -> bool:
        """Whether it is safe to act now."""
        return self.remaining_s() > 0

    def remaining_s(self) -> float:
        """For how many seconds it is safe to act; 0: not at all.

        Raises:
            RuntimeError: A bug has ended the election; it is the cause.
        """
        if self._bug is not None:
            raise RuntimeError("the election ended") from self._bug
        safe_until_s = self._safe_until_s
        if safe_until_s is None or self._stopping.is_set():
            return 0.0
        return max(0.0, safe_until_s - self._clock.now_s())

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty: nobody."""
        return self._seen.holder_identity or ""

    @property
    def transitions(self) -> int:
        """How often the Lease has changed hands."""
        return self._seen.lease_transitions or 0

    # ---- below: only on the election's thread --------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._try()
                # Candidates that start together would otherwise collide for ever.
                self._stopping.wait(self._retry_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
            self._release()
        except BaseException as err:
            self._bug = err
            raise  # to threading.excepthook, by which a role ends itself

    def _try(self) -> None:
        was_leader = self.is_leader
        try:
            self._renew_or_take()
        except (ApiAway, ApiRefused) as err:
            self._trouble(err)
        else:
            if self.trouble is not None:
                log.info("lease %s/%s: API server answers again", self._namespace, self._name)
            self.trouble, self._failures = None, 0
        if was_leader and not self.is_leader:
            log.warning("not the leader any more: the lease could not be renewed within %g s", self._deadline_s)

    def _renew_or_take(self) -> None:
        if self._lease is None:
            self._look()
        if not self._is_ours() and not self._is_free():
            self._lease = None  # somebody holds it, or did and may not know that it was deleted: look again next time
        elif self._lease is None:
            self._create()
        else:
            self._write()

    def _look(self) -> None:
        try:
            body = self._api.get(f"{self._collection}/{self._name}", timeout_s=self._timeout_s)
        except ApiRefused as refusal:
            if refusal.code == _NOT_FOUND:
                return
            raise
        self._saw(body)

    def _saw(self, body: bytes) -> None:
        """Take in the record; the time since which it is as it is counts from now."""
        try:
            lease, spec = msgspec.json.decode(body, type=dict[str, Any]), msgspec.json.decode(body, type=_Lease).spec
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise ApiAway(f"API server not understood (a Lease that is none: {err})") from err
        self._lease = lease
        if spec != self._seen:
            self._seen, self._seen_s = spec, self._clock.now_s()
        if not self._is_ours():
            self._safe_until_s = None

    def _is_ours(self) -> bool:
        """Whether we took it: an earlier process of the same name may have left it, and then we wait like all."""
        seen = self._seen
        return (
            seen.holder_identity == self._identity
            and self._acquired_time is not None
            and seen.acquire_time == self._acquired_time
        )

    def _is_free(self) -> bool:
        seen = self._seen
        if not seen.holder_identity:
            return True
        lasts_s = max(self._duration_s, float(seen.lease_duration_seconds or 0))
        return self._clock.now_s() - self._seen_s > lasts_s

    def _create(self) -> None:
        began_s = self._clock.now_s()
        now = self._now()
        self._acquired_time = now
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._record(acquired=now, renewed=now, transitions=0),
        }
        try:
            body = self._api.post(self._collection, lease, timeout_s=self._timeout_s)
        except ApiRefused as refusal:
            if refusal.code == _CONFLICT:  # another one was faster
                return
            raise
        self._holds(body, began_s)

    def _write(self) -> None:
        """Renew, or take over, if nobody has written since we looked."""
        lease, self._lease = self._lease, None  # whatever goes wrong now, look again
        if lease is None:
            return
        ours = self._is_ours()
        began_s = self._clock.now_s()
        now = self._now()
        if not ours:
            self._acquired_time = now
        spec = self._record(
            acquired=self._acquired_time or now,
            renewed=now,
            transitions=self.transitions + (0 if ours else 1),
        )
        try:
            # The rest of the object, others' labels for example, goes back as it came.
            body = self._api.put(
                f"{self._collection}/{self._name}",
                {**lease, "spec": {**(lease.get("spec") or {}), **spec}},
                timeout_s=self._timeout_s,
            )
        except ApiRefused as refusal:
            if refusal.code == _CONFLICT:
                return
            raise
        self._holds(body, began_s)

    def _holds(self, body: bytes, began_s: float) -> None:
        was_leader = self.is_leader
        self._saw(body)
        if not self._is_ours():
            return
        self._safe_until_s = began_s + self._deadline_s
        if not was_leader:
            log.info("leader: %s holds the lease %s/%s", self._identity, self._namespace, self._name)

    def _now(self) -> str:
        """The wall's time, but never the one that stands there: a renewal that changes nothing would be none."""
        wall_s = self._clock.wall_s()
        now = rfc3339_micro(wall_s)
        return now if now != self._seen.renew_time else rfc3339_micro(wall_s + 1e-6)

    def _record(self, *, acquired: str, renewed: str, transitions: int) -> dict[str, object]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": -int(-self._duration_s // 1),
            "acquireTime": acquired,
            "renewTime": renewed,
            "leaseTransitions": transitions,
        }

    def _release(self) -> None:
        """Leave the Lease to nobody, if it is ours."""
        try:
            if self._lease is None:
                self._look()
            lease = self._lease
            if lease is None or not self._is_ours():
                return
            spec = {
                **(lease.get("spec") or {}),
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "renewTime": self._now(),
            }
            self._api.put(
                f"{self._collection}/{self._name}",
                {**lease, "spec": spec},
                timeout_s=min(self._timeout_s, self._join_s / 2),
            )
        except ApiError as err:
            log.info("the lease could not be given back, others wait %g s for it: %s", self._duration_s, err)
        else:
            log.info("gave the lease %s/%s back", self._namespace, self._name)

    def _trouble(self, err: ApiAway | ApiRefused) -> None:
        self._lease = None
        self._failures += 1
        leads = "the leader until the deadline" if self.is_leader else "not the leader"
        self.trouble = f"lease not renewed, {leads}: {err} ({ordinal(self._failures)})"
        log.log(logging.WARNING if self._failures == 1 else logging.DEBUG, "%s", self.trouble)
