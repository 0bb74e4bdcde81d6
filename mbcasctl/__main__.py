"""`mbcasctl`: turns every expected error into one message and the right exit code."""

import sys

from mbcasctl import exits


def main() -> None:
    """Run the command line and exit."""
    from mbcasctl.app import app
    from mbcasctl.commands import completion
    from mbcasd.errors import BrokenInput, MbcasError

    completion.prepare_answer()
    try:
        app(prog_name="mbcasctl")
    except BrokenInput as err:
        _complain(str(err))
        sys.exit(exits.BAD_INPUT)
    except MbcasError as err:
        _complain(str(err))
        sys.exit(exits.FAILED)


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
