"""Dividing a stream of server-sent events into its events."""

from __future__ import annotations

import re

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LONGEST_END = 4


class EventSplitter:
    """Gives whole events of a byte stream that is fed in parts, each with the empty line that ends
    it: their bytes, joined, are those of the stream, and they are the same however it is divided
    into parts. Events that end in an unusual mix of line ends may stay together."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        events: list[bytes] = []
        begin = 0
        position = self._searched
        while match := _END.search(self._buffer, position):
            events.append(bytes(self._buffer[begin : match.end()]))
            begin = position = match.end()
        del self._buffer[:begin]
        self._searched = max(0, len(self._buffer) - _LONGEST_END)
        return events

    def rest(self) -> bytes:
        """What came after the last whole event."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return rest


def with_id(event: bytes, id: str) -> bytes:
    """The event with a line for its id at its beginning. A byte order mark, which may only be at
    the beginning of a stream, is dropped."""
    return b"id: %s\n%s" % (id.encode("ascii"), event.removeprefix(b"\xef\xbb\xbf"))
