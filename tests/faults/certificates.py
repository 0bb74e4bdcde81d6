"""A certificate for servers on the loopback, which is its own authority."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where it lies; clients trust the certificate itself."""

    cert_file: Path
    key_file: Path

    def serving(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_file, self.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context


def calling(ca_file: Path | str) -> ssl.SSLContext:
    """How to call a server whose authority this is."""
    return ssl.create_default_context(cafile=str(ca_file))


def make(directory: Path) -> Certificate:
    """A new one, with openssl."""
    certificate = Certificate(directory / "loopback.crt", directory / "loopback.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", "/CN=loopback", "-days", "3650", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            *("-keyout", str(certificate.key_file), "-out", str(certificate.cert_file)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return certificate
