"""Splits container logs into lines, and tracks the position to resume from."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

MAX_LINE_BYTES = 64 << 10
"""Maximum line length in bytes; the rest is dropped and counted."""


class LineSplitter:
    """Splits a byte stream into lines, buffering at most `MAX_LINE_BYTES` of an incomplete line."""

    def __init__(self) -> None:
        self._partial_line = b""
        self._dropped_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Lines completed by this chunk, without newlines."""
        lines = chunk.split(b"\n")
        lines[0] = self._partial_line + lines[0]
        last = lines.pop()
        if lines:
            if self._dropped_bytes:
                lines[0] = self._truncate(lines[0], self._dropped_bytes)
                self._dropped_bytes = 0
            if max(map(len, lines)) > MAX_LINE_BYTES:
                lines = [
                    self._truncate(line) if _needs_truncation(line) else line for line in lines
                ]
        if len(last) > MAX_LINE_BYTES:
            self._dropped_bytes += len(last) - MAX_LINE_BYTES
            last = last[:MAX_LINE_BYTES]
        self._partial_line = last
        return lines

    def finish(self) -> list[bytes]:
        """The last line, if the log ended without a newline."""
        rest = (
            self._truncate(self._partial_line, self._dropped_bytes)
            if self._dropped_bytes
            else self._partial_line
        )
        self.reset()
        return [rest] if rest else []

    def reset(self) -> None:
        """Discard an incomplete line; a resumed log returns it again in full."""
        self._partial_line, self._dropped_bytes = b"", 0

    @staticmethod
    def _truncate(line: bytes, dropped: int = 0) -> bytes:
        dropped += max(0, len(line) - MAX_LINE_BYTES)
        return line[:MAX_LINE_BYTES] + f" … [{dropped} more bytes]".encode()


def _needs_truncation(line: bytes) -> bool:
    # a truncated line exceeds the limit by its suffix only
    return len(line) > MAX_LINE_BYTES and not (
        len(line) < MAX_LINE_BYTES + 64 and line.endswith(b" more bytes]")
    )


class LogPosition:
    """Tracks received lines, so that a log is resumed without loss or duplicates.

    The server resumes from a time in whole seconds and returns every line since, in file order. So
    the lines of the last seconds are stored (as hashes with counts, since many lines may share a
    timestamp) and skipped when they are returned again. The received lines are one contiguous part
    of the file, so everything after the last of them is new.
    """

    _OVERLAP_SECONDS = 1
    """Seconds before the last line to request again: stdout and stderr of a container may be
    written slightly out of order."""

    def __init__(self) -> None:
        self._current_second = b""
        self._current_hashes: list[int] = []
        self._hashes_by_second: dict[int, list[int]] = {}
        """Hashes of the lines, by Unix time in seconds."""
        self._newest_line = b""
        self._expected_duplicates: Counter[int] | None = None

    def record(self, lines: list[bytes]) -> None:
        """Record received lines; each starts with its timestamp."""
        for line in lines:
            if line[:19] != self._current_second and not self._start_second(line):
                continue
            self._current_hashes.append(hash(line))
            if line > self._newest_line:
                self._newest_line = line

    def _start_second(self, line: bytes) -> bool:
        """Start the next second; False for a line without a timestamp (a message of the
        kubelet)."""
        stamp = parse_timestamp(line)
        if stamp is None:
            return False
        self._current_second = line[:19]
        self._current_hashes = self._hashes_by_second.setdefault(stamp[0], [])
        newest = max(self._hashes_by_second)
        for second in [s for s in self._hashes_by_second if s < newest - self._OVERLAP_SECONDS - 1]:
            del self._hashes_by_second[second]
        return True

    def begin_resume(self) -> str:
        """Start skipping received lines. Returns `sinceTime` for the request, "" if none were
        received."""
        stamp = parse_timestamp(self._newest_line)
        if stamp is None:
            return ""
        since = stamp[0] - self._OVERLAP_SECONDS
        self._expected_duplicates = Counter(
            value
            for second, values in self._hashes_by_second.items()
            if second >= since
            for value in values
        )
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=since)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")

    def filter_new(self, lines: list[bytes]) -> list[bytes]:
        """The lines not received before."""
        duplicates = self._expected_duplicates
        if duplicates is None:
            return lines
        newest = parse_timestamp(self._newest_line) or (0, 0)
        without_timestamp: list[bytes] = []
        for index, line in enumerate(lines):
            if duplicates[value := hash(line)]:
                duplicates[value] -= 1
                if not duplicates[value]:
                    del duplicates[value]
                if not duplicates:
                    self._expected_duplicates = None
                    return without_timestamp + lines[index + 1 :]
                continue
            stamp = parse_timestamp(line)
            if stamp is None:
                without_timestamp.append(line)
            elif stamp > newest:  # the file was rotated
                self._expected_duplicates = None
                return without_timestamp + lines[index:]
        return without_timestamp


def parse_timestamp(line: bytes) -> tuple[int, int] | None:
    """Unix time in seconds and nanoseconds of the line's timestamp; None if it has none."""
    word = line[:40].partition(b" ")[0]
    if len(word) < 20 or word[10:11] != b"T":
        return None
    zone_at = 19
    if word[19:20] == b".":
        zone_at = 20
        while word[zone_at : zone_at + 1].isdigit():
            zone_at += 1
    try:
        second = datetime.fromisoformat((word[:19] + word[zone_at:]).decode("ascii"))
        fraction = int(word[20:zone_at].ljust(9, b"0")[:9]) if zone_at > 20 else 0
    except ValueError:
        return None
    return (int(second.timestamp()), fraction) if second.tzinfo else None
