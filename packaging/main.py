"""Both programs in one executable: the name by which it is called decides which of them runs."""

import os
import sys


def main() -> None:
    """Run `mbcasd` where the name says so, else `mbcasctl`."""
    if os.path.basename(sys.argv[0]) == "mbcasd":  # noqa: PTH119 - pathlib would cost each start
        from mbcasd.cli import main as run
    else:
        from mbcasctl.__main__ import main as run
    run()


if __name__ == "__main__":
    main()
