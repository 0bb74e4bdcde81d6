"""Whatever a daemon did, and at whichever line it was killed: the owner's limits come back."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from fakes.limit_tree import LimitTree
from hypothesis import given, settings
from hypothesis import strategies as st

from mbcasd import host
from mbcasd.clock import SteppedClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import restore
from mbcasd.model.identity import WorkloadId
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.resizing import Resize

OWNED = {"/a": (50_000, 100_000, 0), "/b": (None, 100_000, 0), "/c": (70_000, 50_000, 20_000)}
STRANGERS_QUOTA_USEC = 123_456
RECREATED_QUOTA_USEC = 61_000

HOST_CODE = str(Path(host.__file__).parent)

# To the kernel a write is one step, while a tree of ordinary files empties the file first.
ONE_STEP = {"_write", "_text"}


class Deed(NamedTuple):
    kind: str  # resize, stranger, recreate
    path: str
    to_milli: float | None = None
    burst: bool = False


DEEDS = st.lists(
    st.builds(
        Deed,
        kind=st.sampled_from(("resize", "resize", "resize", "resize", "stranger", "recreate")),
        path=st.sampled_from(sorted(OWNED)),
        to_milli=st.none() | st.integers(1, 400).map(lambda tens: tens * 10.0),
        burst=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def live_and_die(state: Path, tree: LimitTree, deeds: Sequence[Deed], dies_at_line: int) -> None:
    """One life of a daemon in a process of its own, which ends without a word at the given line of `mbcasd.host`."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in {0, 9}
        return
    lines_left = dies_at_line

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines_left
        if not frame.f_code.co_filename.startswith(HOST_CODE) or frame.f_code.co_name in ONE_STEP:
            return None
        if event == "line":
            lines_left -= 1
            if lines_left <= 0:
                os._exit(9)
        return trace

    try:
        sys.settrace(trace)
        actuator = CgroupActuator(tree.mounts, Ledger(state), SteppedClock())
        for deed in deeds:
            if deed.kind == "resize":
                cgroup = tree.ref(deed.path)
                workload = WorkloadId("", deed.path)
                actuator.submit(
                    Resize(workload=workload, cgroup=cgroup, from_milli=None, to_milli=deed.to_milli, burst=deed.burst)
                )
            elif deed.kind == "stranger":
                tree.write(deed.path, quota=STRANGERS_QUOTA_USEC)
            else:
                tree.recreate(deed.path, quota=RECREATED_QUOTA_USEC)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@settings(max_examples=100)
@given(
    version=st.sampled_from(CgroupVersion),
    lives=st.lists(st.tuples(DEEDS, st.integers(1, 1500)), min_size=1, max_size=3),
)
def test_the_owners_limits_come_back_wherever_the_daemon_was_killed(
    version: CgroupVersion, lives: list[tuple[list[Deed], int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree, state = LimitTree(Path(folder, "cgroup"), version), Path(folder, "state")
        for path, (quota, period, burst) in OWNED.items():
            tree.make(path, quota=quota, period=period, burst=burst)
        for deeds, dies_at_line in lives:
            live_and_die(state, tree, deeds, dies_at_line)

        found = {path: tree.limit(path) for path in OWNED}
        for _ in range(2):  # twice: it is idempotent
            ledger = Ledger.reopen(state)
            if ledger is not None:
                report = restore(ledger, tree.mounts)
                ledger.close()
                assert not report.failed
                assert not report.notes

            kinds = {path: {deed.kind for deeds, _ in lives for deed in deeds if deed.path == path} for path in OWNED}
            for path, owned in OWNED.items():
                allowed = {owned}
                if "stranger" in kinds[path]:
                    allowed.add((STRANGERS_QUOTA_USEC, 100_000, 0))
                if "recreate" in kinds[path]:
                    allowed.add((RECREATED_QUOTA_USEC, 100_000, 0))
                assert tree.limit(path) in allowed
                if found[path][0] == STRANGERS_QUOTA_USEC:
                    assert tree.limit(path) == found[path]
