"""`mbcasctl completion`: the script that makes a shell complete this program's words.

The same scripts lie in `completions/`; `make check` fails when they are stale.
"""

import os
from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "mbcasctl"
VARIABLE = "_MBCASCTL_COMPLETE"  # a shell that asks for candidates sets it, and runs the program

_ZSH_ENDING = """\
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _mbcasctl_completion "$@"
else
  compdef _mbcasctl_completion mbcasctl
fi"""


class Shell(StrEnum):
    """Shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell to print the script for.")]) -> None:
    """Print the completion script of a shell.

    bash: mbcasctl completion bash > /etc/bash_completion.d/mbcasctl

    zsh: mbcasctl completion zsh > "${fpath[1]}/_mbcasctl"

    fish: mbcasctl completion fish > ~/.config/fish/completions/mbcasctl.fish
    """
    typer.echo(script(shell))


def script(shell: Shell) -> str:
    """The text of the script."""
    from typer._completion_shared import get_completion_script  # private, hence typer's upper bound

    text = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value).strip()
    if shell is Shell.ZSH:
        # zsh takes `#compdef` only from the very first line, and runs the file as the function on the first Tab:
        # typer's ending registers the function then, but does not call it, so that only the second Tab answers.
        text = text.rpartition("compdef ")[0] + _ZSH_ENDING
    return text


def prepare_answer() -> None:
    """Get ready to answer, if it is a shell that runs us; costs nothing otherwise.

    Typer does this by itself only together with its options `--install-completion` and `--show-completion`,
    which write to people's start-up files and crowd the help.
    """
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
