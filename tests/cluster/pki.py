"""Certificates, tokens and kubeconfigs of one control plane: loopback only, worthless a day later."""

import json
import secrets
import subprocess
from pathlib import Path

VALID_DAYS = "2"
# The address of the service "kubernetes", which is what programs in pods ask.
SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"


class Pki:
    """The files below one folder: a CA, serving and client certificates, a key for service accounts, tokens."""

    def __init__(self, directory: Path, *, addresses: list[str], nodes: list[str]) -> None:
        """Make them all.

        Args:
            directory: Gets the files; is made.
            addresses: What servers are reached by, beside the service address.
            nodes: Who gets the token of a kubelet.
        """
        self._directory = directory
        directory.mkdir(mode=0o700)
        self.ca = directory / "ca.crt"
        self.tokens = {
            "admin": secrets.token_hex(16),
            "nobody": secrets.token_hex(16),
            **{node: secrets.token_hex(16) for node in nodes},
        }
        self._key("ca")
        self._openssl(
            *("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=mbcas-test-ca", "-days", VALID_DAYS),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-out", "ca.crt"),
        )
        self.server_cert, self.server_key = self._certificate(
            "server",
            "/CN=kubernetes",
            ",".join(
                [f"IP:{address}" for address in (*addresses, SERVICE_ADDRESS)]
                + [f"DNS:{name}" for name in ("localhost", "kubernetes.default.svc", *nodes)]
            ),
        )
        self.client_cert, self.client_key = self._certificate(
            "client", "/O=system:masters/CN=kube-apiserver", "DNS:localhost"
        )
        self.accounts_key, self.accounts_public = directory / "accounts.key", directory / "accounts.pub"
        self._key("accounts")
        self._openssl("ec", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
        self.token_file = directory / "tokens.csv"
        self.token_file.write_text(
            "".join(
                [f"{self.tokens['admin']},admin,admin,system:masters\n", f"{self.tokens['nobody']},nobody,nobody,\n"]
                + [f"{self.tokens[node]},system:node:{node},{node},system:nodes\n" for node in nodes]
            )
        )

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _certificate(self, name: str, subject: str, alternatives: str) -> tuple[Path, Path]:
        self._key(name)
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", VALID_DAYS, "-extfile", extensions.name, "-out", f"{name}.crt"),
        )
        return self._directory / f"{name}.crt", self._directory / f"{name}.key"

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self._directory, check=True, capture_output=True, timeout=30)


def write_kubeconfig(
    path: Path, *, server: str, ca: Path, token: str, namespace: str = "default", user: str = "admin"
) -> Path:
    """Write a file that kubectl and all its relatives read (JSON is YAML)."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
                "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(ca)}}],
                "users": [{"name": user, "user": {"token": token}}],
            },
            indent=2,
        )
    )
    path.chmod(0o600)
    return path
