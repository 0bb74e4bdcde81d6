import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limit_tree import LimitTree

from mbcasd.clock import SteppedClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import RestoreResult, restore
from mbcasd.model.identity import CgroupRef
from mbcasd.model.resizing import Resize, ResizeStatus

Resizer = Callable[..., Resize]
Mover = Callable[..., None]


@pytest.fixture
def move(tree: LimitTree, ledger: Ledger, a_resize: Resizer) -> Mover:
    """What a daemon did before it stopped."""
    actuator = CgroupActuator(tree.mounts, ledger, SteppedClock())

    def do(cgroup: CgroupRef, to_milli: float, *, burst: bool = True) -> None:
        actuator.submit(a_resize(cgroup, to_milli, burst=burst))
        (outcome,) = actuator.collect()
        assert outcome.status is ResizeStatus.APPLIED, outcome.detail

    return do


def test_owners_get_back_what_they_had(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    owned = {
        "/plain": (50_000, 100_000, 0),
        "/unlimited": (None, 100_000, 0),
        "/bursty": (80_000, 100_000, 40_000),
        "/short": (5_000, 10_000, 0),
        "/no-burst": (50_000, 100_000, None),
        "/unlimited-bursty": (None, 50_000, 700_000),
    }
    for path, (quota, period, burst) in owned.items():
        cgroup = tree.make(path, quota=quota, period=period, burst=burst)
        move(cgroup, 300)
        move(cgroup, 900)
        move(cgroup, 20)

    report = restore(ledger, tree.mounts)

    assert {path: tree.limit(path) for path in owned} == owned
    assert [(cgroup.cgroup, cgroup.result) for cgroup in report.cgroups] == [
        (path, RestoreResult.RESTORED) for path in owned
    ]
    assert str(report.cgroups[1]) == "/unlimited: put back from 20m to unlimited"
    assert ledger.held() == ()


def test_restoring_twice_changes_nothing(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    move(tree.make("/web", quota=50_000), 300)
    restore(ledger, tree.mounts)
    stamp = tree.quota_file("/web").stat().st_mtime_ns

    report = restore(ledger, tree.mounts)

    assert report.cgroups == report.notes == ()
    assert tree.quota_file("/web").stat().st_mtime_ns == stamp


def test_a_write_that_was_announced_but_never_happened_is_no_drift(
    tree: LimitTree, ledger: Ledger, move: Mover
) -> None:
    web = tree.make("/web", quota=50_000)
    move(web, 300)
    held = ledger.find(web)
    assert held is not None
    ledger.hold(held.moving(held.after, held.after._replace(quota_usec=90_000)))  # and here it was killed

    (entry,) = restore(ledger, tree.mounts).cgroups

    assert entry.result is RestoreResult.RESTORED
    assert tree.limit("/web") == (50_000, 100_000, 0)


def test_half_a_write_is_no_drift(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    web = tree.make("/web", quota=50_000)
    move(web, 300)
    held = ledger.find(web)
    assert held is not None
    ledger.hold(held.moving(held.after, held.after._replace(quota_usec=90_000, burst_usec=90_000)))
    tree.write("/web", quota=90_000, burst=30_000)  # quota written, burst not yet

    assert restore(ledger, tree.mounts).cgroups[0].result is RestoreResult.RESTORED


def test_what_is_as_owned_already_is_only_forgotten(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    move(tree.make("/web", quota=50_000), 300)
    tree.write("/web", quota=50_000)

    (entry,) = restore(ledger, tree.mounts).cgroups

    assert entry.result is RestoreResult.AS_OWNED
    assert str(entry) == "/web: 500m already, as its owner had it"
    assert ledger.held() == ()


def test_what_somebody_else_has_set_since_is_left_alone(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    move(tree.make("/web", quota=50_000), 300)
    tree.write("/web", quota=70_000)

    report = restore(ledger, tree.mounts)

    assert report.cgroups[0].result is RestoreResult.LEFT_ALONE
    assert "somebody else has set it to 700m" in str(report.cgroups[0])
    assert not report.failed
    assert tree.limit("/web") == (70_000, 100_000, 0)
    assert restore(ledger, tree.mounts).cgroups == ()


def test_a_vanished_or_recreated_cgroup_is_not_touched(tree: LimitTree, ledger: Ledger, move: Mover) -> None:
    for path in ("/gone", "/again"):
        move(tree.make(path, quota=50_000), 300)
    tree.remove("/gone")
    tree.recreate("/again", quota=30_000, burst=30_000)  # by chance just what ours had been

    report = restore(ledger, tree.mounts)

    assert [entry.result for entry in report.cgroups] == [RestoreResult.GONE, RestoreResult.GONE]
    assert tree.limit("/again") == (30_000, 100_000, 30_000)
    assert not report.failed


def test_what_fails_is_named_and_stays_for_another_try(
    tree: LimitTree, ledger: Ledger, move: Mover, as_nobody: Callable[[], None]
) -> None:
    for path in ("/locked", "/open"):
        move(tree.make(path, quota=50_000), 300)
        for file in (tree.quota_file(path), tree.burst_file(path)):
            file.chmod(0o444 if path == "/locked" else 0o666)
    as_nobody()

    report = restore(ledger, tree.mounts)

    assert [entry.result for entry in report.cgroups] == [RestoreResult.FAILED, RestoreResult.RESTORED]
    assert "permission denied" in str(report.failed[0])
    assert [held.cgroup.path for held in ledger.held()] == ["/locked"]
    assert tree.limit("/open") == (50_000, 100_000, 0)

    os.seteuid(os.getuid())
    if os.getuid() == 0:
        assert restore(ledger, tree.mounts).cgroups[0].result is RestoreResult.RESTORED


@pytest.fixture
def locked_state(tmp_path: Path, as_nobody: Callable[[], None]) -> Iterator[Path]:
    yield tmp_path / "state"
    os.seteuid(os.getuid())


def test_limits_come_back_even_where_the_ledger_cannot_be_written(
    tree: LimitTree, move: Mover, ledger: Ledger, locked_state: Path, as_nobody: Callable[[], None]
) -> None:
    move(tree.make("/web", quota=50_000), 300)
    ledger.close()
    for file in (tree.quota_file("/web"), tree.burst_file("/web")):
        file.chmod(0o666)
    (locked_state / "owners.jsonl").chmod(0o444)
    as_nobody()

    reopened = Ledger.reopen(locked_state)
    assert reopened is not None
    report = restore(reopened, tree.mounts)
    reopened.close()

    assert report.cgroups[0].result is RestoreResult.RESTORED
    assert tree.limit("/web") == (50_000, 100_000, 0)
    assert "restoring again will change nothing" in report.notes[0]


def test_stale_and_unreadable_lines_are_mentioned(tree: LimitTree, ledger: Ledger) -> None:
    ledger.stale_lines, ledger.unreadable_lines = 2, 1

    assert restore(ledger, tree.mounts).notes == (
        "2 limit(s) from before the last reboot are void",
        "1 line(s) of the ledger cannot be read and were skipped",
    )
