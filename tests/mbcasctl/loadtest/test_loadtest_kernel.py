"""The load test for real: cgroups, processes, signals. Nothing may remain, however it ends.

Facts that hold on a busy machine too: lower bounds on waits, counts of throttled periods, CPU time, what remains.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mbcasctl.loadtest.cgroups import RigCgroups, remove_stale
from mbcasctl.loadtest.children import Child, serve_command
from mbcasctl.loadtest.conduct import choose_cpus, remove_stale_folders
from mbcasctl.loadtest.rig import Rig
from mbcasctl.loadtest.workloads import WORKLOADS
from mbcasd.sensing.tree import CgroupTree

pytestmark = pytest.mark.kernel

# Ahead of whatever else this machine does.
RAISED_SHARES = 262_144


@pytest.fixture(scope="module")
def tree():
    return CgroupTree.detect()


def roots(tree):
    return [Path(root) for root in {tree.mounts.cpu, tree.mounts.cpuacct, tree.mounts.unified} if root]


def remains_of(tree, pid):
    """Cgroups, folders and processes of the load test of one process."""
    left = [path for root in roots(tree) for path in root.glob(f"mbcas-demo-{pid}*")]
    return [*left, *Path("/tmp").glob(f"mbcas-demo-{pid}-*"), *descendants_of(pid)]


def descendants_of(pid):
    """Processes of the load test that were started by it: they know its cgroup's name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"mbcas-demo-{pid}" in (process / "cmdline").read_text() and int(process.name) != pid:
                found.append(process)
    return found


def wait_until(fact, within_s, what):
    ends_s = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < ends_s, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def mbcasctl(*arguments, env=None, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "mbcasctl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **more,
    )


@pytest.fixture
def rig(tree, tmp_path):
    with Rig(tree.mounts, cpus=choose_cpus(), seed=1, work_dir=tmp_path) as running:
        running.cgroups.set_shares(None, RAISED_SHARES)
        yield running
    assert running.removed == len(WORKLOADS)
    assert remains_of(tree, os.getpid()) == []


def counters(tree, rig, name):
    reader = tree.open(tree.ref(f"{rig.cgroups.path}/{name}"))
    try:
        return reader.sample(time.monotonic())
    finally:
        reader.close()


def answered(rig, count):
    """Send requests at once and return their waits at the gateway, by worker too."""
    rig.start_sending(tuple(0.001 * n for n in range(count)), start_at_s=time.monotonic(), drain_s=60)
    sent = rig.poll_sent(90)
    assert sent is not None
    return sent


def test_a_throttled_service_gets_slower_because_it_burns_cpu_time(tree, rig):
    rig.set_limits({"worker-a": 100})
    before = counters(tree, rig, "worker-a")
    burnt_before_s = rig.meter("worker-a", "mbcas_eval_burnt_cpu_seconds_total")

    wait_s = answered(rig, 1).parts_s["worker-a"][0]

    # 30 ms of CPU at 10 ms per 100 ms take at least two whole periods; the CPU time burnt is the same 30 ms.
    assert wait_s > 0.15
    assert counters(tree, rig, "worker-a").throttled_periods > before.throttled_periods
    burnt_s = rig.meter("worker-a", "mbcas_eval_burnt_cpu_seconds_total") - burnt_before_s
    assert burnt_s == pytest.approx(0.030, abs=0.005)


def test_a_service_without_a_limit_is_not_throttled(tree, rig):
    sent = answered(rig, 10)

    assert None not in sent.waits_s
    assert counters(tree, rig, "worker-a").throttled_periods == 0


def test_noise_wants_four_fifths_of_a_cpu_and_counts_what_the_kernel_counts(tree, rig):
    def work():
        return rig.meter("noise-0", "mbcas_eval_burnt_cpu_seconds_total")

    began_s, used, done_s = time.monotonic(), counters(tree, rig, "noise-0").usage_usec, work()
    wait_until(lambda: work() > done_s + 1, 60, "noise has done a second of work")
    done_s, used = work() - done_s, (counters(tree, rig, "noise-0").usage_usec - used) / 1e6

    assert done_s == pytest.approx(used, rel=0.15)
    assert done_s / (time.monotonic() - began_s) < 0.85


def test_each_service_runs_alone_in_its_cgroup_in_every_hierarchy(tree, rig):
    for name, pid in rig.pids.items():
        for file in rig.cgroups.join_files(name):
            assert Path(file).read_text().split() == [str(pid)]
    # Hybrid hosts: PSI is on the unified hierarchy, usage on another one.
    assert len(rig.cgroups.join_files("gateway")) == len(roots(tree))


def test_queues_are_empty_before_the_next_regime_starts(rig):
    rig.set_limits({"worker-a": 50})
    rig.start_sending(tuple(0.001 * n for n in range(20)), start_at_s=time.monotonic(), drain_s=0.3)
    sent = rig.poll_sent(60)
    assert None in sent.waits_s  # 600 ms of CPU are not done after 0.3 s at 5 %

    rig.calm_down()

    assert rig.meter("worker-a", "mbcas_eval_requests_in_flight") == 0


def test_a_service_that_dies_is_noticed(rig):
    os.kill(rig.pids["worker-b"], signal.SIGKILL)

    def noticed():
        with contextlib.suppress(Exception):
            rig.check_alive()
            return False
        return True

    wait_until(noticed, 10, "the death of worker-b is noticed")


def test_a_demo_runs_to_its_last_screen_and_leaves_nothing(tree, tmp_path):
    record = tmp_path / "record.db"
    demo = mbcasctl("demo", "--seconds", "10", "--keep-record", str(record))
    out, said = demo.communicate(timeout=180)

    assert demo.returncode == 0, said
    for words in ("fixed limits", "MBCAS", "worker-b  p50 / p99", "noise     work done", "0 restarts"):
        assert words in out
    assert "Everything is as it was before: 5 cgroups removed, 0 limits changed." in out
    assert f"mbcasctl explain worker-b --record {record}" in out
    assert "00:00 mbcas" in said
    with contextlib.closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True)) as kept:
        assert kept.execute("pragma integrity_check").fetchone() == ("ok",)
    assert remains_of(tree, demo.pid) == []


def test_a_load_test_writes_what_the_report_shows(tree, tmp_path):
    file = tmp_path / "result.json"
    running = mbcasctl(
        *("loadtest", "run", "--scale", "0.01", "--phases", "contention", "--limits", "all", "--seed", "5"),
        *("--out", str(file), "-o", "json"),
    )
    out, said = running.communicate(timeout=240)
    assert running.returncode == 0, said

    result = json.loads(file.read_text())
    assert json.loads(out) == result
    assert [regime["regime"] for regime in result["regimes"]] == ["fixed", "generous", "mbcas"]
    # The same schedule each time.
    assert len({regime["total"]["latencies"]["gateway"]["requests"] for regime in result["regimes"]}) == 1
    assert result["regimes"][2]["limits_restored"] is True
    assert remains_of(tree, running.pid) == []

    shown = subprocess.run(
        [sys.executable, "-m", "mbcasctl", "loadtest", "report", str(file)], capture_output=True, text=True, check=True
    )
    assert "contention: 3s at" in shown.stdout
    assert shown.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_remains(tree, tmp_path, number):
    running = mbcasctl("demo", "--seconds", "60", "--keep-record", str(tmp_path / "r.db"))
    # The gateway is the last to start.
    wait_until(lambda: has_process(tree, running.pid, "gateway"), 60, "the services run")
    running.send_signal(number)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 128 + number
    assert f"Stopped by {number.name}: 5 cgroups removed, everything is as it was before." in said
    assert remains_of(tree, running.pid) == []


def test_a_signal_while_the_daemon_enforces_ends_the_daemon_too(tree, tmp_path):
    running = mbcasctl(
        *("loadtest", "run", "--limits", "mbcas", "--phases", "warm-up", "--keep-record", str(tmp_path / "r.db"))
    )
    wait_until(lambda: any(is_daemon(p) for p in descendants_of(running.pid)), 60, "the daemon runs")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)

    assert running.returncode == 130
    assert remains_of(tree, running.pid) == []


def test_a_kill_leaves_only_empty_cgroups_and_the_next_test_removes_them(tree, tmp_path):
    running = mbcasctl(
        *("loadtest", "run", "--limits", "mbcas", "--phases", "warm-up", "--keep-record", str(tmp_path / "r.db"))
    )
    wait_until(lambda: any(is_daemon(p) for p in descendants_of(running.pid)), 60, "the daemon runs")
    running.kill()
    running.communicate(timeout=10)

    wait_until(lambda: not descendants_of(running.pid), 30, "services, generator and daemon are gone with it")
    assert f"mbcas-demo-{running.pid}" in remove_stale(tree.mounts, "")
    remove_stale_folders()
    assert remains_of(tree, running.pid) == []


def test_what_a_running_test_made_is_not_taken_for_a_leftover(tree, rig):
    assert remove_stale(tree.mounts, "") == ()
    rig.check_alive()
    assert Path(rig.cgroups.join_files("gateway")[0]).exists()


def test_what_still_runs_in_a_leftover_is_ended(tree, tmp_path):
    maker = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    left = RigCgroups(tree.mounts, "", f"mbcas-demo-{maker.pid}", "mbcasctl demo")
    left.make(["web"])
    with (tmp_path / "log").open("ab") as log:
        child = Child("web", serve_command("worker", "--join", left.join_files("web")[0]), log=log)
    child.read_line(60)

    # While the process whose number it carries lives, it is somebody's.
    assert f"mbcas-demo-{maker.pid}" not in remove_stale(tree.mounts, "")
    maker.communicate()
    assert f"mbcas-demo-{maker.pid}" in remove_stale(tree.mounts, "")

    assert child.wait(10) == -signal.SIGKILL
    child.close()


UNPRIVILEGED = """
import os, sys
import mbcasctl.app, mbcasctl.loadtest.conduct, mbcasctl.loadtest.show, mbcasctl.views.loadtest_report, rich.live
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
from mbcasctl.__main__ import main
sys.argv = ["mbcasctl", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("command", ["demo", "loadtest run"])
def test_without_permission_it_says_which_command_would_allow_it(tree, command):
    refused = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, *command.split()],
        capture_output=True,
        text=True,
        check=False,
        # A home that nobody may write would be another complaint; this one is about cgroups.
        env={**os.environ, "XDG_STATE_HOME": "/tmp/mbcas-test-nobody"},
    )
    Path("/tmp/mbcas-test-nobody/mbcas").rmdir() if command == "demo" else None
    Path("/tmp/mbcas-test-nobody").rmdir() if command == "demo" else None

    assert refused.returncode == 1
    assert "permission denied" in refused.stderr
    assert refused.stderr.strip().endswith(f"mbcasctl {command}")
    assert "Traceback" not in refused.stderr


def has_process(tree, pid, name):
    with contextlib.suppress(OSError):
        return bool((Path(tree.mounts.cpu) / f"mbcas-demo-{pid}" / name / "cgroup.procs").read_text().strip())
    return False


def is_daemon(process):
    with contextlib.suppress(OSError):
        return "--state-dir" in (process / "cmdline").read_text()
    return False
