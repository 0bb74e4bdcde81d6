import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limit_tree import LimitTree
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.clock import SystemClock
from mbcasd.host import systemctl
from mbcasd.host.actuator import HostActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import RestoreResult, restore
from mbcasd.host.systemctl import Systemd, owner_assignment, percent_of, resize_assignment, unit_of
from mbcasd.model.identity import CgroupRef
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus

Resizer = Callable[..., Resize]
WEB = "/system.slice/web.service"


class FakeSystemd:
    """A `systemctl` that behaves, and what it left behind."""

    def __init__(self, folder: Path, tree: LimitTree) -> None:
        self.folder, self.tree = folder, tree
        (folder / "units").mkdir(parents=True)
        script = folder / "systemctl"
        shutil.copy(Path(__file__).parent.parent / "fakes" / "systemctl.sh", script)
        self.does("ok")
        self.manager = Systemd(
            systemctl=str(script),
            control_dir=folder / "control",
            transient_dir=folder / "transient",
            timeout_s=5,
            read_back_s=1,
        )

    def does(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def start(self, path: str, **limit: int | None) -> CgroupRef:
        cgroup = self.tree.make(path, **limit)
        (self.folder / "units" / path.rsplit("/", 1)[-1]).write_text(str(self.tree.directory(path)))
        return cgroup

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def drop_in(self, unit: str) -> Path:
        return self.folder / "control" / f"{unit}.d" / "50-CPUQuota.conf"


@pytest.fixture
def fake(tmp_path: Path, tree: LimitTree) -> FakeSystemd:
    return FakeSystemd(tmp_path / "systemd", tree)


@pytest.fixture
def actuator(tree: LimitTree, ledger: Ledger, fake: FakeSystemd) -> Iterator[HostActuator]:
    actuator = HostActuator(tree.mounts, ledger, SystemClock(), fake.manager)
    yield actuator
    actuator.close()


def outcome_of(actuator: HostActuator, resize: Resize) -> ResizeOutcome:
    actuator.submit(resize)
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        if outcomes := tuple(actuator.collect()):
            (outcome,) = outcomes
            return outcome
        time.sleep(0.002)
    raise AssertionError("no outcome within 10 s")


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/web.service", "web.service"),
        ("/system.slice", "system.slice"),
        ("/machine.slice/machine-qemu.scope", "machine-qemu.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/system.slice/_cpu.service", "cpu.service"),
        # Delegated: a unit lies above, so the host's manager does not own these.
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", None),
        ("/system.slice/docker.service/web.scope", None),
        ("/docker/web.service", None),
        ("/demo/worker-a", None),
        ("/", None),
    ],
)
def test_systemd_owns_units_below_slices_and_nothing_else(path: str, unit: str | None) -> None:
    assert unit_of(path) == unit


@pytest.mark.parametrize(
    ("milli", "assignment"),
    [(10, "CPUQuota=1%"), (3, "CPUQuota=1%"), (299.9, "CPUQuota=29%"), (300, "CPUQuota=30%"), (None, "CPUQuota=")],
)
def test_a_resize_is_asked_for_in_whole_percents_and_never_more(milli: float | None, assignment: str) -> None:
    assert resize_assignment(milli) == assignment


@given(st.floats(10, 1e6))
def test_systemd_never_gets_more_than_was_granted(milli: float) -> None:
    assert milli - 10 < percent_of(milli) * 10 <= milli + 1e-7


@pytest.mark.parametrize(
    ("quota", "period", "assignment"),
    [
        (50_000, 100_000, "CPUQuota=50%"),
        (12_500, 100_000, "CPUQuota=12.50%"),
        (33_330, 100_000, "CPUQuota=33.33%"),
        (5_000, 10_000, "CPUQuota=50%"),
        (None, 100_000, "CPUQuota="),
    ],
)
def test_the_owners_quota_is_given_back_to_the_hundredth(quota: int | None, period: int, assignment: str) -> None:
    assert owner_assignment(LimitReading(quota_usec=quota, period_usec=period)) == assignment


def test_a_unit_is_moved_through_systemctl(fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer) -> None:
    web = fake.start(WEB, quota=50_000)

    outcome = outcome_of(actuator, a_resize(web, 300, burst=True))

    assert outcome.status is ResizeStatus.APPLIED
    assert outcome.limit is not None
    assert outcome.limit.limit_milli == 300
    assert fake.calls == ["set-property --runtime --no-ask-password -- web.service CPUQuota=30%"]
    # systemd has no burst, so none is set behind its back.
    assert fake.tree.limit(WEB) == (30_000, 100_000, 0)
    assert actuator.leaked_usec == actuator.writes * 30_000 > 0


def test_a_cgroup_that_systemd_does_not_own_is_written(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer
) -> None:
    worker = fake.tree.make("/demo/worker", quota=50_000)

    assert outcome_of(actuator, a_resize(worker, 300)).status is ResizeStatus.APPLIED
    assert fake.calls == []


def test_a_limit_that_is_right_already_calls_nobody(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)

    assert outcome_of(actuator, a_resize(web, 500)).status is ResizeStatus.APPLIED
    assert (fake.calls, ledger.held()) == ([], ())


def test_a_cgroup_that_follows_late_is_waited_for(fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer) -> None:
    web = fake.start(WEB, quota=50_000)
    fake.does("slow")

    assert outcome_of(actuator, a_resize(web, 300)).status is ResizeStatus.APPLIED


def test_a_refusal_is_told_in_systemds_words(fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer) -> None:
    web = fake.start(WEB, quota=50_000)
    fake.does("deny")

    outcome = outcome_of(actuator, a_resize(web, 300))

    assert outcome.status is ResizeStatus.FAILED
    assert "Access denied; run as root" in outcome.detail
    assert outcome.limit is not None
    assert outcome.limit.limit_milli == 500


def test_a_systemctl_that_hangs_is_given_up(
    fake: FakeSystemd, tree: LimitTree, ledger: Ledger, a_resize: Resizer
) -> None:
    web = fake.start(WEB, quota=50_000)
    fake.does("hang")
    impatient = Systemd(systemctl=fake.manager.systemctl, control_dir=fake.manager.control_dir, timeout_s=0.05)
    actuator = HostActuator(tree.mounts, ledger, SystemClock(), impatient)

    outcome = outcome_of(actuator, a_resize(web, 300))
    actuator.close()

    assert outcome.status is ResizeStatus.FAILED
    assert "did not answer within 0.05 s" in outcome.detail


def test_a_missing_systemctl_is_told(tree: LimitTree, ledger: Ledger, fake: FakeSystemd, a_resize: Resizer) -> None:
    web = fake.start(WEB, quota=50_000)
    actuator = HostActuator(tree.mounts, ledger, SystemClock(), Systemd(systemctl=str(fake.folder / "nowhere")))

    outcome = outcome_of(actuator, a_resize(web, 300))
    actuator.close()

    assert outcome.status is ResizeStatus.FAILED
    assert "no such file" in outcome.detail


def test_a_cgroup_that_does_not_follow_is_a_failure(
    fake: FakeSystemd, tree: LimitTree, ledger: Ledger, a_resize: Resizer
) -> None:
    web = fake.start(WEB, quota=50_000)
    fake.does("ignore")
    hasty = Systemd(systemctl=fake.manager.systemctl, control_dir=fake.manager.control_dir, read_back_s=0.05)
    actuator = HostActuator(tree.mounts, ledger, SystemClock(), hasty)

    outcome = outcome_of(actuator, a_resize(web, 300))
    actuator.close()

    assert outcome.status is ResizeStatus.FAILED
    assert "the cgroup did not follow" in outcome.detail


def test_what_somebody_else_gave_a_unit_is_left_alone(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.write(WEB, quota=77_000)

    assert outcome_of(actuator, a_resize(web, 400)).status is ResizeStatus.DRIFTED
    (entry,) = restore(ledger, tree.mounts, fake.manager).cgroups
    assert entry.result is RestoreResult.LEFT_ALONE
    assert tree.limit(WEB)[0] == 77_000
    # But systemd does not bring our limit back with its next reload.
    assert not fake.drop_in("web.service").exists()


def test_a_unit_that_vanished_is_gone(fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer) -> None:
    web = fake.start(WEB, quota=50_000)
    fake.tree.remove(WEB)

    assert outcome_of(actuator, a_resize(web, 300)).status is ResizeStatus.GONE


@pytest.mark.parametrize("owner", [None, 50_000, 12_500, 33_330])
def test_a_unit_gets_its_owners_quota_back_and_no_drop_in_stays(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger, owner: int | None
) -> None:
    web = fake.start(WEB, quota=owner, burst=4_000)
    outcome_of(actuator, a_resize(web, 300))
    assert fake.drop_in("web.service").exists()

    report = restore(ledger, tree.mounts, fake.manager)

    assert report.cgroups[0].result is RestoreResult.RESTORED
    assert tree.limit(WEB) == (owner, 100_000, 4_000)
    assert not fake.drop_in("web.service").parent.exists()
    assert fake.calls[-1] == "daemon-reload"
    assert ledger.held() == ()


def test_the_owners_own_runtime_drop_in_comes_back(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    drop_in = fake.drop_in("web.service")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nCPUQuota=50%\n# by hand\n")
    outcome_of(actuator, a_resize(web, 300))

    restore(ledger, tree.mounts, fake.manager)

    assert drop_in.read_text() == "[Service]\nCPUQuota=50%\n# by hand\n"


def test_a_transient_units_drop_in_lies_beside_the_unit(tmp_path: Path) -> None:
    manager = Systemd(control_dir=tmp_path / "control", transient_dir=tmp_path / "transient")
    (tmp_path / "transient").mkdir()
    (tmp_path / "transient" / "run-1.scope").write_text("")

    assert manager.drop_in("run-1.scope") == tmp_path / "transient" / "run-1.scope.d" / "50-CPUQuota.conf"
    assert manager.drop_in("web.service") == tmp_path / "control" / "web.service.d" / "50-CPUQuota.conf"


def test_a_systemd_that_rounds_is_corrected_in_the_cgroup(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=12_570)
    outcome_of(actuator, a_resize(web, 300))
    fake.does("round")
    manager = Systemd(systemctl=fake.manager.systemctl, control_dir=fake.manager.control_dir, read_back_s=0.05)

    report = restore(ledger, tree.mounts, manager)

    assert not report.failed
    assert tree.limit(WEB) == (12_570, 100_000, 0)


def test_a_restarted_unit_is_given_back_what_its_owner_had_before(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    # The service restarts: another cgroup, to which systemd gives our quota by our drop-in.
    again = tree.recreate(WEB, quota=30_000)

    owner = ledger.owner_of(again)
    assert owner is not None
    assert owner.limit_milli == 500
    assert outcome_of(actuator, a_resize(again, 400)).status is ResizeStatus.APPLIED
    assert len(ledger) == 1
    restore(ledger, tree.mounts, fake.manager)
    assert tree.limit(WEB) == (50_000, 100_000, 0)


def test_a_unit_that_restarted_while_nobody_looked_is_restored_too(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.recreate(WEB, quota=30_000)

    report = restore(ledger, tree.mounts, fake.manager)

    assert report.cgroups[0].result is RestoreResult.RESTORED
    assert tree.limit(WEB) == (50_000, 100_000, 0)


def test_a_stopped_unit_does_not_start_again_with_our_limit(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    tree.remove(WEB)
    assert outcome_of(actuator, a_resize(web, 400)).status is ResizeStatus.GONE

    report = restore(ledger, tree.mounts, fake.manager)

    assert report.cgroups[0].result is RestoreResult.GONE
    assert not fake.drop_in("web.service").exists()
    assert fake.calls[-1] == "daemon-reload"


def test_a_restore_that_systemd_refuses_is_a_failure_and_stays_in_the_ledger(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer, tree: LimitTree, ledger: Ledger
) -> None:
    web = fake.start(WEB, quota=50_000)
    outcome_of(actuator, a_resize(web, 300))
    fake.does("deny")

    report = restore(ledger, tree.mounts, fake.manager)

    (failure,) = report.failed
    assert str(failure) == (
        f"{WEB}: `{fake.manager.systemctl} set-property --runtime --no-ask-password -- web.service CPUQuota=50%` "
        "failed: Failed to set unit properties on x.service: Access denied; run as root"
    )
    assert len(ledger) == 1


def test_systemd_is_used_only_where_it_booted_the_host() -> None:
    assert (systemctl.detect() is not None) == Path("/run/systemd/system").is_dir()


def test_closing_does_not_wait_for_what_has_not_begun(
    fake: FakeSystemd, actuator: HostActuator, a_resize: Resizer
) -> None:
    cgroups = [fake.start(f"/system.slice/{name}.service", quota=50_000) for name in "abcdef"]
    for cgroup in cgroups:
        actuator.submit(a_resize(cgroup, 300))
    actuator.close()

    assert len(fake.calls) < len(cgroups)
