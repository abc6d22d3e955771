"""Bytes of a container's log made into lines, and the place to go on from after a break."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

LONGEST = 64 << 10
"""Bytes of a line that are kept; the rest is dropped and counted."""


class Splitter:
    """Cuts a stream of bytes into lines, holding no more than `LONGEST` of an unfinished one."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropped = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Lines that are complete now, without their newlines."""
        lines = chunk.split(b"\n")
        lines[0] = self._rest + lines[0]
        last = lines.pop()
        if lines:
            if self._dropped:
                lines[0] = self._cut(lines[0], self._dropped)
                self._dropped = 0
            if max(map(len, lines)) > LONGEST:
                lines = [self._cut(line) if _is_long(line) else line for line in lines]
        if len(last) > LONGEST:
            self._dropped += len(last) - LONGEST
            last = last[:LONGEST]
        self._rest = last
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where the log ended without a newline."""
        rest = self._cut(self._rest, self._dropped) if self._dropped else self._rest
        self.drop()
        return [rest] if rest else []

    def drop(self) -> None:
        """Forget an unfinished line: it comes again, whole."""
        self._rest, self._dropped = b"", 0

    @staticmethod
    def _cut(line: bytes, dropped: int = 0) -> bytes:
        dropped += max(0, len(line) - LONGEST)
        return line[:LONGEST] + f" … [{dropped} more bytes]".encode()


def _is_long(line: bytes) -> bool:
    # a line that was cut already is longer by its mark only
    return len(line) > LONGEST and not (len(line) < LONGEST + 64 and line.endswith(b" more bytes]"))


class Position:
    """Which lines were taken already, so that a log is resumed without loss or duplicates.

    The server takes a time of whole seconds to resume from and answers with every line since, in
    the order of the file. So the lines of the last seconds are remembered (as hashes, counted:
    many lines may share one timestamp) and passed over when they come again. What was taken is one
    unbroken stretch of the file, so after its last line everything is new.
    """

    _OVERLAP = 1
    """Seconds before the last line that are asked for again: two streams of one container may be
    written a little out of order."""

    def __init__(self) -> None:
        self._second = b""
        self._hashes: list[int] = []
        self._taken: dict[int, list[int]] = {}
        """Hashes of the lines of each second of the epoch."""
        self._top = b""
        self._old: Counter[int] | None = None

    def take(self, lines: list[bytes]) -> None:
        """Remember lines as taken; each begins with its timestamp."""
        for line in lines:
            if line[:19] != self._second and not self._turn(line):
                continue
            self._hashes.append(hash(line))
            if line > self._top:
                self._top = line

    def _turn(self, line: bytes) -> bool:
        """Begin another second; False for a line without a timestamp (the kubelet's own words)."""
        stamp = timestamp(line)
        if stamp is None:
            return False
        self._second = line[:19]
        self._hashes = self._taken.setdefault(stamp[0], [])
        newest = max(self._taken)
        for second in [s for s in self._taken if s < newest - self._OVERLAP - 1]:
            del self._taken[second]
        return True

    def resume(self) -> str:
        """Begin to pass over what was taken; `sinceTime` to ask for, "" where nothing was."""
        stamp = timestamp(self._top)
        if stamp is None:
            return ""
        since = stamp[0] - self._OVERLAP
        self._old = Counter(
            value for second, values in self._taken.items() if second >= since for value in values
        )
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=since)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")

    def fresh(self, lines: list[bytes]) -> list[bytes]:
        """The lines that were not taken yet."""
        old = self._old
        if old is None:
            return lines
        newest = timestamp(self._top) or (0, 0)
        notes: list[bytes] = []
        for index, line in enumerate(lines):
            if old[value := hash(line)]:
                old[value] -= 1
                if not old[value]:
                    del old[value]
                if not old:
                    self._old = None
                    return notes + lines[index + 1 :]
                continue
            stamp = timestamp(line)
            if stamp is None:
                notes.append(line)
            elif stamp > newest:  # the file was rotated away under us
                self._old = None
                return notes + lines[index:]
        return notes


def timestamp(line: bytes) -> tuple[int, int] | None:
    """Second of the epoch and nanosecond that a line begins with; None where it has none."""
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
