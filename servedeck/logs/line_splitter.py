"""Splits the bytes of a log response into lines, and lines into timestamps and texts."""

from __future__ import annotations

from typing import NamedTuple

from servedeck.logs.lines import STAMP_BYTES, normalize_stamp

MAX_LINE_BYTES = 16 << 20
"""Maximum length of a line in bytes, with its timestamp; the rest is dropped and counted."""

_HEAD_BYTES = STAMP_BYTES + 1
"""A timestamp and the space after it. The kubelet writes both before an empty line as well."""
_HEAD_SHAPE = b"0000-00-00T00:00:00.000000000Z "
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_MAX_STAMP_BYTES = 40
_MAX_CACHED_SECONDS = 4096
_FRACTION_AT = 19
_FRACTION_END = 29
"""Where the fraction of a second begins and ends in a time of the kubelet, whatever its zone
(kubernetes cri-client pkg/logs/logs.go, RFC3339NanoFixed)."""


class LineSplitter:
    """Splits a byte stream into lines, in time linear in its bytes, however small the chunks are.
    Keeps at most `max_line_bytes` of an incomplete line."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        """The incomplete line."""
        self._kept_bytes = 0
        self._dropped_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Lines completed by this chunk, without newlines."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._parts:
                self._keep(lines[0])
                lines[0] = self._take()
            if len(chunk) > self._max and max(map(len, lines)) > self._max:
                lines = [_cut(line, self._max) for line in lines]
        if rest:
            self._keep(rest)
        return lines

    def finish(self) -> bytes:
        """The last line if it has no newline; b"" if there is none."""
        return self._take() if self._parts else b""

    def _keep(self, part: bytes) -> None:
        room = self._max - self._kept_bytes
        if len(part) > room:
            self._dropped_bytes += len(part) - room
            part = part[:room]
        if part:
            self._parts.append(part)
            self._kept_bytes += len(part)

    def _take(self) -> bytes:
        line = b"".join(self._parts)
        if self._dropped_bytes:
            line += _dropped_text(self._dropped_bytes)
        self._parts, self._kept_bytes, self._dropped_bytes = [], 0, 0
        return line


def _cut(line: bytes, limit: int) -> bytes:
    """A line of at most `limit` bytes; the first of a chunk may be cut already."""
    dropped = len(line) - limit
    if dropped <= 0 or line[limit:].endswith(b" more bytes]"):
        return line
    return line[:limit] + _dropped_text(dropped)


def _dropped_text(count: int) -> bytes:
    return f" … [{count} more bytes]".encode()


class ParsedLines(NamedTuple):
    """Lines of one container in the order of its log; four sequences, the first three of one
    length."""

    raw: list[bytes]
    """Each line as the kubelet sent it."""
    stamps: list[bytes]
    """The timestamp of each, `STAMP_BYTES` long, in UTC; b"" for a line before the first one with a
    time."""
    texts: list[bytes]
    """The text of each, without its timestamp."""
    unstamped: tuple[int, ...]
    """Indices of the lines without a timestamp of their own, which got that of the line before:
    messages of the kubelet, and the rest of a line whose begin is older than what was requested."""

    def since(self, index: int) -> ParsedLines:
        """The lines from this index on."""
        if not index:
            return self
        return ParsedLines(
            self.raw[index:],
            self.stamps[index:],
            self.texts[index:],
            tuple([at - index for at in self.unstamped if at >= index]),
        )

    def without_unstamped(self) -> ParsedLines:
        """The lines with a timestamp of their own."""
        if not self.unstamped:
            return self
        left_out = frozenset(self.unstamped)
        kept = [at for at in range(len(self.raw)) if at not in left_out]
        return ParsedLines(
            [self.raw[at] for at in kept],
            [self.stamps[at] for at in kept],
            [self.texts[at] for at in kept],
            (),
        )


class StampParser:
    """Separates the timestamps of one container's lines from their texts."""

    def __init__(self, last: bytes = b"") -> None:
        """`last` is the timestamp of the line before."""
        self._last = last
        self._seconds: set[bytes] = set()
        """Seconds that are known to be times: of a hostile text, 2026-99-99 is none."""
        self._utc_seconds: dict[bytes, bytes] = {}
        """The second in UTC, by the local second and the zone: few nodes have another zone, but
        all lines of such a node do."""

    def parse(self, lines: list[bytes]) -> ParsedLines:
        """The lines with their timestamps. Lines that all have a time in UTC, by far the most
        common case, are checked together."""
        heads = [line[:_HEAD_BYTES] for line in lines]
        shape = b"".join(heads).translate(_DIGITS_TO_ZERO)
        if lines and shape == _HEAD_SHAPE * len(lines) and self._are_times(heads):
            stamps = [head[:STAMP_BYTES] for head in heads]
            self._last = stamps[-1]
            return ParsedLines(lines, stamps, [line[_HEAD_BYTES:] for line in lines], ())
        return self._parse_each(lines)

    def _are_times(self, heads: list[bytes]) -> bool:
        unknown = {head[:_FRACTION_AT] for head in heads} - self._seconds
        if not unknown:
            return True
        if any(normalize_stamp(second + b"Z") is None for second in unknown):
            return False
        if len(self._seconds) >= _MAX_CACHED_SECONDS:
            self._seconds.clear()
        self._seconds |= unknown
        return True

    def _parse_each(self, lines: list[bytes]) -> ParsedLines:
        stamps: list[bytes] = []
        texts: list[bytes] = []
        unstamped: list[int] = []
        last = self._last
        for index, line in enumerate(lines):
            word, space, text = line.partition(b" ")
            stamp = self._normalize(word) if space else None
            if stamp is None:
                unstamped.append(index)
                text = line
            else:
                last = stamp
            stamps.append(last)
            texts.append(text)
        self._last = last
        return ParsedLines(lines, stamps, texts, tuple(unstamped))

    def _normalize(self, word: bytes) -> bytes | None:
        if not _FRACTION_END < len(word) <= _MAX_STAMP_BYTES or word[10:11] != b"T":
            return normalize_stamp(word) if len(word) <= _MAX_STAMP_BYTES else None
        fraction = word[_FRACTION_AT:_FRACTION_END]
        if fraction[:1] != b"." or not fraction[1:].isdigit():
            return normalize_stamp(word)
        local = word[:_FRACTION_AT] + word[_FRACTION_END:]
        second = self._utc_seconds.get(local)
        if second is None:
            stamp = normalize_stamp(local)
            if stamp is None:
                return None
            if len(self._utc_seconds) >= _MAX_CACHED_SECONDS:
                self._utc_seconds.clear()
            second = self._utc_seconds[local] = stamp[:_FRACTION_AT]
        return second + fraction + b"Z"
