"""Each reason for leaving a container alone, and what becomes of what was moved before."""

import json

import msgspec
import pytest
from fakes.podobjects import (
    DEPLOYED,
    STARTED_WALL_S,
    a_container,
    a_namespace,
    a_pod,
    a_vpa,
    an_allocation,
    an_hpa,
)

from mbcasd.kube.allocating.autoscalers import index
from mbcasd.kube.allocating.members import members_of
from mbcasd.kube.allocating.selection import _TABLE, Skip, Subject, why_not
from mbcasd.settings import ResizeSettings, SelectionSettings

OLD_ENOUGH_WALL_S = STARTED_WALL_S + 60
NOBODY = index((), ())
MANAGES_GUARANTEED = ResizeSettings(skip_guaranteed=False)


def judge(pod=None, *, container=0, namespace=None, allocation=None, scalers=NOBODY, **more):
    pod = pod if pod is not None else a_pod()
    members = members_of(pod)
    subject = Subject(
        pod=pod,
        member=members[container],
        members=members,
        namespace=namespace if namespace is not None else a_namespace(),
        allocation=allocation,
        autoscalers=scalers,
        selection=more.get("selection", SelectionSettings()),
        resize=more.get("resize", ResizeSettings()),
        own_namespace=more.get("own_namespace", "mbcas-system"),
        quota_is_unlimited=more.get("unlimited", False),
        now_wall_s=more.get("now_wall_s", OLD_ENOUGH_WALL_S),
    )
    return why_not(subject)


def in_conflict(pod):
    conditions = [{"type": "Conflict", "status": "True"}]
    return an_allocation(pod, {"app": 400}, {"app": (200, 100)}, status={"conditions": conditions})


MIRROR = {"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.source": "file"}

CASES = {
    Skip.ENDING: lambda: judge(a_pod(deleted=True)),
    Skip.NOT_RUNNING: lambda: judge(a_pod(phase="Succeeded")),
    Skip.NAMESPACE: lambda: judge(a_pod(namespace="kube-system")),
    Skip.OPTED_OUT: lambda: judge(a_pod(labels={"mbcas.io/managed": "false"})),
    Skip.NOT_OPTED_IN: lambda: judge(namespace=a_namespace(labels={})),
    Skip.NOT_SELECTED: lambda: judge(selection=SelectionSettings(namespaces=("bank",))),
    Skip.CRITICAL: lambda: judge(a_pod(priorityClassName="system-node-critical", priority=2_000_001_000)),
    Skip.STATIC: lambda: judge(a_pod(annotations=MIRROR, owners=(("Node", "node-1"),))),
    Skip.WINDOWS: lambda: judge(a_pod(os={"name": "windows"})),
    Skip.BEST_EFFORT: lambda: judge(a_pod(a_container(request=None, limit=None), qos="BestEffort")),
    Skip.NO_LIMIT: lambda: judge(a_pod(a_container(), a_container("proxy", limit=None)), container=1),
    Skip.TINY_LIMIT: lambda: judge(a_pod(a_container(request="1m", limit="5m"))),
    Skip.TOO_MANY: lambda: judge(a_pod(*(a_container(f"c{i}") for i in range(65)))),
    Skip.RESTARTS: lambda: judge(a_pod(a_container(cpu_policy="RestartContainer"))),
    Skip.GUARANTEED: lambda: judge(a_pod(qos="Guaranteed")),
    Skip.OWN_CPUS: lambda: judge(a_pod(a_container(limit="2"), qos="Guaranteed"), resize=MANAGES_GUARANTEED),
    Skip.FIXED_REQUEST: lambda: judge(
        msgspec.structs.replace(DEPLOYED, status=msgspec.structs.replace(DEPLOYED.status, qos_class="Guaranteed")),
        resize=MANAGES_GUARANTEED,
        scalers=index([an_hpa()], []),
    ),
    Skip.VPA: lambda: judge(DEPLOYED, scalers=index([], [a_vpa("Recreate")])),
    Skip.CONFLICT: lambda: judge(allocation=in_conflict(a_pod())),
    Skip.NO_RESIZE: lambda: judge(a_pod(a_container(resizable=False))),
    Skip.NO_QUOTA: lambda: judge(unlimited=True),
    Skip.STARTING: lambda: judge(a_pod(a_container(), a_container("proxy", started=False, resizable=False))),
    Skip.YOUNG: lambda: judge(now_wall_s=STARTED_WALL_S + 1),
}

# Everything stays as it is, because it will be managed again or nobody may touch it.
LEFT_AS_IT_IS = {
    Skip.ENDING, Skip.NOT_RUNNING, Skip.CONFLICT, Skip.NO_RESIZE, Skip.NO_QUOTA, Skip.STARTING, Skip.YOUNG,
}  # fmt: skip


def test_an_ordinary_pod_of_a_namespace_that_opted_in_is_managed():
    assert judge() is None


@pytest.mark.parametrize("skip", Skip)
def test_each_reason_is_found_said_and_decides_what_becomes_of_what_was_moved(skip):
    skipped = CASES[skip]()

    assert skipped.skip is skip
    assert len(skipped.sentence) > 10
    assert skipped.gives_back is (skip not in LEFT_AS_IT_IS)


def test_every_reason_stands_once_in_the_table():
    assert sorted(row.skip.name for row in _TABLE) == sorted(skip.name for skip in Skip)


def test_the_pods_own_word_wins_over_the_namespaces():
    refuses = a_namespace(labels={"mbcas.io/managed": "false"})
    assert judge(a_pod(labels={"mbcas.io/managed": "true"}), namespace=refuses) is None
    assert judge(namespace=refuses).skip is Skip.OPTED_OUT
    assert judge(a_pod(labels={"mbcas.io/managed": "yes"})).skip is Skip.OPTED_OUT
    assert judge(a_pod(annotations={"mbcas.io/ignore": "true"})).skip is Skip.OPTED_OUT
    assert judge(a_pod(annotations={"mbcas.io/ignore": "false"})) is None


def test_where_nobody_has_to_opt_in_only_a_no_counts():
    all_but = SelectionSettings(opt_in=False)
    assert judge(namespace=a_namespace(labels={}), selection=all_but) is None
    assert judge(namespace=a_namespace(labels={"mbcas.io/managed": "no"}), selection=all_but).skip is Skip.OPTED_OUT
    assert judge(a_pod(namespace="kube-system"), selection=all_but).skip is Skip.NAMESPACE
    assert judge(a_pod(namespace="own"), selection=all_but, own_namespace="own").skip is Skip.NAMESPACE


def test_a_namespace_that_is_not_known_yet_has_not_opted_in():
    members = members_of(a_pod())
    subject = Subject(
        a_pod(), members[0], members, None, None, NOBODY, SelectionSettings(), ResizeSettings(), "", False, 0.0
    )
    assert why_not(subject).skip is Skip.NOT_OPTED_IN


def test_settings_select_by_labels_and_by_class():
    gold = SelectionSettings(labels=("tier=gold",))
    assert judge(selection=gold).skip is Skip.NOT_SELECTED
    assert judge(a_pod(labels={"tier": "gold"}), selection=gold) is None
    assert judge(selection=SelectionSettings(excluded_classes=("Burstable",))).skip is Skip.NOT_SELECTED
    assert judge(selection=SelectionSettings(namespaces=("shop", "bank"))) is None


def test_a_pods_annotation_decides_over_guaranteed_before_the_setting():
    wants = a_pod(qos="Guaranteed", annotations={"mbcas.io/skip-guaranteed": "false"})
    refuses = a_pod(qos="Guaranteed", annotations={"mbcas.io/skip-guaranteed": "true"})
    assert judge(wants) is None
    assert judge(refuses, resize=MANAGES_GUARANTEED).skip is Skip.GUARANTEED
    assert judge(a_pod(qos="Guaranteed"), resize=MANAGES_GUARANTEED) is None


def test_whole_cpus_are_judged_by_what_the_owner_had_set():
    # MBCAS itself moved it from 1500m to 2000m.
    pod = a_pod(a_container(request="2", limit="2"), qos="Guaranteed")
    moved = an_allocation(pod, {"app": (2000, 2000)}, {"app": (1500, 1500)})
    assert judge(pod, resize=MANAGES_GUARANTEED, allocation=moved) is None


def test_a_priority_says_that_a_pod_is_critical_also_without_the_class():
    assert judge(a_pod(priority=2_000_000_000)).skip is Skip.CRITICAL
    assert judge(a_pod(priority=1_000_000_000, priorityClassName="important")) is None


def test_a_container_whose_policy_restarts_it_for_memory_alone_is_managed():
    pod = a_pod()
    policies = b'[{"resourceName": "memory", "restartPolicy": "RestartContainer"}]'
    container = pod.spec.containers[0]
    policy = msgspec.json.decode(policies, type=type(container).__annotations__["resize_policy"])
    changed = msgspec.structs.replace(container, resize_policy=policy)
    spec = msgspec.structs.replace(pod.spec, containers=(changed,))
    assert judge(msgspec.structs.replace(pod, spec=spec)) is None


def test_one_container_may_be_left_alone_while_the_others_are_managed():
    pod = a_pod(a_container(), a_container("fragile", cpu_policy="RestartContainer"))
    assert judge(pod) is None
    assert judge(pod, container=1).skip is Skip.RESTARTS


def test_a_young_pod_is_judged_again_when_it_has_grown_up():
    young = judge(now_wall_s=STARTED_WALL_S + 0.5)
    assert young.until_wall_s == STARTED_WALL_S + 2
    assert judge(now_wall_s=young.until_wall_s) is None


def test_a_condition_that_is_not_true_is_no_conflict():
    pod = a_pod()
    conditions = json.loads('[{"type": "Conflict", "status": "False"}]')
    resolved = an_allocation(pod, {"app": 400}, {"app": (200, 100)}, status={"conditions": conditions})
    assert judge(pod, allocation=resolved) is None
