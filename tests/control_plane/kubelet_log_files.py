"""The log file of one container instance on a node, and how a kubelet reads it.

Sources: containerd internal/cri/io/logger.go (what is written), kubernetes
staging/src/k8s.io/cri-client/pkg/logs/logs.go (`ReadLogs`) and tail.go (what is read), and
pkg/kubelet/logs/container_log_manager.go (rotation).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

_NANOSECONDS = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ_BYTES = 256 << 10
"""About how many bytes `LogReader.read` returns at most: it never divides a chunk."""


def format_stamp(ns: int, zone: tzinfo = UTC) -> bytes:
    """A Unix time in nanoseconds in the kubelet's format, `RFC3339NanoFixed` of logs.go: nine
    digits, and Z for UTC."""
    seconds, fraction = divmod(ns, _NANOSECONDS)
    at = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    offset = at.strftime("%z")
    suffix = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{suffix}".encode()


def parse_time(text: str) -> int:
    """Unix time in nanoseconds of an RFC 3339 time, as in `sinceTime`: the API server passes it on
    in whole seconds (metav1.Time). Raises ValueError if it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone: {text}")
    delta = moment - _EPOCH
    return (delta.days * 86400 + delta.seconds) * _NANOSECONDS + delta.microseconds * 1000


class LogOptions(NamedTuple):
    """The options of a request. `NewLogOptions` of logs.go: of `sinceSeconds` and `sinceTime` the
    later time counts."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since_ns: int | None = None
    limit_bytes: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> LogOptions:
        """Options of a query string. Raises ValueError if a value is not valid."""
        since: list[int] = []
        if seconds := query.get("sinceSeconds"):
            since.append(time.time_ns() - int(seconds) * _NANOSECONDS)
        if moment := query.get("sinceTime"):
            since.append(parse_time(moment))
        return cls(
            follow=query.get("follow") == "true",
            previous=query.get("previous") == "true",
            timestamps=query.get("timestamps") == "true",
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            since_ns=max(since, default=None),
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
        )


class LogChunk(NamedTuple):
    """Entries of a log file in the form in which the kubelet returns them with timestamps."""

    data: bytes
    """`<timestamp> <text>\\n` for each complete line (tag F). A single entry without its newline is
    one that continues in the next entry, or was the last before the container ended (tag P)."""
    count: int
    oldest: bytes
    """The earliest timestamp in `data`, and the latest."""
    newest: bytes
    is_partial: bool = False

    def entries(self) -> list[bytes]:
        """The entries, each with its timestamp, complete lines with their newline."""
        if self.is_partial:
            return [self.data]
        return [line + b"\n" for line in self.data.split(b"\n")[:-1]]


@dataclass
class LogFile:
    """One file. Entries are appended only."""

    chunks: list[LogChunk] = field(default_factory=list)

    def seek_tail(self, count: int) -> tuple[int, int]:
        """Where the last `count` entries begin: number of the chunk, and of the entry in it.
        Partial entries count as lines (`findTailLineStartIndex` counts newlines of the file)."""
        at = len(self.chunks)
        while count > 0 and at:
            at -= 1
            if self.chunks[at].count > count:
                return at, self.chunks[at].count - count
            count -= self.chunks[at].count
        return at, 0


class InstanceLog:
    """The log of one container instance: its current file, and whether it has ended. Not
    synchronized: the caller holds the lock of the container."""

    def __init__(self, container_id: str, zone: tzinfo = UTC) -> None:
        self.container_id = container_id
        self.zone = zone
        self.file = LogFile()
        self.ended = False
        self.is_removed = False
        """The container is gone from the runtime, and its files with it."""
        self.line_count = 0
        """Complete lines written, those in rotated files included."""

    def append(self, texts: Sequence[bytes], stamps_ns: Sequence[int]) -> None:
        """Append complete lines, each with its time. Raises ValueError if a text has a newline."""
        if any(b"\n" in text for text in texts):
            raise ValueError("a line of a log contains a newline")
        stamps = [format_stamp(ns, self.zone) for ns in stamps_ns]
        data = b"".join(b"%b %b\n" % pair for pair in zip(stamps, texts, strict=True))
        if data:
            self.append_chunk(LogChunk(data, len(texts), min(stamps), max(stamps)))

    def append_partial(self, text: bytes, ns: int) -> None:
        """Append the beginning of a line that is longer than a container runtime writes in one
        entry (16 KiB), or the last line of a container, which does not end with a newline."""
        stamp = format_stamp(ns, self.zone)
        self.append_chunk(LogChunk(b"%b %b" % (stamp, text), 1, stamp, stamp, True))

    def append_chunk(self, chunk: LogChunk) -> None:
        """Append entries that are already in the kubelet's format, in the zone of this log."""
        self.file.chunks.append(chunk)
        self.line_count += chunk.count * (not chunk.is_partial)

    def rotate(self) -> None:
        """The file is renamed, and the container runtime begins a new one. The kubelet does not
        read the renamed one again (head comment of logs.go)."""
        self.file = LogFile()


class LogReader:
    """One `ReadLogs`: what it returns from the log of an instance, step by step. Not
    synchronized."""

    def __init__(self, log: InstanceLog, options: LogOptions) -> None:
        self._log = log
        self._options = options
        self._file = log.file
        self._at, self._skipped = 0, 0
        if options.tail is not None:
            self._at, self._skipped = self._file.seek_tail(options.tail)
        self._since = None
        if options.since_ns is not None:
            self._since = format_stamp(options.since_ns, log.zone)
        self._remaining = options.limit_bytes
        self._entries_left = None if options.follow else options.tail
        self._is_new_line = True
        self.is_done = self._entries_left == 0
        """Nothing follows, whatever is written."""

    @property
    def unread_chunks(self) -> int:
        """Chunks of its file that were not returned yet."""
        return len(self._file.chunks) - self._at

    def read(self) -> bytes:
        """The next bytes; b"" at the end of what has been written. A reader that follows continues
        in the newest file once it has read its own to the end; it misses files in between."""
        parts: list[bytes] = []
        size = 0
        while size < READ_BYTES and not self.is_done:
            if self._at == len(self._file.chunks):
                if self._file is self._log.file or not self._options.follow:
                    break
                self._file, self._at = self._log.file, 0
                continue
            chunk = self._file.chunks[self._at]
            if self._is_returned_whole(chunk):
                part = chunk.data
                self._is_new_line = not chunk.is_partial
            else:
                part = self._select(chunk)
            parts.append(part)
            size += len(part)
            self._at, self._skipped = self._at + 1, 0
        return b"".join(parts)

    def _is_returned_whole(self, chunk: LogChunk) -> bool:
        """No option changes the entries of a chunk: the usual case, in which they are not looked
        at."""
        return (
            self._options.timestamps
            and self._is_new_line
            and not self._skipped
            and self._remaining is None
            and self._entries_left is None
            and (self._since is None or chunk.oldest >= self._since)
            and not (chunk.is_partial and chunk.data.endswith(b" "))
        )

    def _select(self, chunk: LogChunk) -> bytes:
        """The bytes of a chunk that the options let through."""
        is_older = self._since is not None and chunk.newest < self._since
        if is_older and not chunk.is_partial and self._entries_left is None:
            self._is_new_line = True
            return b""
        return b"".join(self._select_entries(chunk.entries()[self._skipped :]))

    def _select_entries(self, entries: Sequence[bytes]) -> Iterator[bytes]:
        """`logWriter.write` and the end of the loop in `ReadLogs`: what continues a line has no
        timestamp; `sinceTime` is compared for each entry; `tailLines` without follow ends after as
        many entries; `limitBytes` cuts inside a line."""
        for entry in entries:
            stamp, _, text = entry.partition(b" ")
            if self._since is None or stamp >= self._since:
                piece = entry if self._options.timestamps and self._is_new_line else text
                if self._remaining is not None:
                    piece = piece[: self._remaining]
                    self._remaining -= len(piece)
                    self.is_done = self._remaining == 0
                yield piece
                if self.is_done:
                    return
            self._is_new_line = not text or text.endswith(b"\n")
            if self._entries_left is not None:
                self._entries_left -= 1
                if not self._entries_left:
                    self.is_done = True
                    return
