import json
import shutil

import pytest
from cluster.pki import Pki
from fakes.api_server import ApiServer

from mbcasd.clock import SystemClock
from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube.access import Access
from mbcasd.kube.api import Api
from mbcasd.kube.transport import tls_context


@pytest.fixture(scope="module")
def pkis(tmp_path_factory):
    here = tmp_path_factory.mktemp("pkis")
    return [Pki(here / name, addresses=["127.0.0.1"], nodes=[]) for name in ("first", "second")]


def an_api(access):
    return Api(access, clock=SystemClock(), user_agent="test")


def answer(request):
    request.answer(200, {"connection": request.connection})


def test_an_authority_that_was_replaced_is_trusted_from_the_next_request_on(pkis, tmp_path):
    first, second = pkis
    ca = tmp_path / "ca.crt"
    shutil.copy(first.ca, ca)
    with ApiServer(answer, tls=(first.server_cert, first.server_key)) as server:
        api = an_api(server.access(ca_file=str(ca)))
        api.get("/version")
        port = server.port
    with ApiServer(answer, tls=(second.server_cert, second.server_key), port=port):
        with pytest.raises(ApiAway, match=r"its certificate is not trusted: \w+"):
            api.get("/version")
        shutil.copy(second.ca, tmp_path / "renewed")
        (tmp_path / "renewed").replace(ca)
        api.get("/version")
    api.close()


def test_a_file_that_is_replaced_by_nonsense_stops_requests_until_it_is_right_again(pkis, tmp_path):
    first, _ = pkis
    ca = tmp_path / "ca.crt"
    shutil.copy(first.ca, ca)
    with ApiServer(answer, tls=(first.server_cert, first.server_key)) as server:
        api = an_api(server.access(ca_file=str(ca)))
        api.get("/version")
        ca.write_text("half wri")
        with pytest.raises(ApiAway, match=r"API server not asked \(.*ca\.crt holds no usable certificate"):
            api.get("/version")
        shutil.copy(first.ca, ca)
        assert json.loads(api.get("/version"))["connection"] == 2
        api.close()


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("api.example:6443", "is not the URL of an API server; it looks like https://HOST:6443"),
        ("ftp://api.example", "is not the URL"),
        ("https://", "is not the URL"),
    ],
)
def test_a_server_that_is_no_url_is_refused(server, why):
    with pytest.raises(ConfigError, match=why):
        an_api(Access(server=server, ca_file=None))


def test_a_missing_authority_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"ca\.crt cannot be read: no such file or directory"):
        an_api(Access(server="https://127.0.0.1", ca_file=str(tmp_path / "ca.crt")))


def test_a_key_of_another_certificate_is_refused(pkis):
    first, second = pkis
    with pytest.raises(ConfigError, match=r"client\.crt holds no usable certificate or key: KEY_VALUES_MISMATCH"):
        tls_context(
            Access(
                server="https://127.0.0.1",
                ca_file=str(first.ca),
                client_cert_file=str(first.client_cert),
                client_key_file=str(second.client_key),
            )
        )


def test_a_server_that_speaks_no_tls_is_told_in_words(pkis):
    first, _ = pkis
    with ApiServer(answer) as server:
        api = an_api(server.access(server=f"https://127.0.0.1:{server.port}", ca_file=str(first.ca)))
        with pytest.raises(ApiAway, match="TLS failed: "):
            api.get("/version")
        api.close()


def test_a_name_that_dns_does_not_know_is_told_in_words():
    api = an_api(Access(server="https://api.invalid:6443", ca_file=None))
    with pytest.raises(ApiAway, match="its name is not known to DNS"):
        api.get("/version")
    api.close()
