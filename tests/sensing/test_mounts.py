import pytest
from fakes.cgroup_tree import DATA

from mbcasd.errors import ConfigError, SensingError
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.sensing import mounts


def found(name: str) -> CgroupMounts:
    return mounts.choose(mounts.parse((DATA / "mountinfo" / f"{name}.txt").read_text()))


def test_cpu_and_cpuacct_may_be_mounted_apart() -> None:
    assert found("hybrid-apart-6.18") == CgroupMounts(
        version=CgroupVersion.V1,
        cpu="/sys/fs/cgroup/cpu",
        cpuacct="/sys/fs/cgroup/cpuacct",
        unified="/sys/fs/cgroup/unified",
    )


def test_cpu_and_cpuacct_may_be_joined() -> None:
    assert found("hybrid-joined-systemd") == CgroupMounts(
        version=CgroupVersion.V1,
        cpu="/sys/fs/cgroup/cpu,cpuacct",
        cpuacct="/sys/fs/cgroup/cpu,cpuacct",
        unified="/sys/fs/cgroup/unified",
    )


def test_a_legacy_host_has_no_pressure() -> None:
    assert found("v1-joined").unified is None


def test_v2_is_one_mount_for_all() -> None:
    one = "/sys/fs/cgroup"
    assert found("v2-6.1") == CgroupMounts(version=CgroupVersion.V2, cpu=one, cpuacct=one, unified=one)


def test_a_pod_looks_at_the_hosts_tree_and_not_at_its_own() -> None:
    assert found("pod-with-host-mount").cpu == "/host/sys/fs/cgroup"


def test_a_mount_of_the_whole_wins_over_one_of_a_part() -> None:
    text = (
        "1 0 0:1 /docker/abc /part rw - cgroup2 c rw\n"
        "2 0 0:1 / /whole rw - cgroup2 c rw\n"
        "3 0 0:1 / /again rw - cgroup2 c rw\n"
    )
    assert mounts.choose(mounts.parse(text)).cpu == "/whole"


def test_systemds_tree_is_its_own_hierarchy_on_v1_and_the_only_one_on_v2() -> None:
    def tree(name: str) -> str | None:
        return mounts.systemd_mount(mounts.parse((DATA / "mountinfo" / f"{name}.txt").read_text()))

    assert tree("hybrid-joined-systemd") == "/sys/fs/cgroup/systemd"
    assert tree("v2-6.1") == "/sys/fs/cgroup"


def test_blanks_in_mount_points_are_escaped() -> None:
    line = r"1 0 0:1 / /my\040cgroups\134x rw - cgroup2 c rw"
    assert mounts.choose(mounts.parse(line)).cpu == r"/my cgroups\x"


def test_optional_fields_of_a_line_may_be_missing_or_many() -> None:
    line = "1 0 0:1 / /a rw shared:1 master:2 propagate_from:3 - cgroup2 c rw"
    assert mounts.choose(mounts.parse(line)).cpu == "/a"


def test_without_a_cpu_controller_the_remedy_is_named() -> None:
    with pytest.raises(ConfigError, match="mount -t cgroup2"):
        mounts.choose(mounts.parse("29 1 8:1 / / rw - ext4 /dev/sda1 rw\n"))


def test_a_v2_tree_without_cpu_says_why_it_may_be() -> None:
    with pytest.raises(ConfigError, match="Delegate=cpu"):
        mounts.choose(mounts.parse("1 0 0:1 / /a rw - cgroup2 c rw\n"), frozenset({"memory"}))


def test_cpu_without_cpuacct_cannot_be_measured() -> None:
    with pytest.raises(ConfigError, match="-o cpuacct"):
        mounts.choose(mounts.parse("1 0 0:1 / /a rw - cgroup c rw,cpu\n"))


def test_the_cpuset_controller_is_not_the_cpu_controller() -> None:
    with pytest.raises(ConfigError, match="no cgroup hierarchy"):
        mounts.choose(mounts.parse("1 0 0:1 / /a rw - cgroup c rw,cpuset\n"))


def test_in_a_pod_only_the_hosts_hierarchies_are_used() -> None:
    mountinfo = (
        "30 29 0:30 / /sys/fs/cgroup/cpu ro - cgroup c rw,cpu\n"
        "31 29 0:31 / /sys/fs/cgroup/cpuacct ro - cgroup c rw,cpuacct\n"
        "40 29 0:30 /../.. /host/cgroup/cpu ro - cgroup c rw,cpu\n"
        "41 29 0:31 /../.. /host/cgroup/cpuacct ro - cgroup c rw,cpuacct\n"
        "42 29 0:32 / /host/cgroups-of-others ro - cgroup2 c rw\n"
    )

    chosen = mounts.choose(mounts.below(mounts.parse(mountinfo), "/host/cgroup/"))

    assert (chosen.cpu, chosen.cpuacct, chosen.unified) == ("/host/cgroup/cpu", "/host/cgroup/cpuacct", None)


def test_a_v2_tree_may_be_mounted_at_that_very_directory() -> None:
    found = mounts.parse("1 0 0:1 / /sys/fs/cgroup ro - cgroup2 c rw\n2 0 0:1 /.. /host/cgroup ro - cgroup2 c rw\n")
    assert mounts.choose(mounts.below(found, "/host/cgroup")).cpu == "/host/cgroup"


def test_a_directory_without_any_hierarchy_is_told_what_to_mount() -> None:
    with pytest.raises(ConfigError, match="hostPath"):
        mounts.below(mounts.parse("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 c rw\n"), "/host/cgroup")


def test_a_line_that_is_cut_is_refused() -> None:
    with pytest.raises(SensingError, match="not in the expected form"):
        mounts.parse("1 0 0:1 / - cgroup c rw,cpu\n")


def test_a_machine_without_proc_is_told_so(tmp_path) -> None:
    with pytest.raises(SensingError, match="is /proc mounted"):
        mounts.read(str(tmp_path / "mountinfo"))
