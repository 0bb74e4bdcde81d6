import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube.access import detect, from_kubeconfig

API_VERSION = "client.authentication.k8s.io/v1"
CA = b"-----BEGIN CERTIFICATE-----\n"


def a_cluster(name="c", **more):
    return {"name": name, "cluster": {"server": f"https://{name}.example:6443", **more}}


def a_user(name="u", **more):
    return {"name": name, "user": more or {"token": f"token-of-{name}"}}


def a_context(name="x", cluster="c", user="u", **more):
    return {"name": name, "context": {"cluster": cluster, "user": user, **more}}


def a_config(path, *, clusters=None, users=None, contexts=None, current="x"):
    """JSON is YAML."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [a_cluster()] if clusters is None else clusters,
        "users": [a_user()] if users is None else users,
        "contexts": [a_context()] if contexts is None else contexts,
    }
    if current:
        content["current-context"] = current
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def test_the_current_context_of_a_named_file_is_used(tmp_path):
    file = a_config(tmp_path / "config", contexts=[a_context(namespace="web")])
    access = from_kubeconfig(file, None, {})
    assert (access.server, access.token(), access.namespace) == ("https://c.example:6443", "token-of-u", "web")
    assert (access.ca_file, access.verify, access.proxy, access.headers) == (None, True, None, ())


def test_a_context_without_a_namespace_means_default(tmp_path):
    assert from_kubeconfig(a_config(tmp_path / "config"), None, {}).namespace == "default"


def test_another_context_may_be_chosen(tmp_path):
    file = a_config(
        tmp_path / "config",
        clusters=[a_cluster("c"), a_cluster("d")],
        contexts=[a_context(), a_context("y", "d")],
    )
    assert from_kubeconfig(file, "y", {}).server == "https://d.example:6443"


def test_without_a_name_home_has_one(tmp_path):
    a_config(tmp_path / ".kube" / "config")
    assert detect(None, None, {"HOME": str(tmp_path)}).server == "https://c.example:6443"


def test_of_several_files_the_first_word_counts_and_missing_ones_do_not_matter(tmp_path):
    first = a_config(tmp_path / "first", clusters=[a_cluster("c", **{"tls-server-name": "first"})], current="")
    second = a_config(
        tmp_path / "second",
        clusters=[a_cluster("c", **{"tls-server-name": "second"}), a_cluster("d")],
        contexts=[a_context("y", "d")],
        current="y",
    )
    third = a_config(tmp_path / "third", current="x")
    environ = {"KUBECONFIG": f"{tmp_path / 'missing'}:{first}:{second}:{third}"}
    # The third one's current context does not count, as the second one has named one.
    assert from_kubeconfig(None, None, environ).server == "https://d.example:6443"
    assert from_kubeconfig(None, "x", environ).tls_server_name == "first"


def test_files_are_found_relative_to_the_kubeconfig_that_names_them(tmp_path):
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(CA)
    (tmp_path / "pki" / "token").write_text("t1")
    a_config(
        tmp_path / "config",
        clusters=[a_cluster(**{"certificate-authority": "pki/ca.crt"})],
        users=[a_user(tokenFile="pki/token")],
    )
    access = from_kubeconfig(str(tmp_path / "config"), None, {})
    assert Path(access.ca_file).read_bytes() == CA
    assert access.token() == "t1"
    (tmp_path / "pki" / "token").write_text("t2")
    assert access.token() == "t2"


def test_certificates_in_line_are_put_where_only_we_can_read_them(tmp_path):
    encoded = base64.b64encode(CA).decode()
    file = a_config(
        tmp_path / "config",
        clusters=[a_cluster(**{"certificate-authority-data": encoded})],
        users=[a_user(**{"client-certificate-data": encoded, "client-key-data": encoded})],
    )
    access = from_kubeconfig(file, None, {})
    for path in (access.ca_file, access.client_cert_file, access.client_key_file):
        assert Path(path).read_bytes() == CA
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert access.token() is None


def test_they_are_removed_at_the_end(tmp_path):
    encoded = base64.b64encode(CA).decode()
    file = a_config(tmp_path / "config", clusters=[a_cluster(**{"certificate-authority-data": encoded})])
    script = f"from mbcasd.kube.access import *; print(from_kubeconfig({file!r}, None, {{}}).ca_file)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not Path(ran.stdout.strip()).exists()


def test_what_a_cluster_says_about_tls_and_proxies_is_kept(tmp_path):
    more = {"insecure-skip-tls-verify": True, "tls-server-name": "inner", "proxy-url": "http://proxy.example:3128"}
    access = from_kubeconfig(a_config(tmp_path / "config", clusters=[a_cluster(**more)]), None, {})
    assert (access.verify, access.tls_server_name, access.proxy) == (False, "inner", "http://proxy.example:3128")


def test_a_user_may_act_as_somebody_else(tmp_path):
    user = a_user(**{"token": "t", "as": "jane", "as-groups": ["dev", "ops"], "as-user-extra": {"team": ["a"]}})
    access = from_kubeconfig(a_config(tmp_path / "config", users=[user]), None, {})
    assert access.headers == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-team", "a"),
    )


def test_a_context_without_a_user_is_anonymous(tmp_path):
    context = {"name": "x", "context": {"cluster": "c"}}
    assert from_kubeconfig(a_config(tmp_path / "config", contexts=[context]), None, {}).token() is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("clusters: [\n\n  }", r"config, line 3 is not YAML: expected the node content"),
        ("just text", "no kubeconfig"),
        ("", "is empty"),
        ("- a list", "no kubeconfig"),
        ("clusters: {}\nusers: 5\n", "no kubeconfig"),
        ("apiVersion: v1\nkind: Config\n", "no current context; choose one with --context, there are: none"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named_with_what_is_wrong(tmp_path, content, why):
    (tmp_path / "config").write_text(content)
    with pytest.raises(ConfigError, match=why) as caught:
        from_kubeconfig(str(tmp_path / "config"), None, {})
    assert str(caught.value).startswith(str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"current": ""}, "no current context; choose one with --context, there are: x"),
        ({"current": "y"}, "no context 'y'; there are: x"),
        ({"clusters": []}, "Expected object with name c in"),
        ({"users": []}, "context 'x' names the user 'u', whom no file has"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "has no server"),
        ({"users": [a_user(username="joe", password="pw")]}, "not understood by any API server of today"),
        ({"clusters": [a_cluster(**{"certificate-authority": "nowhere.crt"})]}, r"File does not exist: .*nowhere\.crt"),
    ],
)
def test_what_is_missing_in_a_kubeconfig_is_told_with_the_file(tmp_path, change, why):
    file = a_config(tmp_path / "config", **change)
    with pytest.raises(ConfigError, match=why) as caught:
        from_kubeconfig(file, None, {})
    assert str(tmp_path) in str(caught.value)


def test_a_variable_that_names_nothing_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"KUBECONFIG=.*nothing: no such file; set it to a kubeconfig, or unset it"):
        from_kubeconfig(None, None, {"KUBECONFIG": str(tmp_path / "nothing")})


def test_a_file_that_may_not_be_read_is_told(tmp_path):
    (tmp_path / "config").mkdir()
    with pytest.raises(ConfigError, match="does not exist"):
        from_kubeconfig(str(tmp_path / "config"), None, {})


def a_plugin(path, answer, *, code=0, words=""):
    """A program that counts its runs and prints an answer."""
    text = json.dumps(answer) if not isinstance(answer, str) else answer
    path.write_text(f"#!/bin/sh\necho run >> {path}.runs\n{words}\ncat <<'END'\n{text}\nEND\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def an_exec(command, **more):
    return a_user(exec={"command": command, "apiVersion": API_VERSION, "interactiveMode": "Never", **more})


def a_credential(**status):
    return {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}


def runs(plugin):
    return Path(f"{plugin}.runs").read_text().count("run")


def test_a_plugins_token_is_kept_until_it_expires_or_is_refused(tmp_path):
    plugin = a_plugin(tmp_path / "login", a_credential(token="t", expirationTimestamp="2999-01-01T00:00:00Z"))
    access = from_kubeconfig(a_config(tmp_path / "config", users=[an_exec("./login")]), None, {})
    assert (access.token(), access.token(), runs(plugin)) == ("t", "t", 1)
    access.forget_token()
    assert (access.token(), runs(plugin)) == ("t", 2)


def test_an_expired_token_is_asked_for_again(tmp_path):
    plugin = a_plugin(tmp_path / "login", a_credential(token="t", expirationTimestamp="2020-01-01T00:00:00Z"))
    access = from_kubeconfig(a_config(tmp_path / "config", users=[an_exec(plugin)]), None, {})
    before = runs(plugin)
    access.token()
    assert runs(plugin) == before + 1


def test_a_plugins_certificate_is_put_into_files(tmp_path):
    answer = a_credential(clientCertificateData="cert", clientKeyData="key")
    plugin = a_plugin(tmp_path / "login", answer)
    access = from_kubeconfig(a_config(tmp_path / "config", users=[an_exec(plugin)]), None, {})
    assert Path(access.client_cert_file).read_text() == "cert"
    assert Path(access.client_key_file).read_text() == "key"
    assert stat.S_IMODE(Path(access.client_key_file).parent.stat().st_mode) == 0o700
    assert access.token() is None


def test_a_plugin_is_told_what_it_wants_to_know(tmp_path):
    plugin = a_plugin(
        tmp_path / "login", a_credential(token="t"), words=f'echo "$1 $WHO $KUBERNETES_EXEC_INFO" > {tmp_path}/told'
    )
    user = an_exec(plugin, args=["--for"], env=[{"name": "WHO", "value": "me"}], provideClusterInfo=True)
    from_kubeconfig(a_config(tmp_path / "config", users=[user]), None, {}).token()
    argument, who, told = (tmp_path / "told").read_text().split(" ", 2)
    assert (argument, who) == ("--for", "me")
    asked = json.loads(told)
    assert asked["spec"]["cluster"]["server"] == "https://c.example:6443"
    assert asked["spec"]["interactive"] is False


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        ("not JSON", 0, "did not print an ExecCredential"),
        (a_credential(), 0, "neither a token nor a certificate"),
        (a_credential(clientCertificateData="c"), 0, "neither a token nor a certificate"),
        ({**a_credential(token="t"), "apiVersion": "v2"}, 0, "did not print an ExecCredential of client"),
        ({"apiVersion": API_VERSION}, 0, "did not print an ExecCredential of client"),
        (a_credential(token="t"), 3, "failed with code 3: log in first"),
    ],
)
def test_a_plugin_that_fails_is_named_with_what_it_said(tmp_path, answer, code, why):
    plugin = a_plugin(tmp_path / "login", answer, code=code, words="echo log in first >&2")
    with pytest.raises(ConfigError, match=why) as caught:
        from_kubeconfig(a_config(tmp_path / "config", users=[an_exec(plugin)]), None, {})
    assert str(tmp_path / "config") in str(caught.value)


def test_a_plugin_that_fails_later_is_trouble_that_passes(tmp_path):
    plugin = a_plugin(tmp_path / "login", a_credential(token="t"))
    access = from_kubeconfig(a_config(tmp_path / "config", users=[an_exec(plugin)]), None, {})
    access.forget_token()
    Path(plugin).unlink()
    with pytest.raises(ApiAway, match="not installed"):
        access.token()


def test_a_missing_plugin_is_told_with_its_own_hint(tmp_path):
    user = an_exec("no-such-login", installHint="get it from the shop")
    with pytest.raises(ConfigError, match=r"no-such-login is not installed\. get it from the shop"):
        from_kubeconfig(a_config(tmp_path / "config", users=[user]), None, {})


def test_a_plugin_that_needs_a_person_is_refused_where_there_is_none(tmp_path):
    user = an_exec("login", interactiveMode="Always")
    with pytest.raises(ConfigError, match="needs a terminal"):
        from_kubeconfig(a_config(tmp_path / "config", users=[user]), None, {})


@pytest.mark.parametrize("described", [{"command": "x"}, {"apiVersion": API_VERSION}])
def test_a_plugin_must_be_described(tmp_path, described):
    with pytest.raises(ConfigError, match=r"users\.exec needs a command"):
        from_kubeconfig(a_config(tmp_path / "config", users=[a_user(exec=described)]), None, {})
