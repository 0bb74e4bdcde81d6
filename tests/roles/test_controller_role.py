"""`mbcasd controller` as a process: what it needs, serves, takes over and gives back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from rigs.controlled import ControlledPod, a_namespace, make_node, soon
from rigs.resizing import cpu
from scenarios.daemons import Role, running
from scenarios.grounds import define_podallocations

from mbcasd import cli

LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/mbcas-controller"


def test_without_a_way_in_it_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"

    assert cli.run(["controller", "--kubeconfig", str(missing)]) == cli.EXIT_BAD_INPUT

    assert str(missing) in capsys.readouterr().err


def test_a_bad_settings_file_is_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mbcasd.toml"
    file.write_text("[resize]\ncooldwon = 1\n")

    assert cli.run(["controller", "--config", str(file)]) == cli.EXIT_BAD_INPUT

    assert "resize.cooldown" in capsys.readouterr().err


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    define_podallocations(control_plane)
    make_node(control_plane)
    return control_plane


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    with a_namespace(plane) as name:
        yield name


@pytest.fixture
def role(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Role]:
    flags = ("--kubeconfig", plane.kubeconfig, "--namespace", namespace, "--identity", "a", "--mode", "enforce")
    with running("controller", tmp_path / "a", *flags) as daemon:
        yield daemon


@pytest.mark.control_plane
def test_it_serves_health_metrics_and_status_and_gives_the_lease_back(
    plane: ControlPlane, namespace: str, role: Role
) -> None:
    soon(lambda: role.status()["leads"], "it leads")
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(300))
    soon(lambda: pod.limit() == "300m", "the limit is asked for")
    pod.confirm()
    soon(lambda: role.status()["allocations"].get("Applied", 0) >= 1, "it is told")

    assert role.get("/healthz")[0] == role.get("/readyz")[0] == 200
    assert role.metric("mbcas_leader") == 1
    assert role.metric("mbcas_resize_total", namespace=namespace, pod="web", result="applied") == 1
    assert role.metric("mbcas_api_requests_total", method="PATCH", code="200") == 2
    status = role.status()
    assert (status["role"], status["identity"], status["holder"], status["run_mode"]) == (
        "controller",
        "a",
        "a",
        "enforce",
    )
    assert plane.get(LEASE.format(namespace))["spec"]["holderIdentity"] == "a"

    assert role.stop() == 0
    assert plane.get(LEASE.format(namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.control_plane
def test_changed_settings_are_in_force_without_a_restart_and_bad_ones_are_told(
    plane: ControlPlane, namespace: str, role: Role
) -> None:
    soon(lambda: role.status()["leads"], "it leads")
    pod = ControlledPod(plane, namespace)
    pod.decide(cpu(350))
    soon(lambda: pod.limit() == "350m", "the limit is asked for")
    pod.confirm()
    soon(lambda: pod.phase == "Applied Resized", "it is told")

    role.config_path.write_text("[resize]\ncooldwon = 1\n")
    soon(lambda: role.metric("mbcas_config_refused_total") == 1, "it is refused")
    soon(lambda: "SettingsRefused" in reasons(plane, namespace), "people are told")
    role.config_path.write_text('[resize]\nminimum = "300m"\n')
    soon(lambda: "settings taken over" in role.log(), "it is taken over")
    pod.decide(cpu(250))
    soon(lambda: pod.limit() == "300m", "the new minimum is kept")


def reasons(plane: ControlPlane, namespace: str) -> set[str]:
    found = plane.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return {one["reason"] for one in found if one["regarding"]["kind"] == "ConfigMap"}


@pytest.mark.control_plane
def test_one_that_observes_leads_and_moves_nothing(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    flags = ("--kubeconfig", plane.kubeconfig, "--namespace", namespace, "--identity", "a")
    with running("controller", tmp_path / "a", *flags) as role:
        soon(lambda: role.status()["leads"], "it leads")
        pod = ControlledPod(plane, namespace)
        pod.decide(cpu(300))
        other = ControlledPod(plane, namespace, "other")
        other.decide(cpu(300), released=True)
        soon(lambda: other.allocation is None, "what is released is let go")

        assert pod.limit() == "200m"
        assert pod.status == {}
        assert json.loads(role.get("/status")[1])["run_mode"] == "observe"
