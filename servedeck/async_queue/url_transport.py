"""Requests to a serving's async gateway at the URL of the operator's settings, `async_admin_url`:
where `services/proxy` is not allowed, or the admin ports have a route of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from servedeck.async_queue.admin_url import AdminUrlClient, display_url
from servedeck.async_queue.errors import (
    AdminUrlError,
    AsyncQueueError,
    NotPermittedError,
    UnreachableError,
)
from servedeck.async_queue.gateway_keys import FileKeys, GatewayKeys, SecretKeys
from servedeck.async_queue.gateway_transport import (
    KEY_HEADER,
    PREFIX,
    GatewayTransport,
    Params,
)
from servedeck.async_queue.problems import convert_problem, read_problem
from servedeck.async_queue.service_proxy import ServiceProxy
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    InvalidResponseError,
    ReadOnlyError,
    clean_message,
)
from servedeck.cluster.http.stream import ResponseStream
from servedeck.serving.objects.async_routes import async_gateway_name


class _Queue(msgspec.Struct):
    serving: str
    """namespace/name"""


class UrlTransport(GatewayTransport):
    """To the URL. Before anything else, and again after an error of the connection, it makes sure
    that the gateway is that of the serving: a URL without the placeholders leads to one gateway
    for all, and what is meant for one queue must not be done to another."""

    def __init__(
        self, connection: Connection, namespace: str, serving: str, client: AdminUrlClient
    ) -> None:
        """Raises AdminUrlError for a serving that the URL cannot lead to."""
        self._connection = connection
        self._client = client
        self._namespace = namespace
        self._serving = f"{namespace}/{serving}"
        self._url = client.url_of(namespace, serving)
        self._display_url = display_url(self._url)
        self._is_right_gateway = False
        self._proxy = ServiceProxy(connection, namespace, serving)
        file = client.key_file_of(namespace, serving)
        keys: GatewayKeys = (
            SecretKeys(connection, namespace, serving) if file is None else FileKeys(file)
        )
        super().__init__(keys, f"{namespace}/{async_gateway_name(serving)}")

    async def submit(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """Through the API server, as the URL leads to the admin port alone."""
        try:
            return await self._proxy.submit(method, path, headers, body, content_type)
        except NotPermittedError as error:
            raise NotPermittedError(
                "Requests are submitted through the API server, also with async_admin_url: that"
                f" needs create on services/proxy in namespace {self._namespace}. Or send it to the"
                " endpoint of the serving."
            ) from error

    async def _send(
        self,
        method: str,
        path: str,
        params: Params,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> ApiResponse:
        if method != "GET" and self._connection.readonly:
            raise ReadOnlyError
        await self._check_gateway(headers)
        return await self._client.request(method, self._url, PREFIX + path, params, body, headers)

    @asynccontextmanager
    async def _open_stream(
        self, path: str, params: Params, headers: Mapping[str, str]
    ) -> AsyncIterator[ResponseStream]:
        await self._check_gateway(headers)
        async with self._client.stream(self._url, PREFIX + path, params, headers) as stream:
            yield stream

    async def _check_gateway(self, headers: Mapping[str, str]) -> None:
        """Raises AdminUrlError unless the gateway is that of the serving."""
        if self._is_right_gateway:
            return
        key = {KEY_HEADER: headers[KEY_HEADER]}
        response = await self._client.request("GET", self._url, f"{PREFIX}/queue", (), None, key)
        try:
            found = msgspec.json.decode(response.body, type=_Queue).serving
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AdminUrlError(
                f"{self._display_url} does not answer as an async gateway: correct"
                " async_admin_url, or is there a login in between?"
            ) from error
        if found != self._serving:
            raise AdminUrlError(
                f"{self._display_url} is the async gateway of {clean_message(found)}, not of"
                f" {self._serving}: async_admin_url needs {{namespace}} and {{name}}, or another"
                " address."
            )
        self._is_right_gateway = True

    def _convert(self, error: ClusterError) -> ClusterError:
        if isinstance(error, (AsyncQueueError, ReadOnlyError)):
            return error
        if isinstance(error, InvalidResponseError):
            return self.too_old()
        if not isinstance(error, ApiError):
            self._is_right_gateway = False
            return UnreachableError(str(error))
        return convert_problem(error) or self._convert_status(error)

    def _convert_status(self, error: ApiError) -> AsyncQueueError:
        """What the gateway says by its status, or whatever is between it and here."""
        code, url = error.code, self._display_url
        if read_problem(error.body) is None and code < 500:
            return self._convert_foreign(code)
        if code == 403:
            if isinstance(self._keys, FileKeys):
                self._keys.may_read_bodies = False
            return NotPermittedError(
                f"The key in {self._keys.description} may not do this at {url}: reading bodies and"
                " acting on tasks needs the admin-key."
            )
        if code == 401:
            return NotPermittedError(
                f"The async gateway at {url} does not accept the key in {self._keys.description}."
            )
        if code in (404, 405):
            return self.too_old()
        text = error.message.rstrip(".")
        return UnreachableError(f"{url} failed ({code}): {text or 'no reason'}.")

    def _convert_foreign(self, code: int) -> AsyncQueueError:
        """For an answer that no gateway gives."""
        url = self._display_url
        if code < 400:
            return AdminUrlError(
                f"{url} redirects to another address ({code}), where no key is sent: correct"
                " async_admin_url, or is there a login in between?"
            )
        if code in (401, 403, 407):
            return AdminUrlError(
                f"{url} refuses the request ({code}) before it comes to the async gateway: is there"
                " a login in between?"
            )
        if code == 404:
            return AdminUrlError(
                f"There is no async gateway at {url} (404): turn the async queue on, or correct"
                " async_admin_url."
            )
        return UnreachableError(f"{url} does not answer as an async gateway ({code}).")
