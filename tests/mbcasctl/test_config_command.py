import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbcasctl.app import app
from mbcasd import configfile
from mbcasd.configfile.keys import BY_DOTTED, KEYS, SECTIONS
from mbcasd.errors import ConfigError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `mbcasctl config` in an empty directory, without settings in the environment."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, environ: dict[str, str] | None = None):
        return CliRunner().invoke(app, ["config", *words], env={"COLUMNS": "80", **(environ or {})})

    return run


def test_init_writes_a_file_that_is_valid_and_says_nothing_but_defaults(run):
    assert run("init").exit_code == 0

    assert run("validate", "mbcasd.toml").exit_code == 0
    assert configfile.load("mbcasd.toml", {}, {}).settings == configfile.load(None, {}, {}).settings


def test_init_mentions_every_key_once_and_fits_eighty_columns(run):
    run("init")

    text = Path("mbcasd.toml").read_text()
    sections = tomllib.loads(text)
    for key in KEYS:
        assert key.name in sections[key.section] or f"\n# {key.name} =\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_init_leaves_a_file_that_is_there_as_it_is(run):
    Path("mine.toml").write_text("# mine\n")

    refused = run("init", "mine.toml")

    assert isinstance(refused.exception, ConfigError)
    assert "--force" in str(refused.exception)
    assert Path("mine.toml").read_text() == "# mine\n"
    assert run("init", "mine.toml", "--force").exit_code == 0
    assert "[market]" in Path("mine.toml").read_text()


def test_init_can_write_to_stdout(run):
    printed = run("init", "-")

    assert tomllib.loads(printed.stdout)["market"]["overcommit"] == 2
    assert list(Path().iterdir()) == []


def test_init_into_a_directory_that_is_not_there_names_the_reason(run):
    assert "nowhere/mbcasd.toml cannot be written" in str(run("init", "nowhere/mbcasd.toml").exception)


def test_show_names_the_source_of_every_value(run):
    Path("mbcasd.toml").write_text("[market]\novercommit = 3\n")

    shown = run("show", "--config", "mbcasd.toml", "-o", "json", environ={"MBCAS_RESIZE_COOLDOWN": "7s"})

    data = json.loads(shown.stdout)
    assert data["market"]["overcommit"] == {"value": 3.0, "source": "mbcasd.toml, line 2"}
    assert data["resize"]["cooldown"] == {"value": "7s", "source": "MBCAS_RESIZE_COOLDOWN"}
    assert data["loops"]["sampling_interval"] == {"value": "1s", "source": "default"}
    assert {f"{section}.{name}" for section in SECTIONS for name in data[section]} == {key.dotted for key in KEYS}


def test_show_as_a_table_has_a_line_for_each_setting(run):
    Path("mbcasd.toml").write_text("[[workload]]\nmatch = '[a]*'\nfloor = '1'\n")

    lines = run("show", "--config", "mbcasd.toml").stdout.splitlines()

    assert {line.split()[0] for line in lines[1:]} >= {key.dotted for key in KEYS}
    assert any("workload[0].match" in line and "[a]*" in line for line in lines)


def test_show_as_toml_can_be_used_as_a_file(run):
    Path("mbcasd.toml").write_text("[market]\nmin_change_percent = 3\n[[workload]]\nmatch = 'a'\ncap = 1\n")

    Path("again.toml").write_text(run("show", "--config", "mbcasd.toml", "-o", "toml").stdout)

    again, first = (configfile.load(name, {}, {}).settings for name in ("again.toml", "mbcasd.toml"))
    assert again == first


def test_validate_tells_every_problem_of_every_file_and_exits_with_2(run):
    Path("a.toml").write_text("[market]\novercomit = 3\nalpha = nan\n")
    Path("b.toml").write_text("")

    checked = run("validate", "a.toml", "b.toml", "c.toml")

    assert checked.exit_code == 2
    assert checked.stdout == "b.toml: valid\n"
    assert [line.split(":")[0] for line in checked.stderr.splitlines()] == [
        "a.toml, line 2",
        "a.toml, line 3",
        "c.toml",
    ]


@pytest.mark.parametrize("dotted", BY_DOTTED)
def test_explain_says_form_default_and_place_of_each_setting(run, dotted):
    said = run("explain", dotted)

    assert said.exit_code == 0
    assert all(f"\n  {word}" in said.stdout for word in ("form", "default", "in the file"))


def test_explain_takes_flat_names_too(run):
    assert "guardrail.fast_up_threshold" in run("explain", "fastUpThreshold").stdout


def test_explain_lists_all_settings_or_those_of_a_section(run):
    assert all(key.dotted in run("explain").stdout for key in KEYS[:5])
    assert "market.alpha" not in run("explain", "loops").stdout


def test_explain_of_a_typo_names_the_nearest_setting(run):
    assert "did you mean market.overcommit?" in str(run("explain", "market.overcomit").exception)


def test_a_setting_that_does_nothing_yet_is_valid_and_said_to_do_nothing(run):
    Path("mbcasd.toml").write_text("[market]\ncredits = true\n[resize]\nskip_guaranteed = true\n")

    checked = run("validate", "mbcasd.toml")

    assert checked.exit_code == 0
    assert checked.stderr == "note: mbcasd.toml, line 2: market.credits has no effect in this version\n"
    assert "in force     not yet" in run("explain", "market.credits").stdout
