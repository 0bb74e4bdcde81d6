"""The tests of real cgroups, run once more in a guest whose only hierarchy is cgroup v2.

Which of them: those about what differs between the versions. What asserts on time stays out, the guest is slow.
"""

from collections.abc import Iterator

import pytest
from vm.machine import Machine

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
    "tests/host/test_limits_on_real_cgroups.py": "not hands_out_nothing and not leak",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("vm")) as machine:
        yield machine


@pytest.mark.parametrize("file", SUITES)
def test_the_facts_hold_on_cgroup_v2(machine: Machine, file: str) -> None:
    done = machine.python(
        *("-m", "pytest", "--require-tiers", "-p", "no:cacheprovider", "--tb=short", file, "-k", SUITES[file]),
        within_s=300,
    )

    assert done.returncode == 0, f"in the guest, Linux {machine.release}:\n{done.output}"
