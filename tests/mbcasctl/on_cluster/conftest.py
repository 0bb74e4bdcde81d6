"""An API server of its own for commands that install and remove: they would take away what other tests stand on."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from cluster import programs
from cluster.control_plane import APPLY_PATCH, MERGE_PATCH, ControlPlane
from cluster.daemons import Daemon
from scenarios import grounds
from scenarios.fleet import Caller, Door, Fleet, Kubelets

PART_OF = "labelSelector=app.kubernetes.io%2Fpart-of%3Dmbcas"
SYSTEM = "/api/v1/namespaces/mbcas-system"


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"


class Ground:
    """A cluster, and commands run against it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def run(self, *words: str, kubeconfig: str | None = None) -> Done:
        command = [sys.executable, "-m", "mbcasctl", *words, "--kubeconfig", kubeconfig or self.plane.kubeconfig]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def exists(self, path: str) -> bool:
        return self.plane.request("GET", path)[0] == 200

    def merge(self, path: str, change: object) -> None:
        code, answer = self.plane.request("PATCH", path, change, MERGE_PATCH)
        assert code == 200, answer

    def apply(self, path: str, body: dict[str, Any], *, manager: str) -> None:
        code, answer = self.plane.request("PATCH", f"{path}?fieldManager={manager}&force=true", body, APPLY_PATCH)
        assert code in {200, 201}, answer

    def labelled(self) -> list[str]:
        """Every object with MBCAS's label, of whatever kind, and its API."""
        found = []
        for group in [{"preferredVersion": {"groupVersion": "v1"}}, *self.plane.get("/apis")["groups"]]:
            version = group["preferredVersion"]["groupVersion"]
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            if "mbcas" in version:
                found.append(version)
            for kind in self.plane.get(root)["resources"]:
                if "list" in kind["verbs"] and "/" not in kind["name"]:
                    items = self.plane.get(f"{root}/{kind['name']}?{PART_OF}")["items"]
                    found += [f"{kind['name']}/{item['metadata']['name']}" for item in items]
        return found


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Of the newest Kubernetes, with the one controller that a removal waits for: it ends namespaces."""
    with ControlPlane() as plane:
        argv = [
            programs.folder(programs.NEWEST) / "kube-controller-manager",
            *(f"--{flag}kubeconfig={plane.kubeconfig}" for flag in ("", "authentication-", "authorization-")),
            *(f"--bind-address={plane.address}", "--secure-port=10257", "--leader-elect=false"),
            *(f"--tls-cert-file={plane.pki.server_cert}", f"--tls-private-key-file={plane.pki.server_key}"),
            "--controllers=namespace-controller",
        ]
        controllers = Daemon("kube-controller-manager", argv, plane.instance.directory / "controllers.log")
        controllers.start()
        yield plane
        controllers.kill()


@pytest.fixture
def ground(plane: ControlPlane) -> Iterator[Ground]:
    """A cluster that has never heard of MBCAS, and has forgotten it afterwards."""
    ground = Ground(plane)
    yield ground
    removed = ground.run("uninstall", "--force")
    assert removed.code == 0, removed


@pytest.fixture
def fleet(ground: Ground) -> Iterator[Fleet]:
    """Three pods that ran with 200m until MBCAS gave them 500m; who installs afterwards finds them so."""
    with a_moved_fleet(ground) as fleet:
        yield fleet


@contextmanager
def a_moved_fleet(ground: Ground) -> Iterator[Fleet]:
    """Three pods that ran with 200m until MBCAS gave them 500m, taken away at the end."""
    plane = ground.plane
    grounds.define_podallocations(plane)
    fleet = Fleet(Door(plane.server, plane.ca_file, plane.pki.tokens["admin"]), 3, namespace=f"fleet-{_next()}")
    with Kubelets(fleet):
        caller = Caller(fleet.door)
        for i in range(3):
            fleet.decide(caller, i, 500)
            resize(ground, fleet, i, 500, manager="mbcas-controller")
        caller.close()
        yield fleet
    plane.request("DELETE", f"{fleet.pods_path()}?gracePeriodSeconds=0")
    plane.request("DELETE", f"/api/v1/nodes/{fleet.namespace}-0")
    plane.request("DELETE", f"/api/v1/namespaces/{fleet.namespace}")


def resize(ground: Ground, fleet: Fleet, i: int, limit_milli: int, *, manager: str) -> None:
    """Somebody gives a pod of the fleet another limit."""
    body = {"spec": {"containers": [{"name": "web", "resources": {"limits": {"cpu": f"{limit_milli}m"}}}]}}
    path = f"{fleet.pods_path()}/{fleet.pod_name(i)}/resize?fieldManager={manager}"
    code, answer = ground.plane.request("PATCH", path, body, "application/strategic-merge-patch+json")
    assert code == 200, answer


_numbers = iter(range(1, 10_000))


def _next() -> int:
    return next(_numbers)
