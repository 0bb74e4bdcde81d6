import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limit_tree import LimitTree

from mbcasd.clock import SteppedClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus

Resizer = Callable[..., Resize]


@pytest.fixture
def actuator(tree: LimitTree, ledger: Ledger) -> CgroupActuator:
    return CgroupActuator(tree.mounts, ledger, SteppedClock(now_s=7.0))


def outcome_of(actuator: CgroupActuator, resize: Resize) -> ResizeOutcome:
    actuator.submit(resize)
    (outcome,) = actuator.collect()
    return outcome


def test_a_resize_is_written_and_read_back(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/demo/web", quota=50_000)

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.APPLIED
    assert outcome.limit is not None
    assert outcome.limit.limit_milli == 300
    assert outcome.limit.weight in {100, 1024}
    assert (outcome.asked_at_s, outcome.ended_at_s) == (7.0, 7.0)
    assert tree.limit("/demo/web") == (30_000, 100_000, 0)
    assert not list(actuator.collect())


def test_the_period_stays_as_the_owner_has_it(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000, period=50_000)

    outcome_of(actuator, a_resize(web, 300))

    assert tree.limit("/web") == (15_000, 50_000, 0)


def test_no_quota_below_a_millisecond(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=5_000, period=10_000)

    outcome_of(actuator, a_resize(web, 10))

    assert tree.limit("/web") == (1000, 10_000, 0)


def test_the_burst_is_one_quota_when_asked_for(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)

    outcome_of(actuator, a_resize(web, 800, burst=True))
    assert tree.limit("/web") == (80_000, 100_000, 80_000)
    outcome_of(actuator, a_resize(web, 200, burst=True))
    assert tree.limit("/web") == (20_000, 100_000, 20_000)


def test_a_burst_that_is_not_asked_for_is_the_owners_but_never_above_the_quota(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer
) -> None:
    web = tree.make("/web", quota=50_000, burst=30_000)

    outcome_of(actuator, a_resize(web, 800))
    assert tree.limit("/web") == (80_000, 100_000, 30_000)
    outcome_of(actuator, a_resize(web, 200))
    assert tree.limit("/web") == (20_000, 100_000, 20_000)
    outcome_of(actuator, a_resize(web, 800))
    assert tree.limit("/web") == (80_000, 100_000, 30_000)


def test_a_kernel_without_burst_is_moved_without(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000, burst=None)

    outcome = outcome_of(actuator, a_resize(web, 800, burst=True))

    assert outcome.status is ResizeStatus.APPLIED
    assert tree.limit("/web") == (80_000, 100_000, None)


def test_an_unchanged_value_is_not_written_again(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300, burst=True))
    writes, stamp = actuator.writes, tree.quota_file("/web").stat().st_mtime_ns

    for _ in range(10):
        assert outcome_of(actuator, a_resize(web, 300, burst=True)).status is ResizeStatus.APPLIED

    assert actuator.writes == writes == 2
    assert tree.quota_file("/web").stat().st_mtime_ns == stamp


def test_a_limit_that_is_right_already_never_comes_under_control(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer, ledger: Ledger
) -> None:
    web = tree.make("/web", quota=50_000)

    assert outcome_of(actuator, a_resize(web, 500)).status is ResizeStatus.APPLIED

    assert ledger.held() == ()
    assert actuator.writes == 0


def test_writes_are_counted_with_what_they_leak(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)

    outcome_of(actuator, a_resize(web, 800, burst=True))  # quota 80, then burst under quota 80
    outcome_of(actuator, a_resize(web, 200, burst=True))  # burst under quota 80, then quota 20

    assert (actuator.writes, actuator.leaked_usec) == (4, 80_000 + 80_000 + 80_000 + 20_000)


def test_an_unlimited_cgroup_is_limited_and_freed(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=None)

    outcome_of(actuator, a_resize(web, 300, burst=True, from_milli=None))
    assert tree.limit("/web") == (30_000, 100_000, 30_000)
    outcome_of(actuator, a_resize(web, None))
    assert tree.limit("/web") == (None, 100_000, 0)


@pytest.mark.parametrize("quota", [70_000, None])
def test_what_somebody_else_has_set_is_reported_and_not_fought(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer, quota: int | None
) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.write("/web", quota=quota)

    outcome = outcome_of(actuator, a_resize(web, 400))

    assert outcome.status is ResizeStatus.DRIFTED
    assert outcome.limit is not None
    assert outcome.limit.quota_usec == quota
    assert "somebody else has set" in outcome.detail
    assert tree.limit("/web") == (quota, 100_000, 0)


def test_a_foreign_burst_or_period_is_drift_too(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))

    tree.write("/web", quota=30_000, burst=5_000)
    assert outcome_of(actuator, a_resize(web, 400)).status is ResizeStatus.DRIFTED
    tree.write("/web", quota=30_000, period=50_000)
    assert outcome_of(actuator, a_resize(web, 400)).status is ResizeStatus.DRIFTED


def test_a_value_of_ours_that_was_left_behind_is_foreign_when_it_comes_back(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer
) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    outcome_of(actuator, a_resize(web, 400))
    tree.write("/web", quota=30_000)

    assert outcome_of(actuator, a_resize(web, 600)).status is ResizeStatus.DRIFTED


def test_the_owners_value_put_back_by_a_reload_is_moved_again(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer
) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.write("/web", quota=50_000)

    assert outcome_of(actuator, a_resize(web, 400)).status is ResizeStatus.APPLIED


def test_a_vanished_cgroup_is_gone_and_forgotten(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer, ledger: Ledger
) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.remove("/web")

    outcome = outcome_of(actuator, a_resize(web, 400))

    assert (outcome.status, outcome.limit) == (ResizeStatus.GONE, None)
    assert ledger.held() == ()


def test_a_recreated_cgroup_is_never_written(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.recreate("/web", quota=90_000)

    outcome = outcome_of(actuator, a_resize(web, 400))

    assert outcome.status is ResizeStatus.GONE
    assert "another cgroup now" in outcome.detail
    assert tree.limit("/web") == (90_000, 100_000, 0)


def test_vanished_cgroups_do_not_pile_up_in_the_ledger(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer, ledger: Ledger, tmp_path: Path
) -> None:
    for number in range(600):
        job = tree.make(f"/job-{number}", quota=50_000)
        actuator.submit(a_resize(job, 300))
        tree.remove(job.path)

    assert len(ledger) <= 256
    assert (tmp_path / "state" / "owners.jsonl").stat().st_size < 2 * 600 * 512


def test_without_permission_nothing_changes_and_the_remedy_is_named(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer, as_nobody: Callable[[], None]
) -> None:
    web = tree.make("/web", quota=50_000)
    tree.quota_file("/web").chmod(0o444)
    as_nobody()

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.FAILED
    assert outcome.limit is not None
    assert outcome.limit.quota_usec == 50_000
    assert "permission denied" in outcome.detail
    assert "Run as root" in outcome.detail


def test_a_refused_burst_takes_the_quota_back(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)
    # A real file of the kernel's that reads 0 and answers EINVAL to anything above 1000.
    tree.burst_file("/web").unlink()
    tree.burst_file("/web").symlink_to("/proc/self/oom_score_adj")
    tree.burst_file("/web").write_text("0")

    outcome = outcome_of(actuator, a_resize(web, 800, burst=True))

    assert outcome.status is ResizeStatus.FAILED
    assert "burst of 80000" in outcome.detail
    assert outcome.limit is not None
    assert outcome.limit.quota_usec == 50_000
    assert tree.limit("/web")[0] == 50_000
    assert (actuator.writes, actuator.leaked_usec) == (2, 80_000 + 50_000)


def test_a_missing_controller_says_how_to_get_it(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000)
    tree.quota_file("/web").unlink()

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.FAILED
    assert "subtree_control" in outcome.detail or "CONFIG_CFS_BANDWIDTH" in outcome.detail


def test_a_file_in_an_unknown_form_is_not_guessed_at(
    tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer
) -> None:
    web = tree.make("/web", quota=50_000)
    tree.quota_file("/web").write_text("about half\n")

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.FAILED
    assert "not in the expected form: 'about half'" in outcome.detail


def test_a_limit_that_does_not_read_back_is_drift(tree: LimitTree, actuator: CgroupActuator, a_resize: Resizer) -> None:
    web = tree.make("/web", quota=50_000, burst=None)
    # A real file of the kernel's that takes any number and reads back another one: it keeps nine bits, in hex.
    tree.burst_file("/web").symlink_to("/proc/self/coredump_filter")
    before = tree.burst_file("/web").read_text()
    try:
        outcome = outcome_of(actuator, a_resize(web, 800, burst=True))
    finally:
        tree.burst_file("/web").write_text(f"0x{before}")

    assert outcome.status is ResizeStatus.DRIFTED
    assert "does not read back as written" in outcome.detail


def test_without_a_ledger_nothing_is_moved(
    tree: LimitTree, a_resize: Resizer, tmp_path: Path, full_ledger: Ledger
) -> None:
    web = tree.make("/web", quota=50_000)
    actuator = CgroupActuator(tree.mounts, full_ledger, SteppedClock())

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.FAILED
    assert "No limit is moved without it" in outcome.detail
    assert tree.limit("/web") == (50_000, 100_000, 0)


@pytest.fixture
def full_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger whose disk became full after the daemon had started: appending to it is refused."""
    ledger = Ledger(tmp_path / "full")
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, ledger._file)
    os.close(full)
    yield ledger
    ledger.close()
