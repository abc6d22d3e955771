"""The logs of a serving: read in bounded parts, redacted, kept in temporary files until they are in
the archive."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from servedeck.bundle.options import BundleOptions, LogStream
from servedeck.bundle.reader import ClusterReader, TimeLimitError
from servedeck.bundle.redaction import LogRedactor, Redactor
from servedeck.cluster.http.errors import ApiError, ClusterError, ReadTimeoutError
from servedeck.logs.pod_log import NOTICE_PREFIX, read_log
from servedeck.serving.text import format_count

READ_TIMEOUT = 15.0
"""Seconds without data after which a log is given up: nothing is followed, so the node is slow or
lost."""

_MEMORY_BYTES = 256 << 10
"""Bytes of a log that are kept in memory; a longer one is in a file without a name."""
_MIN_LINE_BYTES = 22
"""Bytes of an empty line: its timestamp in seconds, a blank and the newline."""
_MAX_LINE_BYTES = 64 << 10
"""Maximum length of a line: what looks secret is sought in whole lines."""
_COPY_BYTES = 1 << 20


class LogSpool:
    """Keeps the last `limit` bytes of a text, in whole lines. Its methods block and raise
    OSError."""

    def __init__(self, limit: int, directory: Path | None, *, counts: bool = True) -> None:
        """`counts` is whether it gets all lines, so that the number of dropped ones is known."""
        self._limit = limit
        self._counts = counts
        self._directory = directory
        self._file: BinaryIO = self._new_file()
        self.size = 0
        """Bytes that are kept."""
        self.dropped_lines = 0

    def _new_file(self) -> BinaryIO:
        directory = None if self._directory is None else str(self._directory)
        return cast("BinaryIO", tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=directory))

    def write(self, lines: list[str]) -> None:
        """Append lines; the oldest are dropped where twice the limit is reached."""
        data = "".join([f"{line}\n" for line in lines]).encode("utf-8", "replace")
        self._file.write(data)
        self.size += len(data)
        if self.size > 2 * self._limit:
            self.trim(self._limit)

    def trim(self, limit: int) -> None:
        """Drop the oldest lines so that at most `limit` bytes are left."""
        excess = self.size - limit
        if excess <= 0:
            return
        self._file.seek(0)
        dropped = 0
        while dropped < excess:
            line = self._file.readline()
            if not line:
                break
            dropped += len(line)
            self.dropped_lines += 1
        rest = self._new_file()
        while data := self._file.read(_COPY_BYTES):
            rest.write(data)
        self._file.close()
        self._file = rest
        self.size -= dropped

    def finish(self, limit: int) -> tuple[BinaryIO, int]:
        """The text, at its begin, and its size, at most `limit`. If lines were dropped, the first
        line says so."""
        self.trim(limit)
        if self.dropped_lines:
            room = len(self._dropped_notice(10**9))
            self.trim(max(0, limit - room))
            if room <= limit:
                self._insert(self._dropped_notice(self.dropped_lines))
        self._file.seek(0)
        return self._file, self.size

    def _dropped_notice(self, lines: int) -> bytes:
        what = format_count(lines, "older line") if self._counts else "Older lines"
        return f"{NOTICE_PREFIX}{what} left out.\n".encode()

    def _insert(self, head: bytes) -> None:
        """Put a line before the text."""
        whole = self._new_file()
        whole.write(head)
        self._file.seek(0)
        while data := self._file.read(_COPY_BYTES):
            whole.write(data)
        self._file.close()
        self._file, self.size = whole, self.size + len(head)

    def close(self) -> None:
        """Forget the text."""
        self._file.close()


class StoredLog:
    """What was read of a log."""

    def __init__(self, stream: LogStream, spool: LogSpool) -> None:
        self.stream = stream
        self.spool = spool
        self.line_count = 0
        self.problem = ""
        """Why it is missing or not complete, one sentence; "" if it is complete."""
        self.node_is_silent = False
        """Whether the node does not answer, so that its other logs cannot be read either."""
        self.is_forbidden = False
        """Whether the logs of the namespace may not be read."""


def requested_lines(options: BundleOptions) -> int | None:
    """Lines of each log that are requested, None for all: of a limit in bytes, as many as fit."""
    if options.tail_bytes is None:
        return options.tail_lines
    return options.tail_bytes // _MIN_LINE_BYTES + 1


async def read_log_stream(
    reader: ClusterReader,
    stream: LogStream,
    options: BundleOptions,
    redactor: Redactor,
    spool: LogSpool,
) -> StoredLog:
    """Read and redact a log until its end or the deadline of the reader. Never raises
    ClusterError: what is read until then is kept. Raises OSError if it cannot be stored."""
    log = StoredLog(stream, spool)
    lines = LogRedactor(redactor)

    async def read() -> None:
        batches = read_log(
            reader.connection,
            stream.pod.namespace,
            stream.pod.name,
            stream.container.name,
            tail=requested_lines(options),
            previous=stream.previous,
            since=options.since,
            read_timeout=READ_TIMEOUT,
            max_line_bytes=_MAX_LINE_BYTES,
        )
        async for batch in batches:
            await asyncio.to_thread(_store, spool, lines, batch)
            log.line_count += len(batch)

    try:
        await reader.call(read, is_stream=True)
    except TimeLimitError as error:
        log.problem = str(error)
        if log.line_count:
            log.problem = "The time limit was reached; its newest lines are missing."
    except ClusterError as error:
        log.problem = str(error)
        if log.line_count:
            log.problem = f"Its newest lines are missing: {error}"
        log.node_is_silent = _is_silent(error)
        log.is_forbidden = isinstance(error, ApiError) and error.code == 403
    return log


def _store(spool: LogSpool, redactor: LogRedactor, batch: list[str]) -> None:
    spool.write(redactor.lines(batch))


def _is_silent(error: ClusterError) -> bool:
    """Whether the node, and not this container, is why the log cannot be read (kube-apiserver
    answers 500 where it cannot reach the kubelet)."""
    if isinstance(error, ReadTimeoutError):
        return True
    return isinstance(error, ApiError) and error.code >= 500 and "dial tcp" in error.message
