import msgspec
import pytest
from conftest import Ground
from scenarios.fleet import Fleet

from mbcasctl.cluster import completing
from mbcasctl.cluster.options import ClusterOptions


def a_kubeconfig(path, *contexts: str) -> str:
    path.write_bytes(msgspec.yaml.encode({"contexts": [{"name": name, "context": {}} for name in contexts]}))
    return str(path)


def test_contexts_are_those_of_every_kubeconfig(tmp_path) -> None:
    first, second = a_kubeconfig(tmp_path / "a", "prod", "test"), a_kubeconfig(tmp_path / "b", "prod-2", "test")

    assert completing.contexts("pro", None, {"KUBECONFIG": f"{first}:{second}:/nowhere"}) == ["prod", "prod-2"]
    assert completing.contexts("", first, {"KUBECONFIG": second}) == ["prod", "test"]


@pytest.mark.parametrize("text", ["", "- a\n", "contexts: 3\n", "contexts: [1]\n", "{", "contexts:\n"])
def test_a_broken_kubeconfig_has_no_contexts_and_says_nothing(tmp_path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    assert completing.contexts("", str(file), {}) == []


def test_where_no_cluster_answers_there_are_no_candidates() -> None:
    assert completing.namespaces("", ClusterOptions("/nowhere")) == []
    assert completing.workloads("", ClusterOptions("/nowhere")) == []


@pytest.mark.control_plane
def test_a_cluster_gives_its_namespaces_and_workloads(fleet: Fleet, ground: Ground) -> None:
    options = ClusterOptions(ground.plane.kubeconfig)

    assert completing.namespaces("kube-s", options) == ["kube-system"]
    names = [name for name, _ in completing.workloads(f"{fleet.namespace}/pod", options)]
    assert names == [f"{fleet.namespace}/pod-0000{i}" for i in range(3)]
    assert completing.workloads("", ClusterOptions(ground.plane.kubeconfig, None, "elsewhere")) == []
