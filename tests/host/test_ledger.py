import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mbcasd.errors import ActuationError
from mbcasd.host.held import Bandwidth, Held
from mbcasd.host.ledger import Ledger
from mbcasd.host.lines import HEAD_BYTES
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.readings import LimitReading


def a_held(path: str = "/demo/web", *, inode: int = 7, quota: int | None = 50_000, to: int = 30_000, **more) -> Held:
    return Held(
        cgroup=CgroupRef(path=path, inode=inode),
        version=CgroupVersion.V1,
        owner=LimitReading(quota_usec=quota, period_usec=100_000, burst_usec=0),
        before=Bandwidth(quota, 0),
        after=Bandwidth(to, to),
        **more,
    )


def left_by(state: Path) -> tuple[Held, ...]:
    """What the next process finds."""
    ledger = Ledger.reopen(state)
    assert ledger is not None
    try:
        return ledger.held()
    finally:
        ledger.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_what_is_held_outlives_the_process(state: Path) -> None:
    everything = (
        a_held("/demo/a"),
        a_held("/demo/b", quota=None),
        a_held("/system.slice/c.service", unit="c.service", drop_in="[Service]\nCPUQuota=12.5%\n"),
        a_held('/demo/quote " newline \n backslash \\ umlaut ü'),
    )
    ledger = Ledger(state)
    for held in everything:
        ledger.hold(held)
    ledger.close()

    assert left_by(state) == everything


def test_the_last_announced_write_is_what_is_kept(state: Path) -> None:
    ledger = Ledger(state)
    held = a_held()
    ledger.hold(held)
    size = (state / "owners.jsonl").stat().st_size
    for quota in range(10_000, 90_000, 1000):
        held = held.moving(held.after, Bandwidth(quota, 0))
        ledger.hold(held)
    ledger.close()

    assert left_by(state) == (held,)
    assert (state / "owners.jsonl").stat().st_size == size


def test_heads_never_lie_on_two_pages(state: Path) -> None:
    ledger = Ledger(state)
    for length in (1, 100, 255, 256, 257, 3000):
        ledger.hold(a_held("/" + "x" * length, quota=2**63, to=2**63))
    ledger.close()

    offset = 0
    for line in (state / "owners.jsonl").read_bytes().split(b"\n")[:-1]:
        assert offset % HEAD_BYTES == 0
        json.loads(line)
        offset += len(line) + 1


def test_what_is_settled_is_not_there_any_more(state: Path) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held("/a"))
    ledger.hold(a_held("/b"))
    ledger.settle(a_held("/a").cgroup)
    ledger.settle(a_held("/never heard of").cgroup)
    ledger.close()

    assert left_by(state) == (a_held("/b"),)


def test_a_ledger_without_entries_is_an_empty_file(state: Path) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held())
    ledger.settle(a_held().cgroup)
    ledger.close()

    assert (state / "owners.jsonl").read_bytes() == b""


@pytest.mark.parametrize("cut", [1, 100, HEAD_BYTES, HEAD_BYTES + 1, 400])
def test_a_torn_last_line_does_no_harm(state: Path, cut: int) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held("/a"))
    ledger.hold(a_held("/b"))
    ledger.close()
    file = state / "owners.jsonl"
    os.truncate(file, file.stat().st_size - cut)

    assert left_by(state) == (a_held("/a"),)

    # The next daemon writes over it.
    ledger = Ledger(state)
    ledger.hold(a_held("/c"))
    ledger.close()
    assert left_by(state) == (a_held("/a"), a_held("/c"))


def test_an_unreadable_line_is_counted_and_the_others_are_kept(state: Path) -> None:
    ledger = Ledger(state)
    for name in ("/a", "/b", "/c"):
        ledger.hold(a_held(name))
    ledger.close()
    file = state / "owners.jsonl"
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0], b"\x00" * len(lines[1]), lines[2], b""]))

    reopened = Ledger.reopen(state)
    assert reopened is not None
    assert reopened.held() == (a_held("/a"), a_held("/c"))
    assert reopened.unreadable_lines == 1
    reopened.close()


@pytest.mark.parametrize(
    ("field", "value"), [("path", "/../etc"), ("path", "demo"), ("unit", "../../../etc/cron.d/x"), ("inode", "7")]
)
def test_a_line_that_leads_astray_is_refused(state: Path, field: str, value: str) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held())
    ledger.close()
    file = state / "owners.jsonl"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}) + "\n")

    assert left_by(state) == ()


def test_nothing_of_another_boot_is_kept(state: Path) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held())
    ledger.close()
    file = state / "owners.jsonl"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    file.write_text(file.read_text().replace(boot, "0" * 36))

    reopened = Ledger.reopen(state)
    assert reopened is not None
    assert (reopened.held(), reopened.stale_lines) == ((), 1)
    reopened.close()
    Ledger(state).close()
    assert file.read_bytes() == b""


def test_a_recreated_cgroup_is_not_the_one_that_is_held(ledger: Ledger) -> None:
    ledger.hold(a_held(inode=7))

    assert ledger.owner_of(CgroupRef(path="/demo/web", inode=7)) == a_held().owner
    assert ledger.owner_of(CgroupRef(path="/demo/web", inode=8)) is None


def test_a_restarted_unit_keeps_its_owners_limit(ledger: Ledger) -> None:
    ledger.hold(a_held("/system.slice/web.service", inode=7, unit="web.service"))

    assert ledger.owner_of(CgroupRef(path="/system.slice/web.service", inode=8)) == a_held().owner


def test_nothing_to_reopen_where_no_daemon_was(tmp_path: Path) -> None:
    assert Ledger.reopen(tmp_path) is None
    assert Ledger.reopen(tmp_path / "nowhere") is None


def hold_in_another_process(state: Path) -> subprocess.Popen[str]:
    """A second process with a ledger of its own, until its input ends."""
    code = "import sys; from mbcasd.host.ledger import Ledger; Ledger(sys.argv[1]); print('held', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def other_daemon(state: Path) -> Iterator[subprocess.Popen[str]]:
    with hold_in_another_process(state) as process:
        yield process
        process.kill()


def test_two_daemons_cannot_share_a_directory(state: Path, other_daemon: subprocess.Popen[str]) -> None:
    with pytest.raises(ActuationError, match=rf"another mbcasd \(process {other_daemon.pid}\) uses .*--state-dir"):
        Ledger(state)


def test_nothing_is_put_back_under_a_daemon_that_lives(state: Path, other_daemon: subprocess.Popen[str]) -> None:
    with pytest.raises(ActuationError, match=rf"mbcasd \(process {other_daemon.pid}\) is running .*--force"):
        Ledger.reopen(state)
    forced = Ledger.reopen(state, force=True)
    assert forced is not None
    forced.close()


def test_the_lock_dies_with_its_process(state: Path, other_daemon: subprocess.Popen[str]) -> None:
    other_daemon.kill()
    other_daemon.wait()

    Ledger(state).close()


def test_a_forced_settling_leaves_the_living_daemons_file_in_shape(state: Path) -> None:
    ledger = Ledger(state)
    ledger.hold(a_held("/a"))
    ledger.hold(a_held("/b"))
    forced = Ledger.reopen(state, force=True)
    assert forced is not None
    for held in forced.held():
        forced.settle(held.cgroup)
    forced.close()
    # The daemon moves one of them again.
    again = a_held("/b", to=40_000)
    ledger.hold(again)
    ledger.close()

    assert left_by(state) == (again,)


def test_a_directory_that_may_not_be_written_is_refused_at_once(tmp_path: Path, as_nobody: Callable[[], None]) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    as_nobody()

    with pytest.raises(ActuationError, match=r"permission denied.*run as root"):
        Ledger(tmp_path / "locked")
    with pytest.raises(ActuationError, match="permission denied"):
        Ledger(tmp_path / "locked" / "deeper")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ActuationError, match="cannot use"):
        Ledger(tmp_path / "file")


def test_settled_lines_do_not_pile_up(state: Path) -> None:
    ledger = Ledger(state)
    for number in range(800):
        ledger.hold(a_held(f"/job-{number}"))
        ledger.prune(lambda held: held.cgroup.path.endswith("99"))
    ledger.close()

    # 8 are needed, fewer than 256 wait to be looked at, and as many settled ones for the file to be rewritten.
    assert (state / "owners.jsonl").stat().st_size <= (256 + 2 * 257) * 512
    assert {held.cgroup.path for held in left_by(state)} >= {f"/job-{number}" for number in range(99, 800, 100)}


def test_a_name_that_is_not_utf8_is_refused_with_a_reason(ledger: Ledger) -> None:
    with pytest.raises(ActuationError, match="not UTF-8"):
        ledger.hold(a_held(os.fsdecode(b"/demo/\xff")))


@pytest.mark.parametrize("mode", ["full", "read-only"])
@pytest.mark.kernel
def test_a_full_or_read_only_disk_is_told_before_anything_changes(mounted: Callable[[str], Path], mode: str) -> None:
    disk = mounted(mode)

    with pytest.raises(ActuationError, match=r"no space left on device|read-only file system"):
        Ledger(disk)

    assert not (disk / "owners.new").exists()


@pytest.mark.kernel
def test_a_disk_that_fills_up_later_stops_neither_moving_nor_settling(mounted: Callable[[str], Path]) -> None:
    disk = mounted("room")
    ledger = Ledger(disk)
    ledger.hold(a_held("/a"))
    ledger.hold(a_held("/b"))
    fill(disk)

    for number in range(6):  # 512 bytes each, beside the two: what is left of the page takes these
        ledger.hold(a_held(f"/new-{number}"))
    with pytest.raises(ActuationError, match="no space left on device"):
        ledger.hold(a_held("/one-too-many"))
    ledger.hold(a_held("/a", to=77_000))
    ledger.settle(a_held("/b").cgroup)
    ledger.close()

    left = left_by(disk)
    assert left[0] == a_held("/a", to=77_000)
    assert a_held("/b") not in left


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = []

    def mount(mode: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "mbcas-test", str(disk)], check=True)
        done.append(disk)
        if mode == "full":
            fill(disk)
        elif mode == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        return disk

    yield mount
    for mountpoint in done:
        subprocess.run(["umount", str(mountpoint)], check=True)
