"""`mbcasctl`: turns every expected error into one message and the right exit code.

Under the name `kubectl-mbcas` it is a plugin: kubectl runs it for `kubectl mbcas …`.
"""

import os
import sys

from mbcasctl import exits


def main() -> None:
    """Run the command line and exit."""
    from mbcasctl.app import app
    from mbcasctl.commands import completion
    from mbcasd.errors import ApiAway, BrokenInput, MbcasError

    completion.prepare_answer()
    try:
        app(prog_name=_name())
    except BrokenInput as err:
        _complain(str(err))
        sys.exit(exits.BAD_INPUT)
    except ApiAway as err:
        _complain(f"{err}; is it up, and are kubeconfig and context the right ones?")
        sys.exit(exits.FAILED)
    except MbcasError as err:
        _complain(str(err))
        sys.exit(exits.FAILED)


def _name() -> str:
    """What the person typed to get here, for help and usage."""
    called = os.path.basename(sys.argv[0])  # noqa: PTH119  pathlib would cost each start
    return "kubectl mbcas" if called.startswith("kubectl-mbcas") else "mbcasctl"


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
