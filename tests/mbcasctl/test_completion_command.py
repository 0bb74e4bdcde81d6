import socket
import socketserver
import threading
from pathlib import Path

import msgspec
import pytest
from pictures import a_picture, a_row
from typer.testing import CliRunner

from mbcasctl.app import app
from mbcasctl.sources import names

FILES = {"bash": "mbcasctl.bash", "zsh": "_mbcasctl", "fish": "mbcasctl.fish"}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def daemon(tmp_path):
    """The path of a socket on which a daemon with three workloads answers."""
    body = msgspec.json.encode(a_picture(a_row("web-1"), a_row("web-2"), a_row("db")))

    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            while self.rfile.readline().strip():
                continue
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    path = str(tmp_path / "s")
    with socketserver.UnixStreamServer(path, Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def complete(beginning: str, path: str, within_s: float = 30) -> list[str]:
    return [name for name, _ in names.workloads_like(beginning, path, within_s)]


@pytest.mark.parametrize("shell", FILES)
def test_the_printed_script_is_the_one_in_the_repository(shell):
    printed = CliRunner().invoke(app, ["completion", shell])

    assert printed.exit_code == 0
    assert printed.stdout == (ROOT / "completions" / FILES[shell]).read_text()


def test_zsh_finds_its_mark_on_the_very_first_line():
    assert (ROOT / "completions" / "_mbcasctl").read_text().startswith("#compdef mbcasctl\n")


def test_an_unknown_shell_is_refused_with_those_that_are_known():
    refused = CliRunner().invoke(app, ["completion", "tcsh"])

    assert refused.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in refused.output


def test_workloads_of_the_running_daemon_are_offered(daemon):
    assert complete("shop/web", daemon) == ["shop/web-1", "shop/web-2"]
    assert complete("", daemon) == ["shop/web-1", "shop/web-2", "shop/db"]


def test_without_a_daemon_nothing_is_offered_and_nothing_said(tmp_path, capfd):
    assert complete("", str(tmp_path / "none")) == []
    assert complete("", "x" * 300) == []
    assert capfd.readouterr() == ("", "")


def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        assert complete("", str(tmp_path / "s"), within_s=0.01) == []
