"""Facts of a cluster to findings: one pure function per question, each with its remedy."""

from collections import Counter
from collections.abc import Callable, Sequence

from mbcasctl.cluster import neighbours, preflight
from mbcasctl.cluster.facts import ClusterFacts
from mbcasctl.cluster.neighbours import listed
from mbcasctl.doctor.facts import Finding, Level
from mbcasd.kube import names
from mbcasd.kube.objects import PodAllocation

# Certificates and leases bear seconds; a record with two clocks that differ more cannot be read side by side.
_MOST_SKEW_S = 3.0

Check = Callable[[ClusterFacts], "Finding | list[Finding] | None"]


def examine(facts: ClusterFacts) -> tuple[Finding, ...]:
    """Ask all questions, in the order in which they are shown."""
    if facts.away:
        return (_away(facts),)
    found: list[Finding] = []
    for check in _ALWAYS + (_WHERE_INSTALLED if facts.installed else ()):
        answer = check(facts)
        found += answer if isinstance(answer, list) else [] if answer is None else [answer]
    return tuple(found)


def _away(facts: ClusterFacts) -> Finding:
    return Finding(
        check="api",
        # A kubeconfig that is only left over makes no host sick.
        level=Level.PROBLEM if facts.is_chosen else Level.WARNING,
        message=f"the API server does not answer: {facts.away}",
        remedy="is it up, and is this the right --kubeconfig and --context?",
    )


def version(facts: ClusterFacts) -> Finding:
    """Can this Kubernetes resize pods?"""
    if facts.unfit:
        return Finding(
            check="version", level=Level.PROBLEM, message=facts.unfit.partition(": ")[0], remedy=_after(facts.unfit)
        )
    return Finding(check="version", level=Level.OK, message=f"Kubernetes {facts.kubernetes}: pods/resize")


def permissions(facts: ClusterFacts) -> Finding:
    """May this person install?"""
    if not facts.missing_rights:
        message = "permissions of this kubeconfig suffice for install"
        return Finding(check="permissions", level=Level.OK, message=message)
    return Finding(
        check="permissions",
        level=Level.WARNING,
        message=f"this kubeconfig may look, but not install: it may not {preflight.listed(facts.missing_rights)}",
        remedy="install with one that has the rights of cluster-admin",
    )


def clock(facts: ClusterFacts) -> Finding | None:
    """Do the clocks agree?"""
    ahead_s = facts.clock_ahead_s
    if ahead_s is None:
        return None
    if abs(ahead_s) <= _MOST_SKEW_S:
        return Finding(check="clock", level=Level.OK, message="its clock and this machine's agree")
    way = "ahead of" if ahead_s > 0 else "behind"
    return Finding(
        check="clock",
        level=Level.WARNING,
        message=f"its clock is {abs(ahead_s):.0f} s {way} this machine's: ages shown here are wrong by as much",
        remedy="start chrony or systemd-timesyncd on both",
    )


def unreadable(facts: ClusterFacts) -> Finding | None:
    """What could not be looked at?"""
    if not facts.unreadable:
        return None
    return Finding(
        check="unreadable",
        level=Level.WARNING,
        message=f"not looked at, as this kubeconfig may not read it: {', '.join(facts.unreadable)}",
        remedy="use one that may read them",
    )


def installation(facts: ClusterFacts) -> Finding | None:
    """Is MBCAS there?"""
    if facts.installed or any(what.startswith("MBCAS's own objects") for what in facts.unreadable):
        return None
    return Finding(check="installed", level=Level.WARNING, message="MBCAS is not installed", remedy="mbcasctl install")


def definition(facts: ClusterFacts) -> Finding:
    """Are PodAllocations defined as this version knows them?"""
    if not facts.crd_established:
        message = "PodAllocations are not defined, or not served"
        return Finding(check="crd", level=Level.PROBLEM, message=message, remedy="mbcasctl upgrade")
    if facts.crd_version != facts.ours:
        return Finding(
            check="crd",
            level=Level.WARNING,
            message=f"PodAllocations are defined by version {facts.crd_version or 'unknown'}, this is {facts.ours}",
            remedy="mbcasctl upgrade, or the mbcasctl of that version",
        )
    message = f"PodAllocation {names.VERSION} is established, as version {facts.ours} has it"
    return Finding(check="crd", level=Level.OK, message=message)


def policies(facts: ClusterFacts) -> Finding:
    """Are agents and controllers fenced?"""
    if facts.unbound:
        return Finding(
            check="policies",
            level=Level.PROBLEM,
            message=f"admission policies that are missing or deny nothing: {', '.join(facts.unbound)}",
            remedy="mbcasctl upgrade",
        )
    return Finding(check="policies", level=Level.OK, message=f"{facts.policies} admission policies are in force")


def workers(facts: ClusterFacts) -> list[Finding]:
    """Do agents and controllers run, and does one lead?"""
    status = facts.status
    if status is None or status.readiness is None:
        return []
    if status.problems:
        return [_problem(problem) for problem in status.problems]
    ready = status.readiness
    message = (
        f"{ready.agents_ready} agents and {ready.controllers_ready} controllers run in mode {status.mode}, "
        f"{status.leader} leads"
    )
    found = [Finding(check="running", level=Level.OK, message=message)]
    found += [
        Finding(check="running", level=Level.WARNING, message=note, remedy="mbcasctl status")
        for note in status.notes
        if "no workload is managed" not in note
    ]
    old = sorted({agent.version for agent in status.agents if agent.version and agent.version != facts.ours})
    if old:
        found.append(
            Finding(
                check="version",
                level=Level.WARNING,
                message=f"agents run version {', '.join(old)}, this is mbcasctl {facts.ours}",
                remedy="mbcasctl upgrade, or the mbcasctl of that version",
            )
        )
    return found


def _problem(words: str) -> Finding:
    """A problem as `status` tells it; its own remedy, if it names a command at its end."""
    message, found, command = words.partition(": mbcasctl ")
    remedy = f"mbcasctl {command}" if found else "mbcasctl status"
    return Finding(check="running", level=Level.PROBLEM, message=message, remedy=remedy)


def namespaces(facts: ClusterFacts) -> Finding | None:
    """Is anything managed?"""
    if facts.status is None:
        return None
    managed = facts.status.namespaces
    if managed or facts.allocations:
        message = f"{_count(managed, 'namespace is', 'namespaces are')} opted in{_colon(managed)}"
        return Finding(check="managed", level=Level.OK, message=message)
    return Finding(
        check="managed",
        level=Level.WARNING,
        message="no workload is managed",
        remedy=f"kubectl label namespace NAME {names.MANAGED_LABEL}=true",
    )


def skipped(facts: ClusterFacts) -> list[Finding]:
    """What is opted in, but not managed?"""
    if facts.skipped is None:
        return []
    return [
        Finding(
            check="skipped",
            level=Level.WARNING,
            message=f"{_count(one.containers, 'container is', 'containers are')} opted in, but not managed: "
            f"{one.reason or 'for no stated reason'} ({listed(one.containers)})",
            remedy=f"mbcasctl explain {one.containers[0]}",
        )
        for one in facts.skipped
    ]


def allocations(facts: ClusterFacts) -> list[Finding]:
    """What did not go as it was decided?"""
    # Conflicts are told with what runs; what waits for a moment is nothing to tell.
    reasons: Counter[str] = Counter()
    who: dict[str, list[str]] = {}
    for one in facts.allocations:
        if one.status.phase == "Failed" and not _has(one, "Conflict"):
            reasons[one.status.reason or "unknown"] += 1
            who.setdefault(one.status.reason or "unknown", []).append(f"{one.metadata.namespace}/{one.spec.pod_name}")
    return [
        Finding(
            check="allocations",
            level=Level.WARNING,
            message=f"{count} resize{'' if count == 1 else 's'} failed, reason {reason}: {listed(who[reason])}",
            remedy=f"mbcasctl explain {who[reason][0]}",
        )
        for reason, count in reasons.most_common()
    ]


_ALWAYS: tuple[Check, ...] = (version, permissions, clock, unreadable, installation)
_WHERE_INSTALLED: tuple[Check, ...] = (
    definition,
    policies,
    workers,
    namespaces,
    skipped,
    neighbours.vertical_autoscalers,
    neighbours.horizontal_autoscalers,
    neighbours.limit_ranges,
    neighbours.quotas,
    allocations,
)


def _has(one: PodAllocation, kind: str) -> bool:
    return any(condition.type == kind and condition.status == "True" for condition in one.status.conditions)


def _after(words: str) -> str:
    return words.partition(": ")[2] or "see the documentation"


def _count(things: Sequence[str], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"


def _colon(things: Sequence[str]) -> str:
    return f": {listed(things)}" if things else ""
