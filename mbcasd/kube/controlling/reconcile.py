"""What to do about one pod now: the whole of the controller's decision, as a function of what is. Pure.

Level, not edge: whatever was missed, repeated or reordered on the way here, the same objects give the same verdict.
A verdict is at most one resize; what came of it is seen in the pod, by whoever leads then.
"""

from dataclasses import replace

from mbcasd.kube.controlling import goals, saying, statuses
from mbcasd.kube.controlling.fitness import differs, takes_only, unfit
from mbcasd.kube.controlling.judging import Stranger, judge
from mbcasd.kube.controlling.outcomes import UNTIL_DECIDED_ANEW, Outcome
from mbcasd.kube.controlling.pods import ResizablePod, containers_of
from mbcasd.kube.controlling.progress import Stage, progress_of
from mbcasd.kube.controlling.saying import Said
from mbcasd.kube.controlling.verdict import (
    Action,
    Announcement,
    Incident,
    Instant,
    Memory,
    Phase,
    Reason,
    Rules,
    Seen,
    Verdict,
)
from mbcasd.kube.objects import AllocationStatus, ContainerCpu
from mbcasd.kube.times import parse_time_s

# A reading counts as stable after this: for a moment the kubelet can show old values again.
STABLE_S = 0.3

# The cache is behind the pod that a patch returned; its next event comes within moments, this is the safety net.
STALE_VIEW_S = 5.0

# The kubelet fails at a resize; another one may work, but not at any rate.
FAILING_PAUSE_S = 10.0

_SERVERS_TROUBLE = frozenset({Outcome.RETRY, Outcome.CONFLICT})

_ENDED = frozenset({"Succeeded", "Failed"})
_UNTOUCHED = Verdict()


def reconcile(seen: Seen, memory: Memory, rules: Rules, at: Instant) -> Verdict:
    """Compare what is with what should be, and say the next step.

    Args:
        seen: The PodAllocation, its pod, the namespace's LimitRanges.
        memory: What the last verdict about this pod gave; an empty one at first.
        rules: What is allowed.
        at: Now.
    """
    spec, pod = seen.allocation.spec, seen.pod
    if pod is None or pod.metadata.uid != spec.pod_uid or pod.status.phase in _ENDED:
        # Nothing of ours is in force any more. The object goes with its pod, unless that was the last thing it was for.
        return Verdict(action=Action.DELETE) if spec.released else _UNTOUCHED
    if pod.spec.node_name != spec.node_name:
        # Rules hold an agent to its node's name; that the pod is there as well, only we can see. Its own agent could
        # not write this object, so it must not stay in the way either.
        return Verdict(action=Action.DELETE)
    if pod.metadata.deletion_timestamp is not None:
        return Verdict(memory=memory)
    if pod.metadata.generation < memory.generation:
        return Verdict(memory=memory, again_in_s=STALE_VIEW_S)
    if not (spec.released or spec.recommend_only or rules.is_enforcing):
        return Verdict(memory=memory)
    return _Case(seen, pod, memory, rules, at).verdict()


class _Case:
    """One pod at one moment."""

    def __init__(self, seen: Seen, pod: ResizablePod, memory: Memory, rules: Rules, at: Instant) -> None:
        self._seen, self._pod, self._rules, self._at = seen, pod, rules, at
        self._allocation, self._spec, self._old = seen.allocation, seen.allocation.spec, seen.allocation.status
        self._containers = containers_of(pod)
        self._progress = progress_of(pod, {cpu.name for cpu in self._spec.original})
        self._incidents: list[Incident] = []
        self._memory = self._observe(memory)
        self._moved_requests: frozenset[str] = frozenset()  # until judged

    def verdict(self) -> Verdict:
        giving_back = self._spec.released or self._spec.recommend_only
        found = judge(
            self._allocation,
            self._containers,
            self._pod.metadata.generation,
            self._memory,
            giving_back=giving_back,
        )
        self._moved_requests = found.requests
        if found.must_ask:
            return self._verdict(Action.ASK_AUTHORS)
        if found.strangers:
            return self._hands_off(found.strangers)
        return self._give_back() if giving_back else self._move()

    def _observe(self, memory: Memory) -> Memory:
        """Note what is seen of the last resize."""
        now_s = self._at.now_s
        if self._progress.stage is not Stage.DONE:
            return replace(
                memory,
                done_at_s=None,
                waiting_since_s=now_s if memory.waiting_since_s is None else memory.waiting_since_s,
            )
        if memory.patched_at_s is not None:
            self._incidents.append(Incident(kind="applied", duration_s=now_s - memory.patched_at_s))
            memory = replace(memory, patched_at_s=None, confirmed_at_s=now_s)
        return replace(memory, done_at_s=now_s if memory.done_at_s is None else memory.done_at_s, waiting_since_s=None)

    # ---- the three things that can be wanted ---------------------------------------------------------------

    def _move(self) -> Verdict:
        """Bring the pod to what was decided."""
        why_not = unfit(self._pod, self._containers, self._spec.containers, self._rules.resize)
        if why_not is not None:
            return self._say(Said(Phase.FAILED, *why_not))
        left_s = self._cooldown_left_s()
        wanted = tuple(self._with_owners_request(cpu) for cpu in self._spec.containers)
        ahead = goals.next_values(
            self._pod, self._containers, wanted, self._seen.bounds, self._rules.resize, cooling=left_s > 0
        )
        if ahead.is_step:
            self._count_once("step")
        changes = tuple(cpu for cpu in ahead.values if differs(cpu, self._containers[cpu.name]))
        if changes:
            return self._resize(changes)
        if self._progress.stage is not Stage.DONE:
            return self._wait()
        if ahead.is_cooling:
            self._count_once("cooldown")
            return self._cool(left_s)
        if ahead.held:
            return self._say_applied(Reason.HELD, ahead.held)
        return self._say_applied(Reason.RESIZED, f"in force: {self._values()}")

    def _give_back(self) -> Verdict:
        """Bring the pod back to what its owner had set, then forget it."""
        wanted = tuple(
            ContainerCpu(
                name=cpu.name,
                limit_milli=cpu.limit_milli,
                request_milli=cpu.request_milli if cpu.name in self._moved_requests else None,
            )
            for cpu in self._spec.original
            if cpu.name in self._containers
        )
        changes = tuple(cpu for cpu in wanted if differs(cpu, self._containers[cpu.name]))
        if changes:
            return self._resize(changes)
        had_moved = bool(self._old.containers or self._memory.patched)
        message = f"the owner's values are back: {self._values()}"
        if self._progress.stage is Stage.UNDER_WAY and self._waited_s() < saying.CONFIRMED_WITHIN_S:
            return self._wait()
        if self._spec.released:
            told = (Announcement(reason="Restored", note=message),) if had_moved else ()
            return self._verdict(Action.DELETE, announcements=told)
        if not had_moved and not self._old.phase:
            return self._verdict()
        return self._say_applied(Reason.RESTORED, message, containers=())

    def _hands_off(self, strangers: tuple[Stranger, ...]) -> Verdict:
        """Leave the pod to whoever has resized it."""
        who = "; ".join(map(str, strangers))
        if self._spec.released:
            told = Announcement(reason="ChangedByOther", note=f"{who}; MBCAS lets go of the pod and leaves it so")
            return self._verdict(Action.DELETE, announcements=(told,))
        if self._spec.recommend_only:
            return self._verdict()
        words = f"{who}; left as it is until it matches again or this object is deleted"
        verdict = self._say(Said(Phase.FAILED, Reason.CHANGED_BY_OTHER, words))
        if self._old.reason != Reason.CHANGED_BY_OTHER:
            return replace(verdict, incidents=(*verdict.incidents, Incident(kind="drift")))
        return verdict

    # ---- steps ---------------------------------------------------------------------------------------------

    def _resize(self, changes: tuple[ContainerCpu, ...]) -> Verdict:
        """Ask for these values, unless something speaks against it now."""
        now_s, memory = self._at.now_s, self._memory
        is_less = all(takes_only(cpu, self._containers[cpu.name]) for cpu in changes)
        generations = (self._allocation.metadata.generation, self._pod.metadata.generation)
        if memory.refused in UNTIL_DECIDED_ANEW and memory.refused_for == generations:
            return self._say_refused()
        if now_s < memory.not_before_s and (memory.refused in _SERVERS_TROUBLE or not is_less):
            return replace(self._say_refused(), again_in_s=memory.not_before_s - now_s)
        stage = self._progress.stage
        if stage is Stage.UNDER_WAY and self._waited_s() < saying.CONFIRMED_WITHIN_S:
            return self._wait()
        if stage is Stage.FAILING and self._waited_s() < FAILING_PAUSE_S:
            return replace(self._wait(), again_in_s=FAILING_PAUSE_S - self._waited_s())
        sleeping = [cpu.name for cpu in changes if not self._containers[cpu.name].is_running]
        if sleeping and not (self._spec.released or self._spec.recommend_only):
            # A resize of a container that is just starting can get lost (kubernetes/kubernetes#138760).
            return self._say(Said(Phase.PENDING, Reason.NOT_RUNNING, f"waiting for {', '.join(sleeping)} to run"))
        return self._verdict(Action.RESIZE, resize=changes)

    def _say_refused(self) -> Verdict:
        """What the API server has said to this, or to something like it: also to a new decision that has to wait."""
        said = saying.of_refusal(self._memory)
        return self._verdict() if said is None else self._say(said)

    def _wait(self) -> Verdict:
        """The kubelet is at it: say so if it takes long, and what it says if it cannot."""
        waited_s = self._waited_s()
        said = saying.of_progress(self._progress, waited_s, self._values())
        if said is None:
            return self._verdict(again_in_s=saying.SHOWN_AFTER_S - waited_s)
        if said.counts_as is not None:
            self._count_once(said.counts_as)
        return replace(self._say(said), again_in_s=said.again_in_s)

    def _cool(self, left_s: float) -> Verdict:
        """A decrease waits; what is in force meanwhile is worth saying if it is not what the status says."""
        in_force = self._in_force()
        if in_force == self._old.containers:
            return self._verdict(again_in_s=left_s)
        if not self._is_stable():
            return self._verdict(again_in_s=min(left_s, STABLE_S))
        said = Said(Phase.PENDING, Reason.IN_STEPS, f"in force: {self._values()}; the rest follows")
        return replace(self._say(said, in_force), again_in_s=left_s)

    def _say_applied(self, reason: Reason, message: str, containers: tuple[ContainerCpu, ...] | None = None) -> Verdict:
        """All is as it should be; written once that has been so for a moment."""
        said = Said(Phase.APPLIED, reason, message)
        verdict = self._say(said, self._in_force() if containers is None else containers)
        if verdict.status is not None and not self._is_stable():
            rest_s = STABLE_S - (self._at.now_s - (self._memory.done_at_s or self._at.now_s))
            return self._verdict(again_in_s=max(rest_s, 0.01))
        return verdict

    # ---- parts ---------------------------------------------------------------------------------------------

    def _with_owners_request(self, cpu: ContainerCpu) -> ContainerCpu:
        """Where requests were moved and are to be kept again, the owner's comes back."""
        if cpu.request_milli is not None or cpu.name not in self._moved_requests:
            return cpu
        owner = next((one for one in self._spec.original if one.name == cpu.name), None)
        if owner is None:
            return cpu
        return ContainerCpu(name=cpu.name, limit_milli=cpu.limit_milli, request_milli=owner.request_milli)

    def _cooldown_left_s(self) -> float:
        """How long nothing is lowered yet: from the last confirmed change, whoever led then."""
        cooldown_s = self._rules.resize.cooldown_s
        if self._memory.confirmed_at_s is not None:
            return cooldown_s - (self._at.now_s - self._memory.confirmed_at_s)
        if self._old.last_applied_time is None:
            return 0.0
        applied_wall_s = parse_time_s(self._old.last_applied_time)
        # Written in whole seconds; and a clock that jumped must not keep a limit up for ever.
        return min(cooldown_s, cooldown_s + 1.0 - (self._at.wall_s - applied_wall_s))

    def _waited_s(self) -> float:
        since_s = self._memory.waiting_since_s
        return 0.0 if since_s is None else self._at.now_s - since_s

    def _is_stable(self) -> bool:
        done_at_s = self._memory.done_at_s
        return done_at_s is not None and self._at.now_s - done_at_s >= STABLE_S

    def _in_force(self) -> tuple[ContainerCpu, ...]:
        return tuple(
            ContainerCpu(
                name=now.name,
                limit_milli=now.limit_milli or 0,
                request_milli=now.request_milli if now.name in self._moved_requests else None,
            )
            for cpu in self._spec.containers
            if (now := self._containers.get(cpu.name)) is not None
        )

    def _values(self) -> str:
        return ", ".join(f"{cpu.name} {cpu.limit_milli}m" for cpu in self._in_force())

    def _count_once(self, kind: str) -> None:
        """Count an incident once per decision."""
        mark = (kind, self._allocation.metadata.generation)
        if mark not in self._memory.counted:
            kept = {one for one in self._memory.counted if one[1] == mark[1]}
            self._memory = replace(self._memory, counted=frozenset(kept | {mark}))
            self._incidents.append(Incident(kind=kind))

    def _say(self, said: Said, containers: tuple[ContainerCpu, ...] | None = None) -> Verdict:
        """Write this status if it is another one than stands there."""
        status = saying.status_after(self._seen, self._memory, self._at, said, containers)
        if status is None:
            return self._verdict()
        return self._verdict(status=status, announcements=statuses.announcements(self._old, status))

    def _verdict(
        self,
        action: Action = Action.NOTHING,
        *,
        resize: tuple[ContainerCpu, ...] = (),
        status: AllocationStatus | None = None,
        announcements: tuple[Announcement, ...] = (),
        again_in_s: float | None = None,
    ) -> Verdict:
        return Verdict(
            action=action,
            resize=resize,
            status=status,
            announcements=announcements,
            incidents=tuple(self._incidents),
            memory=self._memory,
            again_in_s=again_in_s,
        )
