"""Requests to the admin port of a serving's async gateway; each way there is a subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import msgspec

from servedeck.async_queue.errors import AsyncQueueError, NotPermittedError, TooOldError
from servedeck.async_queue.gateway_keys import AccessKey, GatewayKeys
from servedeck.cluster.http.connection import ApiResponse
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.http.stream import ResponseStream

KEY_HEADER = "X-Servedeck-Key"
PREFIX = "/-/async"
"""Of all paths of the admin port."""
TIMEOUT = 15.0
"""Seconds without an answer of the gateway."""
FEED_TIMEOUT = 20.0
"""The feed sends a comment every 5 seconds."""

Answer = TypeVar("Answer", bound=msgspec.Struct)
Params = Sequence[tuple[str, str]]


class GatewayTransport(ABC):
    """To the gateway of one serving. A key is read once, and again if the gateway does not accept
    it. All methods raise AsyncQueueError, and ReadOnlyError where they write."""

    def __init__(self, keys: GatewayKeys, name: str) -> None:
        """`name` is that of the gateway, namespace/name."""
        self._keys = keys
        self._gateway_name = name

    @property
    def may_read_bodies(self) -> bool | None:
        """Whether bodies may be read; None while that is not known."""
        return self._keys.may_read_bodies

    async def ask(
        self,
        method: str,
        path: str,
        key: AccessKey,
        answer: type[Answer],
        params: Params = (),
        body: msgspec.Struct | Mapping[str, object] | None = None,
    ) -> Answer:
        """Ask the admin port; `path` is below its prefix."""
        response = await self.request(method, path, key, params, body=body)
        return self.decode(response.body, answer)

    async def request(
        self,
        method: str,
        path: str,
        key: AccessKey,
        params: Params = (),
        *,
        body: msgspec.Struct | Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        """A request to the admin port; `path` is below its prefix. Raises ApiError for status 416,
        which is about the range that was asked for."""
        content = None if body is None else msgspec.json.encode(body)
        is_known = self._keys.is_known(key)
        while True:
            sent = {**(headers or {}), KEY_HEADER: await self._keys.get(key)}
            try:
                response = await self._send(method, path, params, content, sent)
            except ClusterError as error:
                if isinstance(error, ApiError) and error.code == 416:
                    raise
                converted = self._convert(error)
                if not is_known or not isinstance(converted, NotPermittedError):
                    raise converted from error
            else:
                if key is AccessKey.ADMIN:
                    self._keys.may_read_bodies = True
                return response
            # It may have been changed since.
            self._keys.forget()
            is_known = False

    @asynccontextmanager
    async def stream(self, path: str, params: Params) -> AsyncIterator[ResponseStream]:
        """A stream of the admin port that the view-key opens. What it raises while it is read is
        converted, too."""
        is_known = self._keys.is_known(AccessKey.VIEW)
        while True:
            headers = {
                KEY_HEADER: await self._keys.get(AccessKey.VIEW),
                "Accept": "text/event-stream, application/json",
            }
            has_begun = False
            try:
                async with self._open_stream(path, params, headers) as stream:
                    has_begun = True
                    yield stream
                    return
            except ClusterError as error:
                if isinstance(error, AsyncQueueError):
                    raise
                converted = self._convert(error)
                is_refused = isinstance(converted, NotPermittedError) and not has_begun
                if not is_known or not is_refused:
                    raise converted from error
            self._keys.forget()
            is_known = False

    @abstractmethod
    async def submit(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """A request to the port of the callers; the body of the answer."""

    def decode(self, body: bytes, answer: type[Answer]) -> Answer:
        """Raises TooOldError."""
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.too_old() from error

    def too_old(self) -> TooOldError:
        """The error for a gateway of another version."""
        return TooOldError(
            f"The async gateway {self._gateway_name} does not answer as this version of"
            " servedeck expects; turn the async queue on again to update it."
        )

    # -- of the way -----------------------------------------------------------------------------

    @abstractmethod
    async def _send(
        self,
        method: str,
        path: str,
        params: Params,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> ApiResponse:
        """A request to the admin port; `path` is below its prefix. Raises ClusterError."""

    @abstractmethod
    def _open_stream(
        self, path: str, params: Params, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[ResponseStream]:
        """The stream of a GET. Raises ClusterError, on entering and while it is read."""

    @abstractmethod
    def _convert(self, error: ClusterError) -> ClusterError:
        """The AsyncQueueError or ReadOnlyError for an error of the admin port."""
