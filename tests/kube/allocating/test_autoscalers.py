import msgspec
import pytest
from fakes.podobjects import DEPLOYED, a_pod, a_vpa, an_hpa

from mbcasd.kube.allocating.autoscalers import TargetRef, VerticalPodAutoscaler, index, owners_of


def test_the_owner_behind_a_replica_set_is_read_off_its_name():
    assert owners_of(DEPLOYED) == (
        TargetRef(kind="ReplicaSet", name="web-7d96dc987b"),
        TargetRef(kind="Deployment", name="web"),
    )


def test_a_rollout_names_its_replica_sets_with_a_hash_of_its_own():
    pod = a_pod(labels={"rollouts-pod-template-hash": "abc"}, owners=(("ReplicaSet", "web-abc"),))
    assert TargetRef(kind="Rollout", name="web") in owners_of(pod)


def test_a_replica_set_that_nobody_made_is_the_owner_itself():
    assert owners_of(a_pod(owners=(("ReplicaSet", "web"),))) == (TargetRef(kind="ReplicaSet", name="web"),)


def test_jobs_lead_to_their_cron_job_and_others_to_themselves():
    assert TargetRef(kind="CronJob", name="backup") in owners_of(a_pod(owners=(("Job", "backup-29401230"),)))
    assert owners_of(a_pod(owners=(("Job", "backup-once"),))) == (TargetRef(kind="Job", name="backup-once"),)
    assert owners_of(a_pod(owners=(("StatefulSet", "db"),))) == (TargetRef(kind="StatefulSet", name="db"),)
    assert owners_of(a_pod()) == ()


def test_an_hpa_is_found_by_kind_name_and_namespace():
    assert index([an_hpa()], []).hpa_of(DEPLOYED) == "scaler"
    assert index([an_hpa(kind="StatefulSet")], []).hpa_of(DEPLOYED) is None
    assert index([an_hpa(name="other")], []).hpa_of(DEPLOYED) is None
    assert index([an_hpa(namespace="other")], []).hpa_of(DEPLOYED) is None


@pytest.mark.parametrize(
    ("mode", "moves"),
    [(None, True), ("Auto", True), ("Recreate", True), ("InPlaceOrRecreate", True), ("InPlace", True)]
    + [("Off", False), ("Initial", False)],
)
def test_a_vpa_moves_cpu_unless_its_mode_says_that_it_leaves_running_pods_alone(mode, moves):
    assert (index([], [a_vpa(mode)]).vpa_of(DEPLOYED, "app") is not None) is moves


@pytest.mark.parametrize(
    ("policies", "moves"),
    [
        ([], True),
        ([{"containerName": "app", "mode": "Off"}], False),
        ([{"containerName": "*", "mode": "Off"}], False),
        ([{"containerName": "*", "mode": "Off"}, {"containerName": "app", "mode": "Auto"}], True),
        ([{"containerName": "other", "mode": "Off"}], True),
        ([{"containerName": "app", "controlledResources": ["memory"]}], False),
        ([{"containerName": "app", "controlledResources": ["cpu", "memory"]}], True),
        ([{"containerName": "*", "controlledResources": None}], True),
    ],
)
def test_a_vpas_policy_for_the_container_counts_before_the_one_for_all(policies, moves):
    assert a_vpa("Recreate", policies).moves_cpu_of("app") is moves


def test_of_several_vpas_one_that_moves_cpu_is_enough():
    assert index([], [a_vpa("Off"), a_vpa("Recreate")]).vpa_of(DEPLOYED, "app") == "web-vpa"


def test_a_vpa_without_a_target_is_nobodys():
    vpa = msgspec.json.decode(b'{"metadata": {"name": "x", "namespace": "shop"}}', type=VerticalPodAutoscaler)
    assert index([], [vpa]).vpa_of(DEPLOYED, "app") is None
