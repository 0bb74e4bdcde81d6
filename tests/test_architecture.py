"""The shape of the tree: who may import whom, and what the programs load before they do anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that are there after a statement, in a Python of its own."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_contracts_hold():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "heavy", ["typer", "click", "rich", "numpy", "kubernetes", "psutil", "pydantic", "asyncio", "tomli_w"]
)
def test_the_daemon_stays_small(heavy):
    assert heavy not in loaded_by("import mbcasd.cli, mbcasd.roles.local")


@pytest.mark.parametrize(
    "heavy", ["rich", "numpy", "kubernetes", "psutil", "msgspec", "prometheus_client", "tomllib", "sqlite3"]
)
def test_help_loads_nothing_that_only_a_command_needs(heavy):
    assert heavy not in loaded_by("import mbcasctl.app")


def test_no_module_is_named_for_odds_and_ends():
    names = {path.stem for package in ("mbcasd", "mbcasctl") for path in (ROOT / package).rglob("*")}

    assert names.isdisjoint({"utils", "util", "helpers", "common", "base", "misc"})
