"""Requests to a serving's async gateway through the API server's Service proxy, with its keys.

A kubeconfig is enough: the gateway's admin port has no route. It needs `get` (to act, `create`) on
`services/proxy`, and `get` on the gateway's Secret, which has the keys of that port, or on the
Secret with the view-key alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TypeVar

import msgspec

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotInstalledError,
    NotPermittedError,
    TooOldError,
    UnreachableError,
)
from servedeck.async_queue.problems import convert_problem
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    InvalidResponseError,
    ReadOnlyError,
)
from servedeck.cluster.http.stream import ResponseStream
from servedeck.cluster.resources import SECRET, SERVICE
from servedeck.serving.objects.async_routes import (
    GATEWAY_PORT,
    async_gateway_name,
    async_view_secret_name,
)
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str

KEY_HEADER = "X-Servedeck-Key"
_PREFIX = "/-/async"
_TIMEOUT = 15.0
"""Seconds without an answer of the gateway."""
_FEED_TIMEOUT = 40.0
"""The feed sends a comment every 15 seconds."""

Answer = TypeVar("Answer", bound=msgspec.Struct)
Params = Sequence[tuple[str, str]]


class AccessKey(StrEnum):
    """Keys of the gateway's Secret."""

    VIEW = "view-key"
    """Reads everything but bodies."""
    ADMIN = "admin-key"


class ServiceProxy:
    """To the gateway of one serving. A key is read once, and again if the gateway does not accept
    it. All methods raise AsyncQueueError, and ReadOnlyError where they write."""

    def __init__(self, connection: Connection, namespace: str, serving: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = async_gateway_name(serving)
        self._view_name = async_view_secret_name(serving)
        self._keys: dict[AccessKey, str] = {}
        self.may_read_bodies: bool | None = None
        """Whether the Secret with the admin-key may be read; None while that is not known."""
        self._admin = self._service_path(f"{self._name}-admin") + _PREFIX

    def _service_path(self, service: str) -> str:
        return f"{SERVICE.object_path(self._namespace, f'{service}:{GATEWAY_PORT}')}/proxy"

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
        is_known = key in self._keys
        while True:
            sent = {**(headers or {}), KEY_HEADER: await self._key(key)}
            try:
                return await self._connection.request(
                    method,
                    self._admin + path,
                    params=params,
                    body=content,
                    headers=sent,
                    timeout=_TIMEOUT,
                )
            except ClusterError as error:
                if isinstance(error, ApiError) and error.code == 416:
                    raise
                converted = self._convert(error, f"{self._name}-admin")
                if not is_known or not isinstance(converted, NotPermittedError):
                    raise converted from error
            # The Secret may have been created again since.
            self._keys.clear()
            is_known = False

    @asynccontextmanager
    async def stream(self, path: str, params: Params) -> AsyncIterator[ResponseStream]:
        """A stream of the admin port that the view-key opens. What it raises while it is read is
        converted, too."""
        is_known = AccessKey.VIEW in self._keys
        while True:
            headers = {
                KEY_HEADER: await self._key(AccessKey.VIEW),
                "Accept": "text/event-stream, application/json",
            }
            has_begun = False
            try:
                async with self._connection.stream(
                    self._admin + path, params, _FEED_TIMEOUT, headers
                ) as stream:
                    has_begun = True
                    yield stream
                    return
            except ClusterError as error:
                if isinstance(error, AsyncQueueError):
                    raise
                converted = self._convert(error, f"{self._name}-admin")
                is_refused = isinstance(converted, NotPermittedError) and not has_begun
                if not is_known or not is_refused:
                    raise converted from error
            self._keys.clear()
            is_known = False

    async def submit(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """A request to the port of the callers; the body of the answer."""
        try:
            response = await self._connection.request(
                method,
                self._service_path(self._name) + path,
                body=body,
                content_type=content_type,
                headers=headers,
                timeout=_TIMEOUT,
            )
        except ClusterError as error:
            raise self._convert(error, self._name) from error
        return response.body

    def decode(self, body: bytes, answer: type[Answer]) -> Answer:
        """Raises TooOldError."""
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.too_old() from error

    def too_old(self) -> TooOldError:
        """The error for a gateway of another version."""
        return TooOldError(
            f"The async gateway {self._namespace}/{self._name} does not answer as this version of"
            " servedeck expects; turn the async queue on again to update it."
        )

    # -- keys -----------------------------------------------------------------------------------

    async def _key(self, key: AccessKey) -> str:
        if key not in self._keys:
            try:
                self._keys[key] = await self._read_key(self._name, key)
                self.may_read_bodies = True
            except _SecretForbiddenError as error:
                self.may_read_bodies = False
                if key is AccessKey.ADMIN:
                    raise NotPermittedError(
                        f"Reading bodies and acting on tasks needs get on secrets {self._name} in"
                        f" namespace {self._namespace}, which has the admin-key."
                    ) from error
                self._keys[key] = await self._read_view_key(error)
        return self._keys[key]

    async def _read_view_key(self, forbidden: NotPermittedError) -> str:
        """That of the other Secret; the error for the first one, if there is none."""
        try:
            return await self._read_key(self._view_name, AccessKey.VIEW)
        except (NotInstalledError, _SecretForbiddenError):
            raise NotPermittedError(
                f"Asking the async gateway needs get on secrets {self._view_name} or {self._name}"
                f" in namespace {self._namespace}, which have its key."
            ) from forbidden

    async def _read_key(self, name: str, key: AccessKey) -> str:
        try:
            secret = await self._connection.get_json(SECRET.object_path(self._namespace, name))
        except ApiError as error:
            if error.code == 404:
                raise NotInstalledError(
                    f"{self._namespace} has no Secret {name}: the async queue is off."
                ) from error
            if error.code == 403:
                raise _SecretForbiddenError(str(error)) from error
            raise UnreachableError(str(error)) from error
        except ClusterError as error:
            raise UnreachableError(str(error)) from error
        try:
            text = base64.b64decode(as_str(as_mapping(secret, "data").get(key.value)))
            found = text.decode("ascii").strip()
        except (binascii.Error, ValueError):
            found = ""
        # What a header cannot have would be an error of the HTTP client.
        if not found or not found.isprintable():
            raise NotPermittedError(
                f"Secret {self._namespace}/{name} has no usable {key.value}; correct it."
            )
        return found

    # -- errors ---------------------------------------------------------------------------------

    def _convert(self, error: ClusterError, service: str) -> ClusterError:
        """What the API server says, in a Status with a reason, or the gateway, without."""
        if isinstance(error, (AsyncQueueError, ReadOnlyError)):
            return error
        if isinstance(error, InvalidResponseError):
            return self.too_old()
        if not isinstance(error, ApiError):
            return UnreachableError(str(error))
        where = f"Service {self._namespace}/{service}"
        if "no endpoints" in error.message or error.details.get("kind") == "endpoints":
            return UnreachableError(f"{where} leads to no Pod of the async gateway that is up.")
        if error.reason == "NotFound":
            return NotInstalledError(f"There is no {where}: the async queue is off.")
        if error.reason == "Forbidden":
            return NotPermittedError(
                f"Asking the async gateway needs get and create on services/proxy in namespace"
                f" {self._namespace}."
            )
        if error.reason:
            return UnreachableError(str(error))
        if (problem := convert_problem(error)) is not None:
            return problem
        if error.code in (401, 403):
            return NotPermittedError(
                f"The async gateway does not accept the key in Secret {self._namespace}/"
                f"{self._name}; if the Secret was changed, it does within two minutes."
            )
        if error.code in (404, 405):
            return self.too_old()
        text = error.message.rstrip(".")
        return UnreachableError(f"The async gateway failed ({error.code}): {text or 'no reason'}.")


class _SecretForbiddenError(NotPermittedError):
    """The user may not read a Secret."""
