"""Paths in a container."""

from __future__ import annotations

from posixpath import normpath


def normalize_path(path: str) -> str:
    """The path without repeated and trailing slashes."""
    return normpath("/" + path.strip("/"))
