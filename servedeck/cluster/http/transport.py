"""HTTP connection pool of one API server. Slow to import because of aiohttp: import it in a thread.

Supports what kubectl does and Python's HTTP clients lack: repeated headers (impersonation), proxy
environment variables by Go's rules, and the certificate chains that Go accepts.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import base64
import contextlib
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
from multidict import CIMultiDict

from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster, without_user
from servedeck.cluster.http.client_certificate import load_client_certificate
from servedeck.cluster.http.errors import ConfigError
from servedeck.cluster.http.proxies import is_socks, select_proxy

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
_MAX_HEADER_BYTES = 1 << 16
"""Maximum length of a header in a response, which proxies with a login may set; aiohttp's 8,190 are
less than what Go and so kubectl accepts."""
_CERTIFICATE_PATTERN = re.compile(
    rb"^-----BEGIN CERTIFICATE-----\s(.+?)^-----END CERTIFICATE-----", re.MULTILINE | re.DOTALL
)

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
        self._server = without_user(cluster.server)
        self._proxy = select_proxy(cluster, environ, may_be_socks=True)
        self._is_socks = self._proxy is not None and is_socks(self._proxy)
        self._tls_server_name = cluster.tls_server_name or None
        self._ssl_context = ssl_context
        self._headers = tuple(headers)
        self._session, self._stream_session = (
            aiohttp.ClientSession(
                connector=self._make_connector(
                    limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS
                ),
                headers=CIMultiDict(self._headers),
                read_bufsize=_READ_BUFFER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            for _ in range(2)
        )
        self._websocket_session: aiohttp.ClientSession | None = None

    def _make_connector(self, **options: Any) -> aiohttp.BaseConnector:
        options["ssl"] = self._ssl_context or True
        if self._proxy is None or not self._is_socks:
            return aiohttp.TCPConnector(**options)
        from servedeck.cluster.http.socks_connector import SocksConnector  # few need it

        return SocksConnector.to_proxy(self._proxy, **options)

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
            proxy=None if self._is_socks else self._proxy,
            server_hostname=self._tls_server_name,
            timeout=timeout,
            read_bufsize=read_buffer_bytes,
            # An API server redirects nothing. What does must not lead a request to another host,
            # without the credentials, and a creation (POST) would become a list (GET).
            allow_redirects=False,
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
                connector=self._make_connector(limit=0, force_close=True),
                headers=CIMultiDict(self._headers),
                max_field_size=_MAX_HEADER_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
                raise_for_status=_require_upgrade,
            )
        return await self._websocket_session.ws_connect(
            f"{self._server}{path}?{urlencode(params)}" if params else self._server + path,
            headers=headers,
            protocols=protocols,
            proxy=None if self._is_socks else self._proxy,
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
    authorities = b"".join(_read_certificates(cluster.certificate_authority))
    if cluster.certificate_authority and not authorities:
        raise ConfigError(
            f"The certificate authority of the cluster {cluster.name!r} in {cluster.file} "
            f"contains no certificate in PEM format; fix the kubeconfig."
        )
    context = ssl.create_default_context(cadata=authorities or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.certificate:
        load_client_certificate(context, credential.certificate, credential.private_key)
    return context


def _read_certificates(pem: bytes) -> Iterator[bytes]:
    """The certificates of a bundle in DER format. As in Go (crypto/x509, AppendCertsFromPEM),
    comments, other blocks and certificates that cannot be read are left out."""
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for block in _CERTIFICATE_PATTERN.findall(pem):
        with contextlib.suppress(ssl.SSLError, ValueError):
            certificate = base64.b64decode(b"".join(block.split()), validate=True)
            scratch.load_verify_locations(cadata=certificate)
            yield certificate
