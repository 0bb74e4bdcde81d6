"""Reads kubeconfigs as kubectl does: several files, contexts, certificates in line, plugins.

The only importer of `kubernetes`, whose merging, certificate files and identity providers are used; it costs 0.2 s
and 30 MB, which only those pay who have a kubeconfig. Token files and plugins are our own: the client's are read
once, and a plugin that fails or hangs there leaves nobody's name in the request and no word about why.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mbcasd.errors import ApiAway, ConfigError
from mbcasd.kube.access import Access, TokenFile
from mbcasd.kube.plugin import Plugin


def read(path: str | None, context: str | None, environ: Mapping[str, str]) -> Access:
    """What a kubeconfig says; see `access.from_kubeconfig`."""
    from kubernetes.config import ConfigException

    files = _files(path, environ)
    where = os.pathsep.join(files)
    try:
        return _read(files, context)
    except ConfigException as err:
        raise ConfigError(f"{where}: {err}") from err
    except OSError as err:
        raise ConfigError(f"{err.filename or where} cannot be read: {(err.strerror or str(err)).lower()}") from err


def _files(path: str | None, environ: Mapping[str, str]) -> list[str]:
    """The files to merge, the first one first; one that was named must exist, of several some may be missing."""
    if path is not None:
        if not Path(path).expanduser().is_file():
            raise ConfigError(f"{path} does not exist; --kubeconfig takes the path of a kubeconfig")
        return [path]
    listed = [word for word in environ.get("KUBECONFIG", "").split(os.pathsep) if word]
    if listed:
        found = [file for file in listed if Path(file).expanduser().is_file()]
        if not found:
            raise ConfigError(
                f"KUBECONFIG={os.pathsep.join(listed)}: no such file; set it to a kubeconfig, or unset it"
            )
        return found
    default = Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config"
    if not default.is_file():
        raise ConfigError(
            f"no cluster is known: not in a pod, and there is no {default}; name a kubeconfig with --kubeconfig or "
            "KUBECONFIG"
        )
    return [str(default)]


def _read(files: list[str], context: str | None) -> Access:
    from kubernetes.config.kube_config import KubeConfigLoader

    merged = _Merged(files)
    context = merged.choose(context)
    user, user_file = merged.user(context)
    described, token_file = user.pop("exec", None), user.pop("tokenFile", None)
    if "username" in user:
        raise ConfigError(f"{user_file}: user names with passwords are not understood by any API server of today")
    loader = KubeConfigLoader(merged.tree, active_context=context, config_base_path=None)  # type: ignore[no-untyped-call]
    read = _Read()
    loader.load_and_set(read)  # type: ignore[no-untyped-call]
    if not read.host:
        raise ConfigError(f"{user_file}: the cluster of context {context!r} has no server")
    cluster = merged.cluster(context)
    token, forget, files_of_plugin = read.token, _forget_nothing, None
    if described is not None:
        plugin = Plugin(described, user_file, cluster)
        token, forget, files_of_plugin = plugin.token, plugin.forget, plugin.certificate_files()
    elif token_file is not None and "token" not in user:
        token = TokenFile(str(Path(user_file).expanduser().absolute().parent / token_file))
    certificate, key = files_of_plugin or (read.cert_file, read.key_file)
    return Access(
        server=read.host,
        ca_file=read.ssl_ca_cert,
        client_cert_file=certificate,
        client_key_file=key,
        token=token,
        forget_token=forget,
        namespace=loader.current_context["context"].get("namespace") or "default",
        tls_server_name=cluster.get("tls-server-name"),
        verify=not cluster.get("insecure-skip-tls-verify"),
        proxy=cluster.get("proxy-url"),  # which releases of the client before 37 do not read
        headers=_impersonation(user),
    )


def _forget_nothing() -> None:
    return None


class _Merged:
    """Several kubeconfigs as one: of what several have, the first one's counts."""

    def __init__(self, files: list[str]) -> None:
        from kubernetes.config.kube_config import KubeConfigMerger

        self._where = os.pathsep.join(files)
        self._current = ""
        for file in files:
            # First one by one: the merger takes the last current context where kubectl takes the first, and does not
            # say which file is broken.
            self._current = self._current or _current_context(file)
        self.tree: Any = KubeConfigMerger(self._where).config  # type: ignore[no-untyped-call]

    def choose(self, context: str | None) -> str:
        """The context to use: the one asked for, which must exist, or the current one."""
        known = [str(one["name"]) for one in self.tree["contexts"].value]
        names = ", ".join(known) or "none"
        wanted = context or self._current
        if not wanted:
            raise ConfigError(f"{self._where}: no current context; choose one with --context, there are: {names}")
        if wanted not in known:
            raise ConfigError(f"{self._where}: no context {wanted!r}; there are: {names}")
        return wanted

    def user(self, context: str) -> tuple[dict[str, Any], str]:
        """The context's user, which the caller may change, and the file that it stands in."""
        name = self.tree["contexts"].get_with_name(context)["context"].safe_get("user")
        if not name:
            return {}, self._where
        found = self.tree["users"].get_with_name(name, safe=True)
        if found is None:
            raise ConfigError(f"{self._where}: context {context!r} names the user {name!r}, whom no file has")
        return found.value.get("user") or {}, str(found.path)

    def cluster(self, context: str) -> dict[str, Any]:
        """The context's cluster."""
        name = self.tree["contexts"].get_with_name(context)["context"]["cluster"]
        return dict(self.tree["clusters"].get_with_name(name)["cluster"].value)


def _current_context(file: str) -> str:
    from kubernetes.config.kube_config import KubeConfigMerger
    from yaml import YAMLError

    try:
        one = KubeConfigMerger(file).config.value  # type: ignore[no-untyped-call]
    except YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line} is not YAML: {getattr(err, 'problem', None) or err}") from err
    except (AttributeError, TypeError, KeyError, UnicodeDecodeError) as err:
        raise ConfigError(f"{file} is no kubeconfig: it has not the clusters, users and contexts of one") from err
    return str(one.get("current-context") or "")


class _Read:
    """Where the loader puts what it read: the attributes of the client's Configuration that it sets."""

    def __init__(self) -> None:
        self.host = ""
        self.ssl_ca_cert: str | None = None
        self.cert_file: str | None = None
        self.key_file: str | None = None
        self.api_key: dict[str, str] = {}
        self.refresh_api_key_hook: Callable[[_Read], None] | None = None

    def token(self) -> str | None:
        """The token as it is now; the hook asks an identity provider for another one when it expires."""
        if self.refresh_api_key_hook is not None:
            try:
                self.refresh_api_key_hook(self)
            except Exception as err:  # the provider's libraries raise what they like
                raise ApiAway(f"API server not asked (no token from the identity provider: {err})") from err
        # The entry's name differs between releases of the client.
        return next(iter(self.api_key.values()), "").removeprefix("Bearer ") or None


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    headers = []
    if user.get("as"):
        headers.append(("Impersonate-User", str(user["as"])))
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", str(user["as-uid"])))
    headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{key}", str(value)) for value in values]
    return tuple(headers)
