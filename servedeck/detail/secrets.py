"""Reads one value of a Secret, on request only; nothing keeps or logs it."""

from __future__ import annotations

import base64
import binascii

from servedeck.cluster import resources
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.spec.mapping.json_values import as_mapping
from servedeck.serving.text import sanitize


class SecretValueError(ClusterError):
    """The value cannot be read; str() is one sentence."""


async def read_secret_value(connection: Connection, namespace: str, secret: str, key: str) -> str:
    """The value of one key, sanitized. Raises ClusterError if it cannot be read or there is
    none."""
    try:
        found = await connection.get_json(resources.SECRET.object_path(namespace, secret))
    except ApiError as error:
        if error.code == 403:
            raise SecretValueError(
                f"Cannot read Secret {secret} in namespace {namespace}: needs get on secrets."
            ) from error
        if error.code == 404:
            raise SecretValueError(f"Namespace {namespace} has no Secret {secret}.") from error
        raise
    data = as_mapping(found, "data")
    if key not in data:
        raise SecretValueError(f"Secret {secret} has no key {key}.")
    try:
        raw = base64.b64decode(str(data[key]), validate=True)
    except (binascii.Error, ValueError):
        raise SecretValueError(f"The value of {key} in Secret {secret} is not base64.") from None
    try:
        return sanitize(raw.decode())
    except UnicodeDecodeError:
        raise SecretValueError(
            f"The value of {key} in Secret {secret} is binary ({len(raw)} bytes), not text."
        ) from None
