"""Objects as plain JSON data, and small functions on them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-wide object is ""."""


def format_datetime(moment: datetime) -> str:
    """metav1.Time as JSON: RFC 3339, whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(obj: Json) -> Key:
    """(namespace, name) of an object."""
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta.get("name", "")
