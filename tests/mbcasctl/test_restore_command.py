import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mbcasctl.views import restoration
from mbcasd.clock import SystemClock
from mbcasd.host.cgroups import CgroupActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import RestoredCgroup, RestoreReport, RestoreResult
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.model.resizing import Resize
from mbcasd.sensing.tree import CgroupTree

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def do(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mbcasctl", "restore", "--state-dir", str(tmp_path / "state"), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    return do


def an_entry(result: RestoreResult, detail: str = "", *, found: int | None = 30_000) -> RestoredCgroup:
    return RestoredCgroup(
        cgroup=f"/demo/{result.value.replace(' ', '-')}",
        result=result,
        owner=LimitReading(quota_usec=None, period_usec=100_000, burst_usec=0),
        found=None if found is None else LimitReading(quota_usec=found, period_usec=100_000, burst_usec=0),
        detail=detail,
    )


def shown(report: RestoreReport) -> str:
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(restoration.as_table(report, "/var/lib/mbcas"))
    return capture.get()


def test_every_result_has_a_line_and_every_trouble_a_reason() -> None:
    report = RestoreReport(
        cgroups=(
            an_entry(RestoreResult.RESTORED),
            an_entry(RestoreResult.LEFT_ALONE, "somebody else has set it to 700m since; left as it is", found=70_000),
            an_entry(RestoreResult.GONE, "it does not exist any more", found=None),
            an_entry(RestoreResult.FAILED, "cannot write: permission denied"),
        ),
        notes=("1 line(s) of the ledger cannot be read and were skipped",),
    )

    assert shown(report).splitlines() == [
        "   CGROUP            FOUND    OWNER'S  RESULT    ",
        "✓  /demo/restored     300m  unlimited  put back  ",
        "!  /demo/left-alone   700m  unlimited  left alone",
        "·  /demo/gone            –  unlimited  gone      ",
        "✗  /demo/failed       300m  unlimited  FAILED    ",
        "  /demo/left-alone: somebody else has set it to 700m since; left as it is",
        "  /demo/gone: it does not exist any more",
        "  /demo/failed: cannot write: permission denied",
        "note: 1 line(s) of the ledger cannot be read and were skipped",
        "1 limit could not be put back; run it again once the reason is gone.",
    ]


def test_data_says_which_limits_are_unlimited() -> None:
    data = restoration.as_data(RestoreReport(cgroups=(an_entry(RestoreResult.RESTORED),)), "/state")

    assert data["all_as_owned"] is True
    assert data["cgroups"] == [
        {
            "cgroup": "/demo/restored",
            "result": "restored",
            "owner_limit_milli": None,
            "found": {"limit_milli": 300.0},
            "detail": "",
        }
    ]


def test_where_no_daemon_was_there_is_nothing_to_put_back(run: Run, tmp_path: Path) -> None:
    done = run()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("\n", "") == f"Nothing to put back: no limit of MBCAS is noted in {tmp_path}/state."
    assert not (tmp_path / "state").exists()


def test_a_running_daemon_is_not_worked_against(run: Run, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state")
    try:
        done = run()
    finally:
        ledger.close()

    assert (done.returncode, done.stdout) == (1, "")
    assert f"mbcasd (process {os.getpid()}) is running" in done.stderr
    assert "--force" in done.stderr


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Path]:
    """A real cgroup without a limit whose daemon has limited it and was killed."""
    mounts = CgroupTree.detect().mounts
    name = f"/mbcas-test-{os.getpid()}-restore"
    directory = Path(mounts.cpu + name)
    directory.mkdir()
    try:
        ledger = Ledger(tmp_path / "state")
        actuator = CgroupActuator(mounts, ledger, SystemClock())
        cgroup = CgroupRef(path=name, inode=directory.stat().st_ino)
        actuator.submit(Resize(workload=WorkloadId("", name), cgroup=cgroup, from_milli=None, to_milli=300, burst=True))
        (outcome,) = actuator.collect()
        assert outcome.detail == ""
        ledger.close()
        yield directory
    finally:
        directory.rmdir()


def quota(directory: Path) -> str:
    v1 = directory / "cpu.cfs_quota_us"
    return (v1 if v1.exists() else directory / "cpu.max").read_text().split()[0].replace("max", "-1")


@pytest.mark.kernel
def test_a_killed_daemons_limit_is_put_back_once(run: Run, moved: Path) -> None:
    assert quota(moved) == "30000"

    done = run("-o", "json")

    assert (done.returncode, done.stderr) == (0, "")
    assert [entry["result"] for entry in json.loads(done.stdout)["cgroups"]] == ["restored"]
    assert quota(moved) == "-1"
    again = run()
    assert (again.returncode, again.stdout.split(":")[0]) == (0, "Nothing to put back")
