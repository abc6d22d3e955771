"""Large bodies, in files or in S3-compatible object storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol


class ObjectStoreError(Exception):
    """str() is one sentence."""


class ObjectMissingError(ObjectStoreError):
    """There is no such object: asking again will not help."""


class ObjectStore(Protocol):
    """Names are <task id>/<what>. All methods raise ObjectStoreError."""

    async def put(self, name: str, body: bytes | Path) -> None:
        """Returns when it is stored; what was there before is replaced. A Path is read in parts."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Its bytes in parts, or those of a range, without `end` itself. Raises ObjectMissingError
        if it is not there."""

    async def delete(self, names: Iterable[str]) -> None:
        """What is not there counts as deleted."""

    def older(self, seconds: float) -> AsyncIterator[str]:
        """Names of the objects that were stored so long ago. Those that no task refers to were left
        behind by a gateway that was killed; what else it left behind unfinished is deleted
        here."""
