"""The proxy of a server: that of the kubeconfig, or of the environment by Go's rules."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http.errors import ConfigError
from servedeck.serving.text import one_line, truncate

_SCHEME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_SOCKS_SCHEMES = ("socks5", "socks5h")
"""The same in Go and so in kubectl: the proxy resolves the names (net/http, Transport.Proxy)."""


def select_proxy(
    cluster: KubeconfigCluster, environ: Mapping[str, str], *, may_be_socks: bool = False
) -> str | None:
    """Proxy for this cluster: its own `proxy-url`, else the one of the environment.

    Source: Go golang.org/x/net/http/httpproxy. The environment's proxy is never used for loopback
    addresses. Raises ConfigError for one that cannot be used; `may_be_socks` says whether the
    caller can use a SOCKS5 proxy.
    """
    server = urlsplit(cluster.server)
    proxy = cluster.proxy_url
    source = f"proxy-url of the cluster {cluster.name!r}"
    if not proxy:
        source = f"{server.scheme.upper()}_PROXY"
        proxy = environ.get(source) or environ.get(source.lower()) or ""
        port = server.port or _DEFAULT_PORTS.get(server.scheme)
        if not proxy or _bypasses_proxy(server.hostname or "", port, environ):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
    _check_proxy(proxy, source, may_be_socks=may_be_socks)
    if is_socks(proxy) and cluster.tls_server_name:
        raise ConfigError(
            f"The tls-server-name of the cluster {cluster.name!r} cannot be used through the SOCKS"
            f" proxy in {source}; remove one of the two."
        )
    return proxy


def is_socks(proxy: str) -> bool:
    """Whether a proxy is one of SOCKS5."""
    return proxy.partition("://")[0].lower() in _SOCKS_SCHEMES


def _check_proxy(proxy: str, source: str, *, may_be_socks: bool) -> None:
    """Raises ConfigError for one that cannot be used. It may have a password, so that no more than
    its scheme is quoted."""
    scheme = proxy.partition("://")[0] if "://" in proxy else ""
    if not _SCHEME_PATTERN.fullmatch(scheme):
        raise ConfigError(
            f"The proxy in {source} does not begin with http:// or https://; write it as"
            " http://host:port."
        )
    known = ("http", "https", *(_SOCKS_SCHEMES if may_be_socks else ()))
    if scheme.lower() not in known:
        others = "http://, https:// and socks5://" if may_be_socks else "http:// and https://"
        raise ConfigError(
            f"The proxy {truncate(scheme, 20)}:// in {source} cannot be used: only {others} proxies"
            " are supported here; name one of these, or forward a port."
        )
    try:
        parts = urlsplit(proxy)
        is_valid = bool(parts.hostname) and parts.port != 0 and proxy == one_line(proxy).strip()
    except ValueError:
        is_valid = False
    if not is_valid or " " in proxy:
        raise ConfigError(
            f"The proxy in {source} is not an address such as http://host:3128; correct it."
        )


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY excludes this host from proxying."""
    address = _parse_address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    for item in filter(None, (part.strip().lower() for part in no_proxy.split(","))):
        if item == "*":
            return True
        if address:
            try:
                if address in ipaddress.ip_network(item, strict=False):
                    return True
            except ValueError:
                pass  # a name, or an address with a port
        name, only_port = _split_port(item)
        if only_port and only_port != str(port or ""):
            continue
        if address and address == _parse_address(name):
            return True
        if host == name.lstrip(".") and not name.startswith("."):
            return True
        if host.endswith("." + name.lstrip("*").lstrip(".")):
            return True
    return False


def _split_port(item: str) -> tuple[str, str]:
    """Host and port of an item of NO_PROXY, "" for no port; an IPv6 address may be in brackets."""
    if item.startswith("["):
        name, _, rest = item[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = item.rpartition(":") if item.count(":") == 1 else (item, "", "")
    return name, port


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
