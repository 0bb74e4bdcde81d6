"""What a pod has, in numbers, and the QoS class that Kubernetes gives it."""

import msgspec
import pytest
from rigs.resizing import a_container, a_pod, a_pod_json

from mbcasd.kube.controlling.pods import CpuInForce, ResizablePod, containers_of, qos_class


def guaranteed(name: str = "app") -> dict[str, object]:
    return a_container(
        name, resources={"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "200m", "memory": "64Mi"}}
    )


def test_sidecars_are_containers_and_other_init_containers_are_not() -> None:
    pod = a_pod_json(a_container(), sidecars=(a_container("proxy", limit=50, request=10),))
    pod["spec"]["initContainers"].append({"name": "prepare", "resources": {"limits": {"cpu": "1"}}})

    found = containers_of(msgspec.convert(pod, ResizablePod))

    assert list(found) == ["app", "proxy"]
    assert found["proxy"].is_sidecar
    assert found["proxy"].limit_milli == 50
    assert not found["app"].is_sidecar


@pytest.mark.parametrize(("text", "milli"), [("250m", 250), ("2", 2000), ("1.5", 1500), ("1k", 1_000_000), ("500u", 1)])
def test_quantities_become_millicores_rounded_up_as_the_server_does(text: str, milli: int) -> None:
    pod = a_pod(a_container(resources={"limits": {"cpu": text}}), status={"qosClass": "Burstable"})

    assert containers_of(pod)["app"].limit_milli == milli


def test_in_force_is_what_the_kubelet_says_of_a_running_container() -> None:
    assert containers_of(a_pod())["app"].in_force == CpuInForce(200, 100)


def test_of_a_node_that_cannot_resize_nothing_is_known_to_be_in_force() -> None:
    pod = a_pod_json()
    pod["status"]["containerStatuses"][0]["resources"] = None

    container = containers_of(msgspec.convert(pod, ResizablePod))["app"]

    assert container.in_force is None
    assert container.is_running


def test_a_policy_for_memory_does_not_restart_for_cpu() -> None:
    def restarts(resource: str) -> bool:
        policy = [{"resourceName": resource, "restartPolicy": "RestartContainer"}]
        return containers_of(a_pod(a_container(resizePolicy=policy)))["app"].restarts_on_resize

    assert restarts("cpu")
    assert not restarts("memory")


def test_a_pod_is_guaranteed_when_every_container_has_equal_cpu_and_memory() -> None:
    assert qos_class(a_pod(guaranteed()), {}) == "Guaranteed"
    assert qos_class(a_pod(guaranteed(), a_container("other")), {}) == "Burstable"
    assert qos_class(a_pod(guaranteed()), {"app": (300, 200)}) == "Burstable"
    assert qos_class(a_pod(guaranteed()), {"app": (300, 300)}) == "Guaranteed"


def test_memory_in_other_units_is_the_same_memory() -> None:
    container = a_container(
        resources={"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1000m", "memory": "67108864"}}
    )

    assert qos_class(a_pod(container), {}) == "Guaranteed"


def test_unequal_memory_keeps_a_pod_burstable_whatever_its_cpu() -> None:
    assert qos_class(a_pod(), {"app": (100, 100)}) == "Burstable"


def test_init_containers_count_for_the_class() -> None:
    pod = a_pod_json(guaranteed())
    pod["spec"]["initContainers"].append({"name": "prepare", "resources": {}})

    assert qos_class(msgspec.convert(pod, ResizablePod), {}) == "Burstable"


def test_without_any_value_it_is_best_effort() -> None:
    pod = a_pod(a_container(resources={}), status={"qosClass": "BestEffort"})

    assert qos_class(pod, {}) == "BestEffort"


def test_values_of_the_pod_as_a_whole_fix_its_class() -> None:
    pod = a_pod_json(guaranteed(), status={"qosClass": "Burstable"})
    pod["spec"]["resources"] = {"limits": {"cpu": "1"}}

    assert qos_class(msgspec.convert(pod, ResizablePod), {}) == "Burstable"


def test_the_owners_word_is_read_from_among_other_annotations() -> None:
    pod = a_pod(metadata={"annotations": {"other": "x" * 100, "mbcas.io/skip-guaranteed": "false"}})

    assert pod.metadata.annotations.skip_guaranteed == "false"
