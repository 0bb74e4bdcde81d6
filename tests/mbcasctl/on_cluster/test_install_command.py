"""install against a real API server, whose answers it is made of."""

import subprocess
import sys

import msgspec
import pytest
from cluster.control_plane import ControlPlane
from conftest import Ground
from scenarios.grounds import define_podallocations

from mbcasd.kube import manifests

OBJECTS = len(manifests.load("observe"))


def without_a_cluster(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mbcasctl", *words]
    environ = {"PATH": "/nonexistent", "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)


def test_rendered_manifests_are_the_ones_of_deploy_and_need_no_cluster() -> None:
    shown = without_a_cluster("install", "--render", "--mode", "enforce", "--image", "registry.example/mbcas:1")

    documents = [msgspec.yaml.decode(text) for text in shown.stdout.split("---\n")]
    assert {(thing["kind"], thing["metadata"]["name"]) for thing in documents} == {
        (thing["kind"], thing["metadata"]["name"]) for thing in manifests.load("enforce")
    }
    daemon_set = documents[-1]["spec"]["template"]["spec"]["containers"][0]
    assert (daemon_set["image"], daemon_set["args"][1]) == ("registry.example/mbcas:1", "--mode=enforce")
    assert [thing["kind"] for thing in documents[:2]] == ["Namespace", "CustomResourceDefinition"]


def test_rendered_as_json_it_is_one_list() -> None:
    data = msgspec.json.decode(without_a_cluster("install", "--render", "-o", "json").stdout)

    assert (data["kind"], len(data["items"])) == ("List", OBJECTS)


def test_a_clients_dry_run_lists_what_would_be_applied() -> None:
    shown = without_a_cluster("install", "--dry-run", "client").stdout.splitlines()

    assert len(shown) == OBJECTS
    assert "daemonset/mbcas-agent would be applied (dry run)" in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["install", "--namespace", "other"], "--namespace other: MBCAS always lives in mbcas-system"),
        (["uninstall", "-n", "other"], "MBCAS always lives in mbcas-system"),
        (["install", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["install"], "no cluster is known"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(words, says) -> None:
    shown = without_a_cluster(*words)

    assert shown.returncode == 2
    assert says in shown.stderr
    assert shown.stdout == ""


@pytest.mark.control_plane
def test_a_servers_dry_run_has_everything_checked_and_leaves_nothing(ground: Ground) -> None:
    done = ground.run("install", "--dry-run=server", "-o", "json")

    assert done.code == 0, done
    assert {thing["change"] for thing in done.data["objects"]} == {"created"}
    assert len(done.data["objects"]) == OBJECTS
    assert ground.labelled() == []


@pytest.mark.control_plane
def test_the_oldest_kubernetes_takes_it_too(control_plane_oldest: ControlPlane) -> None:
    done = Ground(control_plane_oldest).run("install", "--dry-run=server", "-o", "json")

    assert done.code == 0, done
    assert len(done.data["objects"]) == OBJECTS


@pytest.mark.control_plane
def test_it_is_applied_once_and_then_unchanged(ground: Ground) -> None:
    first = ground.run("install", "--no-wait", "-o", "json")
    second = ground.run("install", "--no-wait", "-o", "json")

    assert {thing["change"] for thing in first.data["objects"]} == {"created"}
    changed = {thing["name"] for thing in second.data["objects"] if thing["change"] != "unchanged"}
    # The controllers of Kubernetes may have written their own annotations meanwhile.
    assert changed <= {"mbcas-controller", "mbcas-agent"}
    assert len(ground.labelled()) >= OBJECTS


@pytest.mark.control_plane
def test_a_person_without_rights_is_told_which_and_nothing_is_changed(ground: Ground) -> None:
    with ground.plane.namespace(managed=False) as namespace:
        kubeconfig = ground.plane.token_kubeconfig(namespace, "default")
        done = ground.run("install", kubeconfig=kubeconfig)

        assert done.code == 1
        assert "may not: get, create and patch customresourcedefinitions.apiextensions.k8s.io" in done.err
        assert "Nothing was changed" in done.err
        assert ground.run("uninstall", kubeconfig=kubeconfig).code == 1
        assert ground.run("restore", kubeconfig=kubeconfig).code == 1
        assert ground.labelled() == []


@pytest.mark.control_plane
def test_what_does_not_start_is_waited_for_and_told(ground: Ground) -> None:
    done = ground.run("install", "--timeout", "2s", "-o", "json")

    assert done.code == 1
    assert done.data["ready"] is False
    assert done.data["readiness"]["controllers_ready"] == 0


@pytest.mark.control_plane
def test_where_there_is_nothing_to_upgrade_it_says_so(ground: Ground) -> None:
    done = ground.run("upgrade")

    assert (done.code, done.out) == (1, "")
    assert "MBCAS is not installed" in done.err


@pytest.mark.control_plane
def test_a_definition_that_was_left_behind_is_no_installation(ground: Ground) -> None:
    define_podallocations(ground.plane)

    upgraded = ground.run("upgrade")
    assert (upgraded.code, upgraded.out) == (1, "")
    assert "MBCAS is not installed" in upgraded.err

    installed = ground.run("install", "--mode", "enforce", "--no-wait", "-o", "json")
    assert (installed.code, installed.data["mode"]) == (0, "enforce"), installed
