import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.sensing import layout
from mbcasd.sensing.layout import CgroupDriver, QosClass, Runtime

UID = "e297efef-fc10-4248-ad01-9cd29a224d11"
UID_ = UID.replace("-", "_")
ID = "43d85a43d5beb198bb2ed888c1ce28b3a9e8c4ecc8caa5f6402172a0d110a3ed"
HASH = "0123456789abcdef0123456789abcdef"

SYSTEMD, CGROUPFS = CgroupDriver.SYSTEMD, CgroupDriver.CGROUPFS


@pytest.mark.parametrize(
    ("path", "uid", "qos", "driver", "runtime"),
    [
        (f"/kubepods/pod{UID}/{ID}", UID, QosClass.GUARANTEED, CGROUPFS, None),
        (f"/kubepods/burstable/pod{UID}/{ID}", UID, QosClass.BURSTABLE, CGROUPFS, None),
        (f"/kubepods/besteffort/pod{UID}/crio-{ID}", UID, QosClass.BEST_EFFORT, CGROUPFS, Runtime.CRIO),
        (f"/kubepods/burstable/pod{HASH}/{ID}", HASH, QosClass.BURSTABLE, CGROUPFS, None),
        (
            f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
            UID,
            QosClass.GUARANTEED,
            SYSTEMD,
            Runtime.CONTAINERD,
        ),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/docker-{ID}.scope",
            UID,
            QosClass.BURSTABLE,
            SYSTEMD,
            Runtime.DOCKER,
        ),
        (
            f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{HASH}.slice/crio-{ID}.scope",
            HASH,
            QosClass.BEST_EFFORT,
            SYSTEMD,
            Runtime.CRIO,
        ),
        (
            "/system.slice/docker-" + "f" * 64 + ".scope/kubelet.slice/kubelet-kubepods.slice/"
            "kubelet-kubepods-burstable.slice/"
            f"kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            UID,
            QosClass.BURSTABLE,
            SYSTEMD,
            Runtime.CONTAINERD,
        ),
        (f"/docker/{ID}/kubelet/kubepods/burstable/pod{UID}/{ID}", UID, QosClass.BURSTABLE, CGROUPFS, None),
    ],
)
def test_a_containers_path_says_whose_it_is(path, uid, qos, driver, runtime) -> None:
    place = layout.locate(path)
    assert place == layout.Place(path=path, pod_uid=uid, qos=qos, driver=driver, container_id=ID, runtime=runtime)


def test_a_pods_own_cgroup_has_no_container() -> None:
    place = layout.locate(f"/kubepods/burstable/pod{UID}")
    assert place is not None
    assert (place.pod_uid, place.container_id) == (UID, None)


def test_what_runs_inside_a_container_belongs_to_it() -> None:
    scope = f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope"
    inside = layout.locate(f"{scope}/container/system.slice/a.service")
    assert inside == layout.locate(scope)


def test_conmon_is_no_container() -> None:
    place = layout.locate(f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope")
    assert place is not None
    assert place.container_id is None


def test_a_cluster_inside_a_pod_is_seen_by_its_innermost_pod() -> None:
    inner = UID.replace("e", "a")
    place = layout.locate(f"/kubepods/pod{UID}/{ID}/kubepods/burstable/pod{inner}/{ID}")
    assert place is not None
    assert place.pod_uid == inner


@pytest.mark.parametrize(
    "path",
    ["/", "", "/system.slice/nginx.service", f"/pod{UID}", f"/burstable/pod{UID}", f"/kubepods/pod{UID}x", f"/{ID}"],
)
def test_other_cgroups_are_no_pods(path: str) -> None:
    assert layout.locate(path) is None


def test_a_uid_has_one_kind_of_dash() -> None:
    assert layout.locate("/kubepods/pod" + UID.replace("-", "_", 1)) is None


@pytest.mark.parametrize("name", ["kubepods", "kubepods.slice", "kubelet-kubepods.slice"])
def test_a_kubelets_root_goes_by_these_names(name: str) -> None:
    assert layout.is_kubepods(name)


@pytest.mark.parametrize("name", ["mykubepods", "kubepods-burstable.slice", "kubepods.slice.d"])
def test_other_names_are_no_kubelets_root(name: str) -> None:
    assert not layout.is_kubepods(name)


def test_under_systemd_every_slice_repeats_what_is_above() -> None:
    assert layout.pod_path(SYSTEMD, UID, QosClass.BURSTABLE, "/kubelet.slice") == (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
        f"kubelet-kubepods-burstable-pod{UID_}.slice"
    )
    assert layout.kubepods_path(SYSTEMD) == "/kubepods.slice"
    assert layout.kubepods_path(CGROUPFS, "/node-1") == "/node-1/kubepods"


@given(
    st.sampled_from(CgroupDriver),
    st.sampled_from(QosClass),
    st.one_of(st.uuids().map(str), st.uuids().map(lambda uuid: uuid.hex)),
    st.sampled_from(["/", "/kubelet.slice", "/a.slice"]),
    st.sampled_from([None, *Runtime]),
    st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_a_path_that_was_built_is_read_back(driver, qos, uid, cgroup_root, runtime, container_id) -> None:
    pod = layout.pod_path(driver, uid, qos, cgroup_root)
    path = layout.container_path(pod, container_id, runtime)
    assert layout.locate(pod) == layout.Place(path=pod, pod_uid=uid, qos=qos, driver=driver)
    assert layout.locate(path) == layout.Place(
        path=path, pod_uid=uid, qos=qos, driver=driver, container_id=container_id, runtime=runtime
    )
    assert layout.is_qos_class(path) is False


@given(st.text(max_size=60))
def test_no_path_is_too_odd_to_be_looked_at(path: str) -> None:
    layout.locate(path)
    layout.is_qos_class(path)
    layout.is_kubepods(path)
