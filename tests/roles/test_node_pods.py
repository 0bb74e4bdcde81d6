"""The API's pods and the kernel's cgroups, joined in every layout."""

import json

import msgspec
import pytest
from fakes.cgroup_tree import FakeTree
from fakes.podobjects import (
    DEPLOYED,
    STARTED_WALL_S,
    a_container,
    a_namespace,
    a_pod,
    a_uid,
    a_vpa,
    an_allocation,
    an_hpa,
    container_id,
)
from fakes.watches import FakeWatches, a_writer, names

from mbcasd.clock import SteppedClock
from mbcasd.kube.allocating.intents import RequestRule, Standing
from mbcasd.kube.allocating.limitranges import LimitRange
from mbcasd.model.decision import RunMode
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.roles.node_pods import SCAN_EVERY_S, NodePods
from mbcasd.sensing.layout import CgroupDriver, QosClass, Runtime, container_path, pod_path
from mbcasd.settings import RequestPolicy, ResizeSettings, Settings

APP = WorkloadId("shop", "web", "app")
LIMITED = LimitReading(quota_usec=20_000, period_usec=100_000)
UNLIMITED = LimitReading(quota_usec=None, period_usec=100_000)


class Node:
    """A node with fake cgroups, and what the API says of it."""

    def __init__(self, tmp_path, kind="v1", *, mode=RunMode.ENFORCE, kubepods=None, settings=None):
        self.tree = FakeTree(tmp_path / "fs", kind)
        self.watches, self.writer = FakeWatches(a_namespace()), a_writer()
        self.clock = SteppedClock(100.0, STARTED_WALL_S + 60)
        self.pods = NodePods(
            self.watches,
            self.writer,
            self.tree.tree(),
            kubepods=kubepods,
            own_namespace="mbcas-system",
            node_milli=2000.0,
            run_mode=mode,
            settings=settings or Settings(),
            clock=self.clock,
        )

    def add(self, pod, *, driver=CgroupDriver.CGROUPFS, root="/", runtime=None, uid=None):
        """The pod in the API, and its containers' cgroups beside that of its sandbox."""
        self.watches.put(pod)
        qos = QosClass(pod.status.qos_class)
        above = pod_path(driver, uid or pod.metadata.uid, qos, root)
        statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
        for found in ("f" * 64, *(status.container_id.rpartition("/")[2] for status in statuses)):
            self.tree.add(container_path(above, found, runtime))

    def look(self, limits=None):
        found = self.pods.discover()
        return self.pods.describe(found, dict.fromkeys(found, LIMITED) if limits is None else limits)

    def fact(self, name="web"):
        return next(one for one in self.pods.facts if one.name == name)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.mark.parametrize("kind", ["v1", "joined", "hybrid", "v2"])
@pytest.mark.parametrize(
    ("driver", "root", "runtime"),
    [
        (CgroupDriver.CGROUPFS, "/", None),
        (CgroupDriver.CGROUPFS, "/", Runtime.CRIO),
        (CgroupDriver.CGROUPFS, "/node-1", None),
        (CgroupDriver.SYSTEMD, "/", Runtime.CONTAINERD),
        (CgroupDriver.SYSTEMD, "/", Runtime.CRIO),
        (CgroupDriver.SYSTEMD, "/kubelet.slice", Runtime.CONTAINERD),
    ],
)
@pytest.mark.parametrize("qos", ["Burstable", "Guaranteed"])
def test_containers_are_found_in_every_layout_and_the_sandbox_is_none(tmp_path, kind, driver, root, runtime, qos):
    node = Node(tmp_path, kind)
    pod = a_pod(a_container("app"), a_container("proxy", sidecar=True), qos=qos)
    node.add(pod, driver=driver, root=root, runtime=runtime)

    assert names(node.look()) == ["shop/web:app", "shop/web:proxy"]


def test_a_static_pod_goes_by_the_hash_of_its_manifest(node):
    marks = {"kubernetes.io/config.hash": "0123456789abcdef" * 2, "kubernetes.io/config.mirror": "x"}
    node.add(a_pod(annotations=marks), uid="0123456789abcdef" * 2)

    workloads = node.look()

    assert names(workloads) == ["shop/web:app"]
    assert "static pod" in workloads[APP].unmanaged_reason


def test_an_id_under_another_pods_uid_is_not_believed(node):
    node.add(a_pod(), uid=a_uid("another"))
    assert node.look() == {}


def test_pods_of_another_node_on_this_machine_are_not_found(node):
    node.add(a_pod())
    elsewhere = a_pod(name="other")
    node.tree.add(
        container_path(
            pod_path(CgroupDriver.CGROUPFS, elsewhere.metadata.uid, QosClass.BURSTABLE, "/node-2"),
            container_id("other", "app"),
        )
    )
    assert names(node.look()) == ["shop/web:app"]


def test_a_contract_is_made_once_and_kept_while_nothing_changes(node):
    node.add(a_pod())
    first = node.look()
    node.clock.advance(1.0)
    second = node.look()
    assert second[APP] is first[APP]
    assert (first[APP].managed, first[APP].contract.floor_milli) == (True, 100)


def test_a_container_that_was_made_again_is_found_when_the_api_tells(tmp_path):
    node = Node(tmp_path, "v2")
    node.add(a_pod())
    before = node.look()[APP].cgroup
    node.tree.recreate(before.path)
    assert node.look()[APP].cgroup == before  # nobody has said anything yet
    node.watches.put(a_pod())
    assert node.look()[APP].cgroup.inode != before.inode


def test_the_tree_is_looked_through_now_and_then_in_any_case(tmp_path):
    node = Node(tmp_path, "v2")
    node.add(a_pod())
    before = node.look()[APP].cgroup
    node.tree.recreate(before.path)
    node.clock.advance(SCAN_EVERY_S)
    assert node.look()[APP].cgroup.inode != before.inode


def test_a_pod_that_opts_out_is_released_and_one_that_is_ending_is_left(node):
    node.add(a_pod())
    node.look()
    assert node.fact().standing is Standing.MANAGED
    node.watches.put(a_pod(labels={"mbcas.io/managed": "false"}))
    assert not node.look()[APP].managed
    assert (node.fact().standing, node.fact().why[:9]) == (Standing.RELEASED, "opted out")
    node.watches.put(a_pod(deleted=True))
    node.look()
    assert node.fact().standing is Standing.LEFT


def test_a_pod_is_managed_as_long_as_one_of_its_containers_is(node):
    node.add(a_pod(a_container(), a_container("fragile", cpu_policy="RestartContainer")))
    workloads = node.look()
    assert [workloads[APP].managed, workloads[APP._replace(container="fragile")].managed] == [True, False]
    fact = node.fact()
    assert fact.standing is Standing.MANAGED
    assert [(seat.name, seat.is_managed, seat.gives_back) for seat in fact.seats] == [
        ("app", True, False),
        ("fragile", False, True),
    ]


def test_a_pod_that_is_only_starting_is_left_as_it_is_and_managed_when_it_has_grown_up(node):
    node.clock.jump_wall(-59.5)
    node.add(a_pod())
    assert "only just started" in node.look()[APP].unmanaged_reason
    assert node.fact().standing is Standing.LEFT
    node.clock.advance(2.0)
    assert node.look()[APP].managed


def test_a_conflict_that_the_controller_tells_of_ends_the_management_until_it_is_over(node):
    pod = a_pod()
    node.add(pod)
    node.look()
    conflict = {"conditions": [{"type": "Conflict", "status": "True"}]}
    node.writer.put(an_allocation(pod, {"app": 400}, {"app": (200, 100)}, status=conflict))
    workload = node.look()[APP]
    assert (workload.managed, workload.contract.owner_limit_milli) == (False, 200)
    assert node.fact().standing is Standing.LEFT
    node.writer.put(an_allocation(pod, {"app": 400}, {"app": (200, 100)}))
    assert node.look()[APP].managed


def test_a_limit_without_quota_is_not_managed(node):
    node.add(a_pod())
    assert "no quota enforces its limit" in node.look({APP: UNLIMITED})[APP].unmanaged_reason
    assert node.look({APP: LIMITED})[APP].managed


def test_rules_that_come_and_go_are_applied_to_all_pods(node):
    pod = msgspec.structs.replace(DEPLOYED, metadata=msgspec.structs.replace(DEPLOYED.metadata, name="web"))
    node.add(pod)
    assert node.look()[APP].managed
    node.watches.rule("vpas", a_vpa("Recreate"))
    assert "VPA web-vpa" in node.look()[APP].unmanaged_reason
    node.watches.rule("vpas")
    assert node.look()[APP].managed
    body = {
        "metadata": {"name": "l", "namespace": "shop"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "300m"}}]},
    }
    node.watches.rule("limit_ranges", msgspec.json.decode(json.dumps(body), type=LimitRange))
    assert node.look()[APP].contract.cap_milli == 300


def test_requests_follow_the_policy_but_not_where_an_hpa_measures_by_them(tmp_path):
    ratio = Settings(resize=ResizeSettings(request_policy=RequestPolicy.RATIO))
    node = Node(tmp_path, settings=ratio)
    pod = msgspec.structs.replace(DEPLOYED, metadata=msgspec.structs.replace(DEPLOYED.metadata, name="web"))
    node.add(pod)
    node.look()
    assert node.fact().seats[0].request_rule is RequestRule.RATIO
    node.watches.rule("hpas", an_hpa())
    node.look()
    assert node.fact().seats[0].request_rule is RequestRule.KEEP


def test_a_guaranteed_pods_request_is_its_limit(tmp_path):
    node = Node(tmp_path, settings=Settings(resize=ResizeSettings(skip_guaranteed=False)))
    node.add(a_pod(qos="Guaranteed"))
    assert node.look()[APP].managed
    assert node.fact().seats[0].request_rule is RequestRule.EQUAL


def test_an_agent_that_only_observes_releases_what_earlier_ones_moved(tmp_path):
    node = Node(tmp_path, mode=RunMode.OBSERVE)
    node.add(a_pod())
    assert node.look()[APP].managed  # the market is computed all the same
    assert (node.fact().standing, "observes" in node.fact().why) == (Standing.RELEASED, True)


def test_settings_that_change_are_applied(node):
    node.add(a_pod(qos="Guaranteed"))
    assert not node.look()[APP].managed
    node.pods.reconfigure(Settings(resize=ResizeSettings(skip_guaranteed=False)))
    assert node.look()[APP].managed


def test_before_everything_was_heard_nothing_is_concluded(node):
    node.add(a_pod())
    node.watches.synced = False
    assert node.look() == {}
    assert node.pods.facts == ()


def test_problems_name_words_that_cannot_be_taken_and_cgroups_that_are_missing(node):
    node.add(a_pod(annotations={"mbcas.io/weight": "heavy"}))
    node.watches.put(a_pod(name="lost"))
    node.look()
    found = list(node.pods.problems())
    assert any("shop/web: annotation mbcas.io/weight is ignored" in one for one in found)
    assert any("shop/lost:app: its cgroup was not found below /kubepods" in one for one in found)


def test_a_node_without_any_kubelets_cgroup_says_how_to_name_it(node):
    node.watches.put(a_pod())
    node.look()
    (problem,) = node.pods.problems()
    assert "--kubepods" in problem


def test_a_named_root_is_the_only_one_looked_at(tmp_path):
    node = Node(tmp_path, kubepods="/node-1/kubepods")
    node.add(a_pod(), root="/node-1")
    node.add(a_pod(name="other"), root="/node-2")
    assert names(node.look()) == ["shop/web:app"]


def test_a_root_that_goes_and_comes_elsewhere_is_found_again(node):
    node.add(a_pod())
    assert names(node.look()) == ["shop/web:app"]
    node.tree.remove("/kubepods")
    node.add(a_pod(), root="/later")
    assert names(node.look()) == ["shop/web:app"]
