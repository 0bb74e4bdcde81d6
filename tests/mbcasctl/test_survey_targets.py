from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasctl.survey import targets
from mbcasctl.survey.targets import Targets
from mbcasd.errors import ConfigError
from mbcasd.model.identity import WorkloadId
from mbcasd.sensing import podnames
from mbcasd.sensing.layout import CgroupDriver, QosClass, container_path, pod_path
from mbcasd.sensing.podnames import ContainerName

UID = "e297efef-fc10-4248-ad01-9cd29a224d11"
APP, SIDECAR, SANDBOX, OTHER = (digit * 64 for digit in "abcd")

NAMES = {
    APP: ContainerName("shop", "web-1", "app"),
    SIDECAR: ContainerName("shop", "web-1", "proxy"),
}


@pytest.fixture
def host(tmp_path: Path) -> FakeTree:
    fake = FakeTree(tmp_path / "host", "v1")
    for path in ("/machine.slice/web", "/machine.slice/api", "/system.slice/ssh.service", "/other"):
        fake.add(path)
    return fake


@pytest.fixture
def node(tmp_path: Path) -> FakeTree:
    fake = FakeTree(tmp_path / "node", "v2")
    web = pod_path(CgroupDriver.CGROUPFS, UID, QosClass.BURSTABLE)
    for container in (APP, SIDECAR, SANDBOX):
        fake.add(container_path(web, container))
    fake.add(container_path(pod_path(CgroupDriver.CGROUPFS, "f" * 32, QosClass.GUARANTEED), OTHER))
    fake.add("/system.slice/kubelet.service")
    return fake


def names(found: Targets) -> set[str]:
    return {str(target.name) for target in found.found}


def test_a_plain_host_shows_what_the_usual_slices_hold(host: FakeTree) -> None:
    found = targets.find(host.tree(), ())
    assert found.roots == ("/machine.slice", "/system.slice")
    assert names(found) == {"machine.slice/web", "machine.slice/api", "system.slice/ssh.service"}


def test_without_the_usual_slices_the_roots_children_are_shown(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "bare", "v1")
    fake.add("/web")
    assert names(targets.find(fake.tree(), ())) == {"web"}


def test_a_node_shows_its_containers_under_the_names_of_their_logs(node: FakeTree) -> None:
    found = targets.find(node.tree(), (), names=NAMES)
    assert found.roots == ("/kubepods",)
    # The sandbox of a pod whose containers have names is left out; where nobody knows names, ids have to do.
    assert names(found) == {"shop/web-1:app", "shop/web-1:proxy", f"{'f' * 32}:{OTHER[:12]}"}


def test_a_pod_itself_shows_its_containers(node: FakeTree) -> None:
    found = targets.find(node.tree(), (f"/kubepods/burstable/pod{UID}",), names={})
    assert {target.name for target in found.found} == {
        WorkloadId("", UID, container[:12]) for container in (APP, SIDECAR, SANDBOX)
    }


@pytest.mark.parametrize(
    ("pod", "container", "expected"),
    [
        ("web-1", None, {"shop/web-1:app", "shop/web-1:proxy"}),
        ("shop/*", None, {"shop/web-1:app", "shop/web-1:proxy"}),
        ("web", "proxy", {"shop/web-1:proxy"}),
        ("f" * 8, None, {f"{'f' * 32}:{OTHER[:12]}"}),
        (None, OTHER[:6], {f"{'f' * 32}:{OTHER[:12]}"}),
        ("other", None, set()),
    ],
)
def test_pods_and_containers_go_by_name_glob_or_the_beginning_of_an_id(node, pod, container, expected) -> None:
    assert names(targets.find(node.tree(), (), pod=pod, container=container, names=NAMES)) == expected


def test_container_also_filters_cgroups_that_are_none(host: FakeTree) -> None:
    assert names(targets.find(host.tree(), (), container="*.service")) == {"system.slice/ssh.service"}


def test_a_cgroup_without_children_is_itself_looked_at(host: FakeTree) -> None:
    assert names(targets.find(host.tree(), ("/machine.slice/web",))) == {"machine.slice/web"}
    assert names(targets.find(host.tree(), (str(host.cpuacct / "other"),))) == {"other"}


def test_a_cgroup_that_is_named_twice_is_looked_at_once(host: FakeTree) -> None:
    found = targets.find(host.tree(), ("/machine.slice", "/machine.slice", "/machine.slice/web"))
    assert len(found.found) == 2


def test_looking_needs_no_controller_for_children(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/demo")
    fake.add("/demo/bare", "off/bare")
    assert names(targets.find(fake.tree(), ("/demo",))) == {"demo/bare"}


def test_asking_for_pods_where_there_are_none_names_the_other_filter(host: FakeTree) -> None:
    with pytest.raises(ConfigError, match="--container matches any cgroup"):
        targets.find(host.tree(), (), pod="web")


def test_a_links_name_has_three_names_and_an_id() -> None:
    link = f"web-1_shop_my-app-{APP}.log"
    assert podnames.parse_link(link) == (APP, ContainerName("shop", "web-1", "my-app"))
    assert podnames.parse_link("web-1_shop_app.log") is None


def test_names_are_read_from_the_directory_of_links(tmp_path: Path) -> None:
    (tmp_path / f"web-1_shop_app-{APP}.log").symlink_to("/nowhere")
    (tmp_path / "README").touch()
    assert podnames.read(str(tmp_path)) == {APP: NAMES[APP]}
    assert podnames.read(str(tmp_path / "none")) == {}
