"""The body of a response while it is received: in memory, then in a temporary file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from servedeck.gateway.objects import ObjectStore
from servedeck.gateway.stores.store import Content

_WRITE_BYTES = 1 << 18


class TooLargeError(Exception):
    """There are more bytes than are allowed."""


class Spool:
    """Close it after use. Without an object store it stays in memory, up to `max_bytes`."""

    def __init__(self, objects: ObjectStore | None, inline_bytes: int, max_bytes: int) -> None:
        self.size = 0
        self._objects = objects
        self._inline_bytes = inline_bytes
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._unwritten = 0
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    async def add(self, data: bytes) -> None:
        """Raises TooLargeError, or OSError if the temporary file cannot be written."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLargeError
        self._parts.append(data)
        self._unwritten += len(data)
        if self._is_large and self._unwritten >= _WRITE_BYTES:
            await self._write()

    async def store(self, name: str) -> Content:
        """The whole body, in the object store under `name` if it is large. May be called again
        after it raised ObjectStoreError or OSError."""
        if not self._is_large or self._objects is None:
            return Content(b"".join(self._parts), size=self.size)
        if self._path is None:
            await self._objects.put(name, b"".join(self._parts))
        else:
            await self._write()
            await self._objects.put(name, self._path)
        return Content(object=name, size=self.size)

    def tail(self, limit: int) -> bytes:
        """The end of the body, at most so many bytes. Raises OSError."""
        parts: list[bytes] = []
        size = 0
        for part in reversed(self._parts):
            parts.append(part[-(limit - size) :])
            size += len(parts[-1])
            if size == limit:
                break
        written = self.size - self._unwritten
        if size < limit and written and self._file is not None:
            length = min(limit - size, written)
            parts.append(os.pread(self._file.fileno(), length, written - length))
        return b"".join(reversed(parts))

    def close(self) -> None:
        self._parts = []
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._file = self._path = None

    @property
    def _is_large(self) -> bool:
        return self._objects is not None and self.size > self._inline_bytes

    async def _write(self) -> None:
        data, self._parts, self._unwritten = b"".join(self._parts), [], 0
        # Shielded: a thread cannot be stopped, and must not write to a file that was closed.
        writing = asyncio.ensure_future(asyncio.to_thread(self._append, data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise

    def _append(self, data: bytes) -> None:
        if self._file is None:
            number, path = tempfile.mkstemp(prefix="servedeck-result-")
            self._path, self._file = Path(path), os.fdopen(number, "wb")
            opened = Path(f"/proc/self/fd/{number}")
            if opened.exists():
                # Without a name it ends with the process, even if that is killed.
                self._path.unlink()
                self._path = opened
        self._file.write(data)
        self._file.flush()
