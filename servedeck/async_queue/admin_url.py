"""The address of the gateways' admin ports in the operator's settings, and requests to it."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from servedeck.async_queue.errors import AdminUrlError
from servedeck.async_queue.gateway_transport import FEED_TIMEOUT, TIMEOUT, Params
from servedeck.async_queue.problems import read_problem
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http.connection import ApiResponse
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidResponseError,
    clean_message,
)
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.http.request_headers import USER_AGENT
from servedeck.cluster.http.stream import ResponseStream
from servedeck.cluster.http.transport_errors import describe_failure

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from servedeck.config import Settings

_CONNECT_TIMEOUT = 10.0
_HEADERS_TIMEOUT = 30.0
"""Seconds until the headers of a stream must arrive."""
_MAX_BODY_BYTES = 64 << 20
_MAX_ERROR_BYTES = 1 << 16
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class AdminUrlClient:
    """Requests to `async_admin_url`, and the place of the key for it. Close it after use."""

    def __init__(
        self, url: str, key_file: str = "", environ: Mapping[str, str] | None = None
    ) -> None:
        """Raises AdminUrlError for a URL that cannot be used. Sends nothing."""
        self._template = url.rstrip("/")
        self._key_file = str(Path(key_file).expanduser()) if key_file else ""
        self._environ = os.environ if environ is None else environ
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        _check(_fill(self._template, "namespace", "name"))

    @classmethod
    def from_settings(cls, settings: Settings) -> AdminUrlClient | None:
        """None if they name no URL. Raises AdminUrlError."""
        if not settings.async_admin_url:
            return None
        return cls(settings.async_admin_url, settings.async_key_file)

    def url_of(self, namespace: str, name: str) -> str:
        """That of the gateway of one serving. Raises AdminUrlError."""
        url = _fill(self._template, namespace, name)
        _check(url)
        return url

    def key_file_of(self, namespace: str, name: str) -> Path | None:
        """None if the key is that of the gateway's Secret. Raises AdminUrlError."""
        if not self._key_file:
            return None
        return Path(_fill(self._key_file, namespace, name))

    async def request(
        self,
        method: str,
        url: str,
        path: str,
        params: Params,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> ApiResponse:
        """Send one request and read the complete response; `path` is below the URL. Raises ApiError
        for a status of 300 or more, and other ClusterErrors, which name the URL."""
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        async with self._open(method, url, path, params, body, headers, TIMEOUT) as response:
            content = await _read(_make_stream(response, url, TIMEOUT), _MAX_BODY_BYTES)
            if len(content) > _MAX_BODY_BYTES:
                raise InvalidResponseError(
                    f"{display_url(url)} answers with more than {_MAX_BODY_BYTES >> 20} MiB."
                )
            return ApiResponse(response.status, response.headers, content)

    @asynccontextmanager
    async def stream(
        self, url: str, path: str, params: Params, headers: Mapping[str, str]
    ) -> AsyncIterator[ResponseStream]:
        """A streaming GET. Raises like `request`, on entering and while it is read."""
        async with self._open("GET", url, path, params, None, headers, FEED_TIMEOUT) as response:
            yield _make_stream(response, url, FEED_TIMEOUT)

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # -- sending --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        url: str,
        path: str,
        params: Params,
        body: bytes | None,
        headers: Mapping[str, str],
        silence: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = await self._open_session()
        import aiohttp  # imported late because it is slow

        proxy = select_proxy(KubeconfigCluster("async_admin_url", url), self._environ)
        try:
            async with asyncio.timeout(_HEADERS_TIMEOUT):
                response = await session.request(
                    method,
                    f"{url}{path}?{urlencode(params)}" if params else url + path,
                    data=body,
                    headers={"Accept": "application/json", **headers},
                    proxy=proxy,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=silence
                    ),
                    allow_redirects=False,  # to a login, or to a host that the key is not for
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            where = display_url(url)
            raise ConnectionFailedError(f"{where} {describe_failure(error)}.") from error
        except RuntimeError as error:
            if not session.closed:
                raise
            raise ConnectionLostError("The connection was closed.") from error
        try:
            if response.status >= 300:
                raise await _read_error(response, url)
            yield response
        finally:
            response.close()

    async def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await asyncio.to_thread(self._make_ssl_context)
            import aiohttp

            if self._is_closed:
                raise ConnectionLostError("The connection was closed.")
            if self._session is None:  # meanwhile another first request may have opened it
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context or True),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    # A part of a body is one of what the gateway stores, not of a compressed one.
                    headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                )
        return self._session

    def _make_ssl_context(self) -> ssl.SSLContext | None:
        """With the certificate authorities of the system. Blocks, as it imports aiohttp."""
        transport = importlib.import_module("servedeck.cluster.http.transport")
        server = KubeconfigCluster("async_admin_url", self._template)
        context: ssl.SSLContext | None = transport.make_ssl_context(server, Credential())
        return context


@asynccontextmanager
async def opened_admin_url(settings: Settings) -> AsyncIterator[AdminUrlClient | None]:
    """The client for the URL of the settings, None if they name none. Raises AdminUrlError."""
    client = AdminUrlClient.from_settings(settings)
    try:
        yield client
    finally:
        if client is not None:
            await client.close()


def display_url(url: str) -> str:
    """A URL for a message: without user and password."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return clean_message(f"{scheme}://{place.rpartition('@')[2]}{slash}{path}")


def _fill(template: str, namespace: str, name: str) -> str:
    """The template with the names, which come from the cluster: none may lead elsewhere. Raises
    AdminUrlError."""
    for one in (namespace, name):
        if not _LABEL.fullmatch(one):
            raise AdminUrlError(f"{one[:80]!r} cannot be a part of async_admin_url.")
    return template.replace("{namespace}", namespace).replace("{name}", name)


def _check(url: str) -> None:
    """Raises AdminUrlError."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_usable = False
    if not is_usable or not re.fullmatch(r"[!-~]+", url):
        raise AdminUrlError("async_admin_url is not an http:// or https:// address; correct it.")
    if re.search(r"[{}]", url):
        raise AdminUrlError("async_admin_url can only have {namespace} and {name} in braces.")
    if "?" in url or "#" in url:
        raise AdminUrlError("async_admin_url cannot have ? or #; end it with the path.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise AdminUrlError(
            "async_admin_url must begin with https://, or with http:// and an address of this"
            " machine, such as http://127.0.0.1:8081: the key would be sent unencrypted."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _make_stream(response: aiohttp.ClientResponse, url: str, silence: float) -> ResponseStream:
    return ResponseStream(response, display_url(url), "", silence)


async def _read(stream: ResponseStream, max_bytes: int) -> bytes:
    """The body; more than `max_bytes` of one that is longer."""
    content = bytearray()
    async for chunk in stream.chunks():
        content += chunk
        if len(content) > max_bytes:
            break
    return bytes(content)


async def _read_error(response: aiohttp.ClientResponse, url: str) -> ApiError:
    try:
        content = await _read(_make_stream(response, url, TIMEOUT), _MAX_ERROR_BYTES)
    except ClusterError:
        content = b""  # the status code is sufficient
    problem = read_problem(content)
    message = (problem.detail or problem.title) if problem is not None else ""
    return ApiError(response.status, "", message, body=content)
