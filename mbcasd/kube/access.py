"""How one API server is reached: from within a pod, or as a kubeconfig says.

The way in from a pod is a few files and must stay cheap, so this module imports no YAML and no client; what a
kubeconfig needs is imported when there is one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mbcasd.errors import ApiAway, ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _no_token() -> str | None:
    return None


def _forget_nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach one API server.

    server: URL, with a path where a gateway serves several clusters.
    ca_file: who may have signed its certificate; None: the system's authorities.
    client_cert_file, client_key_file: what proves who we are, with or without a token; read again when they change.
    token: asked for each request, as projected tokens rotate and plugins refresh; None: none is sent.
        Raises ApiAway where it cannot be had now.
    forget_token: called after a 401, before `token` is asked once more.
    namespace: the context's, or the pod's own.
    tls_server_name: the name to look for in the certificate, where it is not that of `server`.
    verify: False trusts any certificate, as `insecure-skip-tls-verify` asks for.
    proxy: URL of a proxy; "" never uses one; None: what HTTPS_PROXY and NO_PROXY say.
    headers: sent with each request; impersonation.
    """

    server: str
    ca_file: str | None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    token: Callable[[], str | None] = _no_token
    forget_token: Callable[[], None] = _forget_nothing
    namespace: str = "default"
    tls_server_name: str | None = None
    verify: bool = True
    proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class TokenFile:
    """A token that somebody else renews in place: the kubelet renews projected ones long before they expire.

    Read for each request: that costs 20 µs, and a token that was taken back is never used again.
    """

    def __init__(self, path: str) -> None:
        """Remember where it lies."""
        self._path = path

    def __call__(self) -> str:
        """The token as it is now.

        Raises:
            ApiAway: It cannot be read, or is empty.
        """
        try:
            with open(self._path, encoding="ascii") as file:  # noqa: PTH123 - asked for with each request
                token = file.read().strip()
        except (OSError, UnicodeDecodeError) as err:
            why = getattr(err, "strerror", None) or "it is not text"
            raise ApiAway(f"API server not asked (the token {self._path} cannot be read: {why.lower()})") from err
        if not token:
            raise ApiAway(f"API server not asked (the token {self._path} is empty)")
        return token


def in_cluster(environ: Mapping[str, str], mount: Path = SERVICE_ACCOUNT) -> Access:
    """The way in from a pod: its service account, and the API server that the kubelet tells.

    Raises:
        ConfigError: This is no pod, or one without a token.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError(
            "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; name a kubeconfig with "
            "--kubeconfig or KUBECONFIG"
        )
    token, ca = mount / "token", mount / "ca.crt"
    for file in (token, ca):
        if not file.is_file():
            raise ConfigError(
                f"{file} does not exist: this pod has no service account token; set automountServiceAccountToken: true "
                "in its spec, or name a kubeconfig with --kubeconfig"
            )
    namespace = mount / "namespace"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_file=str(ca),
        token=TokenFile(str(token)),
        namespace=namespace.read_text(encoding="ascii").strip() if namespace.is_file() else "default",
    )


def from_kubeconfig(path: str | None, context: str | None, environ: Mapping[str, str]) -> Access:
    """The way in that a kubeconfig describes, found and read as kubectl does.

    Args:
        path: One file; None: those of KUBECONFIG, else ~/.kube/config.
        context: None: the current one.
        environ: Where KUBECONFIG, HOME and proxies are looked up.

    Raises:
        ConfigError: There is none, or it is wrong; names the file and the remedy.
    """
    from mbcasd.kube import kubeconfig

    return kubeconfig.read(path, context, environ)


def detect(kubeconfig: str | None, context: str | None, environ: Mapping[str, str]) -> Access:
    """The way in: what was named, else the pod's own, else the person's kubeconfig.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    if kubeconfig is None and context is None and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ)
    return from_kubeconfig(kubeconfig, context, environ)
