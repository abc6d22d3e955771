"""Log lines as they are stored: raw bytes, each with a timestamp of fixed length and the number of
its source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

STAMP_BYTES = 30
"""Length of a normalized timestamp, 2026-11-29T01:02:03.123456789Z. All are in UTC, so their order
as bytes is their order in time."""

NOTICE_SOURCE = 0
"""Number of the source whose lines servedeck itself has written: a restart, a lost connection."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 10**9
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_STAMP_SHAPE = b"0000-00-00T00:00:00.000000000Z"


class LogSource(NamedTuple):
    """One instance of a container, whose log is one stream."""

    number: int
    """Its place in the list of sources, from 1; `NOTICE_SOURCE` is servedeck itself."""
    namespace: str
    pod: str
    container: str
    restart_count: int = 0
    """Restarts of the container before this instance."""


class LineBatch(NamedTuple):
    """Lines in the order in which they are shown; three sequences of one length."""

    stamps: list[bytes]
    """The timestamp of each line, `STAMP_BYTES` long."""
    texts: list[bytes]
    """The bytes of each line as the container wrote them, without timestamp and newline."""
    sources: Sequence[int]
    """The number of each line's `LogSource`."""


class LogLine(NamedTuple):
    """One line of a buffer."""

    number: int
    """How many lines were received before it, those included that are no longer held."""
    stamp: bytes
    text: bytes
    source: int


def normalize_stamp(word: bytes) -> bytes | None:
    """An RFC 3339 time as `STAMP_BYTES` bytes in UTC; None if it is none. The kubelet writes the
    time zone of its node."""
    if word.translate(_DIGITS_TO_ZERO) == _STAMP_SHAPE:
        try:
            datetime.fromisoformat(word[:19].decode("ascii"))
        except ValueError:
            return None
        return word
    if len(word) < 20 or word[10:11] != b"T":
        return None
    zone_at = 19
    if word[19:20] in (b".", b","):
        zone_at = 20
        while word[zone_at : zone_at + 1].isdigit():
            zone_at += 1
    fraction = word[20:zone_at].ljust(9, b"0")[:9]
    try:
        second = datetime.fromisoformat((word[:19] + word[zone_at:]).decode("ascii"))
        if second.tzinfo is None:
            return None
        text = second.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except (ValueError, OverflowError):
        return None
    return b"%b.%bZ" % (text.encode(), fraction)


def stamp_to_ns(stamp: bytes) -> int:
    """Unix time of a normalized timestamp in nanoseconds. Raises ValueError if it is none."""
    second = datetime.fromisoformat(f"{stamp[:19].decode('ascii')}+00:00")
    return int((second - _EPOCH).total_seconds()) * _NANOSECONDS + int(stamp[20:29])


def ns_to_stamp(ns: int) -> bytes:
    """The normalized timestamp of a Unix time in nanoseconds."""
    seconds, fraction = divmod(ns, _NANOSECONDS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text.rjust(19, '0')}.{fraction:09d}Z".encode()
