"""How many tasks of a cgroup want a CPU right now, counted one by one; for people, not for the sampling loop.

A task that its cgroup's limit holds counts: it wants to run.
"""

import os

from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupVersion
from mbcasd.sensing.tree import CgroupTree

# Reading a task's state takes some 10 µs; a cgroup with more tasks than this is not counted.
MOST_TASKS = 1000


def runnable(tree: CgroupTree, ref: CgroupRef) -> int | None:
    """Count the tasks that run or want to, in a cgroup and all below it.

    Returns:
        Their number; None where it cannot be told: too many tasks, or none of this PID namespace.
    """
    count = seen = 0
    hidden = False
    for directory, _, _ in os.walk(tree.directory(ref.path)):
        for task in _tasks(directory, tree.mounts.version):
            if task == b"0":  # of another PID namespace
                hidden = True
                continue
            seen += 1
            if seen > MOST_TASKS:
                return None
            count += _state(task.decode("ascii", "replace")) == b"R"
    return None if hidden and not seen else count


def _tasks(directory: str, version: CgroupVersion) -> list[bytes]:
    name = "tasks" if version is CgroupVersion.V1 else "cgroup.threads"
    try:
        with open(f"{directory}/{name}", "rb") as file:
            return file.read().split()
    except OSError:
        return []  # it ends while it is looked at


def _state(task: str) -> bytes:
    """The state letter of proc(5), after the name, which may contain anything."""
    try:
        with open(f"/proc/{task}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2][1:2]
    except OSError:
        return b""
