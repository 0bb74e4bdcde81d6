"""`mbcasctl inspect` on real cgroups, as a person runs it."""

import json
import os
import subprocess
import sys

import pexpect
import pytest
from rigs.kernel import Rig, a_rig

pytestmark = pytest.mark.kernel


@pytest.fixture
def rig():
    with a_rig() as rig:
        yield rig


def inspect(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", "inspect", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_throttled_burner_is_seen_without_a_daemon(rig: Rig) -> None:
    rig.add("web", 200)
    rig.add("idle", None)
    rig.burn("web")
    answer = inspect("--cgroup", rig.path, "--window", "1s", "-o", "json")
    assert (answer.returncode, answer.stderr) == (0, "")
    web, idle = json.loads(answer.stdout)["rows"]
    assert (web["name"], idle["name"]) == (f"{rig.name}/web", f"{rig.name}/idle")
    assert 100 < web["usage_milli"] < 320
    assert web["limit_milli"] == 200
    assert web["throttled_ratio"] > 0.8
    assert web["runnable"] == pytest.approx(1.0)
    assert (idle["usage_milli"], idle["limit_milli"], idle["runnable"]) == (0, None, 0)


def test_every_output_format_is_printed(rig: Rig) -> None:
    rig.add("web", 200)
    for output, word in (("table", "CGROUP"), ("wide", f"{rig.path}/web"), ("yaml", "limit_milli: 200")):
        answer = inspect("-c", rig.path, "-w", "100ms", "-o", output)
        assert answer.returncode == 0
        assert word in answer.stdout


def test_a_typo_gets_the_name_that_was_meant(rig: Rig) -> None:
    rig.add("web", None)
    answer = inspect("-c", f"{rig.path}/wbe")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert f"did you mean {rig.path}/web?" in answer.stderr


@pytest.mark.parametrize("window", ["never", "10ms", "1h", "-1s"])
def test_a_window_that_cannot_be_is_refused(window: str) -> None:
    answer = inspect(f"--window={window}")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: --window")


def test_watching_draws_until_q_and_leaves_the_terminal_as_it_was(rig: Rig) -> None:
    rig.add("web", 200)
    rig.burn("web")
    command = ["-m", "mbcasctl", "inspect", "-c", rig.path, "-w", "200ms", "--watch"]
    terminal = pexpect.spawn(
        sys.executable, command, dimensions=(24, 80), timeout=30, env={**os.environ, "TERM": "xterm"}
    )
    terminal.expect("THROT")
    terminal.expect("web")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    assert b"\x1b[?1049l" in terminal.before
    terminal.close()
    assert terminal.exitstatus == 0


def test_watching_into_a_pipe_gives_a_line_of_json_each_time(rig: Rig) -> None:
    rig.add("web", 200)
    words = [sys.executable, "-m", "mbcasctl", "inspect", "-c", rig.path, "-w", "100ms", "--watch", "-o", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        seen = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(2)
        watching.stdout.close()
        assert watching.wait(10) == 0
    assert [len(survey["rows"]) for survey in seen] == [1, 1, 1]
