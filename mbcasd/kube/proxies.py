"""Which proxy leads to the API server, as kubectl and every Go client decide it."""

import ipaddress
import urllib.parse
from collections.abc import Mapping

from mbcasd.errors import ConfigError
from mbcasd.kube.access import Access


def choose(access: Access, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy to use; None: go straight.

    The kubeconfig's own `proxy-url` is always used; the environment's HTTPS_PROXY yields to NO_PROXY, and never
    serves this machine itself.

    Raises:
        ConfigError: It is of a kind that is not spoken here.
    """
    url = urllib.parse.urlsplit(access.server)
    if access.proxy is not None:
        proxy, source = access.proxy, "proxy-url"
    else:
        source = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
        proxy = environ.get(source) or environ.get(source.lower()) or ""
        exempt = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
        default_port = 443 if url.scheme == "https" else 80
        if proxy and _is_exempt(url.hostname or "", url.port or default_port, exempt):
            return None
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urllib.parse.urlsplit(proxy).scheme not in {"http", "https"}:
        raise ConfigError(f"{source}: {proxy!r} is no http or https proxy; others are not supported")
    return proxy


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether NO_PROXY says so, in Go's reading: names with all below them, addresses with a port or not, CIDRs."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(host.lower().rstrip("."), address, port, word.strip().lower()) for word in exempt.split(","))


def _matches(host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int, pattern: str) -> bool:
    if pattern in {"", "*"}:
        return pattern == "*"
    if address is not None:
        try:
            return address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            pass  # no address, or one with a port
    name, colon, its_port = pattern.rpartition(":")
    if colon and its_port.isdigit():
        if int(its_port) != port:
            return False
        pattern = name.strip("[]")
    if address is not None:
        return pattern == str(address)
    if pattern.startswith("*."):
        pattern = pattern[1:]
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern or host.endswith(f".{pattern}")
