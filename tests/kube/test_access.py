import pytest

from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube.access import TokenFile, detect, in_cluster

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def mount(tmp_path):
    """A service account as the kubelet mounts it."""
    (tmp_path / "token").write_text("a token\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    (tmp_path / "namespace").write_text("mbcas-system")
    return tmp_path


def test_a_pod_is_told_its_server_token_authority_and_namespace(mount):
    access = in_cluster(POD, mount)
    assert access.server == "https://10.96.0.1:443"
    assert access.token() == "a token"
    assert access.ca_file == str(mount / "ca.crt")
    assert access.namespace == "mbcas-system"


def test_an_address_of_version_6_gets_its_brackets(mount):
    assert in_cluster({**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}, mount).server == "https://[fd00::1]:443"


def test_a_renewed_token_is_used_from_the_next_request_on(mount):
    access = in_cluster(POD, mount)
    (mount / "renewed").write_text("another")
    (mount / "renewed").replace(mount / "token")
    assert access.token() == "another"


def test_outside_of_a_pod_the_remedy_is_a_kubeconfig(mount):
    with pytest.raises(ConfigError, match="name a kubeconfig with --kubeconfig"):
        in_cluster({}, mount)


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_pod_without_a_token_is_told_how_to_get_one(mount, missing):
    (mount / missing).unlink()
    with pytest.raises(ConfigError, match="automountServiceAccountToken: true"):
        in_cluster(POD, mount)


@pytest.mark.parametrize("text", [b"", b"  \n", b"\xff\xfe"])
def test_a_token_that_is_none_is_trouble_that_passes(tmp_path, text):
    (tmp_path / "token").write_bytes(text)
    with pytest.raises(ApiAway, match="API server not asked"):
        TokenFile(str(tmp_path / "token"))()


def test_a_token_that_is_away_for_a_moment_is_trouble_that_passes(tmp_path):
    with pytest.raises(ApiAway, match="no such file or directory"):
        TokenFile(str(tmp_path / "token"))()


def test_what_was_named_wins_over_the_pods_own(tmp_path):
    with pytest.raises(ConfigError, match=r"named\.yaml does not exist"):
        detect(str(tmp_path / "named.yaml"), None, POD)


def test_a_context_that_was_named_is_looked_for_in_kubeconfigs(tmp_path):
    with pytest.raises(ConfigError, match="no cluster is known"):
        detect(None, "prod", {**POD, "HOME": str(tmp_path)})


def test_in_a_pod_its_own_service_account_is_used(tmp_path):
    # There is none here: this says where it was looked for.
    with pytest.raises(ConfigError, match=r"^/var/run/secrets/kubernetes\.io/serviceaccount/token does not exist"):
        detect(None, None, {**POD, "HOME": str(tmp_path)})
