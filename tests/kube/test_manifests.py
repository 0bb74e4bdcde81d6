"""What is true of every manifest of `deploy/`, whatever the overlay and the components."""

import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml

from mbcasd import __version__
from mbcasd import cli as daemon
from mbcasd.configfile import loading
from mbcasd.kube import bounds, manifests, names

VARIANTS = {
    "observe": {"mode": "observe"},
    "recommend": {"mode": "recommend"},
    "enforce": {"mode": "enforce"},
    "v1": {"mode": "enforce", "cgroup": "v1"},
    "all": {"mode": "enforce", "cgroup": "v1", "host_network": True, "opt_out": True, "monitoring": True},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request):
    return request.param


@pytest.fixture
def objects(variant):
    return manifests.load(**variant)


def of_kind(objects, kind):
    return [thing for thing in objects if thing["kind"] == kind]


def workloads(objects):
    return of_kind(objects, "DaemonSet") + of_kind(objects, "Deployment")


def pod_of(objects, name):
    return next(thing["spec"]["template"]["spec"] for thing in workloads(objects) if thing["metadata"]["name"] == name)


def test_names_are_those_that_the_programs_know(objects):
    assert [thing["metadata"]["name"] for thing in of_kind(objects, "DaemonSet")] == [names.AGENT]
    assert [thing["metadata"]["name"] for thing in of_kind(objects, "Deployment")] == [names.CONTROLLER]
    assert [thing["metadata"]["name"] for thing in of_kind(objects, "Namespace")] == [names.NAMESPACE]
    (config,) = of_kind(objects, "ConfigMap")
    assert (config["metadata"]["name"], list(config["data"])) == (names.CONFIG_MAP, [names.CONFIG_FILE])
    (definition,) = of_kind(objects, "CustomResourceDefinition")
    assert definition["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"


def test_every_object_says_whose_it_is(objects):
    for thing in objects:
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "mbcas"
        assert labels["app.kubernetes.io/version"] == __version__
        assert thing["metadata"].get("namespace", names.NAMESPACE) == names.NAMESPACE


def test_what_others_need_comes_first(objects):
    order = [thing["kind"] for thing in objects]

    assert order[:2] == ["CustomResourceDefinition", "Namespace"]
    assert order.index("DaemonSet") > order.index("ValidatingAdmissionPolicyBinding")
    assert order.index("Deployment") > order.index("ServiceAccount")


def test_every_policy_is_in_force(objects):
    policies = {thing["metadata"]["name"] for thing in of_kind(objects, "ValidatingAdmissionPolicy")}
    bindings = of_kind(objects, "ValidatingAdmissionPolicyBinding")

    assert {binding["spec"]["policyName"] for binding in bindings} == policies
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)
    assert all(thing["spec"]["failurePolicy"] == "Fail" for thing in of_kind(objects, "ValidatingAdmissionPolicy"))


def test_pods_have_no_privileges(objects):
    for thing in workloads(objects):
        pod = thing["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.get("hostPID")
        assert not pod.get("hostIPC")
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_node_is_seen_through_read_only_mounts_of_cgroups_only(objects, variant):
    agent, controller = pod_of(objects, names.AGENT), pod_of(objects, names.CONTROLLER)
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in agent["volumes"] if "hostPath" in volume}
    mounts = {mount["name"]: mount for mount in agent["containers"][0]["volumeMounts"] if mount["name"] in paths}

    if variant.get("cgroup") == "v1":
        assert list(paths.values()) == [f"/sys/fs/cgroup/{name}" for name in ("cpu", "cpuacct", "unified")]
    else:
        assert list(paths.values()) == ["/sys/fs/cgroup"]
    assert all(mount["readOnly"] for mount in mounts.values())
    assert all(mounts[name]["mountPath"].startswith("/host/cgroup") for name in paths)
    assert not any("hostPath" in volume for volume in controller["volumes"])


def test_tokens_are_short_lived_and_mounted_by_hand(objects):
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(objects, "ServiceAccount"))
    for thing in workloads(objects):
        pod = thing["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        (token,) = [
            source["serviceAccountToken"]
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            if "serviceAccountToken" in source
        ]
        assert token["expirationSeconds"] <= 3607


def test_nothing_that_lifts_throttling_can_be_throttled(objects):
    for thing in workloads(objects):
        (container,) = thing["spec"]["template"]["spec"]["containers"]
        assert "cpu" not in container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_every_pod_is_probed(objects):
    for thing in workloads(objects):
        (container,) = thing["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
        port = container["ports"][0]["containerPort"]
        assert f"--metrics-address=:{port}" in container["args"]


def test_the_daemon_understands_its_arguments(objects, variant):
    for name, role in ((names.AGENT, "agent"), (names.CONTROLLER, "controller")):
        (container,) = pod_of(objects, name)["containers"]
        options = daemon.parser().parse_args(container["args"])
        assert (options.role, options.mode) == (role, variant["mode"])
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(Path(options.config).parent) in mounted
        assert Path(options.config).name == names.CONFIG_FILE
        if role == "agent":
            assert options.state_dir in mounted
            assert str(Path(options.socket).parent) in mounted
            # Not the cgroups that the container itself has.
            assert options.cgroup_mount == "/host/cgroup"


def test_the_settings_that_are_installed_are_the_defaults(objects, tmp_path):
    (config,) = of_kind(objects, "ConfigMap")
    text = config["data"][names.CONFIG_FILE]

    assert tomllib.loads(text) == {}
    (tmp_path / "mbcasd.toml").write_text(text)
    loading.load(str(tmp_path / "mbcasd.toml"), {}, {})


def test_the_policy_and_the_definition_have_the_same_bounds(objects):
    policy = next(
        thing
        for thing in objects
        if thing["metadata"]["name"] == "mbcas-controller-resizes" and "variables" in thing["spec"]
    )
    values = {variable["name"]: variable["expression"] for variable in policy["spec"]["variables"]}

    assert values["minimum"] == f"quantity('{bounds.LIMIT_MILLI_MIN}m')"
    assert values["maximum"] == f"quantity('{bounds.LIMIT_MILLI_MAX // 1000}')"


def test_rights_are_narrow(objects):
    for role in of_kind(objects, "ClusterRole") + of_kind(objects, "Role"):
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "secrets", "nodes", "deletecollection", "impersonate", "escalate", "bind"}
            assert ("update" not in rule["verbs"]) or rule["resources"] == ["leases"]


def test_another_image_is_used_by_all(variant):
    objects = manifests.load(**variant, image="registry.example:5000/cpu/mbcas@sha256:12")

    images = [c["image"] for thing in workloads(objects) for c in thing["spec"]["template"]["spec"]["containers"]]
    assert images == ["registry.example:5000/cpu/mbcas@sha256:12"] * 2


def test_the_usual_image_is_the_one_that_is_built(objects):
    for thing in workloads(objects):
        (container,) = thing["spec"]["template"]["spec"]["containers"]
        assert container["image"] == manifests.DEFAULT_IMAGE == f"mbcas:{__version__}"
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_an_owners_component_comes_last(tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        "kind: Component\npatches:\n- target: {kind: Deployment}\n"
        "  patch: '[{op: replace, path: /spec/replicas, value: 3}]'\n"
    )

    (deployment,) = of_kind(manifests.load("observe", components=[tmp_path]), "Deployment")

    assert deployment["spec"]["replicas"] == 3


def test_one_controller_always_stays(objects):
    (deployment,), (budget,) = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")

    assert deployment["spec"]["replicas"] > budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert (
        deployment["spec"]["selector"]["matchLabels"].items()
        <= deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_network_is_closed_but_for_what_is_named(objects):
    policies = {thing["metadata"]["name"]: thing["spec"] for thing in of_kind(objects, "NetworkPolicy")}

    assert policies["mbcas-default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {
        port["port"] for policy in policies.values() for rule in policy.get("ingress", ()) for port in rule["ports"]
    }
    assert ports == {9102, 9103}


@pytest.mark.monitoring
def test_prometheus_understands_the_alerts(tmp_path):
    (rule,) = of_kind(manifests.load("enforce", monitoring=True), "PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(rule["spec"])))

    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert "6 rules found" in checked.stdout
