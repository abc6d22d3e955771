"""Older log lines in temporary files: compressed and written by one thread, read back by any.

The files have no name (`tempfile.TemporaryFile`), so they go with the process, however it ends.
They are segments of limited size: space becomes free when the last block of one is dropped.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import NamedTuple

from servedeck.logs.block import BlockBytes

_LEVEL = 1
"""Of zstd: 1.6 GB/s on one core for ordinary logs, which become a ninth of their size."""


class SpillError(Exception):
    """A block cannot be written or read back; the message is the reason, without a full stop."""


class SpillSegment:
    """A temporary file with blocks, one after the other. Closed, and its space free, when all its
    blocks are released. Safe for threads."""

    def __init__(self, directory: Path | None) -> None:
        """Raises OSError if there is no place for it."""
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - kept open
        self._held = 0
        self._closed = False
        self.size = 0
        """Bytes written."""

    def append(self, payload: bytes) -> int | None:
        """The offset at which a block was written; None if the segment is closed. Raises OSError,
        with the segment as it was before."""
        with self._lock:
            if self._closed:
                return None
            offset, view = self.size, memoryview(payload)
            written = 0
            while written < len(view):
                written += os.pwrite(self._file.fileno(), view[written:], offset + written)
            self.size += written
            self._held += 1
            return offset

    def read(self, offset: int, length: int) -> bytes:
        """Raises OSError."""
        with self._lock:
            if self._closed:
                raise OSError("the file is closed")
            return os.pread(self._file.fileno(), length, offset)

    def release(self) -> bool:
        """One block less; True if it was the last, so that the segment is closed."""
        with self._lock:
            self._held -= 1
        return self.close_if_empty()

    def close_if_empty(self) -> bool:
        """Close it unless it has blocks; True if it is closed."""
        with self._lock:
            if self._held <= 0:
                self._close()
            return self._closed

    def close(self) -> None:
        """Close it with all its blocks."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._file.close()


class SpilledBlock(NamedTuple):
    """Where a block is: two zstd frames, its text, and its timestamps and sources."""

    segment: SpillSegment
    offset: int
    length: int
    """Compressed bytes."""
    data_length: int
    """Compressed bytes of the text alone."""
    line_count: int

    def load(self) -> BlockBytes:
        """The content; raises SpillError."""
        zstd = _load_zstd()
        try:
            payload = memoryview(self.segment.read(self.offset, self.length))
            data = zstd.decompress(payload[: self.data_length])
            rest = zstd.decompress(payload[self.data_length :])
        except (OSError, zstd.ZstdError) as error:
            raise SpillError(_describe(error)) from error
        split_at = len(rest) - 2 * self.line_count
        return BlockBytes(data, rest[:split_at], array("H", rest[split_at:]))


class SpillJob:
    """A block to be written, and what became of it."""

    def __init__(self, number: int, content: BlockBytes) -> None:
        self.number = number
        """The number of its first line."""
        self.content = content
        self.cancelled = False
        """No longer needed; set by the owner."""
        self.attempt = 0
        """The owner's count of attempts to free space before this job was handed over."""
        self.spilled: SpilledBlock | None = None
        self.error = ""
        """The reason if it was not written."""


class Spiller:
    """Compresses and writes blocks in one thread, which starts with the first block."""

    def __init__(self, directory: Path | None, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._jobs: SimpleQueue[SpillJob | None] = SimpleQueue()
        self._results: deque[SpillJob] = deque()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._thread: threading.Thread | None = None
        self._segments: list[SpillSegment] = []
        """Those that may be open, for the thread alone; the last one is written."""

    def submit(self, job: SpillJob) -> None:
        """Write a block; it comes back in `take_results`, unless cancelled."""
        if self._thread is None:
            # a daemon: the end of the program does not wait for lines that nobody will read
            self._thread = threading.Thread(target=self._run, name="log-spill", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def take_results(self) -> list[SpillJob]:
        """The jobs that ended since the last call."""
        found: list[SpillJob] = []
        while self._results:
            found.append(self._results.popleft())
        return found

    def call_after_result(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, in the thread, when there are results to be taken."""
        with self._lock:
            if not self._results:
                self._callbacks.append(callback)
                return
        callback()

    def close(self) -> None:
        """End the thread after the jobs that are not cancelled, and close all files then. Does not
        wait for it."""
        if self._thread is not None:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.cancelled:
                try:
                    job.spilled = self._write(job.content)
                except (OSError, ImportError, MemoryError) as error:
                    job.error = _describe(error)
            with self._lock:
                self._results.append(job)
                callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()
            del job  # else it holds the memory of its block until the next one
        for segment in self._segments:
            segment.close()

    def _write(self, content: BlockBytes) -> SpilledBlock:
        zstd = _load_zstd()
        data = zstd.compress(content.data, _LEVEL)
        rest = zstd.compress(content.stamps + content.sources.tobytes(), _LEVEL)
        payload = data + rest
        while True:
            segment = self._segments[-1] if self._segments else None
            if segment is None or segment.size + len(payload) > self._segment_bytes:
                self._segments = [each for each in self._segments if not each.close_if_empty()]
                segment = SpillSegment(self._directory)
                self._segments.append(segment)
            offset = segment.append(payload)
            if offset is not None:
                return SpilledBlock(segment, offset, len(payload), len(data), len(content.sources))
            self._segments.pop()


def _load_zstd() -> ModuleType:
    """The module of zstd, loaded when the first block is written: few logs are that long."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


def _describe(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or repr(error)
