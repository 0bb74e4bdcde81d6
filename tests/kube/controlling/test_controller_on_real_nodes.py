"""The controller on a real cluster, the test in the agent's place: decisions reach the kernel, nothing restarts."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from rigs.controlled import Controlled, controlling, decide, soon
from rigs.resizing import cpu
from scenarios.grounds import define_podallocations
from scenarios.workloads import RunningPod

from mbcasd.kube.objects import ContainerCpu
from mbcasd.units import parse_cpu_milli

pytestmark = pytest.mark.node


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    define_podallocations(cluster)
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def controlled(cluster: Cluster, namespace: str) -> Iterator[Controlled]:
    with controlling(cluster, namespace) as running:
        yield running


class DecidedPod(RunningPod):
    """A running pod for which the test decides."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, *containers: dict[str, Any], **spec: Any) -> None:
        super().__init__(cluster, namespace, a_pod(name, *containers, node="node-1", **spec))

    def decide(self, *containers: ContainerCpu, **more: Any) -> None:
        decide(self._cluster, self.namespace, self.name, self.uid, *containers, node="node-1", **more)


def main(limit: int, request: int | None = None) -> ContainerCpu:
    return cpu(limit, request, "main")


def test_a_decision_is_in_the_kernel_within_moments_and_nothing_restarts(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    pod = DecidedPod(cluster, namespace, "web")

    began_s = time.monotonic()
    pod.decide(main(350))
    soon(lambda: pod.quota_milli() == 350, "it is in the kernel")
    took_s = time.monotonic() - began_s
    soon(lambda: pod.phase() == "Applied Resized", "it is told")

    assert took_s < 2
    assert pod.restarts() == 0
    assert pod.request_milli() == 100


def test_far_steps_up_follow_each_other_as_fast_as_the_kubelet_confirms(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    pod = DecidedPod(cluster, namespace, "web")

    began_s = time.monotonic()
    pod.decide(main(1500))
    soon(lambda: pod.quota_milli() == 1500, "it is in the kernel")

    assert time.monotonic() - began_s < 5  # 400, 800, 1500
    assert pod.restarts() == 0
    soon(lambda: pod.phase() == "Applied Resized", "it is told")


def test_a_decrease_comes_after_the_cooldown(cluster: Cluster, namespace: str, controlled: Controlled) -> None:
    pod = DecidedPod(cluster, namespace, "web")
    pod.decide(main(350))
    soon(lambda: pod.quota_milli() == 350, "it is in the kernel")
    raised_s = time.monotonic()

    pod.decide(main(250))
    soon(lambda: pod.quota_milli() == 250, "it is in the kernel")

    assert time.monotonic() - raised_s > 4.5
    assert pod.restarts() == 0


def test_a_request_that_does_not_fit_is_deferred_and_goes_through_when_another_pod_shrinks(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    room = parse_cpu_milli(cluster.get("/api/v1/nodes/node-1")["status"]["allocatable"]["cpu"])
    most = f"{room - 700:.0f}m"
    large = DecidedPod(cluster, namespace, "large", a_container(request=most, limit=most, milli=10))
    small = DecidedPod(cluster, namespace, "small", a_container(milli=10))
    owner = (main(200, 100),)

    small.decide(main(400, 400 - 10), original=owner)
    soon(lambda: small.phase() == "Applied Resized", "there is room for the first step")
    small.decide(main(800, 790), original=owner)
    soon(lambda: small.phase() == "Pending Deferred", "there is none for the second")
    assert small.quota_milli() == 400

    large.resize(requests={"cpu": "400m"})
    soon(lambda: small.quota_milli() == 800, "the kubelet has let it through", within_s=60)
    soon(lambda: small.phase() == "Applied Resized", "it is told")

    assert small.restarts() == large.restarts() == 0


def test_all_containers_and_sidecars_of_a_pod_move_together(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    pod = DecidedPod(
        cluster,
        namespace,
        "many",
        a_container("main"),
        a_container("calm", milli=10),
        initContainers=[a_container("proxy", restartPolicy="Always", milli=10)],
    )

    pod.decide(main(300), cpu(250, name="calm"), cpu(350, name="proxy"))
    wanted = {"main": 300, "calm": 250, "proxy": 350}
    soon(lambda: {name: pod.quota_milli(name) for name in wanted} == wanted, "all is in the kernel")

    assert pod.restarts() == 0
    assert controlled.tally.kinds["drift"] == 0


def test_what_a_resize_would_restart_is_left_alone(cluster: Cluster, namespace: str, controlled: Controlled) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    pod = DecidedPod(cluster, namespace, "delicate", a_container(resizePolicy=policy, milli=10))

    pod.decide(main(300))
    soon(lambda: pod.phase() == "Failed WouldRestart", "it is told")

    assert pod.quota_milli() == 200
    assert pod.restarts() == 0


def test_released_brings_the_owners_quota_back_into_the_kernel(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    pod = DecidedPod(cluster, namespace, "web")
    pod.decide(main(1500, 300))
    soon(lambda: pod.quota_milli() == 1500, "it is in the kernel")

    pod.decide(main(1500, 300), released=True)
    soon(lambda: pod.allocation() is None, "the object is gone")

    assert pod.quota_milli() == 200
    assert pod.request_milli() == 100
    assert pod.restarts() == 0


def test_a_kubelet_that_was_away_confirms_late_and_all_ends_well(
    cluster: Cluster, namespace: str, controlled: Controlled
) -> None:
    pod = DecidedPod(cluster, namespace, "web")
    cluster.restart_kubelet("node-1")

    pod.decide(main(350))
    soon(lambda: pod.quota_milli() == 350, "it is in the kernel", within_s=60)
    soon(lambda: pod.phase() == "Applied Resized", "it is told", within_s=60)

    assert pod.restarts() == 0
