"""Two ways to Prometheus: its URL, and a Service through the API server."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from servedeck.atomic_file import require_regular_file
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConfigError,
    clean_message,
)
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.http.transport_errors import describe_failure
from servedeck.cluster.resources import SERVICE
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import HttpAnswer, PrometheusTransport

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from servedeck.config import Settings

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 30.0
"""Seconds without data; what asks usually waits for less."""

MAX_QUERY_LENGTH = 4 << 10
"""Characters of the query of a URL; a longer one is sent in the body of a POST, which Prometheus
has for that, as proxies refuse URLs of 8 KB
(https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries)."""
_POST_REFUSED = (403, 405, 501)
"""Statuses with which a proxy that only lets queries pass may refuse a POST: then it is a GET."""


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """Where Prometheus is, from the settings. Headers and token are secret."""

    url: str = ""
    service: str = ""
    """Of Prometheus in the cluster, "namespace/name:port"; used if `url` is empty."""
    token_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> PrometheusOptions:
        """The options. What is secret is sent only to a URL that the operator's own settings name,
        not to one of the cluster's ConfigMap. Of URL and Service, one that the operator names comes
        before one of the ConfigMap."""
        url, service, explicit = (
            settings.prometheus_url,
            settings.prometheus_service,
            settings.explicit_keys,
        )
        if not url or "prometheus_url" not in explicit:
            return cls("" if service and "prometheus_service" in explicit else url, service)
        token, ca = settings.prometheus_token_file, settings.prometheus_ca_file
        return cls(
            url,
            "",
            Path(token).expanduser() if token else None,
            settings.prometheus_headers,
            Path(ca).expanduser() if ca else None,
        )

    @property
    def is_configured(self) -> bool:
        return bool(self.url or self.service)


def open_transport(connection: Connection, options: PrometheusOptions) -> PrometheusTransport:
    """The way to the Prometheus of the options; sends nothing. Raises MetricsError if they do not
    name one."""
    if options.url:
        return UrlTransport(options)
    return ServiceTransport(connection, options.service)


class UrlTransport:
    """Requests to a URL."""

    def __init__(self, options: PrometheusOptions) -> None:
        """Raises MetricsError for a URL that is none."""
        self._options = options
        try:
            parts = urlsplit(options.url)
            is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_usable = False
        if not is_usable:
            raise MetricsError("prometheus_url is not an http:// or https:// address; correct it.")
        self._url = options.url.rstrip("/")
        # A user and a password are for basic authentication, not for a message.
        self.display_name = f"Prometheus at {clean_message(parts.netloc.rpartition('@')[2])}"
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def get(self, path: str, params: Sequence[tuple[str, str]], max_bytes: int) -> HttpAnswer:
        query = urlencode(params)
        if len(query) > MAX_QUERY_LENGTH:
            answer = await self._request("POST", path, query, max_bytes)
            if answer.status not in _POST_REFUSED:
                return answer
        return await self._request("GET", path, query, max_bytes)

    async def _request(self, method: str, path: str, query: str, max_bytes: int) -> HttpAnswer:
        import aiohttp  # imported late because it is slow

        session = await self._open()
        url, headers = f"{self._url}{path}", await asyncio.to_thread(self._headers)
        is_get = method == "GET"
        if not is_get:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            async with session.request(
                method,
                f"{url}?{query}" if is_get else url,
                data=None if is_get else query,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,  # to a login, or to a host that the token is not for
            ) as response:
                answer = bytearray()
                async for chunk in response.content.iter_any():
                    answer += chunk
                    if len(answer) > max_bytes:
                        raise MetricsError(
                            f"{self.display_name} answers with more than {max_bytes >> 20} MiB."
                        )
                return HttpAnswer(response.status, bytes(answer))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MetricsError(f"{self.display_name} {describe_failure(error)}.") from error
        except RuntimeError as error:
            if not session.closed:
                raise
            raise MetricsError(f"{self.display_name} is not asked any more.") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            ssl_context = await asyncio.to_thread(self._make_ssl_context)
            if self._session is None:  # meanwhile another first request may have opened it
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=ssl_context or True),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_READ_TIMEOUT
                    ),
                )
        return self._session

    def _make_ssl_context(self) -> ssl.SSLContext | None:
        """TLS context with the CA of the settings, and the proxy of the environment. Blocks."""
        transport = importlib.import_module("servedeck.cluster.http.transport")
        file, pem = self._options.ca_file, b""
        if file is not None:
            try:
                require_regular_file(file)
                pem = file.read_bytes()
            except OSError as error:
                raise MetricsError(
                    f"prometheus_ca_file cannot be read: {error.strerror}."
                ) from error
        server = KubeconfigCluster("Prometheus", self._url, certificate_authority=pem)
        try:
            self._proxy = select_proxy(server, os.environ)
        except ConfigError as error:
            raise MetricsError(str(error)) from error
        try:
            context: ssl.SSLContext | None = transport.make_ssl_context(server, Credential())
        except (ConfigError, UnicodeDecodeError) as error:
            raise MetricsError(
                "prometheus_ca_file contains no certificate in PEM format."
            ) from error
        return context

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", **self._options.headers}
        file = self._options.token_file
        if file is not None:
            try:
                require_regular_file(file)
                token = file.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise MetricsError(f"prometheus_token_file cannot be read: {why}.") from error
            headers["Authorization"] = f"Bearer {token}"
        return headers


class ServiceTransport:
    """Requests to a Service of the cluster through the API server, so that a kubeconfig is enough.
    Needs `get` on `services/proxy`. The API server passes no credentials on."""

    def __init__(self, connection: Connection, service: str) -> None:
        """`service` is "namespace/name:port", or "namespace/https:name:port". Raises MetricsError
        for anything else."""
        match = _SERVICE.fullmatch(service)
        if match is None:
            raise MetricsError("prometheus_service is not namespace/name:port; correct it.")
        self._connection = connection
        self._namespace, self._name = match["namespace"], match["name"]
        name = f"{match['scheme'] or ''}{match['name']}:{match['port']}"
        self._base = f"{SERVICE.collection_path(self._namespace)}/{name}/proxy"
        self.display_name = f"Prometheus in Service {self._namespace}/{self._name}"

    async def get(self, path: str, params: Sequence[tuple[str, str]], max_bytes: int) -> HttpAnswer:
        try:
            response = await self._connection.request(
                "GET", self._base + path, params=params, max_bytes=max_bytes, timeout=_READ_TIMEOUT
            )
        except ApiError as error:
            raise self._convert(error) from error
        except ClusterError as error:
            raise MetricsError(str(error)) from error
        return HttpAnswer(response.status, response.body)

    def _convert(self, error: ApiError) -> MetricsError:
        """An error of the API server, or one of Prometheus that it has passed on."""
        service = f"Service {self._namespace}/{self._name}"
        if error.details.get("kind") == "endpoints" or "no endpoints" in error.message:
            return MetricsError(f"{service} leads to no Ready Pod.")
        if error.code == 401:
            what = "requires a login (401) that the API server does not pass on; set prometheus_url"
        elif error.code == 403 and error.reason == "Forbidden":
            what = f"needs get on services/proxy in namespace {self._namespace}"
        elif error.code == 404 and error.reason == "NotFound":
            return MetricsError(f"There is no {service}, or it leads to no Pod.")
        elif error.code in (400, 422):
            what = f"cannot run the query: {error.message.rstrip('.')}"
        else:
            what = f"does not answer ({error.code}: {(error.message or error.reason).rstrip('.')})"
        return MetricsError(f"{self.display_name} {what}.")

    async def close(self) -> None:
        pass  # the connection belongs to the caller


_SERVICE = re.compile(
    r"(?P<namespace>[a-z0-9][a-z0-9.-]*)/(?P<scheme>https?:)?(?P<name>[a-z0-9][a-z0-9.-]*)"
    r":(?P<port>[a-z0-9-]+)"
)
