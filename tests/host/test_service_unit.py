import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mbcasctl.app import app
from mbcasd.cli import parser

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
HOST, AGENT = UNITS / "mbcasd.service", UNITS / "mbcasd-agent.service"


class Repeated(dict):
    """Keys that stand several times keep all their values."""

    def __setitem__(self, key, value):
        super().__setitem__(key, self[key] + value if isinstance(value, list) and key in self else value)


def read(path: Path) -> dict[str, str]:
    unit = configparser.RawConfigParser(strict=False, dict_type=Repeated, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read(path)
    return dict(unit["Service"])


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    return read(HOST)


@pytest.mark.parametrize("unit", [HOST, AGENT], ids=lambda unit: unit.stem)
def test_the_unit_is_valid(tmp_path: Path, unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # Both programs are looked for, so two that exist take their place.
    text = unit.read_text().replace("=mbcasd ", "=/bin/true ").replace("=mbcasctl ", "=/bin/true ")
    (tmp_path / unit.name).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_starts_are_commands_that_exist(service: dict[str, str]) -> None:
    options = service["Environment"].strip('"').removeprefix("MBCASD_OPTIONS=")
    program, *arguments = shlex.split(service["ExecStart"].replace("$MBCASD_OPTIONS", options))
    assert program == "mbcasd"
    assert parser().parse_args(arguments).mode == "observe"

    assert service["ExecStopPost"] == "mbcasctl restore"
    assert "restore" in {command.name for command in app.registered_commands}


def test_it_is_notified_watched_and_restored(service: dict[str, str]) -> None:
    assert (service["Type"], service["WatchdogSec"], service["Restart"]) == ("notify", "30s", "on-failure")
    assert service["Delegate"] == "no"


def test_the_agent_runs_with_a_kubeconfig_and_changes_nothing_of_the_node() -> None:
    agent = read(AGENT)
    options = agent["Environment"].strip('"').removeprefix("MBCASD_OPTIONS=")
    program, *arguments = shlex.split(agent["ExecStart"].replace("$MBCASD_OPTIONS", options))
    assert program == "mbcasd"
    parsed = parser().parse_args(arguments)
    assert (parsed.role, parsed.mode, parsed.kubeconfig) == ("agent", "observe", "/etc/mbcas/kubeconfig")

    assert "ExecStopPost" not in agent  # what it decided stays, and the next agent goes on from it
    assert (agent["CapabilityBoundingSet"], agent["ProtectControlGroups"]) == ("", "yes")
    assert (agent["Type"], agent["WatchdogSec"], agent["Restart"]) == ("notify", "30s", "on-failure")
