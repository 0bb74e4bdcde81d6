"""The tasks of a cgroup, and how many of them want a CPU right now; one by one, so not for the sampling loop.

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
    tasks = tasks_of(tree, ref)
    return None if tasks is None else sum(_state(task) == b"R" for task in tasks)


def tasks_of(tree: CgroupTree, ref: CgroupRef) -> tuple[int, ...] | None:
    """List the tasks, threads each, of a cgroup and all below it.

    Returns:
        Their numbers; None where they cannot be told: too many tasks, or none of this PID namespace.
    """
    tasks: list[int] = []
    hidden = False
    for directory, _, _ in os.walk(tree.directory(ref.path)):
        for task in map(int, _tasks(directory, tree.mounts.version)):
            if task == 0:  # of another PID namespace
                hidden = True
                continue
            tasks.append(task)
            if len(tasks) > MOST_TASKS:
                return None
    return None if hidden and not tasks else tuple(tasks)


def _tasks(directory: str, version: CgroupVersion) -> list[bytes]:
    name = "tasks" if version is CgroupVersion.V1 else "cgroup.threads"
    try:
        with open(f"{directory}/{name}", "rb") as file:
            return file.read().split()
    except OSError:
        return []  # it ends while it is looked at


def _state(task: int) -> bytes:
    """The state letter of proc(5), after the name, which may contain anything."""
    try:
        with open(f"/proc/{task}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2][1:2]
    except OSError:
        return b""
