"""A mounted ConfigMap appears, changes, breaks and is mended while a role runs."""

from pathlib import Path

import pytest

from mbcasd.errors import ConfigError
from mbcasd.roles.settingsfile import SettingsFile

TEN_S, TWENTY_S = '[resize]\ncooldown = "10s"\n', '[resize]\ncooldown = "20s"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mbcasd.toml"
    path.write_text(TEN_S)
    return path


def test_a_change_is_taken_over_and_the_same_again_is_none(file: Path) -> None:
    settings = SettingsFile(str(file), {}, "controller")
    assert settings.settings.resize.cooldown_s == 10
    assert not settings.poll()

    file.write_text(TWENTY_S)
    assert settings.poll()
    assert settings.settings.resize.cooldown_s == 20
    assert not settings.poll()


def test_a_comment_changes_nothing(file: Path) -> None:
    settings = SettingsFile(str(file), {}, "controller")

    file.write_text("# calm\n" + TEN_S)

    assert not settings.poll()


def test_a_bad_change_is_refused_once_and_the_old_settings_stay(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    refused: list[str] = []
    settings = SettingsFile(str(file), {}, "controller", on_refused=refused.append)

    file.write_text('[resize]\ncooldwon = "20s"\n')
    assert not settings.poll()
    assert not settings.poll()

    assert settings.settings.resize.cooldown_s == 10
    assert len(refused) == 1
    assert "cooldown" in refused[0]
    assert "the old ones stay in force" in caplog.text

    file.write_text(TWENTY_S)
    assert settings.poll()


def test_a_bad_file_at_the_start_is_an_error(file: Path) -> None:
    file.write_text("[resize\n")

    with pytest.raises(ConfigError):
        SettingsFile(str(file), {}, "controller")


def test_a_file_that_does_not_exist_yet_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "mbcasd.toml"
    settings = SettingsFile(str(path), {}, "controller")
    assert settings.settings.resize.cooldown_s == 5

    path.write_text(TWENTY_S)
    assert settings.poll()
    path.unlink()
    assert settings.poll()
    assert settings.settings.resize.cooldown_s == 5


def test_a_config_map_is_swapped_above_the_file(tmp_path: Path) -> None:
    for number, text in enumerate((TEN_S, TWENTY_S)):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "mbcasd.toml").write_text(text)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "mbcasd.toml").symlink_to("..data/mbcasd.toml")
    settings = SettingsFile(str(tmp_path / "mbcasd.toml"), {}, "controller")

    (tmp_path / "..new").symlink_to("..1")
    (tmp_path / "..new").replace(tmp_path / "..data")

    assert settings.poll()
    assert settings.settings.resize.cooldown_s == 20


def test_the_environment_still_wins_after_a_change(file: Path) -> None:
    settings = SettingsFile(str(file), {"MBCAS_RESIZE_COOLDOWN": "7s"}, "controller")

    file.write_text(TWENTY_S)

    assert not settings.poll()
    assert settings.settings.resize.cooldown_s == 7


def test_without_a_file_there_are_the_defaults() -> None:
    settings = SettingsFile(None, {}, "controller")

    assert settings.settings.resize.cooldown_s == 5
    assert not settings.poll()
