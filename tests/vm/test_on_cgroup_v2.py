"""The tests of real cgroups, run once more in a guest whose only hierarchy is cgroup v2.

Which of them: those about what differs between the versions. What asserts on time stays out, the guest is slow.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vm.image import PROJECT
from vm.machine import GuestError, Machine

pytestmark = pytest.mark.v2

LOCAL = [
    "kill_9",
    "external_rewrite",
    "recreated",
    "observe_changes_nothing",
    "come_and_go",
    "without_permission",
]
SUITES = {
    "tests/tiers/test_unified_kernel.py": "",
    "tests/tiers/test_sensing_kernel.py": "",
    "tests/tiers/test_estimation_kernel.py": "burner and not second",
    "tests/tiers/test_local_kernel.py": " or ".join(LOCAL),
    "tests/tiers/test_inspect_kernel.py": "without_a_daemon",
    "tests/mbcasctl/loadtest/test_loadtest_kernel.py": "runs_alone",
    "tests/cluster/test_instance.py": "cgroup",
    "tests/host/test_limits_on_real_cgroups.py": "not hands_out_nothing and not leak",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("vm")) as machine:
        yield machine


def in_guest(machine: Machine, file: str, which: str) -> None:
    done = machine.python(
        *("-m", "pytest", "--require-tiers", "-p", "no:cacheprovider", "--tb=short", file, "-k", which), within_s=300
    )
    assert done.returncode == 0, f"in the guest, Linux {machine.release}:\n{done.output}"
    # What was skipped proves nothing.
    assert " passed" in done.output


@pytest.mark.parametrize("file", SUITES)
def test_the_facts_hold_on_cgroup_v2(machine: Machine, file: str) -> None:
    in_guest(machine, file, SUITES[file])


def test_the_guest_tells_how_a_command_ended(machine: Machine) -> None:
    done = machine.python("-c", "import os, sys; print(os.getcwd(), flush=True); sys.exit('ended')")

    assert (done.returncode, done.output) == (1, f"{PROJECT}\nended\n")


def test_a_guest_without_psi_and_a_command_that_takes_too_long(tmp_path: Path) -> None:
    with Machine(tmp_path, psi=False) as machine:
        in_guest(machine, "tests/tiers/test_unified_kernel.py", "without_psi")

        with pytest.raises(GuestError, match=r"no answer within 0\.5 s; its console ends with"):
            machine.run("sleep", "60", within_s=0.5)
        with pytest.raises(GuestError, match="the machine is off"):
            machine.run("sleep", "0")

    assert [file.name for file in tmp_path.iterdir()] == ["console.log"]
