"""What follows from the API server's answer to a resize: what to remember, to say, and when to try again. Pure."""

from dataclasses import replace

from mbcasd.kube.controlling import saying, statuses
from mbcasd.kube.controlling.outcomes import UNTIL_DECIDED_ANEW, Outcome
from mbcasd.kube.controlling.verdict import Incident, Instant, Memory, Seen, Verdict
from mbcasd.kube.objects import ContainerCpu

# First and longest wait after a refusal, by what it takes to lift it: the next look; the server; a person or a pod
# that ends.
_LOOK_AGAIN_S = (0.05, 5.0)
_SERVER_S = (0.5, 60.0)
_SOMEBODY_S = (5.0, 300.0)


def accepted(memory: Memory, sent: tuple[ContainerCpu, ...], generation: int, at: Instant) -> Memory:
    """Remember a resize that is in the pod's spec now.

    Args:
        memory: Before.
        sent: The values of the containers that changed.
        generation: Of the pod after it, as the server answered.
        at: Now.
    """
    changed = {cpu.name for cpu in sent}
    return replace(
        memory,
        patched=(*sent, *(cpu for cpu in memory.patched if cpu.name not in changed)),
        patched_at_s=at.now_s,
        generation=generation,
        waiting_since_s=at.now_s,
        done_at_s=None,
        attempted_wall_s=at.wall_s,
        refused=None,
        refusals=0,
        not_before_s=0.0,
    )


def refused(
    seen: Seen,
    memory: Memory,
    outcome: Outcome,
    words: str,
    sent: tuple[ContainerCpu, ...],
    retry_after_s: float | None,
    at: Instant,
) -> Verdict:
    """Say what follows from a refusal, or from no answer.

    Args:
        seen: What the resize was decided from.
        memory: As that verdict left it.
        outcome: What the answer means.
        words: The server's.
        sent: What was asked for: where no answer came, it may be in the pod all the same.
        retry_after_s: How long the server asked to wait; None: it did not say.
        at: Now.
    """
    incidents = (Incident(kind=outcome.name.lower()),)
    if outcome is Outcome.GONE:
        return Verdict(incidents=incidents)
    same = outcome is memory.refused
    refusals = memory.refusals + 1 if same else 1
    wait_s = max(_wait_s(outcome, refusals, seen.allocation.spec.pod_uid), retry_after_s or 0.0)
    pod_generation = seen.pod.metadata.generation if seen.pod is not None else 0
    memory = replace(
        memory,
        refused=outcome,
        refusal=words,
        refused_for=(seen.allocation.metadata.generation, pod_generation),
        refusals=refusals,
        not_before_s=at.now_s + wait_s,
        attempted_wall_s=at.wall_s,
    )
    if outcome is Outcome.RETRY:
        memory = replace(memory, patched=tuple(dict.fromkeys((*sent, *memory.patched))))
    again_in_s = None if outcome in UNTIL_DECIDED_ANEW else wait_s
    said = saying.of_refusal(memory)
    status = None if said is None else saying.status_after(seen, memory, at, said)
    return Verdict(
        memory=memory,
        incidents=incidents,
        status=status,
        announcements=() if status is None else statuses.announcements(seen.allocation.status, status),
        again_in_s=again_in_s,
    )


def _wait_s(outcome: Outcome, refusals: int, pod_uid: str) -> float:
    """Doubling waits, spread a little by the pod, so that a thousand refused at once do not come back at once."""
    if outcome is Outcome.CONFLICT:
        first_s, longest_s = _LOOK_AGAIN_S
    elif outcome is Outcome.RETRY:
        first_s, longest_s = _SERVER_S
    else:
        first_s, longest_s = _SOMEBODY_S
    spread = 1.0 + (sum(pod_uid.encode()) % 64) / 128
    return min(longest_s, first_s * 2.0 ** min(refusals - 1, 20) * spread)
