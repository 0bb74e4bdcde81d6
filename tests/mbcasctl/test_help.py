import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import typer
from golden import check_golden
from pictures import a_picture, a_row, a_shop
from typer.testing import CliRunner

from mbcasctl.app import app
from mbcasd.serving.routes import Routes
from mbcasd.serving.server import Server

MBCASCTL = [sys.executable, "-m", "mbcasctl"]


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group that help shows, with its path, without the root."""
    for name, command in getattr(group, "commands", {}).items():
        if not command.hidden:
            yield (*path, name), command
            yield from commands(command, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))
RUNNABLE = {path: command for path, command in ALL.items() if not hasattr(command, "commands")}


def spelled(path: tuple[str, ...]) -> str:
    return " ".join(path)


@pytest.fixture
def served(tmp_path) -> Iterator[Path]:
    """The socket of a server that shows two thousand workloads: more than fits into a pipe."""
    picture = a_picture(*a_shop(), *(a_row(f"w{at:04}") for at in range(2000)))
    body, well = msgspec.json.encode(picture), (True, "")
    server = Server(Routes(metrics=bytes, status=lambda: body, healthy=lambda: well, ready=lambda: well))
    server.listen_unix(tmp_path / "s")
    yield tmp_path / "s"
    server.close()


def run(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MBCASCTL, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environ},
        check=False,
    )


def on_a_terminal(*words: object, **environ: str) -> str:
    """What a command writes when stdout is a terminal."""
    ours, theirs = pty.openpty()
    environ = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm-256color", **environ}
    with subprocess.Popen([*MBCASCTL, *map(str, words)], stdout=theirs, env=environ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            written += piece
        process.wait(30)
    os.close(ours)
    return written.decode()


def test_the_first_page_of_help_looks_like_this() -> None:
    check_golden("help.txt", run("--help", COLUMNS="80").stdout)


def test_without_arguments_help_is_shown() -> None:
    assert "Usage: mbcasctl" in (shown := run()).stdout + shown.stderr


@pytest.mark.parametrize("path", ALL, ids=spelled)
def test_every_command_says_what_it_does_in_one_sentence_first(path: tuple[str, ...]) -> None:
    first = (ALL[path].help or "").split("\n\n")[0].replace("\n", " ").strip()

    assert first.endswith("."), first
    assert 15 <= len(first) <= 150
    assert first[0].isupper()


@pytest.mark.parametrize("path", RUNNABLE, ids=spelled)
def test_every_option_and_argument_says_what_it_is_for(path: tuple[str, ...]) -> None:
    for parameter in RUNNABLE[path].params:
        if parameter.name == "help":
            continue
        words = getattr(parameter, "help", None) or ""
        assert len(words) > 10, parameter.name
        assert words.endswith((".", ")", "]")), words


@pytest.mark.parametrize("path", ALL, ids=spelled)
def test_help_is_shown_for_h_and_help_and_ends_well(path: tuple[str, ...]) -> None:
    for flag in ("-h", "--help"):
        shown = CliRunner().invoke(app, [*path, flag], prog_name="mbcasctl")
        assert shown.exit_code == 0
        assert f"Usage: mbcasctl {spelled(path)}" in shown.output


@pytest.mark.parametrize("path", RUNNABLE, ids=spelled)
def test_an_unknown_option_is_wrong_input(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--no-such-option"], prog_name="mbcasctl")

    assert shown.exit_code == 2
    assert "No such option" in shown.output


def test_an_unknown_command_and_a_bad_choice_are_wrong_input() -> None:
    for words in (["nonsense"], ["top", "--sort", "colour"], ["top", "-o", "xml"], ["top", "--interval"]):
        shown = run(*words)
        assert shown.returncode == 2, words
        assert shown.stdout == ""
        assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--interval", "soon"], "error: --interval: 'soon' is not a duration"),
        (["--interval", "1ms"], "error: --interval 1ms: at least 0.1 s"),
        (["--since", "long"], "error: --since: 'long' is not a duration"),
        (["--since", "10m", "--url", "h"], "error: --since looks into a record"),
        (["--socket", "/s", "--url", "h"], "error: --socket and --url exclude each other"),
        (["--url", "ftp://h"], "error: --url 'ftp://h' is not an address"),
        (["--record", "/nowhere/record.db"], "error: there is no record at /nowhere/record.db"),
    ],
)
def test_what_top_cannot_use_is_named(words: list[str], says: str) -> None:
    shown = run("top", *words)

    assert shown.returncode == 2
    assert says in shown.stderr
    assert shown.stdout == ""


def test_nobody_to_ask_is_a_failure_with_the_remedy() -> None:
    for command in ("top", "status"):
        shown = run(command, "--socket", "/nowhere/s")
        assert shown.returncode == 1
        assert shown.stderr.startswith("error: no daemon answers on /nowhere/s: start one with `mbcasd local")


def test_nothing_heavy_is_loaded_before_a_command_runs() -> None:
    heavy = {"rich", "numpy", "kubernetes", "msgspec", "psutil", "prometheus_client", "sqlite3", "yaml", "http.client"}
    heavy |= {"urllib3", "websocket"}
    code = f"import sys, mbcasctl.app; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_a_pipe_gets_one_picture_without_colours(served) -> None:
    shown = run("top", "--socket", served)

    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert "w1999" in shown.stdout
    assert "quit" not in shown.stdout


def test_data_is_data(served) -> None:
    shown = run("top", "--socket", served, "-o", "json", "--filter", "worker", "--sort", "name")
    picture = msgspec.json.decode(shown.stdout)
    assert [row["name"] for row in picture["workloads"]] == ["worker-a", "worker-b"]

    shown = run("top", "--socket", served, "-o", "yaml", "--filter", "worker-b")
    assert msgspec.yaml.decode(shown.stdout)["price"] == 0.0043

    wide = run("top", "--socket", served, "-o", "wide", "--filter", "worker-b").stdout
    assert "ADVICE" in wide


def test_a_terminal_gets_colours_and_no_color_takes_them_away(served) -> None:
    once = ("top", "--socket", served, "--once", "--filter", "worker")
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7][;m]")

    assert colour.search(on_a_terminal(*once))
    assert not colour.search(on_a_terminal(*once, NO_COLOR="1"))


@pytest.mark.parametrize("words", ["top --socket {}", "top -o json --socket {}", "top -o yaml --socket {}", "--help"])
def test_a_reader_that_goes_away_is_no_error(served, words: str) -> None:
    command = " ".join([*MBCASCTL, words.format(served)])
    shown = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert shown.stderr == ""
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 1


def test_status_tells_pipelines_by_its_exit_code(served) -> None:
    shown = run("status", "--socket", served)

    # The picture is from 2023: the daemon stands still.
    assert shown.returncode == 3
    assert "has not looked at its node for" in shown.stdout
    assert msgspec.json.decode(run("status", "--socket", served, "-o", "json").stdout)["healthy"] is False
