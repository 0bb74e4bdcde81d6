"""What instances take of a machine, on either version of cgroups."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from cluster.instance import Instance, hierarchies, is_alive, make_cgroup, remove_cgroups

pytestmark = pytest.mark.kernel


def test_a_cgroup_is_made_in_every_hierarchy_and_goes_with_what_runs_in_it(tmp_path: Path) -> None:
    name = f"mbcas-test-{tmp_path.name}"
    make_cgroup(f"{name}/node/child")
    made = [root / name / "node" / "child" for root in hierarchies()]
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        for cgroup in made:
            (cgroup / "cgroup.procs").write_text(str(sleeper.pid))

        remove_cgroups(name)
        assert sleeper.wait(10) != 0
    assert not any((root / name).exists() for root in hierarchies())


def test_a_cgroup_has_a_cpu_controller_that_can_limit(tmp_path: Path) -> None:
    name = f"mbcas-test-{tmp_path.name}"
    make_cgroup(f"{name}/node")
    try:
        limits = [root / name / "node" / file for root in hierarchies() for file in ("cpu.max", "cpu.cfs_quota_us")]

        assert any(limit.exists() for limit in limits)
    finally:
        remove_cgroups(name)


def test_an_instance_is_found_while_it_lives_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    instance = Instance()
    (instance.directory / "folder").mkdir()
    (instance.directory / "folder" / "file").touch()

    assert is_alive(instance.directory)
    instance.close()
    assert list(tmp_path.iterdir()) == []
