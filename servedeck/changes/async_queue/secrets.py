"""The Secrets of an async gateway: one with random keys, made once, and the password of the store,
and one with a copy of the key that reads everything but bodies, which viewers may be given.

What is in them is never part of a plan, a message or a log.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import SECRET
from servedeck.serving.conventions import ASYNC_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL
from servedeck.serving.objects.async_gateway import SECRET_KEYS, VALKEY_PASSWORD_KEY, VIEW_KEY
from servedeck.serving.objects.async_routes import async_gateway_name, async_view_secret_name
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

_DEFAULT_KEY = "password"
_KEY_BYTES = 32


class PasswordSource(NamedTuple):
    """Where the platform keeps the password of the store."""

    namespace: str
    name: str
    key: str

    @classmethod
    def parse(cls, setting: str) -> PasswordSource | None:
        """Of namespace/name or namespace/name/key; None for anything else."""
        parts = setting.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            return None
        return cls(parts[0], parts[1], parts[2] if len(parts) == 3 else _DEFAULT_KEY)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}/{self.key}"


class PasswordError(Exception):
    """The password cannot be copied; str() is one sentence."""


async def read_password(connection: Connection, source: PasswordSource) -> str:
    """The password as it is in a Secret, in base64. Raises PasswordError and ClusterError."""
    where = f"Secret {source.namespace}/{source.name}"
    try:
        found = await connection.get_json(SECRET.object_path(source.namespace, source.name))
    except ApiError as error:
        if error.code == 403:
            raise PasswordError(
                f"The password of Valkey is in {where}, which may not be read; ask for get on it, "
                "or have the Secret of the gateway made by who may."
            ) from error
        if error.code == 404:
            raise PasswordError(
                f"The password of Valkey should be in {where}, which does not exist; correct "
                "async_store_secret, or create it."
            ) from error
        raise
    value = as_str(as_mapping(found, "data").get(source.key))
    if not value:
        raise PasswordError(f"{where} has no key {source.key}; correct async_store_secret.")
    return value


async def build_secret(
    connection: Connection, namespace: str, serving: str, password_from: str
) -> JsonObject:
    """A new Secret. Raises PasswordError and ClusterError."""
    data = {one: _encode(secrets.token_hex(_KEY_BYTES)) for one in SECRET_KEYS}
    if source := PasswordSource.parse(password_from):
        data[VALKEY_PASSWORD_KEY] = await read_password(connection, source)
    return secret_manifest(namespace, serving, data)


def missing_keys(secret: Mapping[str, Any]) -> list[str]:
    """Keys that a gateway needs and its Secret does not have."""
    data = as_mapping(secret, "data")
    return [one for one in SECRET_KEYS if not data.get(one)]


def has_view_key(view_secret: Mapping[str, Any], secret: Mapping[str, Any] | None) -> bool:
    """Whether the Secret for viewers has the key that the gateway's Secret has."""
    key = as_mapping(secret, "data").get(VIEW_KEY)
    return bool(key) and as_mapping(view_secret, "data").get(VIEW_KEY) == key


def secret_manifest(namespace: str, serving: str, data: Mapping[str, str]) -> JsonObject:
    return _manifest(namespace, serving, async_gateway_name(serving), data)


def view_secret_manifest(namespace: str, serving: str, view_key: str) -> JsonObject:
    """`view_key` is in base64."""
    name = async_view_secret_name(serving)
    return _manifest(namespace, serving, name, {VIEW_KEY: view_key})


def _manifest(namespace: str, serving: str, name: str, data: Mapping[str, str]) -> JsonObject:
    labels = {
        "app.kubernetes.io/name": "servedeck-gateway",
        "app.kubernetes.io/instance": async_gateway_name(serving),
        "app.kubernetes.io/part-of": FIELD_MANAGER,
        MANAGED_BY_LABEL: FIELD_MANAGER,
        ASYNC_LABEL: serving,
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    kind: JsonObject = {"apiVersion": "v1", "kind": SECRET.kind, "type": "Opaque"}
    return {**kind, "metadata": metadata, "data": dict(data)}


async def create_secret(
    connection: Connection, manifest: Mapping[str, Any], *, dry_run: bool = False
) -> None:
    """Create it: unlike server-side apply, that never changes one that is there. Raises
    ClusterError."""
    params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
    await connection.request(
        "POST",
        SECRET.collection_path(manifest["metadata"]["namespace"]),
        params=[*params, ("dryRun", "All")] if dry_run else params,
        body=dict(manifest),
    )


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
