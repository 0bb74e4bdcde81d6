"""Build the programs for machines without Python: a folder, dist/mbcas/, and with --onefile also a single file.

Prints what came out and how large it is. The same sources and the same locked requirements give the same folder,
apart from the times inside the archive: SOURCE_DATE_EPOCH and the hash seed are fixed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST, WORK = ROOT / "dist", ROOT / "build" / "pyinstaller"
LOCK = "requirements/run.txt"


def last_change() -> str:
    """Seconds since the epoch of the last commit, or of the lock file where there is no git."""
    command = ["git", "log", "-1", "--format=%ct"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or str(int((ROOT / LOCK).stat().st_mtime))


def pyinstaller(*, onefile: bool) -> None:
    """Run PyInstaller quietly; its words are shown when it fails."""
    environ = {
        **os.environ,
        "SOURCE_DATE_EPOCH": last_change(),
        "PYTHONHASHSEED": "1",
        "MBCAS_ONEFILE": "1" if onefile else "",
    }
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level=WARN"]
    command += ["--distpath", str(DIST), "--workpath", str(WORK), str(ROOT / "packaging" / "mbcas.spec")]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}PyInstaller failed; see above")


# The same executable under other names: the daemon, and the plugin that kubectl finds by its name.
OTHER_NAMES = ("mbcasd", "kubectl-mbcas")


def other_names_beside(program: Path) -> None:
    """Let the other programs be links to the one executable."""
    for name in OTHER_NAMES:
        link = program.with_name(name)
        link.unlink(missing_ok=True)
        link.symlink_to(program.name)


def megabytes(path: Path) -> float:
    """Size of a file or of all files of a folder, in MB (10^6)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def main() -> None:
    """Build and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--onefile", action="store_true", help="also build dist/mbcas-onefile/")
    options = parser.parse_args()

    shutil.rmtree(DIST / "mbcas", ignore_errors=True)
    pyinstaller(onefile=False)
    other_names_beside(DIST / "mbcas" / "mbcasctl")
    print(f"dist/mbcas/: mbcasctl and mbcasd, {megabytes(DIST / 'mbcas'):.1f} MB")
    if options.onefile:
        pyinstaller(onefile=True)
        folder = DIST / "mbcas-onefile"
        folder.mkdir(exist_ok=True)
        shutil.move(DIST / "mbcas.single", folder / "mbcasctl")
        other_names_beside(folder / "mbcasctl")
        print(f"dist/mbcas-onefile/: the same as one file, {megabytes(folder):.1f} MB")


if __name__ == "__main__":
    main()
