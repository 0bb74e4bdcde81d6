import subprocess
import threading
from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree
from rigs.kernel import wait_until

from mbcasd.sensing import tasks


@pytest.mark.parametrize(("kind", "file"), [("v1", "tasks"), ("v2", "cgroup.threads")])
def test_what_runs_counts_and_what_sleeps_does_not_also_in_nested_cgroups(tmp_path: Path, kind: str, file: str) -> None:
    fake = FakeTree(tmp_path / "fs", kind)
    (fake.add("/web") / file).write_text("")
    # One that waits for its input, and does so already when it is looked at.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdin is not None
        assert sleeper.stdout is not None
        sleeper.stdin.write(b"x")
        sleeper.stdin.flush()
        sleeper.stdout.read(1)
        # The thread that looks is the one that runs.
        (fake.add("/web/inner") / file).write_text(f"{threading.get_native_id()}\n{sleeper.pid}\n")
        tree = fake.tree()
        wait_until(lambda: tasks.runnable(tree, tree.ref("/web")) == 1, 5, "only the one that looks runs")
        sleeper.stdin.close()


def test_a_task_that_ended_meanwhile_does_not_count(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    (fake.add("/web") / "tasks").write_text("4194304\n")  # above the largest number that the kernel gives
    tree = fake.tree()
    assert tasks.runnable(tree, tree.ref("/web")) == 0


def test_tasks_of_another_pid_namespace_cannot_be_told(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    (fake.add("/web") / "tasks").write_text("0\n0\n")
    tree = fake.tree()
    assert tasks.runnable(tree, tree.ref("/web")) is None


def test_too_many_tasks_are_not_counted(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "fs", "v1")
    (fake.add("/web") / "tasks").write_text("4194304\n" * (tasks.MOST_TASKS + 1))
    tree = fake.tree()
    assert tasks.runnable(tree, tree.ref("/web")) is None
