"""What the documentation names must exist: commands, flags, settings, metrics, targets, examples."""

import re
from pathlib import Path

import pytest

from mbcasd import cli, configfile
from mbcasd.accounting.metrics import Metrics
from mbcasd.configfile.keys import BY_DOTTED, KEYS, SECTIONS

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md")}
TEXT = "\n".join(PAGES.values())


def commands() -> dict[str, set[str]]:
    """Each command of mbcasctl, `config show` included → its options."""
    from typer.main import get_command

    from mbcasctl.app import app

    found: dict[str, set[str]] = {}

    def walk(command, path: str) -> None:
        found[path] = {option for parameter in command.params for option in getattr(parameter, "opts", [])}
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}".strip())

    walk(get_command(app), "")
    return found


def named(program: str) -> list[str]:
    """What stands after a program's name, wherever a page calls it: in backticks or in an indented line."""
    quoted = re.findall(rf"`{program} ([^`]+)`", TEXT)
    indented = re.findall(rf"^    (?:\$ )?{program} ([^#\n]+)", TEXT, re.MULTILINE)
    return [call.strip() for call in (*quoted, *indented)]


@pytest.mark.parametrize("call", sorted(set(named("mbcasctl"))))
def test_every_command_that_is_named_exists_with_its_options(call):
    known = commands()
    words = call.split()
    path = max(
        (" ".join(words[:n]) for n in range(1, len(words) + 1) if " ".join(words[:n]) in known), default="", key=len
    )

    assert path, f"mbcasctl {call}"
    options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert options <= known[path] | {"--help"}


@pytest.mark.parametrize("call", sorted(set(named("mbcasd"))))
def test_every_call_of_the_daemon_is_one_that_it_takes(call):
    cli.parser().parse_args(call.replace("'", "").split())


def test_every_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:`|^    )make ([a-z]+)", TEXT, re.MULTILINE)) <= targets


def test_every_setting_that_is_named_exists():
    sections = "|".join(SECTIONS)

    assert set(re.findall(rf"\b(?:{sections})\.[a-z_0-9]+\b", TEXT)) - {"record.db"} <= set(BY_DOTTED)


def test_every_metric_that_is_named_exists():
    exported = Metrics("node", "1").render().decode()

    assert all(name in exported for name in set(re.findall(r"\bmbcas_[a-z_]+", TEXT)))


def test_the_configuration_in_the_readme_is_valid(tmp_path):
    block = re.search(r"(?:^    .*\n)*^    \[\[workload\]\]\n(?:^    .*\n)+", PAGES["README.md"], re.MULTILINE)
    assert block is not None
    file = tmp_path / "mbcasd.toml"
    file.write_text(block[0].replace("    ", ""))

    assert configfile.load(str(file), {}, {}).settings.workloads


def test_a_variable_exists_for_every_setting_in_the_form_that_is_documented():
    assert "`MBCAS_<SECTION>_<KEY>`" in PAGES["README.md"]
    assert all(key.variable == f"MBCAS_{key.section}_{key.name}".upper() for key in KEYS)
