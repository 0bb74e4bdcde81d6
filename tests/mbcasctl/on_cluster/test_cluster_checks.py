from dataclasses import replace

import pytest
from cluster_objects import a_condition, an_allocation
from golden import check_golden

from mbcasctl.cluster.checks import examine
from mbcasctl.cluster.facts import ClusterFacts, Skipped
from mbcasctl.cluster.objects import Generic
from mbcasctl.cluster.picture import AgentStatus, ClusterStatus
from mbcasctl.cluster.preflight import Right
from mbcasctl.cluster.readiness import Readiness
from mbcasctl.doctor.checks import diagnose
from mbcasctl.doctor.facts import Finding, Level
from mbcasctl.views.doctor import lines
from mbcasd.kube.objects import Metadata


def a_status(**more) -> ClusterStatus:
    values = {
        "healthy": True,
        "problems": (),
        "notes": (),
        "place": "https://127.0.0.1:6443",
        "kubernetes": "v1.37.2",
        "installed": True,
        "version": "0.1.0",
        "mode": "enforce",
        "readiness": Readiness(
            agents_ready=2, agents_wanted=2, controllers_ready=2, controllers_wanted=2, settled=True
        ),
        "leader": "mbcas-controller-1",
        "agents": (AgentStatus(node="node-1", pod="a", ready=True, version="0.1.0"),),
        "namespaces": ("shop",),
    }
    return ClusterStatus(**(values | more))


def a_cluster(**more) -> ClusterFacts:
    """A cluster on which everything is as it should be."""
    values = {
        "place": "https://127.0.0.1:6443",
        "ours": "0.1.0",
        "kubernetes": "v1.37.2",
        "installed": True,
        "crd_version": "0.1.0",
        "crd_established": True,
        "policies": 4,
        "status": a_status(),
        "skipped": (),
        "clock_ahead_s": 0.4,
    }
    return ClusterFacts(**(values | more))


def found(check: str, **more) -> Finding:
    return next(finding for finding in examine(a_cluster(**more)) if finding.check == check)


def a_thing(name: str, spec: dict, status: dict | None = None) -> Generic:
    return Generic(metadata=Metadata(name=name, namespace="shop"), spec=spec, status=status or {})


def a_vpa(mode: str | None, **more) -> Generic:
    policy = {} if mode is None else {"updatePolicy": {"updateMode": mode}}
    return a_thing("web-vpa", {"targetRef": {"kind": "Deployment", "name": "web"}} | policy | more)


def an_hpa(kind: str = "Utilization") -> Generic:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": kind}}}
    return a_thing("web", {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": [metric]})


def a_quota(resource: str, hard: str, used: str) -> Generic:
    return a_thing("q", {}, {"hard": {resource: hard}, "used": {resource: used}})


def test_a_cluster_without_fault_is_healthy() -> None:
    assert {finding.level for finding in examine(a_cluster())} == {Level.OK}


OLD = "this is Kubernetes v1.30.1, and MBCAS needs 1.33 or newer: upgrade the cluster first"


@pytest.mark.parametrize(
    ("check", "more", "level", "words"),
    [
        ("version", {"unfit": OLD}, Level.PROBLEM, "this is Kubernetes v1.30.1"),
        (
            "permissions",
            {"missing_rights": (Right("get", "", "pods"), Right("create", "", "pods"))},
            Level.WARNING,
            "it may not get and create pods",
        ),
        ("clock", {"clock_ahead_s": -7.2}, Level.WARNING, "its clock is 7 s behind this machine's"),
        ("clock", {"clock_ahead_s": 61.0}, Level.WARNING, "its clock is 61 s ahead of this machine's"),
        ("unreadable", {"unreadable": ("limitranges", "the agents")}, Level.WARNING, "limitranges, the agents"),
        ("installed", {"installed": False, "status": None}, Level.WARNING, "not installed"),
        ("crd", {"crd_established": False}, Level.PROBLEM, "not defined, or not served"),
        ("crd", {"crd_version": "0.0.9"}, Level.WARNING, "defined by version 0.0.9, this is 0.1.0"),
        ("policies", {"unbound": ("mbcas-own-pods",)}, Level.PROBLEM, "deny nothing: mbcas-own-pods"),
        ("running", {"status": a_status(problems=("nothing runs",))}, Level.PROBLEM, "nothing runs"),
        (
            "running",
            {"status": a_status(notes=("agents run in mode enforce, controllers in observe",))},
            Level.OK,
            "2 agents and 2 controllers run in mode enforce, mbcas-controller-1 leads",
        ),
        ("managed", {"status": a_status(namespaces=())}, Level.WARNING, "no workload is managed"),
        ("managed", {}, Level.OK, "1 namespace is opted in: shop"),
        (
            "skipped",
            {"skipped": (Skipped(reason="it has no CPU limit", containers=("a", "b", "c", "d")),)},
            Level.WARNING,
            "4 containers are opted in, but not managed: it has no CPU limit (a, b, c and 1 more)",
        ),
        (
            "vpa",
            {"autoscalers": (a_vpa("InPlaceOrRecreate"),)},
            Level.WARNING,
            "VPA web-vpa (mode InPlaceOrRecreate) also resizes shop/web",
        ),
        ("vpa", {"autoscalers": (a_vpa(None),)}, Level.WARNING, "(mode Auto)"),
        ("hpa", {"scalers": (an_hpa(),)}, Level.OK, "1 HPA by CPU utilisation: requests of their pods are not changed"),
        (
            "hpa",
            {"scalers": (an_hpa(),), "allocations": (an_allocation("web-1", request=300),)},
            Level.PROBLEM,
            "MBCAS moves requests of its pods: web-1",
        ),
        (
            "limitrange",
            {"limit_ranges": (a_thing("bounds", {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}),)},
            Level.OK,
            "LimitRange shop/bounds bounds what MBCAS may give: at most 2 of CPU per container",
        ),
        (
            "quota",
            {"quotas": (a_quota("limits.cpu", "4", "3900m"),)},
            Level.WARNING,
            "quota shop/q has 100m of limits.cpu left",
        ),
        (
            "allocations",
            {"allocations": (an_allocation(phase="Failed", reason="QuotaExceeded"),)},
            Level.WARNING,
            "1 resize failed, reason QuotaExceeded: shop/web",
        ),
    ],
)
def test_each_fault_has_its_level_and_its_words(check: str, more: dict, level: Level, words: str) -> None:
    finding = found(check, **more)

    assert finding.level is level
    assert words in finding.message


@pytest.mark.parametrize(
    "more",
    [
        {"autoscalers": (a_vpa("Off"), a_vpa("Initial"))},
        {
            "autoscalers": (
                a_vpa("Recreate", resourcePolicy={"containerPolicies": [{"controlledResources": ["memory"]}]}),
            )
        },
        {"scalers": (an_hpa("AverageValue"),)},
        {"quotas": (a_quota("limits.cpu", "4", "1"), a_quota("requests.cpu", "1", "1"), a_quota("pods", "1", "1"))},
        {"limit_ranges": (a_thing("x", {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}),)},
        {"allocations": (an_allocation(), an_allocation(phase="Pending", reason="InProgress"))},
        {
            "allocations": (
                an_allocation(phase="Failed", reason="ChangedByOther", conditions=(a_condition("Conflict"),)),
            )
        },
    ],
)
def test_what_stands_in_nobodys_way_is_not_mentioned(more: dict) -> None:
    assert len(examine(a_cluster(**more))) == len(examine(a_cluster()))


def test_a_problem_that_names_a_command_has_it_as_its_remedy() -> None:
    finding = found("running", status=a_status(problems=("the Deployment does not exist: mbcasctl upgrade",)))

    assert (finding.message, finding.remedy) == ("the Deployment does not exist", "mbcasctl upgrade")


def test_a_cluster_that_is_away_is_a_problem_only_for_who_asked_for_it() -> None:
    away = ClusterFacts(place="https://h", away="connection refused")

    assert [finding.level for finding in examine(away)] == [Level.PROBLEM]
    assert [finding.level for finding in examine(replace(away, is_chosen=False))] == [Level.WARNING]


def test_whatever_is_wrong_comes_with_a_remedy() -> None:
    bad = a_cluster(
        unfit=OLD, missing_rights=(Right("get", "", "pods"),), clock_ahead_s=100.0, unreadable=("x",),
        crd_established=False, unbound=("x",), status=a_status(problems=("p",), namespaces=()),
        skipped=(Skipped(reason="", containers=("a",)),), autoscalers=(a_vpa("Auto"),), scalers=(an_hpa(),),
        quotas=(a_quota("limits.cpu", "1", "1"),),
        allocations=(an_allocation("web-1", request=300, phase="Failed", reason=""),),
    )  # fmt: skip
    for finding in examine(bad):
        assert bool(finding.remedy) is (finding.level is not Level.OK), finding


def test_agents_of_another_version_are_named() -> None:
    old = AgentStatus(node="node-1", pod="a", ready=True, version="0.0.9")
    findings = [f for f in examine(a_cluster(status=a_status(agents=(old,)))) if f.check == "version"]

    assert findings[-1].message == "agents run version 0.0.9, this is mbcasctl 0.1.0"


@pytest.mark.parametrize("width", [60, 80])
def test_a_diagnosis_of_a_cluster_looks_like_this(width: int) -> None:
    sick = a_cluster(
        status=a_status(problems=("no controller is ready, so no limit moves",)),
        autoscalers=(a_vpa("InPlaceOrRecreate"),),
        skipped=(Skipped(reason="it has no CPU limit", containers=("shop/web:app",)),),
    )
    drawn = lines(diagnose(None, sick.place, examine(sick)), width)

    check_golden(f"doctor_cluster_{width}.txt", "\n".join(line.plain.rstrip() for line in drawn) + "\n")
