"""Moves limits by deciding them: an actuator that writes PodAllocations and sees in the cgroup what became of them.

The controller and the kubelet do the rest. A resize is done when the container's own cgroup shows the new quota,
which is sooner than any status; refusals and delays stand in the status. What fails is taken back, so that nobody
carries out later what the market has forgotten.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mbcasd.clock import Clock
from mbcasd.errors import CgroupGone, SensingError
from mbcasd.kube import bounds
from mbcasd.kube.allocating.intents import PodFacts, Standing, outcome_of
from mbcasd.kube.allocating.writer import AllocationWriter
from mbcasd.model.decision import Decision
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus
from mbcasd.settings import MarketSettings

# A kubelet can take a minute and more where its first try got lost; afterwards it is a failure.
CONFIRMED_WITHIN_S = 90.0

# The systemd driver rounds quotas up to multiples of 10m.
TOLERANCE_MILLI = 10.0
# Two limits that differ by less are the same.
SAME_MILLI = 0.5


@dataclass(slots=True)
class _Flight:
    """One resize under way."""

    resize: Resize
    uid: str
    to_milli: int  # as it is written
    asked_at_s: float
    generation: int | None = None  # of the object that says so; None: not written yet
    is_deferred: bool = False


class Allocator:
    """Fits `actuation.port.Actuator`; used by the thread of the loop alone, `writer` does what takes time."""

    def __init__(
        self,
        writer: AllocationWriter,
        read_limit: Callable[[WorkloadId, CgroupRef], LimitReading],
        clock: Clock,
    ) -> None:
        """Decide through `writer`, confirm through `read_limit` (raises CgroupGone, SensingError)."""
        self._writer, self._read_limit, self._clock = writer, read_limit, clock
        self._pods: dict[tuple[str, str], PodFacts] = {}
        self._flights: dict[WorkloadId, _Flight] = {}
        self._settled: list[ResizeOutcome] = []
        self._batch: set[str] = set()
        self._decision = Decision()
        self.leaked_usec = 0  # CPU time that the kubelet's writes handed out for nothing, at most

    def survey(self, facts: Iterable[PodFacts]) -> None:
        """Take in all pods of the node as they are now."""
        self._pods = {(one.namespace, one.name): one for one in facts}
        self._writer.survey(self._pods.values())

    def note(self, decision: Decision) -> None:
        """Remember the clearing that the next resizes come from."""
        if decision.clearing is not None:
            self._decision = decision

    def submit(self, resize: Resize) -> None:
        """Decide one limit; it is written with all others that are submitted before the next `collect`."""
        now_s = self._clock.now_s()
        pod = self._pods.get((resize.workload.namespace, resize.workload.name))
        seat = next((one for one in pod.seats if one.name == resize.workload.container), None) if pod else None
        if pod is None or seat is None or resize.to_milli is None:
            self._settle(_Flight(resize, "", 0, now_s), ResizeStatus.GONE, None, "there is no such container any more")
            return
        to_milli = max(bounds.LIMIT_MILLI_MIN, round(resize.to_milli))
        flight = self._flights[resize.workload] = _Flight(resize, pod.uid, to_milli, now_s)
        held_by = self._decision.held_by.get(resize.workload)
        self._writer.want(pod.uid, seat.name, to_milli, held_by.value if held_by is not None else "")
        self._batch.add(flight.uid)

    def collect(self) -> Iterable[ResizeOutcome]:
        """Outcomes that have become known; closes the batch of what was submitted."""
        self._flush()
        for flight in list(self._flights.values()):
            self._check(flight)
        self._flush()
        settled, self._settled = self._settled, []
        return settled

    def recommend(self, decision: Decision, market: MarketSettings) -> None:
        """Publish what a clearing gives, where that differs from what was published by more than the dead-band.

        Args:
            decision: With its clearing.
            market: For the dead-band.
        """
        if decision.clearing is None:
            return
        given = {allocation.name: allocation.milli for allocation in decision.clearing.allocations}
        for pod in self._pods.values():
            if pod.standing is not Standing.MANAGED:
                continue
            for seat in pod.seats:
                workload = WorkloadId(pod.namespace, pod.name, seat.name)
                milli = given.get(str(workload))
                if milli is None or not seat.is_managed:
                    continue
                before_milli = self._writer.said_milli(pod.uid, seat.name) or seat.limit_milli
                percent = market.min_change_up_percent if milli > before_milli else market.min_change_down_percent
                if abs(milli - before_milli) < max(SAME_MILLI, before_milli * percent / 100):
                    continue
                held_by = decision.held_by.get(workload)
                self._writer.want(pod.uid, seat.name, round(milli), held_by.value if held_by is not None else "")
                self._batch.add(pod.uid)
        self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._writer.flush(self._batch, self._decision.clearing)
            self._batch = set()

    def _check(self, flight: _Flight) -> None:
        """Whether one resize has come to an end."""
        workload = flight.resize.workload
        pod = self._pods.get((workload.namespace, workload.name))
        if pod is None or pod.uid != flight.uid:
            self._settle(flight, ResizeStatus.GONE, None, "its pod is gone")
            return
        try:
            limit = self._read_limit(workload, flight.resize.cgroup)
        except CgroupGone as err:
            self._settle(flight, ResizeStatus.GONE, None, str(err))
            return
        except SensingError:
            return  # the next pass may read it
        if _is_there(limit, flight):
            self.leaked_usec += limit.quota_usec or 0
            self._settle(flight, ResizeStatus.APPLIED, limit)
            return
        seat = next((one for one in pod.seats if one.name == workload.container), None)
        if seat is None or not seat.is_managed or pod.standing is not Standing.MANAGED:
            self._writer.drop(flight.uid, workload.container)
            self._settle(flight, ResizeStatus.FAILED, limit, pod.why or "it is not managed any more")
            return
        self._ask(flight, limit)

    def _ask(self, flight: _Flight, limit: LimitReading) -> None:
        """What writer and controller say of a resize that is not in force."""
        container = flight.resize.workload.container
        refusal = self._writer.refusal(flight.uid, container)
        if refusal:
            self._settle(flight, ResizeStatus.FAILED, limit, refusal)
            return
        known = self._writer.known(flight.uid)
        if flight.generation is None and known is not None and not self._writer.is_waiting(flight.uid, container):
            flight.generation = known.metadata.generation
        said = None
        if known is not None and flight.generation is not None:
            said = outcome_of(known, flight.generation)
        if said is not None and said[0] is ResizeStatus.DEFERRED:
            if not flight.is_deferred:
                flight.is_deferred = True
                self._settled.append(self._outcome(flight, ResizeStatus.DEFERRED, limit, said[1]))
        elif said is not None:
            status, detail = said
            if status is not ResizeStatus.APPLIED and known is not None and not _is_in_conflict(known.status.reason):
                self._take_back(flight, limit, detail)
            self._settle(flight, status, limit, detail)
            return
        if self._clock.now_s() - flight.asked_at_s > CONFIRMED_WITHIN_S:
            if flight.generation is None:
                self._writer.drop(flight.uid, container)
                detail = "; ".join(self._writer.troubles) or "its PodAllocation could not be written"
            else:
                detail = said[1] if said is not None else f"not in force after {CONFIRMED_WITHIN_S:g} s"
                self._take_back(flight, limit, detail)
            self._settle(flight, ResizeStatus.FAILED, limit, detail)

    def _take_back(self, flight: _Flight, limit: LimitReading, why: str) -> None:
        """Decide what is in force instead of what failed."""
        if limit.limit_milli is None:
            return
        in_force_milli = max(bounds.LIMIT_MILLI_MIN, round(limit.limit_milli))
        self._writer.want(flight.uid, flight.resize.workload.container, in_force_milli, f"{flight.to_milli}m: {why}")
        self._batch.add(flight.uid)

    def _settle(self, flight: _Flight, status: ResizeStatus, limit: LimitReading | None, detail: str = "") -> None:
        self._flights.pop(flight.resize.workload, None)
        self._settled.append(self._outcome(flight, status, limit, detail))

    def _outcome(self, flight: _Flight, status: ResizeStatus, limit: LimitReading | None, detail: str) -> ResizeOutcome:
        return ResizeOutcome(
            resize=flight.resize,
            status=status,
            limit=limit,
            asked_at_s=flight.asked_at_s,
            ended_at_s=self._clock.now_s(),
            detail=detail,
        )


def _is_there(limit: LimitReading, flight: _Flight) -> bool:
    """Whether what is in force is what was asked for, within what drivers round; what has not moved is not."""
    now_milli, from_milli = limit.limit_milli, flight.resize.from_milli
    if now_milli is None:
        return False
    if abs(now_milli - flight.to_milli) < SAME_MILLI:
        return True
    has_moved = from_milli is None or abs(now_milli - from_milli) >= SAME_MILLI
    return has_moved and abs(now_milli - flight.to_milli) <= TOLERANCE_MILLI


def _is_in_conflict(reason: str) -> bool:
    """Whether the controller keeps its hands off because somebody else resized the pod."""
    return reason == "ChangedByOther"
