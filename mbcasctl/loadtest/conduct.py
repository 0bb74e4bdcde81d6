"""A load test from the first check to the last removed cgroup: what `loadtest run` and `demo` share."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mbcasctl.loadtest import experiment
from mbcasctl.loadtest.experiment import Plan, Progress
from mbcasctl.loadtest.results import LoadtestResult
from mbcasctl.loadtest.rig import Rig
from mbcasctl.loadtest.workloads import MAX_CPUS
from mbcasd.sensing.tree import CgroupTree
from mbcasd.units import MILLI_PER_CPU

_FOLDER = re.compile(r"mbcas-demo-(\d+)-\w+")

# What `mbcasd local` would keep for the system of a node of this size; see market.system_reserve_percent.
_RESERVE = 0.9


@dataclass(slots=True)
class Traces:
    """What a test left, filled in when it is over, also when it was interrupted."""

    parent: str = ""  # the cgroup that the workloads were in
    cgroups_removed: int = 0
    stale: tuple[str, ...] = ()  # leftovers of killed tests, removed at the start


def conduct(
    plan: Plan,
    show: Callable[[Progress], None],
    traces: Traces,
    *,
    command: str,
    base: str | None = None,
    shares: int | None = None,
) -> LoadtestResult:
    """Run the test; whatever happens, no process, cgroup or folder remains when this returns or raises.

    Args:
        plan: What to run.
        show: Told about the progress four times per second.
        traces: Told what became of the test bed.
        command: What the person typed, for the advice on how to be allowed to.
        base: The cgroup to make the test's parent in; None: where this user may.
        shares: Weight of the whole test against the rest of the machine (v1's unit); None: as everybody's, 1024.

    Raises:
        NoPermission: Cgroups cannot be made here; nothing was changed.
        MbcasError: Something ended that should not.
    """
    tree = CgroupTree.detect()
    if base is not None:
        base = tree.resolve(base, limits_children=False)
    with _folder() as folder:
        rig = Rig(tree.mounts, cpus=plan.cpus, seed=plan.schedule.seed, work_dir=folder, base=base, command=command)
        traces.parent = rig.cgroups.path
        try:
            with rig:
                traces.stale = rig.stale
                if shares is not None:
                    rig.cgroups.set_shares(None, shares)
                return experiment.run(plan, tree, rig, folder, show)
        finally:
            traces.cgroups_removed = rig.removed


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that is removed at the end."""
    remove_stale_folders()
    with tempfile.TemporaryDirectory(prefix=f"mbcas-demo-{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def remove_stale_folders() -> None:
    """Remove this user's folders of tests that were killed."""
    for old in Path(tempfile.gettempdir()).glob("mbcas-demo-*"):
        match = _FOLDER.fullmatch(old.name)
        if match and not Path(f"/proc/{match[1]}").exists() and old.lstat().st_uid == os.geteuid():
            shutil.rmtree(old, ignore_errors=True)


def choose_cpus() -> tuple[int, ...]:
    """The CPUs that the services run on: the first few of those that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0))[:MAX_CPUS])


def capacity_milli(cpus: tuple[int, ...]) -> float | None:
    """What the daemon may hand out where the test uses only a part of the machine; None: let it measure."""
    if len(cpus) >= len(os.sched_getaffinity(0)):
        return None
    return len(cpus) * MILLI_PER_CPU * _RESERVE
