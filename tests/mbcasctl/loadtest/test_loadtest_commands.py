import json
import subprocess
import sys

import pytest
from mbcasctl_results import a_result

from mbcasctl.loadtest import results
from mbcasctl.loadtest.children import Child, ChildFailed, daemon_command, send_command, serve_command


def mbcasctl(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scale", "nan"], "error: --scale: nan is no factor"),
        (["--scale", "inf"], "error: --scale: inf is no factor"),
        (["--scale", "0"], "--scale"),
        (["--rate-scale", "nan"], "error: --rate-scale: nan is no factor"),
        (["--rate-scale", "-1"], "--rate-scale"),
        (["--phases", "warm-up,cool-down"], "error: --phases: 'cool-down' is no phase"),
        (["--limits", "none"], "--limits"),
        (["--mode", "dream"], "--mode"),
        (["--scale", "10000", "--rate-scale", "10"], "use a smaller --scale or --rate-scale"),
        (["--out", "/nonexistent/result.json"], "error: cannot write /nonexistent/result.json"),
        (["--keep-record", "/nonexistent/record.db"], "error: cannot write /nonexistent/record.db"),
        (["--parent", "/no-such-cgroup"], "/no-such-cgroup"),
        (["--parent", "nowhere"], "'nowhere'"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_made(arguments, complaint):
    refused = mbcasctl("loadtest", "run", *arguments)

    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("arguments", [["--seconds", "3"], ["--seconds", "x"], ["--keep-record", "/nonexistent/r.db"]])
def test_a_wrong_flag_of_the_demo_is_refused(arguments):
    refused = mbcasctl("demo", *arguments)

    assert refused.returncode == 2
    assert refused.stdout == ""


def test_a_report_of_no_result_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")

    for file in (tmp_path / "x.json", tmp_path / "none.json"):
        refused = mbcasctl("loadtest", "report", str(file))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ")


def test_a_report_as_json_is_the_result_itself(tmp_path):
    results.save(a_result(), tmp_path / "x.json")
    shown = mbcasctl("loadtest", "report", str(tmp_path / "x.json"), "-o", "json")

    assert json.loads(shown.stdout) == json.loads((tmp_path / "x.json").read_text())


def test_the_commands_by_which_the_binary_calls_itself_are_not_offered_to_people():
    shown = mbcasctl("loadtest", "--help").stdout

    assert "run" in shown
    assert "serve" not in shown
    assert "send" not in shown


def test_the_binary_can_call_itself():
    assert "usage: mbcasctl loadtest serve" in mbcasctl("loadtest", "serve", "--help").stdout
    assert mbcasctl("loadtest", "serve", "cook").returncode == 2
    assert mbcasctl("loadtest", "send", "now").returncode == 2


def test_in_a_single_binary_every_child_is_that_binary_under_a_name(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)

    assert serve_command("noise") == ["mbcasctl", "loadtest", "serve", "noise"]
    assert send_command() == ["mbcasctl", "loadtest", "send"]
    assert daemon_command("local") == ["mbcasd", "local"]


def test_a_child_that_ends_too_early_is_quoted(tmp_path):
    with (tmp_path / "log").open("ab") as log:
        child = Child("worker-a", [sys.executable, "-c", "import sys; sys.exit('no more threads')"], log=log)
    with pytest.raises(ChildFailed, match="worker-a ended with exit code 1: no more threads"):
        child.read_line(30)
    child.close()


def test_a_child_that_says_nothing_is_not_waited_for_without_end(tmp_path):
    with (tmp_path / "log").open("ab") as log:
        child = Child("worker-a", [sys.executable, "-c", "input()"], log=log)
    with pytest.raises(ChildFailed, match=r"worker-a said nothing within 0\.05 s"):
        child.read_line(0.05)
    child.close()
    child.close()
    assert child.returncode is not None


def test_what_a_child_says_in_pieces_is_one_line(tmp_path):
    with (tmp_path / "log").open("ab") as log:
        child = Child("x", [sys.executable, "-c", "print('a', end='', flush=True); input(); print('b\\nc')"], log=log)
    assert child.poll_line(0.2) is None
    child.write_line(b"")
    assert child.read_line(30) == b"ab"
    assert child.read_line(30) == b"c"
    child.close()
