from dataclasses import replace

import pytest
from golden import check_golden
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mbcasctl.doctor.checks import diagnose
from mbcasctl.doctor.facts import (
    CgroupFacts,
    ClockFacts,
    DaemonFacts,
    Diagnosis,
    Finding,
    HostFacts,
    LedgerFacts,
    Level,
    PressureFacts,
)
from mbcasctl.views.doctor import lines
from mbcasctl.views.text import ASCII
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.snapshot import LatencySourceSnapshot

V2 = CgroupMounts(version=CgroupVersion.V2, cpu="/c", cpuacct="/c", unified="/c")
V1 = CgroupMounts(version=CgroupVersion.V1, cpu="/c/cpu", cpuacct="/c/cpuacct")


def a_cgroup(**more) -> CgroupFacts:
    return CgroupFacts(**({"mounts": V2, "periods_usec": (100_000,), "has_burst": True} | more))


def a_host(**more) -> HostFacts:
    """A host on which everything is as it should be."""
    values = {
        "node": "node-1",
        "is_root": True,
        "first_process": "systemd",
        "kernel": "6.12.5-amd64",
        "kernel_version": (6, 12),
        "cpus": 4,
        "cgroup": a_cgroup(),
        "pressure": PressureFacts(in_kernel=True, switched_on=True, per_cgroup=True),
        "clock": ClockFacts(source="tsc", wall_s=1_764_000_000.0, stepped_s=0.0),
        "daemon": DaemonFacts(socket="/run/mbcas/mbcasd.sock", summary="0.1.0: enforce, 5 workloads"),
        "ledger": LedgerFacts(state_dir="/var/lib/mbcas", daemon_alive=True, left=("/demo/web",)),
    }
    return HostFacts(**(values | more))


def found(check: str, **more) -> Finding:
    return next(finding for finding in diagnose(a_host(**more)).findings if finding.check == check)


def test_a_host_without_fault_is_healthy() -> None:
    diagnosis = diagnose(a_host())
    assert diagnosis.healthy
    assert {finding.level for finding in diagnosis.findings} == {Level.OK}
    assert (diagnosis.warnings, diagnosis.problems) == (0, 0)


def test_warnings_leave_a_host_healthy_and_problems_do_not() -> None:
    assert diagnose(a_host(cgroup=a_cgroup(has_burst=False))).healthy
    assert not diagnose(a_host(cgroup=a_cgroup(has_quota=False))).healthy


@pytest.mark.parametrize(
    ("check", "more", "level", "words"),
    [
        ("cgroup", {"cgroup": CgroupFacts(mounts=None, trouble="mount it")}, Level.PROBLEM, "no cgroup"),
        ("cgroup", {"cgroup": a_cgroup(has_quota=False)}, Level.PROBLEM, "cannot limit"),
        ("cgroup", {"cgroup": a_cgroup(periods_usec=(50_000, 100_000))}, Level.OK, "50 ms and 100 ms"),
        ("cgroup", {"cgroup": a_cgroup(mounts=V1)}, Level.OK, "cgroup v1, cpu controller"),
        ("cgroup", {"cgroup": a_cgroup(mounts=replace(V1, unified="/c/unified"))}, Level.OK, "v1, hybrid"),
        (
            "psi",
            {"pressure": PressureFacts(in_kernel=False, switched_on=False, per_cgroup=True)},
            Level.WARNING,
            "no PSI",
        ),
        ("psi", {"pressure": PressureFacts(in_kernel=True, switched_on=False, per_cgroup=True)}, Level.WARNING, "off"),
        (
            "psi",
            {"pressure": PressureFacts(in_kernel=True, switched_on=True, per_cgroup=False)},
            Level.WARNING,
            "not per",
        ),
        ("burst", {"cgroup": a_cgroup(has_burst=False)}, Level.WARNING, "no burst"),
        ("permission", {"cgroup": a_cgroup(write_trouble="read-only")}, Level.PROBLEM, "not even root"),
        ("permission", {"cgroup": a_cgroup(write_trouble="denied"), "is_root": False}, Level.WARNING, "may watch"),
        ("kernel", {"kernel": "4.19.0", "kernel_version": (4, 19)}, Level.WARNING, "far below their limit"),
        ("kernel", {"kernel": "6.1.0", "kernel_version": (6, 1)}, Level.OK, "since 6.6"),
        ("systemd", {"first_process": "init"}, Level.OK, "--parent"),
        ("no-limit", {"cgroup": a_cgroup(containers=3)}, Level.OK, "all 3 containers"),
        (
            "no-limit",
            {"cgroup": a_cgroup(containers=9, unlimited_containers=("a", "b", "c", "d"))},
            Level.WARNING,
            "4 containers have no CPU limit: watched, not managed (a, b, c and 1 more)",
        ),
        ("clock", {"clock": ClockFacts(source="tsc", wall_s=0.0, stepped_s=0.0)}, Level.WARNING, "never set"),
        ("clock", {"clock": ClockFacts(source="tsc", wall_s=1.8e9, stepped_s=-2.0)}, Level.WARNING, "-2.0 s"),
        ("clock", {"clock": ClockFacts(source="hpet", wall_s=1.8e9, stepped_s=0.0)}, Level.WARNING, "slow"),
        ("daemon", {"daemon": DaemonFacts(socket="/s", trouble="none", absent=True)}, Level.WARNING, "no daemon"),
        ("daemon", {"daemon": DaemonFacts(socket="/s", trouble="not yours", denied=True)}, Level.WARNING, "not yours"),
        ("daemon", {"daemon": DaemonFacts(socket="/s", trouble="it hangs")}, Level.PROBLEM, "it hangs"),
        ("daemon", {"daemon": DaemonFacts(socket="/s", summary="1: x", problems=("a", "b"))}, Level.WARNING, "a; b"),
        ("leftovers", {"ledger": LedgerFacts(state_dir="/s")}, Level.OK, "every limit is its owner's"),
        (
            "leftovers",
            {"ledger": LedgerFacts(state_dir="/s", left=("/a",))},
            Level.PROBLEM,
            "1 limit is not the owner's: a dead daemon left /a",
        ),
        ("leftovers", {"ledger": LedgerFacts(state_dir="/s", trouble="denied")}, Level.WARNING, "cannot be read"),
    ],
)
def test_each_fault_has_its_level_and_its_words(check: str, more: dict, level: Level, words: str) -> None:
    finding = found(check, **more)
    assert finding.level is level
    assert words in finding.message


def test_whatever_is_wrong_comes_with_a_remedy_and_what_is_right_with_none() -> None:
    bad = a_host(
        cgroup=a_cgroup(has_quota=False, has_burst=False, write_trouble="x", containers=1, unlimited_containers=("a",)),
        pressure=PressureFacts(in_kernel=False, switched_on=False, per_cgroup=False),
        kernel_version=(4, 19),
        clock=ClockFacts(source="hpet", wall_s=1.8e9, stepped_s=0.0),
        daemon=DaemonFacts(socket="/s", trouble="none", absent=True),
        ledger=LedgerFacts(state_dir="/s", left=("/a",)),
    )
    for finding in (*diagnose(bad).findings, *diagnose(a_host()).findings):
        assert bool(finding.remedy) is (finding.level is not Level.OK), finding


def test_without_a_cpu_controller_what_follows_from_it_is_not_asked() -> None:
    checks = {finding.check for finding in diagnose(a_host(cgroup=CgroupFacts(mounts=None, trouble="x"))).findings}
    assert checks & {"burst", "permission", "no-limit"} == set()


def a_sick_host() -> Diagnosis:
    return diagnose(
        a_host(
            cgroup=a_cgroup(has_burst=False, containers=4, unlimited_containers=("shop/web:app",)),
            pressure=PressureFacts(in_kernel=True, switched_on=False, per_cgroup=True),
            daemon=DaemonFacts(socket="/run/mbcas/mbcasd.sock", trouble="none", absent=True),
            ledger=LedgerFacts(state_dir="/var/lib/mbcas", left=("/demo/web", "/demo/api")),
        )
    )


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_diagnosis_of_this_width_looks_like_this(width: int) -> None:
    check_golden(f"doctor_{width}.txt", "\n".join(line.plain.rstrip() for line in lines(a_sick_host(), width)) + "\n")


def test_without_unicode_the_marks_are_still_told_apart() -> None:
    drawn = "\n".join(line.plain for line in lines(a_sick_host(), 80, ASCII))
    assert drawn.isascii()
    assert "!! 2 limits are" in drawn
    assert "ok PSI" not in drawn


_WORDS = st.text(st.characters(max_codepoint=0x2FF), max_size=200)


@given(_WORDS, _WORDS, st.sampled_from(Level), st.integers(30, 200))
def test_no_line_is_longer_than_the_terminal(message: str, remedy: str, level: Level, width: int) -> None:
    finding = Finding(check="x", level=level, message=message, remedy=remedy)
    diagnosis = Diagnosis(node="n", healthy=True, warnings=0, problems=0, findings=(finding,))
    for line in lines(diagnosis, width):
        assert cell_len(line.plain) <= width


def a_daemon_that_asks(*, up: bool = True, trouble: str = "", **answers: int) -> DaemonFacts:
    place = "http://127.0.0.1:9090"
    source = LatencySourceSnapshot(kind="prometheus", up=up, place=place, trouble=trouble, answers=answers)
    return DaemonFacts(socket="/s", summary="0.1.0: enforce, 5 workloads", latency_sources=(source,))


def test_a_prometheus_that_answers_is_told_with_its_answers() -> None:
    finding = found("prometheus", daemon=a_daemon_that_asks(ok=12, nan=2))

    assert finding.level is Level.OK
    assert finding.message == (
        "Prometheus at http://127.0.0.1:9090 answers: latencies are known (answers so far: 2 nan, 12 ok)"
    )


def test_a_prometheus_that_does_not_is_a_warning_with_its_words() -> None:
    finding = found("prometheus", daemon=a_daemon_that_asks(up=False, trouble="no whole answer within 2 s", timeout=3))

    assert finding.level is Level.WARNING
    assert "no whole answer within 2 s" in finding.message
    assert "guardrail.prometheus_url" in finding.remedy


def test_a_query_that_never_finds_anything_is_a_warning() -> None:
    finding = found("prometheus", daemon=a_daemon_that_asks(empty=7))

    assert finding.level is Level.WARNING
    assert "slo_query" in finding.remedy
