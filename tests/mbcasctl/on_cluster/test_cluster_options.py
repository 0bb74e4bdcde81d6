import pytest

from mbcasctl.cluster.options import ClusterOptions, has_kubeconfig, means_cluster
from mbcasd.errors import ConfigError

NOTHING: dict[str, object] = {"--socket": None, "--url": None}


@pytest.fixture
def kubeconfig(tmp_path) -> dict[str, str]:
    file = tmp_path / "config"
    file.write_text("{}")
    return {"KUBECONFIG": str(file)}


@pytest.mark.parametrize("options", [ClusterOptions("/k"), ClusterOptions(None, "c"), ClusterOptions(None, None, "n")])
def test_an_option_of_kubectl_means_the_cluster_whatever_lives_here(options) -> None:
    assert means_cluster(options, NOTHING, lives_here=True, environ={})


def test_an_option_of_the_host_means_the_host(kubeconfig) -> None:
    host = {"--socket": "/s"}

    assert not means_cluster(ClusterOptions(), host, lives_here=False, environ=kubeconfig)


def test_without_options_it_is_where_mbcas_lives(kubeconfig) -> None:
    assert not means_cluster(ClusterOptions(), NOTHING, lives_here=True, environ=kubeconfig)
    assert means_cluster(ClusterOptions(), NOTHING, lives_here=False, environ=kubeconfig)
    assert not means_cluster(ClusterOptions(), NOTHING, lives_here=False, environ={})


def test_both_sides_at_once_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="--context means a cluster and --url this host"):
        means_cluster(ClusterOptions(None, "c"), {"--url": "h"}, lives_here=True, environ={})


def test_a_kubeconfig_is_looked_for_where_kubectl_looks(tmp_path, kubeconfig) -> None:
    assert has_kubeconfig(kubeconfig)
    assert has_kubeconfig({"KUBECONFIG": f"/nowhere:{kubeconfig['KUBECONFIG']}"})
    assert not has_kubeconfig({"KUBECONFIG": "/nowhere", "HOME": str(tmp_path)})
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("{}")
    assert has_kubeconfig({"HOME": str(tmp_path)})
