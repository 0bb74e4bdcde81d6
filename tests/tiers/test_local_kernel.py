"""`mbcasd local` on real cgroups with real burners: what it promises, seen in the kernel's own files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rigs.kernel import Rig, a_daemon, a_rig, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def rig():
    with a_rig() as rig:
        yield rig
    assert not rig.cpu.exists()


def mbcasctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mbcasctl", *words], capture_output=True, text=True, check=False)


def test_a_throttled_worker_reaches_its_need_within_two_seconds(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "2000m"):
        rig.pace("web", 800)
        wait_until(lambda: rig.throttled_periods("web") > 0, 5, "it is throttled")
        took_s = wait_until(lambda: (rig.limit("web") or 0) >= 800, 5, "the limit reaches the need")
        # And it stays content: next to no period of the following seconds is throttled.
        time.sleep(1)
        before = rig.throttled_periods("web")
        time.sleep(3)
        assert rig.throttled_periods("web") - before <= 3

    assert took_s <= 2.0
    # A clean stop gives the owner's value back.
    assert rig.limit("web") == 200


def test_two_hungry_workers_share_three_to_one_by_weight(rig: Rig, tmp_path: Path) -> None:
    rig.add("gold", 500)
    rig.add("iron", 500)
    config = """
[market]
overcommit = 1
[[workload]]
match = "gold"
weight = 3
floor = "10m"
[[workload]]
match = "iron"
floor = "10m"
"""
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1000m", config=config):
        rig.burn("gold")
        rig.burn("iron")
        wait_until(lambda: (rig.limit("gold") or 0) >= 700, 20, "gold gets its three quarters")
        before = rig.usage_s("gold"), rig.usage_s("iron")
        time.sleep(5)
        gold_s, iron_s = rig.usage_s("gold") - before[0], rig.usage_s("iron") - before[1]
        gold, iron = rig.limit("gold"), rig.limit("iron")

    assert gold is not None
    assert iron is not None
    # Bound 1000m: (1000 − 20) / 4 = 245 + 10 and 735 + 10.
    assert (gold - 10) / (iron - 10) == pytest.approx(3, rel=0.05)
    assert gold_s / iron_s == pytest.approx(gold / iron, rel=0.05)


def test_the_sum_of_limits_stays_under_the_bound_sampled_every_20_ms(rig: Rig, tmp_path: Path) -> None:
    children = [f"w{i}" for i in range(5)]
    for child in children:
        rig.add(child, 150)
    sums: list[float] = []
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "600m"):
        for child in children:
            rig.burn(child)
        ends_s = time.monotonic() + 8
        while time.monotonic() < ends_s:
            sums.append(sum(rig.limit(child) or 1e9 for child in children))
            time.sleep(0.02)

    assert len(sums) > 100
    assert max(sums) <= 1200
    # It is a market, not a freeze: the bound is used.
    assert max(sums) >= 1100


def test_after_kill_9_restore_puts_the_owners_values_back(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    rig.add("free", None)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        rig.burn("web")
        wait_until(lambda: rig.limit("web") != 200 and rig.limit("free") is not None, 10, "both limits were moved")
        daemon.stop(signal.SIGKILL)
        assert rig.limit("web") != 200

        first = mbcasctl("restore", "--state-dir", str(tmp_path))
        assert (first.returncode, rig.limit("web"), rig.limit("free")) == (0, 200, None), first.stderr

        # Idempotent, also when somebody else has been there since.
        rig.write_limit("web", 300)
        again = mbcasctl("restore", "--state-dir", str(tmp_path))
        assert (again.returncode, rig.limit("web")) == (0, 300), again.stderr


def test_a_restart_after_kill_9_still_knows_the_owners_values(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    rig.burn("web")
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        wait_until(lambda: rig.limit("web") != 200, 10, "the limit was moved")
        daemon.stop(signal.SIGKILL)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        wait_until(lambda: daemon.status()["workloads"], 5, "the daemon has looked")
        assert daemon.row("web")["owner_limit_milli"] == 200

    assert rig.limit("web") == 200


def test_an_external_rewrite_is_noticed_reported_and_not_fought(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        rig.burn("web")
        wait_until(lambda: (rig.limit("web") or 0) >= 400, 10, "the limit was moved")
        rig.write_limit("web", 300)
        wait_until(lambda: daemon.row("web")["held_by"] == "owner", 5, "the drift is seen")
        time.sleep(3)
        assert rig.limit("web") == 300
        assert "somebody else set" in daemon.log()
        assert b'mbcas_drift_total{by="external"} 1.0' in daemon.get("/metrics")[1]
        assert daemon.stop() == 0

    # The stop leaves alone what somebody else has set.
    assert rig.limit("web") == 300


def test_a_recreated_cgroup_is_not_confused_with_the_old_one(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        rig.burn("web")
        wait_until(lambda: (rig.limit("web") or 0) >= 400, 10, "the limit was moved")
        rig.stop_burning()
        rig.remove("web")
        rig.add("web", 700)
        wait_until(lambda: daemon.row("web")["owner_limit_milli"] == 700, 5, "the new one is met")
        assert daemon.stop() == 0

    assert rig.limit("web") == 700


def test_observe_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    rig.burn("web")
    with a_daemon(rig, tmp_path) as daemon:
        wait_until(lambda: daemon.status()["market_mode"] is not None, 10, "the market was cleared")
        wait_until(lambda: (daemon.row("web")["need_milli"] or 0) > 200, 5, "the need is seen")
        assert rig.limit("web") == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_is_quick_and_gives_everything_back(rig: Rig, tmp_path: Path, number: int) -> None:
    rig.add("web", 200)
    rig.add("free", None)
    rig.burn("web")
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        wait_until(lambda: rig.limit("free") is not None, 10, "the unlimited one got a limit")
        began_s = time.monotonic()
        assert daemon.stop(number) == 0
        assert time.monotonic() - began_s < 3

    assert (rig.limit("web"), rig.limit("free")) == (200, None)
    assert not (tmp_path / "s").exists()


def test_sighup_takes_over_good_settings_and_refuses_bad_ones(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path) as daemon:
        (tmp_path / "mbcasd.toml").write_text("[market]\novercommit = 3\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: daemon.status()["limit_capacity_milli"] == pytest.approx(3 * daemon.status()["capacity_milli"]),
            5,
            "the new overcommit is in force",
        )
        (tmp_path / "mbcasd.toml").write_text("[market]\novercomit = 4\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "did you mean market.overcommit?" in daemon.log(), 5, "the bad file is refused with words")
        assert daemon.status()["limit_capacity_milli"] == pytest.approx(3 * daemon.status()["capacity_milli"])


def test_once_prints_one_picture_and_leaves_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    done = subprocess.run(
        [sys.executable, "-m", "mbcasd", "local", "--parent", str(rig.cpu), "--once"]
        + ["--state-dir", str(tmp_path), "--socket", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert '"name": "web"' in done.stdout
    assert rig.limit("web") == 200


def test_once_also_ends_where_there_is_nothing_to_manage(rig: Rig, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mbcasd", "local", "--parent", rig.path, "--once"]
        + ["--state-dir", str(tmp_path), "--socket", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "No workload is managed" in done.stdout


def test_duration_ends_in_a_clean_stop(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path, "--duration", "2s") as daemon:
        assert daemon.process.wait(10) == 0


def test_children_that_come_and_go_in_quick_succession_do_no_harm(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        for i in range(40):
            rig.add(f"brief{i}", 100)
            time.sleep(0.03)
            rig.remove(f"brief{i}")
        wait_until(lambda: len(daemon.status()["workloads"]) == 1, 5, "only the lasting one is left")
        assert daemon.process.poll() is None
        assert "Traceback" not in daemon.log()


def test_the_daemon_reads_what_it_is_told_to_and_says_what_is_wrong(rig: Rig, tmp_path: Path) -> None:
    cases = {
        ("--parent", "/no-such-cgroup"): (2, "no-such-cgroup"),
        (): (2, "--parent"),
        ("--parent", rig.path, "--capacity", "-1"): (2, "250m"),
        ("--parent", rig.path, "--config", str(tmp_path / "none.toml")): (2, "none.toml"),
        ("--parent", rig.path, "--metrics-address", "127.0.0.1:99999"): (2, "99999"),
        ("--parent", rig.path, "--duration", "soon"): (2, "15s"),
    }
    for flags, (code, words) in cases.items():
        done = subprocess.run(
            [sys.executable, "-m", "mbcasd", "local", "--state-dir", str(tmp_path / "state"), *flags]
            + ["--socket", str(tmp_path / "s")],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, False), (
            flags,
            done.stderr,
        )


def test_a_user_without_permission_is_told_what_would_allow_it(rig: Rig, tmp_path: Path) -> None:
    rig.add("web", 200)
    tmp_path.chmod(0o777)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "mbcasd", "local"]
        + ["--parent", rig.path, "--mode", "enforce", "--state-dir", str(tmp_path / "state")]
        + ["--socket", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 1, done.stderr
    assert "permission denied" in done.stderr
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr
    assert rig.limit("web") == 200
