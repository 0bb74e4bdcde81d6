"""`mbcasctl top` in a real terminal: what a person sees, key by key."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from pictures import a_picture, a_row, a_shop
from rigs.two_clearings import write_two_clearings

from mbcasd.model.snapshot import NodeSnapshot

pytestmark = pytest.mark.terminal

DEADLINE_S = 20.0
FAKE_DAEMON = Path(__file__).parent.parent / "fakes" / "fake_daemon.py"


class Terminal:
    """A shell in a pane of a tmux server of its own."""

    def __init__(self, socket: Path, *, width: int = 80, height: int = 24) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-u", "-f", "/dev/null"]
        shell = "env PS1='$ ' HISTFILE= bash --norc --noprofile"
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), shell)
        self.wait_for(lambda screen: screen[0].startswith("$"))

    def close(self) -> None:
        self._run("kill-server")

    def type(self, *keys: str) -> None:
        """Press keys by their tmux names; other words are typed letter by letter."""
        self._run("send-keys", *keys)

    def screen(self) -> list[str]:
        """The lines of the pane, as they are now."""
        return self._run("capture-pane", "-p").split("\n")[:-1]

    def ask(self, what: str) -> str:
        """A property of the pane."""
        return self._run("display-message", "-p", f"#{{{what}}}").strip()

    def resize(self, width: int, height: int) -> None:
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def log_to(self, file: Path) -> None:
        """Copy what programs write to the pane into a file from now on."""
        self._run("pipe-pane", "-o", f"cat > {shlex.quote(str(file))}")

    def wait_for(self, what: Callable[[list[str]], object]) -> list[str]:
        """Look again and again until the screen is as expected, and was not caught in the middle of a drawing."""
        ends_s = time.monotonic() + DEADLINE_S
        before: list[str] = []
        while time.monotonic() < ends_s:
            screen = self.screen()
            # The first line has a clock, so it may differ from one look to the next.
            if screen and screen[1:] == before[1:] and what(screen):
                return screen
            before = screen
            time.sleep(0.05)
        pytest.fail("never seen; the last screen was\n" + "\n".join(before))

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout


class FakeDaemon:
    """The fake daemon as a process; `show` changes its picture."""

    def __init__(self, folder: Path) -> None:
        self.socket, self._picture = folder / "s", folder / "picture.json"
        self._process: subprocess.Popen[bytes] | None = None

    def show(self, picture: NodeSnapshot) -> None:
        new = self._picture.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(picture))
        new.replace(self._picture)

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, FAKE_DAEMON, self.socket, self._picture])
        ends_s = time.monotonic() + DEADLINE_S
        while not self.socket.exists() and time.monotonic() < ends_s:
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def daemon(tmp_path) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(tmp_path)
    daemon.show(a_picture(*a_shop(), problems=("the limit of batch/noise-0 was set by somebody else",)))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def terminal(tmp_path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "tmux")
    yield terminal
    terminal.close()


def is_top(screen: list[str]) -> bool:
    return screen[0].startswith("mbcas  node-1  enforce  congested") and "? help" in screen[-1]


@pytest.fixture
def top(daemon, terminal) -> Terminal:
    """`mbcasctl top` on screen, after a word that must be there again when it has gone."""
    command = f"{sys.executable} -m mbcasctl top --socket {daemon.socket}"
    terminal.type(f"clear; echo as before; {command} --interval 200ms; echo code=$?", "Enter")
    terminal.wait_for(is_top)
    return terminal


def has_gone(terminal: Terminal, code: int) -> None:
    """The shell's screen is back as it was, and the terminal takes lines again."""
    screen = terminal.wait_for(lambda screen: f"code={code}" in screen)
    assert screen[0] == "as before"
    assert not any("WORKLOAD" in line for line in screen)
    assert (terminal.ask("alternate_on"), terminal.ask("cursor_flag"), terminal.ask("wrap_flag")) == ("0", "1", "1")
    terminal.type("stty -a", "Enter")
    modes = " ".join(terminal.wait_for(lambda screen: any("icanon" in line for line in screen)))
    assert " -icanon" not in modes
    assert " -echo " not in modes


def test_a_person_sees_the_whole_screen_and_nothing_wraps(top) -> None:
    screen = top.screen()

    assert len(screen) == 24
    assert screen[1].startswith("need  █")
    assert screen[3] == "! the limit of batch/noise-0 was set by somebody else"
    assert screen[5] == "  WORKLOAD        USAGE TREND  %LIM THR% ST l/n/s  NEED LIMIT HELD BY       LAST"
    assert screen[7] == " !shop/worker-b    812m ▂▃▅█▇▇   81 14.2   93/5/2 1240m 1000m price    +180m  3s"
    assert [line[:18].strip() for line in screen[6:13]] == [
        "!batch/noise-0", "!shop/worker-b", "~batch/noise-1", "shop/worker-a", "shop/gateway", "·kube-system/dns", ""
    ]  # fmt: skip
    assert screen[-1].startswith("q quit  s sort:throttled↓  / filter  e explain  n node  p pause  ? help")


def test_a_new_picture_appears_by_itself(top, daemon) -> None:
    daemon.show(a_picture(a_row("newcomer")))

    top.wait_for(lambda screen: "newcomer" in screen[5])


def test_a_filter_narrows_while_it_is_typed(top) -> None:
    top.type("/", "w", "o", "r")
    screen = top.wait_for(lambda screen: "filter: wor_  (2 match)" in screen[4])
    assert "worker-b" in screen[6]
    assert "worker-a" in screen[7]
    assert screen[8].strip() == ""

    top.type("Escape")
    top.wait_for(lambda screen: "noise-0" in screen[6])


def test_keys_sort_select_explain_and_help(top) -> None:
    top.type("s", "s", "s", "s", "s", "s", "s")
    top.wait_for(lambda screen: "sort:name" in screen[-1] and "batch/noise-0" in screen[6])
    top.type("r")
    top.wait_for(lambda screen: "shop/worker-b" in screen[6])
    top.type("Down", "Down")
    top.wait_for(lambda screen: screen[7].startswith("› shop/worker-a"))
    top.type("e")
    top.wait_for(lambda screen: "It may use 700m." in "\n".join(screen))
    top.type("Escape", "?")
    top.wait_for(lambda screen: "Keys" in screen and "more below" in screen[-1])
    top.type("?", "n")
    top.wait_for(lambda screen: any("receipt      8f31c2aa91 ✓ holds" in line for line in screen))
    top.type("Escape")
    top.wait_for(is_top)


def test_p_holds_the_picture_still(top, daemon) -> None:
    top.type("p")
    top.wait_for(lambda screen: "PAUSED" in screen[0])
    daemon.show(a_picture(a_row("newcomer")))
    top.type("s")
    top.wait_for(lambda screen: "sort:usage" in screen[-1] and "worker-b" in "\n".join(screen))
    top.type("p")
    top.wait_for(lambda screen: "newcomer" in "\n".join(screen))


def test_a_long_list_scrolls_with_the_selection(top, daemon) -> None:
    daemon.show(a_picture(*(a_row(f"w{at:03}") for at in range(200))))
    top.wait_for(lambda screen: "1-18 of 200" in screen[3])
    top.type("G")
    screen = top.wait_for(lambda screen: "183-200 of 200" in screen[3])
    assert screen[-2].startswith("› shop/w199")
    top.type("PPage", "PPage")
    top.wait_for(lambda screen: any(line.startswith("› shop/w163") for line in screen))


def test_another_size_is_filled_at_once(top) -> None:
    top.resize(132, 30)
    screen = top.wait_for(lambda screen: len(screen) == 30 and is_top(screen))
    assert "TARG" in screen[5]
    top.resize(60, 10)
    screen = top.wait_for(lambda screen: len(screen) == 10 and screen[0].startswith("mbcas  node-1"))
    assert screen[-1].startswith("q quit")
    assert all(len(line) <= 60 for line in screen)


def test_a_lost_daemon_is_named_and_comes_back(top, daemon) -> None:
    daemon.stop()
    screen = top.wait_for(lambda screen: "NO NEWS" in screen[0])
    assert screen[3].startswith("! lost the daemon")
    assert "worker-b" in "\n".join(screen)

    daemon.start()
    top.wait_for(lambda screen: "NO NEWS" not in screen[0] and is_top(screen))


def test_a_picture_that_hardly_changes_costs_hardly_a_byte(top, tmp_path) -> None:
    log = tmp_path / "sent"
    top.log_to(log)
    for _ in range(4):
        clock = top.screen()[0].split()[-1]
        top.wait_for(lambda screen, clock=clock: screen[0].split()[-1] != clock)

    # Only the first line changes, once a second: 80 cells with a few colours.
    assert 80 < log.stat().st_size < 5 * 250


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("C-c", 0)])
def test_leaving_puts_the_terminal_back(top, key: str, code: int) -> None:
    top.type(key)

    has_gone(top, code)


def child_of(pid: int) -> int:
    """The only child process of a shell."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_it_ends_others_with_the_terminal_put_back(top, signum: signal.Signals) -> None:
    os.kill(child_of(int(top.ask("pane_pid"))), signum)

    has_gone(top, 128 + signum)


def test_a_stop_from_the_keyboard_gives_the_terminal_back_for_a_while(top) -> None:
    top.type("C-z")
    top.wait_for(lambda screen: any("Stopped" in line for line in screen))
    assert top.ask("alternate_on") == "0"
    top.type("fg", "Enter")
    top.wait_for(is_top)
    top.type("q")
    top.wait_for(lambda screen: top.ask("alternate_on") == "0")


def test_a_bug_while_the_screen_is_taken_puts_it_back_before_the_traceback(terminal, tmp_path) -> None:
    script = tmp_path / "bug.py"
    script.write_text(
        "from mbcasctl.terminal.screen import Screen\n"
        "with Screen() as screen:\n"
        "    screen.draw(['x' * 80])\n"
        "    raise RuntimeError('a bug')\n"
    )
    terminal.type(f"clear; echo as before; {sys.executable} {script} 2>&1 | tail -n1; echo code=0", "Enter")
    terminal.wait_for(lambda screen: "RuntimeError: a bug" in screen)

    has_gone(terminal, 0)


def test_keys_come_from_the_terminal_also_when_stdin_does_not(daemon, terminal) -> None:
    command = f"{sys.executable} -m mbcasctl top --socket {daemon.socket}"
    terminal.type(f"clear; echo as before; echo | {command}; echo code=$?", "Enter")
    terminal.wait_for(is_top)
    terminal.type("q")

    has_gone(terminal, 0)


def test_left_and_right_go_through_a_record(terminal, tmp_path) -> None:
    write_two_clearings(tmp_path / "record.db")
    terminal.type(f"clear; echo as before; {sys.executable} -m mbcasctl top --record {tmp_path}/record.db", "Enter")
    terminal.wait_for(lambda screen: "RECORD 3/3" in screen[0] and "<- -> step" in screen[-1])
    terminal.type("Left")
    screen = terminal.wait_for(lambda screen: "RECORD 2/3" in screen[0])
    assert "congested" in screen[0]
    assert any("demo/web" in line and "+200m" in line and "price" in line for line in screen)
    terminal.type("Left", "Left")
    terminal.wait_for(lambda screen: "RECORD 1/3" in screen[0] and "uncongested" in screen[0])
    terminal.type("Right", "Right", "Right")
    terminal.wait_for(lambda screen: "RECORD 3/3" in screen[0])
    terminal.type("q")
    terminal.wait_for(lambda screen: screen[0] == "as before")


def test_hostile_names_stay_names(top, daemon) -> None:
    hostile = "\x1b]0;owned\x07\x1b[?1049l\x1b[31mevil"
    daemon.show(a_picture(replace(a_row(), name=hostile), node=hostile))

    screen = top.wait_for(lambda screen: any("evil" in line for line in screen))
    assert screen[0].startswith("mbcas  �")
    assert top.ask("alternate_on") == "1"
    assert "owned" not in top.ask("pane_title")


def test_a_dumb_terminal_gets_one_picture(daemon, terminal) -> None:
    terminal.type(f"clear; TERM=dumb {sys.executable} -m mbcasctl top --socket {daemon.socket}", "Enter")

    def has_printed(screen: list[str]) -> bool:
        lines = [line for line in screen if line]
        return any("kube-system/dns" in line for line in lines) and lines[-1].strip() == "$"

    terminal.wait_for(has_printed)
