"""HTTP connection pool of one API server. Slow to import because of aiohttp: import it in a thread.

Supports what kubectl does and Python's HTTP clients lack: repeated headers (impersonation), proxy
environment variables by Go's rules, and the certificate chains that Go accepts.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
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
_KEEPALIVE_SECONDS = 45.0
"""Seconds that a connection stays open for the next request: less than the 60 after which common
proxies close an idle one."""
_TLS_BUFFER_BYTES = 1 << 16
_CONNECT_TIMEOUT = 10.0
_MAX_MESSAGE_BYTES = 4 << 20
"""Maximum length of a WebSocket message; kubelets send at most 32 KiB at once."""
_MAX_ERROR_BYTES = 1 << 16

asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
"""asyncio gives each TLS connection a buffer of 256 KiB: 8 MiB for the 30 connections of the list,
one for each watch and one for each list before it."""


class Transport:
    """A connection pool for one server with one client certificate (or none).

    Create it in the running event loop. `active_requests` is the number of requests in progress.
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
        self._ssl_context = ssl_context
        self._headers = tuple(headers)
        self._session, self._stream_session = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_MAX_CONNECTIONS,
                    ssl=ssl_context or True,
                    keepalive_timeout=_KEEPALIVE_SECONDS,
                ),
                headers=CIMultiDict(self._headers),
                read_bufsize=_READ_BUFFER_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            for _ in range(2)
        )
        self._websocket_session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, with several limits
        *,
        is_stream: bool = False,
        read_buffer_bytes: int | None = None,
    ) -> aiohttp.ClientResponse:
        """Send one request; returns once the response headers have arrived. Raises aiohttp's
        errors. No more is received while twice `read_buffer_bytes` (None: 1 MiB) wait to be read.

        A stream, whose connection is closed at its end, takes none that another request has left
        open: the next one need not wait for a new connection, two to three round trips.
        """
        session = self._stream_session if is_stream else self._session
        return await session.request(
            method,
            f"{self._server}{path}?{urlencode(params)}" if params else self._server + path,
            headers=headers,
            data=body,
            proxy=self._proxy,
            server_hostname=self._tls_server_name,
            timeout=timeout,
            read_bufsize=read_buffer_bytes,
            # What answers there is not the API server: it must not lead a request, whose headers
            # may have a key for it, to another host.
            allow_redirects="/proxy/" not in path,
        )

    async def open_websocket(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        protocols: Sequence[str],
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket that speaks one of the subprotocols. Raises aiohttp's errors, and
        HandshakeRejectedError for any other response. WebSockets have a pool of their own without a
        limit: a hundred forwarded connections must not hold up the watches."""
        if self._websocket_session is None:
            self._websocket_session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ssl=self._ssl_context or True, force_close=True
                ),
                headers=CIMultiDict(self._headers),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
                raise_for_status=_require_upgrade,
            )
        return await self._websocket_session.ws_connect(
            f"{self._server}{path}?{urlencode(params)}" if params else self._server + path,
            headers=headers,
            protocols=protocols,
            proxy=self._proxy,
            server_hostname=self._tls_server_name,
            autoping=False,
            autoclose=False,  # it would take the answer to a close that comes too late for an error
            max_msg_size=_MAX_MESSAGE_BYTES,
        )

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        await self._session.close()
        await self._stream_session.close()
        if self._websocket_session is not None:
            await self._websocket_session.close()


class HandshakeRejectedError(Exception):
    """The server answered the request for a WebSocket with another response."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


async def _require_upgrade(response: aiohttp.ClientResponse) -> None:
    """aiohttp's own error has no body, and so not the reason."""
    if response.status == 101:
        return
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            body = await response.content.read(_MAX_ERROR_BYTES)
    except (aiohttp.ClientError, OSError):
        body = b""
    finally:
        response.close()
    raise HandshakeRejectedError(response.status, response.headers, body)


def make_ssl_context(cluster: KubeconfigCluster, credential: Credential) -> ssl.SSLContext | None:
    """TLS context with trusted CAs and client certificate; None for plain HTTP. Blocks on file I/O.

    Go's crypto/x509, and so kubectl, accepts a CA without key identifiers (OpenSSL's strict mode,
    the default from Python 3.13, does not) and an intermediate CA as the trust anchor.
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
    """Load the client certificate through temporary files with mode 0600, since the ssl module
    reads keys from files only."""
    with tempfile.TemporaryDirectory(prefix="servedeck-") as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        for path, content in ((certificate, credential.certificate), (key, credential.private_key)):
            path.touch(mode=0o600)
            path.write_bytes(content)
        try:
            # without a password function, OpenSSL would prompt on the terminal
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                "The client certificate and its key cannot be used"
                f" ({getattr(error, 'reason', None) or error}); check that they belong together"
                " and that the key has no passphrase."
            ) from error


def select_proxy(cluster: KubeconfigCluster, environ: Mapping[str, str]) -> str | None:
    """Proxy for this cluster: its own `proxy-url`, else the one of the environment.

    Source: Go golang.org/x/net/http/httpproxy. The environment's proxy is never used for loopback
    addresses.
    """
    server = urlsplit(cluster.server)
    proxy = cluster.proxy_url
    source = f"proxy-url of the cluster {cluster.name!r}"
    if not proxy:
        source = f"{server.scheme.upper()}_PROXY"
        proxy = environ.get(source) or environ.get(source.lower()) or ""
        if not proxy or _bypasses_proxy(server.hostname or "", server.port, environ):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError(
            f"The proxy {proxy.partition('://')[0]}:// in {source} cannot be used: servedeck"
            " supports http:// and https:// proxies only; name one of these, or forward a port."
        )
    return proxy


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY excludes this host from proxying."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
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
        name, _, only_port = item.rpartition(":") if item.count(":") == 1 else (item, "", "")
        if only_port and only_port != str(port or ""):
            continue
        if host == name.lstrip(".") and not name.startswith("."):
            return True
        if host.endswith("." + name.lstrip("*").lstrip(".")):
            return True
    return False
