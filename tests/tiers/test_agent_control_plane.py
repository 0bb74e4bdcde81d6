"""The agent's parts against a real API server: pods whose status is written by hand, cgroups that are plain files."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.control_plane import MERGE_PATCH, ControlPlane
from fakes.cgroup_tree import FakeTree
from fakes.podobjects import container_id
from rigs.kernel import wait_until
from scenarios.grounds import define_podallocations

from mbcasd.clock import SystemClock
from mbcasd.kube.allocating.allocator import Allocator
from mbcasd.kube.allocating.watches import NodeWatches
from mbcasd.kube.allocating.writer import AllocationWriter
from mbcasd.kube.times import format_time
from mbcasd.model.decision import RunMode, Workload
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeStatus
from mbcasd.roles.node_pods import NodePods
from mbcasd.sensing.layout import CgroupDriver, QosClass, container_path, pod_path
from mbcasd.settings import Settings

pytestmark = pytest.mark.control_plane

NODE = "fake-node"
VPAS = "/apis/autoscaling.k8s.io/v1"


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    define_podallocations(control_plane)
    define_vpas(control_plane)
    return control_plane


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    with plane.namespace() as name:
        yield name


def define_vpas(plane: ControlPlane) -> None:
    """As much of the VPA's definition as is read."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "verticalpodautoscalers", "kind": "VerticalPodAutoscaler"}
    spec = {"group": "autoscaling.k8s.io", "scope": "Namespaced", "names": names, "versions": [version]}
    annotations = {"api-approved.kubernetes.io": "unapproved, tests"}
    metadata = {"name": "verticalpodautoscalers.autoscaling.k8s.io", "annotations": annotations}
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata}
    code, answer = plane.request(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body | {"spec": spec}
    )
    assert code in {201, 409}, answer
    wait_until(lambda: plane.request("GET", f"{VPAS}/verticalpodautoscalers")[0] == 200, 30, "VPAs are served")


def a_running_pod(
    plane: ControlPlane, namespace: str, name: str = "web", node: str = NODE, **metadata: Any
) -> dict[str, Any]:
    """A pod that its node says is running, for a minute already."""
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    container = {"name": "app", "image": "none", "resources": resources}
    body = {"metadata": {"name": name, **metadata}, "spec": {"nodeName": node, "containers": [container]}}
    pod = plane.create(f"/api/v1/namespaces/{namespace}/pods", body)
    since = format_time(dt.datetime.now(dt.UTC).timestamp() - 60)
    status = {
        "name": "app",
        "image": "none",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "started": True,
        "containerID": f"containerd://{container_id(name, 'app')}",
        "state": {"running": {"startedAt": since}},
        "resources": resources,
    }
    change = {"status": {"phase": "Running", "containerStatuses": [status]}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    code, answer = plane.request("PATCH", f"{path}/status", change, MERGE_PATCH)
    assert code == 200, answer
    return pod


class Agent:
    """All of an agent but its loop: what the loop would ask is asked by hand."""

    def __init__(self, plane: ControlPlane, tree: FakeTree, node: str = NODE, mode: RunMode = RunMode.ENFORCE) -> None:
        clock = SystemClock()
        self.tree, self._fake = tree.tree(), tree
        recommends = mode is RunMode.RECOMMEND
        self.writer = AllocationWriter(plane.api, node_name=node, recommends=recommends, clock=clock)
        self.watches = NodeWatches(plane.api, node, clock=clock, on_allocation=self.writer.heard)
        self.pods = NodePods(
            self.watches,
            self.writer,
            self.tree,
            kubepods=None,
            own_namespace="mbcas-system",
            node_milli=2000.0,
            run_mode=mode,
            settings=Settings(),
            clock=clock,
        )
        self.allocator = Allocator(self.writer, lambda _, ref: self.tree.open(ref).limit(), clock)

    def give(self, pod: dict[str, Any]) -> Path:
        """Make the cgroup of the pod's container; returns its directory."""
        above = pod_path(CgroupDriver.CGROUPFS, pod["metadata"]["uid"], QosClass.BURSTABLE)
        directory = self._fake.add(container_path(above, container_id(pod["metadata"]["name"], "app")))
        (directory / "cpu.cfs_quota_us").write_text("20000\n")
        (directory / "cpu.cfs_period_us").write_text("100000\n")
        return directory

    def look(self) -> dict[WorkloadId, Workload]:
        found = self.pods.discover()
        workloads = self.pods.describe(found, {name: self._limit(ref) for name, ref in found.items()})
        if self.watches.synced:
            self.allocator.survey(self.pods.facts)
        return workloads

    def _limit(self, ref: CgroupRef) -> LimitReading:
        reader = self.tree.open(ref)
        try:
            return reader.limit()
        finally:
            reader.close()

    def decide(self, workload: WorkloadId, to_milli: float) -> None:
        cgroup = self.look()[workload].cgroup
        self.allocator.submit(Resize(workload=workload, cgroup=cgroup, from_milli=200.0, to_milli=to_milli))
        self.allocator.collect()


@contextlib.contextmanager
def an_agent(plane: ControlPlane, tree: FakeTree, **more: Any) -> Iterator[Agent]:
    agent = Agent(plane, tree, **more)
    agent.watches.start()
    agent.writer.start()
    try:
        wait_until(lambda: agent.watches.synced, 10, "everything is known")
        yield agent
    finally:
        agent.writer.close()
        agent.watches.stop()


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    return FakeTree(tmp_path / "fs", "v1")


def allocations(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    return plane.get(f"/apis/allocation.mbcas.io/v1alpha1/namespaces/{namespace}/podallocations")["items"]


def test_a_decision_becomes_an_object_and_the_cgroup_says_that_it_is_done(
    plane: ControlPlane, namespace: str, tree: FakeTree
) -> None:
    app = WorkloadId(namespace, "web", "app")
    with an_agent(plane, tree) as agent:
        pod = a_running_pod(plane, namespace)
        directory = agent.give(pod)
        wait_until(lambda: app in agent.look(), 10, "the container is found")
        assert agent.look()[app].managed

        agent.decide(app, 400)
        wait_until(lambda: allocations(plane, namespace), 10, "the object is there")
        (found,) = allocations(plane, namespace)
        assert found["spec"]["containers"] == [{"name": "app", "limitMilli": 400}]
        assert found["spec"]["original"] == [{"name": "app", "limitMilli": 200, "requestMilli": 100}]
        assert found["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]

        (directory / "cpu.cfs_quota_us").write_text("40000\n")
        assert [outcome.status for outcome in agent.allocator.collect()] == [ResizeStatus.APPLIED]


def test_the_next_agent_goes_on_from_the_object_and_writes_nothing(
    plane: ControlPlane, namespace: str, tree: FakeTree
) -> None:
    app = WorkloadId(namespace, "web", "app")
    pod = a_running_pod(plane, namespace)
    with an_agent(plane, tree) as agent:
        agent.give(pod)
        wait_until(lambda: app in agent.look(), 10, "the container is found")
        agent.decide(app, 400)
        wait_until(lambda: allocations(plane, namespace), 10, "the object is there")
    before = allocations(plane, namespace)

    with an_agent(plane, tree) as agent:
        wait_until(lambda: agent.look()[app].contract.owner_limit_milli == 200, 10, "the owner's value is known")
        agent.decide(app, 400)
        agent.decide(app, 800)
        wait_until(lambda: allocations(plane, namespace)[0]["metadata"]["generation"] == 2, 10, "one write more")
        assert allocations(plane, namespace)[0]["spec"]["original"] == before[0]["spec"]["original"]


def test_pods_of_other_nodes_are_not_even_heard_of(plane: ControlPlane, namespace: str, tree: FakeTree) -> None:
    with an_agent(plane, tree) as agent:
        a_running_pod(plane, namespace, "elsewhere", node="other-node")
        a_running_pod(plane, namespace, "here")
        wait_until(lambda: (namespace, "here") in agent.watches.pods.items, 10, "the own pod is heard of")
        assert (namespace, "elsewhere") not in agent.watches.pods.items


def test_a_vpa_that_comes_takes_the_pod_over_and_gives_it_back(
    plane: ControlPlane, namespace: str, tree: FakeTree
) -> None:
    app = WorkloadId(namespace, "web-0", "app")
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
    vpas = f"{VPAS}/namespaces/{namespace}/verticalpodautoscalers"
    ref = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}
    vpa = {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"targetRef": ref, "updatePolicy": {"updateMode": "InPlaceOrRecreate"}},
    }
    with an_agent(plane, tree) as agent:
        agent.give(a_running_pod(plane, namespace, "web-0", ownerReferences=[owner]))
        wait_until(lambda: app in agent.look() and agent.look()[app].managed, 10, "it is managed")
        agent.decide(app, 400)
        wait_until(lambda: allocations(plane, namespace), 10, "the object is there")

        plane.create(vpas, vpa)
        wait_until(lambda: "VPA web" in agent.look()[app].unmanaged_reason, 10, "the VPA is seen")
        wait_until(lambda: allocations(plane, namespace)[0]["spec"].get("released"), 10, "it is released")

        change = {"spec": {"updatePolicy": {"updateMode": "Off"}}}
        plane.request("PATCH", f"{vpas}/web", change, MERGE_PATCH)
        wait_until(lambda: agent.look()[app].managed, 10, "it is managed again")
        wait_until(lambda: not allocations(plane, namespace)[0]["spec"].get("released"), 10, "and not released")


def test_a_namespace_can_opt_out_and_has_a_share(plane: ControlPlane, namespace: str, tree: FakeTree) -> None:
    app = WorkloadId(namespace, "web", "app")

    def mark(**metadata: dict[str, str]) -> None:
        code, answer = plane.request("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": metadata}, MERGE_PATCH)
        assert code == 200, answer

    with an_agent(plane, tree) as agent:
        agent.give(a_running_pod(plane, namespace))
        wait_until(lambda: app in agent.look() and agent.look()[app].managed, 10, "it is managed")
        mark(annotations={"mbcas.io/weight": "3"})
        wait_until(lambda: agent.look()[app].contract.group_weight == 3, 10, "its share is known")
        mark(labels={"mbcas.io/managed": "false"})
        wait_until(lambda: not agent.look()[app].managed, 10, "it is out")


def test_recommendations_are_taken_by_the_api_and_marked(plane: ControlPlane, namespace: str, tree: FakeTree) -> None:
    app = WorkloadId(namespace, "web", "app")
    with an_agent(plane, tree, mode=RunMode.RECOMMEND) as agent:
        agent.give(a_running_pod(plane, namespace))
        wait_until(lambda: app in agent.look(), 10, "the container is found")
        agent.decide(app, 400)
        wait_until(lambda: allocations(plane, namespace), 10, "the object is there")
        assert allocations(plane, namespace)[0]["spec"]["recommendOnly"]
