"""Facts to findings: one pure function per question, each with its remedy."""

import math
from collections.abc import Callable

from mbcasctl.doctor.facts import Diagnosis, Finding, HostFacts, Level
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.slo import LatencySourceKind

# Since 5.4 a group's unused slices do not expire any more; before, workloads with many threads were throttled far below
# their limit (commit de53fd7aedb1, also in some distributions' older kernels).
_FIXED_OVERTHROTTLING = (5, 4)

# Since 6.6 throttled time counts only while something wants to run (79462e8c879a), and cpu.stat.local tells whose limit
# it was (677ea015f231).
_EXACT_THROTTLED_TIME = (6, 6)

# A wall clock before this was never set: 2024-01-01.
_EARLIEST_WALL_S = 1_704_067_200.0

# A clock that is being slewed moves by 0.5 ms per second; what moves more while we look was stepped.
_STEP_S = 0.1

# Clock sources that cost a trip to a slow device at every reading.
_SLOW_CLOCKS = {"hpet", "acpi_pm", "jiffies", "refined-jiffies"}

_NAMED = 3


def diagnose(facts: HostFacts | None, cluster: str = "", cluster_findings: tuple[Finding, ...] = ()) -> Diagnosis:
    """Ask all questions, in the order in which they are shown.

    Args:
        facts: Of this host; None: it is not asked about.
        cluster: The API server of the cluster that was looked at; empty: none was.
        cluster_findings: What `mbcasctl.cluster.checks` made of it.
    """
    asked = _CHECKS if facts is not None else ()
    findings = tuple(finding for check in asked if facts is not None and (finding := check(facts)) is not None)
    levels = [finding.level for finding in (*findings, *cluster_findings)]
    return Diagnosis(
        node=facts.node if facts is not None else "",
        healthy=Level.PROBLEM not in levels,
        warnings=levels.count(Level.WARNING),
        problems=levels.count(Level.PROBLEM),
        findings=findings,
        cluster=cluster,
        cluster_findings=cluster_findings,
    )


def cgroup(facts: HostFacts) -> Finding:
    """Is there a cpu controller that can limit?"""
    found = facts.cgroup
    if found.mounts is None:
        return Finding(
            check="cgroup", level=Level.PROBLEM, message="no cgroup with a cpu controller", remedy=found.trouble
        )
    version, unified = found.mounts.version, found.mounts.unified
    kind = "cgroup v1, hybrid" if version is CgroupVersion.V1 and unified else f"cgroup {version.value}"
    if not found.has_quota:
        return Finding(
            check="cgroup",
            level=Level.PROBLEM,
            message=f"{kind}, but the kernel cannot limit CPU",
            remedy="run a kernel with CONFIG_CFS_BANDWIDTH=y",
        )
    periods = " and ".join(f"{usec / 1000:g} ms" for usec in found.periods_usec) or "100 ms by default"
    return Finding(check="cgroup", level=Level.OK, message=f"{kind}, cpu controller, quota period {periods}")


def psi(facts: HostFacts) -> Finding:
    """Can stalls be attributed?"""
    pressure = facts.pressure
    if not pressure.in_kernel:
        # Started with psi=0, Linux does not even make the file (seen on 6.1).
        message = "this kernel has no PSI, or was started without: stalls cannot be attributed"
        remedy = "start the kernel with psi=1; it needs CONFIG_PSI=y"
    elif not pressure.switched_on:
        message, remedy = "PSI is switched off: stalls cannot be attributed", "start the kernel with psi=1"
    elif not pressure.per_cgroup:
        message = "PSI is on, but not per cgroup: stalls cannot be attributed"
        remedy = "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified, and place workloads there too"
    else:
        return Finding(check="psi", level=Level.OK, message="PSI is on: stalls can be attributed")
    return Finding(check="psi", level=Level.WARNING, message=message, remedy=remedy)


def burst(facts: HostFacts) -> Finding | None:
    """Can unused quota carry over?"""
    if facts.cgroup.mounts is None:
        return None
    if facts.cgroup.has_burst:
        return Finding(check="burst", level=Level.OK, message="burst can be set: short peaks need no larger limit")
    return Finding(
        check="burst",
        level=Level.WARNING,
        message="this kernel has no burst: limits must cover every peak of 100 ms",
        remedy="run Linux 5.14 or newer",
    )


def permission(facts: HostFacts) -> Finding | None:
    """May this user move limits?"""
    if facts.cgroup.mounts is None:
        return None
    if not facts.cgroup.write_trouble:
        return Finding(check="permission", level=Level.OK, message="this user may move limits")
    if facts.is_root:
        return Finding(
            check="permission",
            level=Level.PROBLEM,
            message=f"not even root may move limits here: {facts.cgroup.write_trouble}",
            remedy="mount /sys/fs/cgroup writable, or run on the host instead of in this container",
        )
    return Finding(
        check="permission",
        level=Level.WARNING,
        message="this user may watch, but not move limits",
        remedy="run as root, or: systemd-run --user --scope -p Delegate=yes ...",
    )


def kernel(facts: HostFacts) -> Finding:
    """Does the kernel have bugs that matter?"""
    if facts.kernel_version < _FIXED_OVERTHROTTLING:
        return Finding(
            check="kernel",
            level=Level.WARNING,
            message=f"Linux {facts.kernel} throttles workloads with many threads far below their limit",
            remedy="run 5.4 or newer, or a distribution's kernel that has the correction",
        )
    message = f"Linux {facts.kernel}"
    if facts.kernel_version < _EXACT_THROTTLED_TIME:
        message += ": counts some throttled time too much, and not whose limit it was (both since 6.6)"
    return Finding(check="kernel", level=Level.OK, message=message)


def systemd(facts: HostFacts) -> Finding:
    """Who owns the cgroups?"""
    if facts.first_process == "systemd":
        message = "systemd owns the cgroups of units: move those with --unit, others with --parent"
    else:
        message = f"PID 1 is {facts.first_process or 'unknown'}, not systemd: name cgroups with --parent"
    return Finding(check="systemd", level=Level.OK, message=message)


def no_limit(facts: HostFacts) -> Finding | None:
    """Which containers have no limit to move?"""
    if not facts.cgroup.containers:
        return None
    unlimited = facts.cgroup.unlimited_containers
    if not unlimited:
        return Finding(
            check="no-limit", level=Level.OK, message=f"all {facts.cgroup.containers} containers have a CPU limit"
        )
    return Finding(
        check="no-limit",
        level=Level.WARNING,
        message=f"{_count(unlimited, 'container has', 'containers have')} no CPU limit: watched, not managed "
        f"({_listed(unlimited)})",
        remedy="give them limits, if they are to be managed",
    )


def clock(facts: HostFacts) -> Finding:
    """Can time be trusted?"""
    found = facts.clock
    if found.wall_s < _EARLIEST_WALL_S or not math.isfinite(found.wall_s):
        return Finding(
            check="clock",
            level=Level.WARNING,
            message="the wall clock was never set: records will carry wrong times",
            remedy="start chrony or systemd-timesyncd",
        )
    if abs(found.stepped_s) > _STEP_S:
        return Finding(
            check="clock",
            level=Level.WARNING,
            message=f"the wall clock jumped by {found.stepped_s:+.1f} s just now: times in the record will jump too",
            remedy="let one program set the clock, by slewing (chrony, systemd-timesyncd)",
        )
    if found.source in _SLOW_CLOCKS:
        return Finding(
            check="clock",
            level=Level.WARNING,
            message=f"the clock source is {found.source}, which is slow to read: sampling costs more",
            remedy="see why the kernel gave up tsc: dmesg | grep -i clocksource",
        )
    source = f" ({found.source})" if found.source else ""
    return Finding(check="clock", level=Level.OK, message=f"clocks run steadily{source}")


def daemon(facts: HostFacts) -> Finding:
    """Is a daemon at work?"""
    found = facts.daemon
    if found.problems:
        return Finding(
            check="daemon",
            level=Level.WARNING,
            message=f"mbcasd {found.summary} says: {'; '.join(found.problems)}",
            remedy="mbcasctl status",
        )
    if found.summary:
        return Finding(check="daemon", level=Level.OK, message=f"mbcasd {found.summary}")
    if found.absent:
        return Finding(
            check="daemon",
            level=Level.WARNING,
            message=f"no daemon answers on {found.socket}",
            remedy="mbcasd local --parent CGROUP, or --unit GLOB",
        )
    if found.denied:
        return Finding(check="daemon", level=Level.WARNING, message=found.trouble)
    return Finding(
        check="daemon",
        level=Level.PROBLEM,
        message=f"the daemon cannot be asked: {found.trouble}",
        remedy="look at its log: journalctl -u mbcasd",
    )


def prometheus(facts: HostFacts) -> Finding | None:
    """Does the Prometheus answer that the daemon asks for latencies, and with what?"""
    kind = LatencySourceKind.PROMETHEUS.value
    source = next((source for source in facts.daemon.latency_sources if source.kind == kind), None)
    if source is None:
        return None
    answers = ", ".join(f"{count} {result}" for result, count in sorted(source.answers.items())) or "nothing yet"
    said = f"Prometheus at {source.place} {{}}: {{}} (answers so far: {answers})"
    if not source.up:
        return Finding(
            check="prometheus",
            level=Level.WARNING,
            message=said.format("is of no use", source.trouble),
            remedy="see guardrail.prometheus_url; until then latency moves nothing",
        )
    if source.answers and not source.answers.get("ok"):
        return Finding(
            check="prometheus",
            level=Level.WARNING,
            message=said.format("answers", "but never with one number"),
            remedy="try guardrail.slo_query in its own screen; mbcasctl status has its words",
        )
    return Finding(check="prometheus", level=Level.OK, message=said.format("answers", "latencies are known"))


def leftovers(facts: HostFacts) -> Finding:
    """Are limits in force that nobody will put back?"""
    found = facts.ledger
    if found.trouble:
        return Finding(
            check="leftovers",
            level=Level.WARNING,
            message=f"the owners' limits in {found.state_dir} cannot be read: {found.trouble}",
            remedy="run as the user of the daemon",
        )
    if found.daemon_alive:
        message = f"{_count(found.left, 'limit is', 'limits are')} moved now; the daemon puts back what its owner had"
        return Finding(check="leftovers", level=Level.OK, message=message)
    if not found.left:
        return Finding(check="leftovers", level=Level.OK, message="every limit is its owner's")
    return Finding(
        check="leftovers",
        level=Level.PROBLEM,
        message=f"{_count(found.left, 'limit is', 'limits are')} not the owner's: a dead daemon left "
        f"{_listed(found.left)}",
        remedy="mbcasctl restore",
    )


_CHECKS: tuple[Callable[[HostFacts], Finding | None], ...] = (
    cgroup,
    psi,
    burst,
    permission,
    kernel,
    systemd,
    no_limit,
    clock,
    daemon,
    prometheus,
    leftovers,
)


def _count(names: tuple[str, ...], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many}"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
