import os
from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasd.errors import ActuationError, CgroupGone, ConfigError
from mbcasd.model.identity import CgroupRef
from mbcasd.sensing.tree import kernel_version


@pytest.fixture
def hybrid(tmp_path: Path) -> FakeTree:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    fake.add("/machine.slice/web")
    fake.add("/machine.slice/api", "idle")
    return fake


def test_a_cgroup_goes_by_its_path_and_by_any_mounted_directory(hybrid: FakeTree) -> None:
    tree = hybrid.tree()
    for text in (
        "/machine.slice/web",
        "/machine.slice/web/",
        "/machine.slice/../machine.slice//web",
        str(hybrid.cpu / "machine.slice/web"),
        str(hybrid.cpuacct / "machine.slice/web"),
        str(hybrid.unified / "machine.slice/web"),
        str(hybrid.root / "systemd/machine.slice/web"),
    ):
        assert tree.resolve(text) == "/machine.slice/web"


def test_a_link_to_a_hierarchy_is_followed(hybrid: FakeTree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(hybrid.cpu)
    assert hybrid.tree().resolve(f"{tmp_path}/link/machine.slice") == "/machine.slice"


def test_a_mount_point_is_the_root(hybrid: FakeTree) -> None:
    assert hybrid.tree().resolve(str(hybrid.cpu)) == "/"
    assert hybrid.tree().resolve("/") == "/"


def test_a_typo_is_met_with_the_name_that_was_meant(hybrid: FakeTree) -> None:
    with pytest.raises(ConfigError, match=r"did you mean /machine\.slice/web"):
        hybrid.tree().resolve("/machine.slice/wbe")


def test_an_unknown_cgroup_is_met_with_what_there_is(hybrid: FakeTree) -> None:
    with pytest.raises(ConfigError, match=r"/machine\.slice has api, web"):
        hybrid.tree().resolve("/machine.slice/something/else")


def test_a_cgroup_of_another_controller_is_explained(hybrid: FakeTree) -> None:
    (hybrid.root / "systemd/user.slice").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not of the cpu controller"):
        hybrid.tree().resolve("/user.slice")


def test_a_name_without_a_slash_is_no_path(hybrid: FakeTree) -> None:
    with pytest.raises(ConfigError, match=r"write its path from the root, /machine\.slice"):
        hybrid.tree().resolve("machine.slice")


def test_children_without_a_cpu_controller_are_refused_with_the_remedy(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/demo")
    fake.add("/demo/web")
    tree = fake.tree()
    with pytest.raises(ConfigError, match=r"echo \+cpu > .*/demo/cgroup.subtree_control"):
        tree.resolve("/demo")
    # Who only looks may look.
    assert tree.resolve("/demo", limits_children=False) == "/demo"
    fake.enable("/demo")
    assert tree.resolve("/demo") == "/demo"


def test_a_leaf_needs_no_controller_for_children_that_it_has_not(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/web")
    assert fake.tree().resolve("/web") == "/web"


def test_children_are_listed_with_their_incarnation(hybrid: FakeTree) -> None:
    tree = hybrid.tree()
    children = tree.children("/machine.slice")
    assert children == {name: tree.ref(f"/machine.slice/{name}") for name in ("api", "web")}
    assert tree.children("/")["machine.slice"].path == "/machine.slice"


def test_the_children_of_what_is_gone_are_gone(hybrid: FakeTree) -> None:
    with pytest.raises(CgroupGone):
        hybrid.tree().children("/other")
    with pytest.raises(CgroupGone):
        hybrid.tree().ref("/other")


def test_burst_is_where_its_file_is(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "v2", "v2")
    directory = fake.add("/web")
    assert fake.tree().has_burst()
    (directory / "cpu.max.burst").unlink()
    assert not fake.tree().has_burst()

    joined = FakeTree(tmp_path / "v1", "joined")
    assert not joined.tree().has_burst()
    (joined.cpu / "cpu.cfs_burst_us").write_text("0\n")
    assert joined.tree().has_burst()


def test_without_any_limited_cgroup_the_kernels_version_says_whether_it_has_burst(tmp_path: Path) -> None:
    assert FakeTree(tmp_path / "fs", "v2").tree().has_burst() is (kernel_version() >= (5, 14))


def test_the_kernels_version_is_two_numbers() -> None:
    assert ".".join(map(str, kernel_version())) in os.uname().release


def test_a_limit_that_may_be_written_passes(hybrid: FakeTree) -> None:
    tree = hybrid.tree()
    before = (hybrid.cpu / "machine.slice/web/cpu.cfs_quota_us").read_text()
    tree.check_writable(tree.ref("/machine.slice/web"), "web")
    assert (hybrid.cpu / "machine.slice/web/cpu.cfs_quota_us").read_text() == before


def test_a_kernel_without_quotas_is_named(hybrid: FakeTree) -> None:
    tree = hybrid.tree()
    (hybrid.cpu / "machine.slice/web/cpu.cfs_quota_us").unlink()
    with pytest.raises(ActuationError, match="CONFIG_CFS_BANDWIDTH"):
        tree.check_writable(tree.ref("/machine.slice/web"), "web")


def test_a_v2_cgroup_without_the_controller_names_the_switch(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v2")
    fake.add("/demo/bare", "off/bare")
    tree = fake.tree()
    with pytest.raises(ActuationError, match=r"demo/bare: .*echo \+cpu > .*/demo/cgroup.subtree_control"):
        tree.check_writable(tree.ref("/demo/bare"), "demo/bare")


def test_a_cgroup_that_is_gone_cannot_be_written(hybrid: FakeTree) -> None:
    with pytest.raises(CgroupGone):
        hybrid.tree().check_writable(CgroupRef(path="/other", inode=1), "other")
