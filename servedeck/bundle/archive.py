"""The archive: files are written to it one after the other, compressed, within a limit."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import threading
from datetime import datetime
from typing import BinaryIO, NamedTuple

_BLOCK = 512
"""Bytes of a header and unit of a file in a tar archive (POSIX, pax)."""
_HEADER_BLOCKS = 4
"""Blocks before a file at most: for a long path also an extended header."""
_END_BYTES = 10_240
"""Bytes that end a tar archive at most."""
_COMPRESSION = 6
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_PART = 200


class ArchiveEntry(NamedTuple):
    """A file in the archive."""

    path: str
    """Relative to its directory."""
    size: int
    """Bytes before compression."""


class ArchiveCanceledError(Exception):
    """The archive is not written any further."""


class ArchiveWriter:
    """Writes a .tar.gz with one directory. Its methods block: call them in a thread, from one task
    at a time. They raise OSError."""

    def __init__(self, output: BinaryIO, directory: str, max_bytes: int, time: datetime) -> None:
        """`time` is that of the files."""
        self.directory = directory
        self.entries: list[ArchiveEntry] = []
        self._time = int(time.timestamp())
        self._remaining = max_bytes - _END_BYTES
        self._canceled = threading.Event()
        self._gzip = gzip.GzipFile("", "wb", _COMPRESSION, output, mtime=self._time)
        self._tar = tarfile.TarFile(fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT)

    @property
    def remaining(self) -> int:
        """Bytes that one more file may have."""
        return max(0, (self._remaining // _BLOCK - _HEADER_BLOCKS) * _BLOCK)

    def reserve(self, size: int) -> None:
        """Keep room for files that are written at the end; a negative size gives it back."""
        self._remaining -= size

    def add(self, path: str, data: bytes) -> None:
        """Add a file. Raises ValueError if it does not fit."""
        self.add_stream(path, io.BytesIO(data), len(data))

    def add_stream(self, path: str, content: BinaryIO, size: int) -> None:
        """Add a file of `size` bytes. Raises ValueError if it does not fit."""
        if size > self.remaining:
            raise ValueError(f"{path} does not fit")
        info = tarfile.TarInfo(f"{self.directory}/{path}")
        info.size, info.mtime, info.mode = size, self._time, 0o600
        self._tar.addfile(info, _CancelableReader(content, self._canceled))
        self._remaining -= (_HEADER_BLOCKS + -(-size // _BLOCK)) * _BLOCK
        self.entries.append(ArchiveEntry(path, size))

    def close(self) -> None:
        """End the archive; the output stays open."""
        self._tar.close()
        self._gzip.close()

    def cancel(self) -> None:
        """Let a file that another thread is adding end with ArchiveCanceledError."""
        self._canceled.set()


class _CancelableReader(io.RawIOBase):
    def __init__(self, content: BinaryIO, canceled: threading.Event) -> None:
        self._content = content
        self._canceled = canceled

    def read(self, size: int = -1) -> bytes:
        if self._canceled.is_set():
            raise ArchiveCanceledError
        return self._content.read(size)


def safe_part(name: str) -> str:
    """A name of the cluster as one part of a path: only letters, digits, ".", "-" and "_", which
    every file system and every shell takes, and never ".."."""
    part = _UNSAFE.sub("_", name)[:_MAX_PART]
    return part if part.strip(".") else "_"
