"""What `mbcasd local` does when something of its own goes wrong; the whole of it is tried in the kernel tier."""

import argparse
import threading
from pathlib import Path

import pytest

from mbcasd import cli
from mbcasd.errors import ConfigError
from mbcasd.roles import local


def options(*flags: str) -> argparse.Namespace:
    return cli.parser().parse_args(["local", *flags])


def test_a_bug_in_another_thread_stops_the_daemon(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    daemon = local._Daemon(options("--parent", "/"), {}, stop)
    bug = ValueError("a bug")

    daemon.on_thread_bug(threading.ExceptHookArgs((ValueError, bug, None, threading.current_thread())))

    assert stop.is_set()
    assert "a bug" in caplog.text


def test_without_anything_to_watch_it_says_what_to_name() -> None:
    with pytest.raises(ConfigError, match="--parent"):
        local._Daemon(options(), {}, threading.Event())


def test_burst_that_the_backend_cannot_set_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mbcasd.toml"
    file.write_text('[resize]\nburst = "on"\n')
    daemon = local._Daemon(options("--unit", "web*", "--config", str(file)), {}, threading.Event())

    with pytest.raises(ConfigError, match=r"resize\.burst"):
        daemon._engine_config(daemon._settings, 2)


def test_the_optimizer_of_a_host_has_a_period_of_its_own_unless_one_is_set(tmp_path: Path) -> None:
    file = tmp_path / "mbcasd.toml"
    file.write_text('[loops]\nslow_loop_interval = "20s"\n')

    default = local._Daemon(options("--parent", "/"), {}, threading.Event())
    chosen = local._Daemon(options("--parent", "/", "--config", str(file)), {}, threading.Event())

    assert default._settings.loops.slow_loop_interval_s == 5
    assert chosen._settings.loops.slow_loop_interval_s == 20
