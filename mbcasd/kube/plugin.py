"""Credential plugins of kubeconfigs: a program that is asked for a token or a certificate.

Source: Kubernetes, "client-go credential plugins", client.authentication.k8s.io/v1.
"""

import atexit
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mbcasd.errors import ApiAway, ConfigError

# A person may have to type a code; nobody waits for longer for a program on its own.
_PATIENCE_S, _PATIENCE_WITH_A_PERSON_S = 30.0, 300.0

# Asked again a little before it expires, so that a request does not meet the very moment.
_EARLIER_S = 10.0

_API_VERSIONS = {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}


class Credential(msgspec.Struct, frozen=True, rename="camel"):
    """What a plugin answered with."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: dt.datetime | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    status: Credential | None = None


class Plugin:
    """Runs the program when a credential is needed and the last one has expired or was refused."""

    def __init__(self, described: Mapping[str, Any], file: str, cluster: Mapping[str, Any]) -> None:
        """Take the user's `exec` from the kubeconfig `file`; `cluster` is told to a plugin that wants it.

        Raises:
            ConfigError: It is not described as it should be.
        """
        self._file, self._cluster = file, cluster
        self._lock = threading.Lock()
        self._known: Credential | None = None
        self._certificates: tuple[str, str] | None = None
        command, self._version = described.get("command"), described.get("apiVersion")
        if not command or self._version not in _API_VERSIONS:
            raise ConfigError(
                f"{file}: users.exec needs a command, and as apiVersion one of {', '.join(sorted(_API_VERSIONS))}"
            )
        if "/" in command:  # relative to the file, as kubectl has it
            command = str(Path(file).expanduser().absolute().parent / command)
        self._command = [command, *(str(word) for word in described.get("args") or ())]
        self._environ = {str(pair["name"]): str(pair["value"]) for pair in described.get("env") or ()}
        self._hint = str(described.get("installHint") or "").strip()
        self._wants_cluster = bool(described.get("provideClusterInfo"))
        mode = described.get("interactiveMode") or "IfAvailable"
        self._is_interactive = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not self._is_interactive:
            raise ConfigError(f"{file}: the credential plugin {command} needs a terminal, and there is none")

    def token(self) -> str | None:
        """A token that is valid now; None: this plugin gives certificates.

        Raises:
            ApiAway: The program fails, hangs, or says nothing of use.
        """
        return self._credential().token

    def forget(self) -> None:
        """The API server refused it: ask again next time."""
        with self._lock:
            self._known = None

    def certificate_files(self) -> tuple[str, str] | None:
        """Where its certificate and key lie, rewritten when it gives others; None: it gives tokens.

        Raises:
            ConfigError: The program fails; said at once, since nothing can go on.
        """
        try:
            self._credential()
        except ApiAway as err:
            raise ConfigError(f"{self._file}: {err}") from err
        return self._certificates

    def _credential(self) -> Credential:
        with self._lock:
            if self._known is None or _is_expired(self._known):
                self._known = self._run()
                if self._known.client_certificate_data and self._known.client_key_data:
                    self._keep(self._known.client_certificate_data, self._known.client_key_data)
            return self._known

    def _run(self) -> Credential:
        name = self._command[0]
        spec: dict[str, object] = {"interactive": self._is_interactive}
        if self._wants_cluster:
            spec["cluster"] = self._cluster
        asked = {"apiVersion": self._version, "kind": "ExecCredential", "spec": spec}
        environ = {**os.environ, **self._environ, "KUBERNETES_EXEC_INFO": msgspec.json.encode(asked).decode()}
        try:
            ran = subprocess.run(
                self._command,
                env=environ,
                stdin=None if self._is_interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if self._is_interactive else subprocess.PIPE,
                timeout=_PATIENCE_WITH_A_PERSON_S if self._is_interactive else _PATIENCE_S,
                check=False,
            )
        except FileNotFoundError as err:
            raise ApiAway(f"the credential plugin {name} is not installed. {self._hint}".rstrip()) from err
        except OSError as err:
            raise ApiAway(f"the credential plugin {name} cannot be run: {(err.strerror or '').lower()}") from err
        except subprocess.TimeoutExpired as err:
            raise ApiAway(f"the credential plugin {name} did not answer within {err.timeout:g} s") from err
        if ran.returncode != 0:
            said = (ran.stderr or b"").decode("utf-8", "replace").strip()[-300:]
            raise ApiAway(f"the credential plugin {name} failed with code {ran.returncode}: {said}".rstrip(": "))
        try:
            answer = msgspec.json.decode(ran.stdout, type=_ExecCredential)
        except msgspec.DecodeError as err:
            raise ApiAway(f"the credential plugin {name} did not print an ExecCredential: {err}") from err
        if answer.api_version != self._version or answer.status is None:
            raise ApiAway(f"the credential plugin {name} did not print an ExecCredential of {self._version}")
        if not answer.status.token and not (answer.status.client_certificate_data and answer.status.client_key_data):
            raise ApiAway(f"the credential plugin {name} gave neither a token nor a certificate with its key")
        return answer.status

    def _keep(self, certificate: str, key: str) -> None:
        """Put them into files that only we can read: OpenSSL takes nothing else."""
        if self._certificates is None:
            directory = tempfile.mkdtemp(prefix="mbcas-")
            atexit.register(shutil.rmtree, directory, ignore_errors=True)
            self._certificates = (f"{directory}/certificate", f"{directory}/key")
        for path, text in zip(self._certificates, (certificate, key), strict=True):
            Path(f"{path}.new").write_text(text, encoding="ascii")
            Path(f"{path}.new").replace(path)


def _is_expired(credential: Credential) -> bool:
    """Whether it is too old to be used. Wall time, as that is what its maker wrote; a 401 corrects what is wrong."""
    expires = credential.expiration_timestamp
    if expires is None:
        return False
    if expires.tzinfo is None:
        expires = expires.replace(tzinfo=dt.UTC)
    return (expires - dt.datetime.now(dt.UTC)).total_seconds() < _EARLIER_S
