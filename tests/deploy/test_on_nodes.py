"""What only a real node can tell: that the mounts are read-only, that the image runs, that policies make sense."""

import json
from pathlib import Path
from typing import Any

import pytest
from cluster.archives import BUSYBOX
from cluster.polling import poll_until
from deploy.installation import agent_pod
from scenarios.grounds import prepared

from mbcasd import __version__
from mbcasd.kube import manifests

pytestmark = pytest.mark.node

IMAGE = Path(__file__).parents[2] / "dist" / "mbcas-image.tar"
RUNS_WITHIN_S = 120
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


@pytest.fixture
def namespace(cluster):
    with cluster.namespace(managed=False) as name:
        yield name


@pytest.fixture
def outcome(cluster, namespace):
    """Runs a container to its end on node-1 and returns what it has written."""

    def outcome(container: dict[str, Any], **spec: Any) -> str:
        name = container["name"]
        pod = {"metadata": {"name": name}, "spec": {"nodeName": "node-1", "restartPolicy": "Never", **spec}}
        pod["spec"]["containers"] = [{"imagePullPolicy": "Never", **container}]
        cluster.create(f"/api/v1/namespaces/{namespace}/pods", pod)
        cluster.pods.wait_for(
            namespace,
            name,
            lambda seen: seen["status"]["phase"] in {"Succeeded", "Failed"},
            "ends",
            within_s=RUNS_WITHIN_S,
        )
        return cluster.pods.logs(namespace, name)

    return outcome


@pytest.fixture
def attack(cluster, outcome):
    """Tries to write a file of the node's cgroups as root with all that a privileged container has."""

    def attack(name: str, volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], file: str) -> str:
        # Its own value, so that nothing happens where it works.
        value = (cluster.cgroup_root("node-1") / "cpu.shares").read_text().strip()
        script = f"if echo {value} > {file}; then echo WRITTEN; fi 2>&1; true"
        return outcome(
            {
                "name": name,
                "image": BUSYBOX,
                "command": ["sh", "-c", script],
                "volumeMounts": mounts,
                "securityContext": {"privileged": True, "runAsUser": 0},
            },
            volumes=volumes,
        )

    return attack


@pytest.fixture
def node(cluster):
    if cluster.nodes["node-1"].is_v2:
        pytest.skip("on cgroup v2 there is one hierarchy, and one mount")
    return cluster.nodes["node-1"]


def agents_mounts():
    """The volumes of the agent that show the node, and where they are mounted, as they stand in deploy/."""
    spec = agent_pod("v1")["spec"]
    volumes = [volume for volume in spec["volumes"] if "hostPath" in volume]
    names = {volume["name"] for volume in volumes}
    mounts = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] in names]
    return volumes, mounts


def test_not_even_root_writes_through_the_agents_mounts(attack, node):
    volumes, mounts = agents_mounts()

    for name in ("cpu", "cpuacct", "unified"):
        file = "cgroup.procs" if name == "unified" else f"{node.cgroup}/cpu.shares"
        said = attack(f"writes-{name}", volumes, mounts, f"/host/cgroup/{name}/{file}")
        assert "Read-only file system" in said
        assert "WRITTEN" not in said


def test_one_mount_for_all_hierarchies_would_not_be_read_only(attack, node):
    """Why there is one for each on cgroup v1."""
    volumes = [{"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}}]
    mounts = [{"name": "cgroup", "mountPath": "/host/cgroup", "readOnly": True}]

    said = attack("writes", volumes, mounts, f"/host/cgroup/cpu/{node.cgroup}/cpu.shares")

    assert "WRITTEN" in said


def test_what_the_agent_needs_can_be_read_by_nobody_in_particular(cluster, outcome, node):
    volumes, mounts = agents_mounts()
    script = f"cat /host/cgroup/cpu/{node.cgroup}/cpu.stat /host/cgroup/cpuacct/{node.cgroup}/cpuacct.usage"
    strict = agent_pod()["spec"]

    said = outcome(
        {
            "name": "reads",
            "image": BUSYBOX,
            "command": ["sh", "-c", script],
            "volumeMounts": mounts,
            "securityContext": strict["containers"][0]["securityContext"],
        },
        volumes=volumes,
        securityContext=strict["securityContext"],
    )

    assert "nr_throttled" in said
    assert int(said.split()[-1]) > 0


@pytest.mark.binary
def test_the_image_runs_as_the_agents_pod_would(cluster, outcome):
    cluster.import_image(IMAGE)
    strict = agent_pod()["spec"]

    said = outcome(
        {
            "name": "version",
            "image": manifests.DEFAULT_IMAGE,
            "args": ["--version"],
            "securityContext": strict["containers"][0]["securityContext"],
        },
        securityContext=strict["securityContext"],
    )

    assert said == f"mbcasd {__version__}\n"


def test_the_policies_fit_the_types_of_what_they_judge(cluster):
    """The controller-manager checks every expression against the schemas, and warns of fields that do not exist."""
    with prepared(cluster):
        names = [t["metadata"]["name"] for t in manifests.load("enforce") if t["kind"] == "ValidatingAdmissionPolicy"]

        def checked() -> bool:
            found = [cluster.get(f"{POLICIES}/{name}") for name in names]
            return all(
                one.get("status", {}).get("observedGeneration") == one["metadata"]["generation"] for one in found
            )

        poll_until(checked, RUNS_WITHIN_S, lambda: "they are checked")
        for name in names:
            status = cluster.get(f"{POLICIES}/{name}")["status"]
            assert status.get("typeChecking", {}).get("expressionWarnings") is None, json.dumps(status, indent=1)
