"""upgrade against a real API server: what is said changes, the rest stays, and nobody's work is undone."""

from collections.abc import Iterator

import pytest
from cluster.control_plane import ControlPlane
from conftest import SYSTEM, Ground

from mbcasctl.cluster.installing import Variant
from mbcasd import __version__
from mbcasd.kube.install import Installer

pytestmark = pytest.mark.control_plane

AGENTS = "/apis/apps/v1/namespaces/mbcas-system/daemonsets/mbcas-agent"
CONTROLLERS = "/apis/apps/v1/namespaces/mbcas-system/deployments/mbcas-controller"
SETTINGS = f"{SYSTEM}/configmaps/mbcas-config"


@pytest.fixture(scope="module")
def standing(plane: ControlPlane) -> Iterator[Ground]:
    """A cluster that has MBCAS, as some test has left it."""
    ground = Ground(plane)
    yield ground
    removed = ground.run("uninstall", "--force")
    assert removed.code == 0, removed


@pytest.fixture
def installed(standing: Ground) -> Ground:
    """The same as `install --mode enforce` leaves it: taking it away each time would take minutes."""
    standing.plane.request("DELETE", SETTINGS)
    list(Installer(standing.plane.api).apply(Variant(mode="enforce").objects()))
    return standing


def test_an_upgrade_keeps_what_is_not_said_and_changes_what_is(installed: Ground) -> None:
    done = installed.run("upgrade", "--no-wait", "--image", "registry.example/mbcas:1", "-o", "json")
    assert done.data["mode"] == "enforce", done
    done = installed.run("upgrade", "--no-wait", "--mode", "recommend", "--cgroup", "v1", "-o", "json")
    assert done.code == 0, done

    spec = installed.plane.get(AGENTS)["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], spec["containers"][0]["args"][1]) == (
        "registry.example/mbcas:1", "--mode=recommend"
    )  # fmt: skip
    assert sum("hostPath" in volume for volume in spec["volumes"]) == 3
    # Said again without them, install keeps the choices as well.
    assert installed.run("install", "--no-wait", "-o", "json").data["mode"] == "recommend"


def test_settings_that_somebody_edited_stay(installed: Ground) -> None:
    installed.merge(SETTINGS, {"data": {"mbcasd.toml": "[market]\novercommit = 3.0\n"}})

    done = installed.run("upgrade", "--no-wait")

    assert "configmap/mbcas-config kept (it was edited, and that is respected)" in done.err
    assert installed.plane.get(SETTINGS)["data"]["mbcasd.toml"] == "[market]\novercommit = 3.0\n"


def test_an_upgrade_removes_what_an_older_version_had_and_nothing_of_others(installed: Ground) -> None:
    for name, manager in (("of-old", "mbcasctl"), ("of-somebody", "kubectl")):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "mbcas"}},
        }
        installed.apply(f"{SYSTEM}/configmaps/{name}", body, manager=manager)

    done = installed.run("upgrade", "--no-wait", "-o", "json")

    assert [thing["name"] for thing in done.data["objects"] if thing["change"] == "removed"] == ["of-old"]
    assert not installed.exists(f"{SYSTEM}/configmaps/of-old")
    assert installed.exists(f"{SYSTEM}/configmaps/of-somebody")


@pytest.mark.parametrize(
    ("version", "says"),
    [("9.9.9", "newer than this mbcasctl"), ("odd", "does not know"), ("0.0.1", "mbcasctl upgrade")],
)
def test_what_another_version_has_put_there_is_respected(installed: Ground, version: str, says: str) -> None:
    installed.merge(AGENTS, {"metadata": {"labels": {"app.kubernetes.io/version": version}}})
    before = installed.plane.get(CONTROLLERS)["metadata"]["resourceVersion"]

    done = installed.run("install", "--no-wait")

    assert done.code == 1
    assert says in done.err
    assert installed.plane.get(CONTROLLERS)["metadata"]["resourceVersion"] == before
    if version == "0.0.1":
        assert installed.run("upgrade", "--no-wait").code == 0
        assert installed.plane.get(AGENTS)["metadata"]["labels"]["app.kubernetes.io/version"] == __version__


def test_controllers_that_were_stopped_start_again_with_an_upgrade(installed: Ground) -> None:
    installed.run("restore")
    assert installed.plane.get(CONTROLLERS)["spec"]["replicas"] == 0

    installed.run("upgrade", "--no-wait")

    assert installed.plane.get(CONTROLLERS)["spec"]["replicas"] == 2
