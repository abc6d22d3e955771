"""The pool of connections to one API server. Slow to import, for aiohttp: do it in a thread.

It has what kubectl has and Python's HTTP clients lack: several headers of one name (impersonation),
proxies of the environment by Go's rules, and the chains of certificates that Go accepts.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import aiohttp
from multidict import CIMultiDict

from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http.errors import ConfigError

_READ_BUFFER_BYTES = 1 << 20
_MAX_CONNECTIONS = 100


class Transport:
    """A pool of connections to one server, as one client certificate (or none).

    Make it in the running loop. `active_requests` counts the requests under way.
    """

    def __init__(
        self,
        cluster: KubeconfigCluster,
        ssl_context: ssl.SSLContext | None,
        headers: Iterable[tuple[str, str]],
        environ: Mapping[str, str],
    ) -> None:
        self.active_requests = 0
        self._server = cluster.server
        self._proxy = select_proxy(cluster, environ)
        self._tls_server_name = cluster.tls_server_name or None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, ssl=ssl_context or True),
            headers=CIMultiDict(headers),
            read_bufsize=_READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, with several limits
    ) -> aiohttp.ClientResponse:
        """Send one request; returns when the response's headers are there. Raises aiohttp's
        errors."""
        return await self._session.request(
            method,
            f"{self._server}{path}?{urlencode(params)}" if params else self._server + path,
            headers=headers,
            data=body,
            proxy=self._proxy,
            server_hostname=self._tls_server_name,
            timeout=timeout,
        )

    async def close(self) -> None:
        """Close all connections; requests under way end with an error."""
        await self._session.close()


def make_ssl_context(cluster: KubeconfigCluster, credential: Credential) -> ssl.SSLContext | None:
    """What to trust and how to identify ourselves; None for plain HTTP. Reads files.

    Go's crypto/x509, and so kubectl, accepts an authority without key identifiers (OpenSSL's
    strict mode, on by default from Python 3.13, does not) and an intermediate as the root.
    """
    if not cluster.server.startswith("https://"):
        return None
    try:
        context = ssl.create_default_context(
            cadata=cluster.certificate_authority.decode("ascii") or None
        )
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"The certificate authority of the cluster {cluster.name!r} in {cluster.file} "
            f"contains no certificate in PEM format; fix the kubeconfig."
        ) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.certificate:
        _load_client_certificate(context, credential)
    return context


def _load_client_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    """The ssl module reads key material from files only: 0600, in a folder of ours, gone at once"""
    with tempfile.TemporaryDirectory(prefix="servedeck-") as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        for path, content in ((certificate, credential.certificate), (key, credential.private_key)):
            path.touch(mode=0o600)
            path.write_bytes(content)
        try:
            # without the password function OpenSSL would ask for one on the terminal
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                "The client certificate and its key cannot be used"
                f" ({getattr(error, 'reason', None) or error}); check that they belong together"
                " and that the key has no passphrase."
            ) from error


def select_proxy(cluster: KubeconfigCluster, environ: Mapping[str, str]) -> str | None:
    """The proxy for this cluster: its own `proxy-url`, else the environment's.

    Source: Go golang.org/x/net/http/httpproxy; loopback addresses are never proxied by the
    environment.
    """
    server = urlsplit(cluster.server)
    proxy = cluster.proxy_url
    named = f"proxy-url of the cluster {cluster.name!r}"
    if not proxy:
        named = f"{server.scheme.upper()}_PROXY"
        proxy = environ.get(named) or environ.get(named.lower()) or ""
        if not proxy or _bypasses_proxy(server.hostname or "", server.port, environ):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError(
            f"The proxy {proxy.partition('://')[0]}:// in {named} cannot be used: servedeck speaks"
            " to http:// and https:// proxies only; name one of these, or forward a port."
        )
    return proxy


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether the environment says to reach this host without a proxy."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address and address.is_loopback):
        return True
    listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    for item in filter(None, (part.strip().lower() for part in listed.split(","))):
        if item == "*":
            return True
        if address:
            try:
                if address in ipaddress.ip_network(item, strict=False):
                    return True
            except ValueError:
                pass  # a name, or an address with a port
        name, _, only_port = item.rpartition(":") if item.count(":") == 1 else (item, "", "")
        if only_port and only_port != str(port or ""):
            continue
        if host == name.lstrip(".") and not name.startswith("."):
            return True
        if host.endswith("." + name.lstrip("*").lstrip(".")):
            return True
    return False
