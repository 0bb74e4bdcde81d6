from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasd.errors import ConfigError
from mbcasd.sensing import discovery
from mbcasd.sensing.layout import CgroupDriver, QosClass, Runtime, container_path, kubepods_path, pod_path

UID = "e297efef-fc10-4248-ad01-9cd29a224d11"
ID = "43d85a43d5beb198bb2ed888c1ce28b3a9e8c4ecc8caa5f6402172a0d110a3ed"


@pytest.fixture
def systemd(tmp_path: Path) -> FakeTree:
    fake = FakeTree(tmp_path / "fs", "v2")
    for path in (
        "/init.scope",
        "/system.slice/web-1.service",
        "/system.slice/web-2.service",
        "/system.slice/web-2.service/inner.slice/web-3.service",
        "/system.slice/system-getty.slice/getty@tty1.service",
        "/batch.slice/_cpu.service",
        "/system.slice/not-a-unit",
    ):
        fake.add(path)
    return fake


def test_units_are_found_by_glob_in_all_slices(systemd: FakeTree) -> None:
    tree = systemd.tree()
    assert discovery.units(tree, ["web-*.service", "batch.slice"]) == {
        "web-1.service": tree.ref("/system.slice/web-1.service"),
        "web-2.service": tree.ref("/system.slice/web-2.service"),
        "batch.slice": tree.ref("/batch.slice"),
    }
    assert set(discovery.units(tree, ["getty@*.service"])) == {"getty@tty1.service"}


def test_a_name_without_a_type_is_a_service(systemd: FakeTree) -> None:
    assert set(discovery.units(systemd.tree(), ["web-1"])) == {"web-1.service"}
    assert set(discovery.units(systemd.tree(), ["*"])) == {
        "web-1.service",
        "web-2.service",
        "getty@tty1.service",
        "cpu.service",  # its directory is _cpu.service, because cpu.* are kernel files
    }


def test_a_unit_without_a_cgroup_of_the_cpu_controller_is_left_out(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "hybrid")
    (fake.root / "systemd/system.slice/web.service").mkdir(parents=True)
    (fake.root / "systemd/system.slice/api.service").mkdir(parents=True)
    fake.add("/system.slice/api.service")
    assert set(discovery.units(fake.tree(), ["*"])) == {"api.service"}


def test_without_systemd_the_other_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--parent /machine\.slice"):
        discovery.units(FakeTree(tmp_path / "fs", "v1").tree(), ["*"])


@pytest.mark.parametrize("kind", ["v1", "joined", "hybrid", "v2"])
@pytest.mark.parametrize(
    ("driver", "cgroup_root", "runtime"),
    [
        (CgroupDriver.SYSTEMD, "/", Runtime.CONTAINERD),
        (CgroupDriver.CGROUPFS, "/", None),
        (CgroupDriver.CGROUPFS, "/docker/abc/kubelet", None),  # kind
        (CgroupDriver.SYSTEMD, "/kubelet.slice", Runtime.CRIO),
    ],
)
def test_containers_are_found_under_every_driver_and_nesting(
    tmp_path: Path, kind: str, driver: CgroupDriver, cgroup_root: str, runtime: Runtime | None
) -> None:
    fake = FakeTree(tmp_path / "fs", kind)
    wanted = {}
    for number, qos in enumerate(QosClass):
        pod = pod_path(driver, f"{number}{UID[1:]}", qos, cgroup_root)
        wanted[container_path(pod, f"{number}{ID[1:]}", runtime)] = qos
    static_pod = pod_path(driver, UID.replace("-", ""), QosClass.BURSTABLE, cgroup_root)
    wanted[container_path(static_pod, ID, runtime)] = QosClass.BURSTABLE
    for path in wanted:
        fake.add(path)
    fake.add(f"{pod}/not-a-container")

    tree = fake.tree()
    (root,) = discovery.kubepods(tree)
    assert root == kubepods_path(driver, cgroup_root)
    found = discovery.containers(tree, root)
    assert {place.path: place.qos for place in found} == wanted
    assert all(ref == tree.ref(place.path) for place, ref in found.items())


def test_a_host_without_a_kubelet_has_no_kubepods(systemd: FakeTree) -> None:
    assert discovery.kubepods(systemd.tree()) == ()
