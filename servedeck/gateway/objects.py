"""Large bodies, in files or in S3-compatible object storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol


class ObjectStoreError(Exception):
    """str() is one sentence."""


class ObjectStore(Protocol):
    """Names are <task id>/<what>. All methods raise ObjectStoreError."""

    async def put(self, name: str, body: bytes | Path) -> None:
        """Returns when it is stored; what was there before is replaced. A Path is read in parts."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Its bytes in parts, or those of a range. Raises ObjectStoreError if it is not there."""

    async def delete(self, names: Iterable[str]) -> None:
        """What is not there counts as deleted."""

    async def delete_older(self, seconds: float) -> int:
        """Delete objects that a gateway left behind when it was killed; returns how many."""
