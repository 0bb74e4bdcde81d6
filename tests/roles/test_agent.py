"""What `mbcasd agent` refuses and tells at its start; the whole of it is tried in the tiers with an API server."""

import argparse
import threading
from pathlib import Path

import pytest

from mbcasd import cli
from mbcasd.errors import ConfigError
from mbcasd.roles import agent
from mbcasd.settings import Preset

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {token: secret}}]
contexts: [{name: here, context: {cluster: here, user: me}}]
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def options(kubeconfig: Path, *flags: str) -> argparse.Namespace:
    return cli.parser().parse_args(["agent", "--kubeconfig", str(kubeconfig), *flags])


def a_daemon(kubeconfig: Path, *flags: str, **environ: str) -> agent._Daemon:
    return agent._Daemon(options(kubeconfig, *flags), environ, threading.Event())


def test_the_node_is_the_one_that_is_named_else_the_pods_else_the_hosts(kubeconfig: Path) -> None:
    assert a_daemon(kubeconfig, "--node-name", "a", NODE_NAME="b")._node == "a"
    assert a_daemon(kubeconfig, NODE_NAME="b")._node == "b"
    assert a_daemon(kubeconfig)._node


def test_what_pods_may_use_is_told_by_a_flag_or_by_the_kubelet(kubeconfig: Path) -> None:
    assert a_daemon(kubeconfig, "--capacity", "1500m", NODE_ALLOCATABLE_CPU="3800")._node_milli == 1500
    assert a_daemon(kubeconfig, NODE_ALLOCATABLE_CPU="3800")._node_milli == 3800
    daemon = a_daemon(kubeconfig)
    assert daemon._node_milli == daemon._cpus * 1000


@pytest.mark.parametrize("text", ["3.8", "lots", "4", "-1"])
def test_an_allocatable_cpu_that_is_not_in_millicores_is_refused(kubeconfig: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="divisor: 1m"):
        a_daemon(kubeconfig, NODE_ALLOCATABLE_CPU=text)


def test_a_bug_in_another_thread_stops_the_daemon(kubeconfig: Path, caplog: pytest.LogCaptureFixture) -> None:
    daemon = a_daemon(kubeconfig)
    bug = ValueError("a bug")

    daemon.on_thread_bug(threading.ExceptHookArgs((ValueError, bug, None, threading.current_thread())))

    assert daemon._stop.is_set()
    assert daemon._failed
    assert "a bug" in caplog.text


def test_burst_cannot_be_set_on_kubernetes(kubeconfig: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "mbcasd.toml"
    file.write_text('[resize]\nburst = "on"\n')
    daemon = a_daemon(kubeconfig, "--config", str(file))
    with pytest.raises(ConfigError, match=r"resize\.burst"):
        daemon._engine_config(daemon._file.settings)

    file.write_text('[demand]\npreset = "hl"\n')
    daemon = a_daemon(kubeconfig, "--config", str(file))
    assert daemon._engine_config(daemon._file.settings).preset is Preset.K
    assert "preset hl needs burst" in caplog.text


def test_a_cgroup_mount_without_hierarchies_is_refused_with_the_remedy(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hostPath"):
        a_daemon(kubeconfig, "--cgroup-mount", str(tmp_path))


def test_the_containers_of_a_pod_cool_down_a_little_longer_than_the_controller_waits(kubeconfig: Path) -> None:
    daemon = a_daemon(kubeconfig)
    config = daemon._engine_config(daemon._file.settings)
    assert config.settings.resize.cooldown_s == daemon._file.settings.resize.cooldown_s + agent.CONFIRMATION_LAG_S
    assert config.follows_changes


def test_before_the_api_has_told_everything_it_is_not_ready(kubeconfig: Path) -> None:
    ready, why = a_daemon(kubeconfig)._ready()
    assert (ready, "API server" in why) == (False, True)


def test_a_long_list_of_problems_is_shortened() -> None:
    assert agent._shortened(["a"] * 10) == ["a"] * 10
    assert agent._shortened(["a"] * 14)[-1] == "and 4 more of this kind"
