"""The admin API of a serving's async gateway, through the API server's Service proxy.

A kubeconfig is enough: the gateway's admin port has no route. It needs `get` (to act, `create`) on
`services/proxy`, and `get` on the gateway's Secret, which has the key of that port.
"""

from __future__ import annotations

import base64
import binascii
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
from servedeck.async_queue.tasks import Changed, QueueStatus, TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import SECRET, SERVICE
from servedeck.serving.objects.async_routes import GATEWAY_PORT, async_gateway_name
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str

KEY_HEADER = "X-Servedeck-Key"
_PREFIX = "/-/async"
_TIMEOUT = 15.0
"""Seconds without an answer of the gateway."""

Answer = TypeVar("Answer", bound=msgspec.Struct)


class AccessKey(StrEnum):
    """Keys of the gateway's Secret."""

    VIEW = "view-key"
    """Reads everything but bodies."""
    ADMIN = "admin-key"


class AsyncQueueClient:
    """Of one serving. The key is read once, and again if the gateway does not accept it."""

    def __init__(self, connection: Connection, namespace: str, serving: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = async_gateway_name(serving)
        self._keys: dict[str, str] = {}
        service = f"{self._name}-admin:{GATEWAY_PORT}"
        self._base = f"{SERVICE.object_path(namespace, service)}/proxy{_PREFIX}"

    async def queue_status(self) -> QueueStatus:
        """Raises AsyncQueueError."""
        return await self._ask("GET", "/queue", AccessKey.VIEW, QueueStatus)

    async def close_queue(self) -> None:
        """Once it returns, the gateway accepts no task, and retries none that failed. Raises
        AsyncQueueError, TooOldError by a gateway that cannot be closed."""
        await self._ask("POST", "/queue/close", AccessKey.ADMIN, Changed)

    async def open_queue(self) -> None:
        """Raises AsyncQueueError, TooOldError by a gateway that cannot be closed."""
        await self._ask("POST", "/queue/open", AccessKey.ADMIN, Changed)

    async def cancel_tasks(self, state: TaskState) -> int:
        """Cancel all tasks that are pending, or all that are processing; returns how many. Raises
        AsyncQueueError: what was cancelled until then stays so."""
        return await self._change_all("/queue/purge", [("state", state.value)])

    async def forget_tasks(self) -> int:
        """Delete all tasks that have ended, with their results; returns how many. Raises
        AsyncQueueError, TooOldError by a gateway that cannot: what was deleted until then stays
        so."""
        return await self._change_all("/queue/forget", [])

    async def _change_all(self, path: str, given: list[tuple[str, str]]) -> int:
        total, after = 0, ""
        while True:
            params = given + ([("after", after)] if after else [])
            found = await self._ask("POST", path, AccessKey.ADMIN, Changed, params)
            total += found.changed
            if not found.next or found.next == after:
                return total
            after = found.next

    async def _ask(
        self,
        method: str,
        path: str,
        key: AccessKey,
        answer: type[Answer],
        params: list[tuple[str, str]] | None = None,
    ) -> Answer:
        is_known = key in self._keys
        try:
            return await self._send(method, path, key, answer, params)
        except NotPermittedError:
            if not is_known:
                raise
        # The Secret may have been created again since.
        self._keys.clear()
        return await self._send(method, path, key, answer, params)

    async def _send(
        self,
        method: str,
        path: str,
        key: AccessKey,
        answer: type[Answer],
        params: list[tuple[str, str]] | None,
    ) -> Answer:
        headers = {KEY_HEADER: await self._read_key(key)}
        try:
            response = await self._connection.request(
                method, self._base + path, params=params or (), headers=headers, timeout=_TIMEOUT
            )
        except ApiError as error:
            raise self._convert(error) from error
        except InvalidResponseError as error:
            raise self._too_old() from error
        except ClusterError as error:
            raise UnreachableError(str(error)) from error
        try:
            return msgspec.json.decode(response.body, type=answer)
        except msgspec.DecodeError as error:
            raise self._too_old() from error

    async def _read_key(self, key: AccessKey) -> str:
        if key in self._keys:
            return self._keys[key]
        where = f"Secret {self._namespace}/{self._name}"
        try:
            secret = await self._connection.get_json(
                SECRET.object_path(self._namespace, self._name)
            )
        except ApiError as error:
            if error.code == 404:
                raise NotInstalledError(
                    f"{self._namespace} has no Secret {self._name}: the async queue is off."
                ) from error
            if error.code == 403:
                raise NotPermittedError(
                    f"Asking the async gateway needs get on secrets {self._name} in namespace"
                    f" {self._namespace}, which has its key."
                ) from error
            raise UnreachableError(str(error)) from error
        except ClusterError as error:
            raise UnreachableError(str(error)) from error
        try:
            text = base64.b64decode(as_str(as_mapping(secret, "data").get(key.value)))
            self._keys[key] = text.decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError):
            self._keys[key] = ""
        # What a header cannot have would be an error of the HTTP client.
        if not self._keys[key] or not self._keys[key].isprintable():
            del self._keys[key]
            raise NotPermittedError(f"{where} has no usable {key.value}; correct it.")
        return self._keys[key]

    def _convert(self, error: ApiError) -> AsyncQueueError:
        """What the API server says, in a Status with a reason, or the gateway, without."""
        service = f"Service {self._namespace}/{self._name}-admin"
        if "no endpoints" in error.message or error.details.get("kind") == "endpoints":
            return UnreachableError(f"{service} leads to no Pod of the async gateway that is up.")
        if error.reason == "NotFound":
            return NotInstalledError(f"There is no {service}: the async queue is off.")
        if error.reason == "Forbidden":
            return NotPermittedError(
                f"Asking the async gateway needs get and create on services/proxy in namespace"
                f" {self._namespace}."
            )
        if error.reason:
            return UnreachableError(str(error))
        if error.code in (401, 403):
            return NotPermittedError(
                f"The async gateway does not accept the key in Secret {self._namespace}/"
                f"{self._name}; if the Secret was changed, it does within two minutes."
            )
        if error.code in (404, 405):
            return self._too_old()
        text = error.message.rstrip(".")
        return UnreachableError(f"The async gateway failed ({error.code}): {text or 'no reason'}.")

    def _too_old(self) -> TooOldError:
        return TooOldError(
            f"The async gateway {self._namespace}/{self._name} does not answer as this version of"
            " servedeck expects; turn the async queue on again to update it."
        )
