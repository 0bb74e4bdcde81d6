import pytest
from cluster.control_plane import ControlPlane

from mbcasctl.cluster import preflight
from mbcasctl.cluster.objects import VersionInfo
from mbcasctl.cluster.preflight import Right, listed
from mbcasctl.cluster.reach import Cluster, minor_of
from mbcasd.kube.install import Change, Installer, ordered
from mbcasd.kube.kinds import Kinds
from mbcasd.kube.listing import PAGE, list_all
from mbcasd.kube.manifests import load
from mbcasd.kube.objects import Namespace


class KindsOf(Kinds):
    """A server that serves only what it is told to."""

    def __init__(self, *served: str) -> None:
        self._served = served

    def has(self, api_version: str, name: str) -> bool:
        return name in self._served

    def place(self, api_version: str, kind: str):
        return kind if kind in self._served else None


EVERYTHING = KindsOf("pods/resize", "ValidatingAdmissionPolicy", "CustomResourceDefinition")


def kubernetes(minor: str, major: str = "1") -> VersionInfo:
    return VersionInfo(major=major, minor=minor, git_version=f"v{major}.{minor}.1")


@pytest.mark.parametrize("minor", ["33", "37", "38+", "40-gke"])
def test_kubernetes_from_1_33_on_will_do(minor: str) -> None:
    assert preflight.unfit(kubernetes(minor), EVERYTHING) == ""


@pytest.mark.parametrize(
    ("version", "kinds", "says"),
    [
        (kubernetes("32"), EVERYTHING, "this is Kubernetes v1.32.1, and MBCAS needs 1.33 or newer"),
        (kubernetes("40", major="2"), EVERYTHING, "this is Kubernetes v2.40.1"),
        (VersionInfo(), EVERYTHING, "of an unknown version"),
        (kubernetes("34"), KindsOf("ValidatingAdmissionPolicy"), "serves no pods/resize: its feature gate"),
        (kubernetes("34"), KindsOf("pods/resize"), "does not serve ValidatingAdmissionPolicy"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(version, kinds, says) -> None:
    assert says in preflight.unfit(version, kinds)


def test_a_minor_version_is_a_number_whatever_stands_behind_it() -> None:
    assert [minor_of(kubernetes(minor)) for minor in ("37", "37+", "x")] == [37, 37, None]


def test_rights_are_listed_by_what_they_are_about() -> None:
    rights = [Right(verb, "", "pods", namespace="shop") for verb in ("get", "create", "patch")]
    more = [Right("get", "g", f"thing{i}") for i in range(5)]

    assert listed(rights) == "get, create and patch pods in namespace shop"
    assert listed([*rights, *more]).endswith("; and 2 more")


def test_objects_are_applied_before_those_that_need_them() -> None:
    kinds = [thing["kind"] for thing in ordered([*load("enforce"), {"kind": "Gateway", "metadata": {}}])]

    assert kinds[:2] == ["Namespace", "CustomResourceDefinition"]
    # Policies are in force, and rights given, before anybody works; what is unknown here comes before those who do.
    assert kinds.index("ValidatingAdmissionPolicyBinding") < kinds.index("ClusterRoleBinding")
    assert kinds[-3:] == ["Gateway", "Deployment", "DaemonSet"]


@pytest.mark.control_plane
def test_a_server_says_itself_what_it_serves_and_where(control_plane: ControlPlane) -> None:
    kinds = Kinds(control_plane.api)

    place = kinds.place("apps/v1", "Deployment")
    assert place is not None
    assert place.path("shop", "web") == "/apis/apps/v1/namespaces/shop/deployments/web"
    assert place.path() == "/apis/apps/v1/deployments"
    assert kinds.place("monitoring.coreos.com/v1", "PodMonitor") is None
    assert kinds.has("v1", "pods/resize")


@pytest.mark.control_plane
def test_what_a_server_does_not_know_is_skipped_and_the_rest_is_applied(control_plane: ControlPlane) -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "x"}}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}

    changes = list(Installer(control_plane.api).apply([monitor, settings], dry_run=True))

    assert {change.kind: change.change for change in changes} == {
        "PodMonitor": Change.SKIPPED, "ConfigMap": Change.CREATED
    }  # fmt: skip


@pytest.mark.control_plane
def test_nobody_is_asked_for_rights_that_everybody_has(control_plane: ControlPlane) -> None:
    cluster = Cluster(control_plane.api)
    wanted = preflight.rights_to_apply(load("enforce"), Kinds(control_plane.api))

    assert len(wanted) > 30
    assert preflight.missing(cluster, wanted[:5]) == []


@pytest.mark.control_plane
def test_a_long_list_is_read_to_its_end(control_plane: ControlPlane) -> None:
    with control_plane.namespace(managed=False) as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        for i in range(PAGE + 3):
            control_plane.create(path, {"metadata": {"name": f"c{i}"}})

        assert len(list_all(control_plane.api, path, Namespace)) == PAGE + 3
        control_plane.request("DELETE", path)
