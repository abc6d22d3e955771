"""The keys of a gateway's admin port, and where they are read."""

from __future__ import annotations

import asyncio
import base64
import binascii
from abc import ABC, abstractmethod
from enum import StrEnum
from pathlib import Path

from servedeck.async_queue.errors import NotInstalledError, NotPermittedError, UnreachableError
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import SECRET
from servedeck.serving.objects.async_routes import async_gateway_name, async_view_secret_name
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str

MAX_KEY_BYTES = 4096


class AccessKey(StrEnum):
    """Keys of the gateway's Secret."""

    VIEW = "view-key"
    """Reads everything but bodies."""
    ADMIN = "admin-key"


class GatewayKeys(ABC):
    """The keys of one gateway. A key is read once, until it is forgotten."""

    description: str
    """Where the keys are, for messages."""

    def __init__(self) -> None:
        self._keys: dict[AccessKey, str] = {}
        self.may_read_bodies: bool | None = None
        """Whether there is a key that opens bodies; None while that is not known."""

    def is_known(self, key: AccessKey) -> bool:
        return key in self._keys

    def forget(self) -> None:
        """Read them again: they may have changed."""
        self._keys.clear()

    @abstractmethod
    async def get(self, key: AccessKey) -> str:
        """Raises AsyncQueueError."""


class SecretKeys(GatewayKeys):
    """Those of the gateway's Secret, or of the Secret with the view-key alone."""

    def __init__(self, connection: Connection, namespace: str, serving: str) -> None:
        super().__init__()
        self._connection = connection
        self._namespace = namespace
        self._name = async_gateway_name(serving)
        self._view_name = async_view_secret_name(serving)
        self.description = f"Secret {namespace}/{self._name}"

    async def get(self, key: AccessKey) -> str:
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
        if not _is_usable(found):
            raise NotPermittedError(
                f"Secret {self._namespace}/{name} has no usable {key.value}; correct it."
            )
        return found


class FileKeys(GatewayKeys):
    """The one key of a file of the operator; which of both it is, the gateway knows."""

    description = "async_key_file"

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    async def get(self, key: AccessKey) -> str:
        if key not in self._keys:
            self._keys[key] = await asyncio.to_thread(self._read)
        return self._keys[key]

    def _read(self) -> str:
        """Raises NotPermittedError."""
        try:
            with self._file.open("rb") as file:
                content = file.read(MAX_KEY_BYTES + 1)
        except OSError as error:
            raise NotPermittedError(
                f"async_key_file cannot be read: {self._file}: {error.strerror}."
            ) from error
        found = content.decode("utf-8", "replace").strip()
        if not _is_usable(found) or len(content) > MAX_KEY_BYTES:
            raise NotPermittedError(f"async_key_file has no usable key: {self._file}; correct it.")
        return found


def _is_usable(key: str) -> bool:
    """Whether a header can have it: else it would be an error of the HTTP client."""
    return bool(key) and key.isascii() and key.isprintable()


class _SecretForbiddenError(NotPermittedError):
    """The user may not read a Secret."""
