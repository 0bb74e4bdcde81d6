"""The order and the place of every write on cgroup v2, on real files; the kernel tier does v1 for real."""

import errno
import os
from pathlib import Path

import pytest

from mbcasctl.loadtest.cgroups import NoPermission, RigCgroups, _kill_all_in, explain_refusal, own_base
from mbcasctl.loadtest.workloads import shares_of
from mbcasd.model.mounts import CgroupMounts, CgroupVersion


class Filled(RigCgroups):
    """Fills each new folder as the kernel does."""

    def _make(self, folder: Path) -> None:
        super()._make(folder)
        for name, text in {
            "cgroup.procs": "",
            "cgroup.subtree_control": "",
            "cpu.max": "max 100000\n",
            "cpu.max.burst": "0\n",
            "cpu.weight": "100\n",
        }.items():
            (folder / name).write_text(text)


def mounts_at(root: Path, version: CgroupVersion = CgroupVersion.V2) -> CgroupMounts:
    return CgroupMounts(version=version, cpu=str(root), cpuacct=str(root), unified=str(root))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    (tmp_path / "cgroup.procs").write_text("")
    return tmp_path


def a_test_bed(root: Path, base: str = "") -> RigCgroups:
    return Filled(mounts_at(root), base, "mbcas-demo-1", "mbcasctl demo")


def test_on_v2_the_controller_is_on_for_the_children_and_limits_go_to_cpu_max(root):
    cgroups = a_test_bed(root)
    cgroups.make(["web", "noise"])
    cgroups.set_limit("web", 250)

    parent = root / "mbcas-demo-1"
    assert (parent / "cgroup.subtree_control").read_text().startswith("+cpu")
    # 250m of a period of 100 ms is 25 ms.
    assert (parent / "web" / "cpu.max").read_text().startswith("25000 100000")
    assert cgroups.path == "/mbcas-demo-1"
    assert cgroups.count == 2
    assert cgroups.join_files("web") == (str(parent / "web" / "cgroup.procs"),)


def test_a_limit_that_is_lifted_is_max(root):
    cgroups = a_test_bed(root)
    cgroups.make(["web"])
    cgroups.set_limit("web", None)

    assert (root / "mbcas-demo-1" / "web" / "cpu.max").read_text().startswith("max 100000")


def test_a_burst_goes_before_the_quota_that_could_be_smaller_than_it(root):
    cgroups = a_test_bed(root)
    cgroups.make(["web"])
    (root / "mbcas-demo-1" / "web" / "cpu.max.burst").write_text("90000\n")
    cgroups.set_limit("web", 100)

    assert (root / "mbcas-demo-1" / "web" / "cpu.max.burst").read_text().startswith("0")


def test_requests_become_weights_by_the_kubelets_formula(root):
    cgroups = a_test_bed(root)
    cgroups.make(["web"])
    cgroups.set_shares("web", shares_of(500))

    # 500m is 512 shares, 1 + 510 x 9999 / 262142 = 20.
    assert (root / "mbcas-demo-1" / "web" / "cpu.weight").read_text().startswith("20")


def test_alone_in_a_cgroup_of_its_own_the_test_steps_aside_so_that_the_controller_can_be_on(root):
    scope = root / "user" / "scope"
    scope.mkdir(parents=True)
    (scope / "cgroup.procs").write_text(f"{os.getpid()}\n")
    # Kept from being written until the processes are out, as the kernel does; root may write to a read-only file.
    control = scope / "cgroup.subtree_control"

    class Busy(Filled):
        def _write(self, file: Path, text: str) -> None:  # type: ignore[override]
            if file == control and not (scope / "mbcas-demo-1-driver").exists():
                raise OSError(errno.EBUSY, "Device or resource busy", str(file))
            Filled._write(file, text)

    control.write_text("")
    cgroups = Busy(mounts_at(root), "/user/scope", "mbcas-demo-1", "mbcasctl demo")
    cgroups.make(["web"])

    assert (scope / "mbcas-demo-1-driver" / "cgroup.procs").read_text() == str(os.getpid())
    assert control.read_text() == "+cpu"
    assert cgroups.path == "/user/scope/mbcas-demo-1"


def test_beside_other_processes_it_does_not_move_anybody(root):
    (root / "cgroup.subtree_control").write_text("")
    (root / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")

    class Busy(Filled):
        def _write(self, file: Path, text: str) -> None:  # type: ignore[override]
            raise OSError(errno.EBUSY, "Device or resource busy", str(file))

    with pytest.raises(NoPermission, match="device or resource busy"):
        Busy(mounts_at(root), "", "mbcas-demo-1", "mbcasctl demo").make(["web"])
    assert not list(root.glob("mbcas-demo-1*"))


@pytest.mark.parametrize(
    ("version", "euid", "code", "remedy"),
    [
        (CgroupVersion.V2, 1000, errno.EACCES, "systemd-run --user --scope -p Delegate=yes mbcasctl demo"),
        (CgroupVersion.V1, 1000, errno.EACCES, "sudo mbcasctl demo"),
        (CgroupVersion.V2, 0, errno.EROFS, "run it on the host, or with --privileged"),
        (CgroupVersion.V2, 0, errno.ENOSPC, "mbcasctl doctor"),
    ],
)
def test_a_refusal_names_the_file_the_reason_and_the_command_that_would_help(version, euid, code, remedy):
    err = OSError(code, os.strerror(code), "/sys/fs/cgroup/x")
    words = explain_refusal(err, mounts_at(Path("/sys/fs/cgroup"), version), euid, "mbcasctl demo")

    assert words.startswith(f"cannot write /sys/fs/cgroup/x: {os.strerror(code).lower()}. ")
    assert words.endswith(remedy)


def test_a_hierarchy_that_is_not_there_is_a_refusal_and_no_crash(tmp_path):
    cgroups = RigCgroups(mounts_at(tmp_path / "none", CgroupVersion.V1), "", "mbcas-demo-1", "mbcasctl demo")

    with pytest.raises(NoPermission, match="no such file or directory"):
        cgroups.make(["web"])
    assert cgroups.remove() == 0


def test_processes_of_another_pid_namespace_are_not_taken_for_our_own_group(tmp_path):
    # Such processes show as 0; kill(0, 9) would end this very test.
    (tmp_path / "cgroup.procs").write_text("0\n")
    _kill_all_in(tmp_path)


def test_root_works_at_the_top():
    assert own_base(mounts_at(Path("/sys/fs/cgroup")), 0) == ""
