"""Write the completion scripts of `completions/`, or say with `--check` which of them are stale."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "completions"
SCRIPTS = {"bash": "mbcasctl.bash", "zsh": "_mbcasctl", "fish": "mbcasctl.fish"}


def generate(shell: str) -> str:
    """Ask the program itself; the script depends on its name and on nothing of this machine."""
    command = [sys.executable, "-m", "mbcasctl", "completion", shell]
    environ = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout


def main() -> int:
    """Write all scripts, or compare them; 1 when one is stale."""
    wanted = {FOLDER / name: generate(shell) for shell, name in SCRIPTS.items()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        if stale:
            print(f"stale in completions/: {', '.join(stale)}; run `make completions`", file=sys.stderr)
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text)
    print(f"written: {', '.join(path.name for path in wanted)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
