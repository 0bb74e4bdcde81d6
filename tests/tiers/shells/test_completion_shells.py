"""Completion as a person meets it: real shells on a terminal, the Tab key, and what then stands on the line."""

import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.shells

COMPLETIONS = Path(__file__).parents[3] / "completions"
PATIENCE_S = 20  # a busy machine; a quick one takes a third of a second
PROMPT = "ready> "


@pytest.fixture
def shell(tmp_path, request):
    """Starts a shell that knows nothing but our script, in an empty directory, and waits for its prompt."""
    started = []

    def start(name: str, *arguments: str, first: str) -> pexpect.spawn:
        environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
        }
        child = pexpect.spawn(
            shutil.which(name) or name,
            list(arguments),
            env=environ,
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=PATIENCE_S,
            dimensions=(40, 100),
        )
        started.append(child)
        child.sendline(first)
        child.expect("loaded-it")
        child.expect_exact(PROMPT)
        return child

    yield start
    for child in started:
        child.close(force=True)


def bash(start) -> pexpect.spawn:
    # The prompt comes in two pieces, so that the echo of the command that sets it is not taken for it.
    return start(
        "bash", "--norc", "--noprofile",
        first=f"PS1='rea''dy> '; bind 'set show-all-if-ambiguous on'; . {COMPLETIONS}/mbcasctl.bash; echo loaded''-it",
    )  # fmt: skip


def zsh(start) -> pexpect.spawn:
    return start(
        "zsh", "-f",
        first=f"PS1='rea''dy> '; fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D; "
        "unsetopt zle_bracketed_paste 2>/dev/null; setopt no_beep; echo loaded''-it",
    )  # fmt: skip


@pytest.mark.parametrize("open_shell", [bash, zsh])
def test_a_command_is_completed(shell, open_shell):
    child = open_shell(shell)

    child.send("mbcasctl compl\t")

    child.expect("completion ")


@pytest.mark.parametrize("open_shell", [bash, zsh])
def test_choices_of_an_argument_are_offered(shell, open_shell):
    child = open_shell(shell)

    child.send("mbcasctl completion \t\t")

    for choice in ("bash", "fish", "zsh"):
        child.expect(rf"\b{choice}\b")


@pytest.mark.parametrize("open_shell", [bash, zsh])
def test_names_of_settings_are_completed_from_the_table_of_keys(shell, open_shell):
    child = open_shell(shell)

    child.send("mbcasctl config explain market.overc\t")

    child.expect(r"market\.overcommit")


def in_fish(line: str, home: Path) -> dict[str, str]:
    """What fish would offer for a line: candidate → description."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "TERM": "dumb",
    }
    script = f"source {COMPLETIONS}/mbcasctl.fish; complete -C '{line}'"
    offered, status = pexpect.run(
        f'fish --no-config -c "{script}"', env=environ, timeout=PATIENCE_S, encoding="utf-8", withexitstatus=True
    )
    assert status == 0, offered
    return dict(line.partition("\t")[::2] for line in offered.splitlines())


def test_fish_completes_commands_and_says_what_they_do(tmp_path):
    offered = in_fish("mbcasctl compl", tmp_path)

    assert offered == {"completion": "Print the completion script of a shell."}


def test_fish_completes_choices_and_names_of_settings(tmp_path):
    assert set(in_fish("mbcasctl completion ", tmp_path)) == {"bash", "zsh", "fish"}
    assert "market.overcommit" in in_fish("mbcasctl config explain market.overc", tmp_path)
