import json
import socket
from pathlib import Path

import pytest
from fakes.cgroup_tree import FakeTree

from mbcasctl.doctor.facts import HostFacts
from mbcasctl.doctor.gather import gather
from mbcasd.clock import SteppedClock
from mbcasd.host.held import Bandwidth, Held
from mbcasd.host.ledger import Ledger
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.readings import LimitReading
from mbcasd.sensing.layout import CgroupDriver, QosClass, container_path, pod_path

UID = "e297efef-fc10-4248-ad01-9cd29a224d11"


class Host:
    """A v2 host below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fake = FakeTree(root / "sys/fs/cgroup", "v2")
        for path, text in (
            ("proc/self/mountinfo", self.fake.mountinfo.read_text()),
            ("proc/1/comm", "systemd\n"),
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        self.state_dir = root / "state"

    def gather(self) -> HostFacts:
        return gather(str(self.root / "sock"), str(self.state_dir), SteppedClock(), self.root)

    def hold(self, path: str, owner_usec: int, ours_usec: int) -> Ledger:
        """A daemon that moved a limit from the owner's to ours."""
        directory = self.fake.cpu / path.strip("/")
        ledger = Ledger(self.state_dir)
        ledger.hold(
            Held(
                cgroup=self.fake.tree().ref(path),
                version=CgroupVersion.V2,
                owner=LimitReading(quota_usec=owner_usec, period_usec=100_000, burst_usec=0),
                before=Bandwidth(owner_usec, 0),
                after=Bandwidth(ours_usec, 0),
            )
        )
        (directory / "cpu.max").write_text(f"{ours_usec} 100000\n")
        (directory / "cpu.max.burst").write_text("0\n")
        return ledger


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def test_what_a_host_has_is_found(host: Host) -> None:
    host.fake.add("/system.slice/web.service")
    host.fake.add("/system.slice/api.service", "idle")
    facts = host.gather()
    assert (facts.first_process, facts.clock.source) == ("systemd", "tsc")
    assert (facts.pressure.in_kernel, facts.pressure.switched_on, facts.pressure.per_cgroup) == (True, True, True)
    assert facts.cgroup.mounts is not None
    assert facts.cgroup.mounts.version is CgroupVersion.V2
    assert facts.cgroup.periods_usec == (100_000,)
    assert (facts.cgroup.has_quota, facts.cgroup.has_burst, facts.cgroup.write_trouble) == (True, True, "")
    # Cgroups without a limit are managed on a host; only containers need one.
    assert (facts.cgroup.containers, facts.cgroup.unlimited_containers) == (0, ())


def test_containers_without_a_limit_are_named(host: Host) -> None:
    pod = pod_path(CgroupDriver.SYSTEMD, UID, QosClass.BURSTABLE)
    host.fake.add(container_path(pod, "a" * 64), "burner")
    host.fake.add(container_path(pod, "b" * 64), "idle")
    cgroup = host.gather().cgroup
    assert cgroup.containers == 2
    assert cgroup.unlimited_containers == (f"{UID}:{'b' * 12}",)


def test_a_machine_without_cgroups_is_a_fact(host: Host) -> None:
    (host.root / "proc/self/mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n")
    cgroup = host.gather().cgroup
    assert cgroup.mounts is None
    assert "mount -t cgroup2" in cgroup.trouble


def test_pressure_that_is_switched_off_cannot_be_read(host: Host) -> None:
    (host.root / "proc/pressure/cpu").write_text("")  # EOPNOTSUPP, as far as a file can say it
    assert host.gather().pressure.switched_on is False
    (host.root / "proc/pressure/cpu").unlink()
    assert host.gather().pressure.in_kernel is False


def test_no_socket_and_a_socket_that_was_left_over_mean_no_daemon(host: Host) -> None:
    assert host.gather().daemon.absent
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(host.root / "sock"))
    assert host.gather().daemon.absent


def test_a_limit_that_a_dead_daemon_left_is_found_until_it_is_put_back(host: Host) -> None:
    host.fake.add("/demo/web")
    host.hold("/demo/web", 20_000, 70_000).close()
    ledger = host.gather().ledger
    assert (ledger.daemon_alive, ledger.left, ledger.trouble) == (False, ("/demo/web",), "")
    (host.fake.cpu / "demo/web/cpu.max").write_text("20000 100000\n")
    assert host.gather().ledger.left == ()


def test_what_somebody_else_has_set_since_is_not_ours(host: Host) -> None:
    host.fake.add("/demo/web")
    host.hold("/demo/web", 20_000, 70_000).close()
    (host.fake.cpu / "demo/web/cpu.max").write_text("33000 100000\n")
    assert host.gather().ledger.left == ()


def test_a_daemon_that_lives_will_put_its_limits_back(host: Host) -> None:
    host.fake.add("/demo/web")
    ledger = host.hold("/demo/web", 20_000, 70_000)
    try:
        facts = host.gather().ledger
    finally:
        ledger.close()
    assert (facts.daemon_alive, facts.left) == (True, ("/demo/web",))


def test_a_recreated_cgroup_has_nothing_of_ours(host: Host) -> None:
    host.fake.add("/demo/web")
    host.hold("/demo/web", 20_000, 70_000).close()
    host.fake.recreate("/demo/web", "burner")
    assert host.gather().ledger.left == ()


def test_looking_changes_nothing(host: Host) -> None:
    host.fake.add("/demo/web")
    host.hold("/demo/web", 20_000, 70_000).close()

    def all_files() -> dict[str, tuple[str, int]]:
        return {
            str(file): (file.read_text(), file.stat().st_mtime_ns)
            for file in sorted(host.root.rglob("*"))
            if file.is_file()
        }

    before = json.dumps(all_files())
    host.gather()
    assert json.dumps(all_files()) == before
