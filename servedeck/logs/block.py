"""Consecutive lines of a log as one piece of memory."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

from servedeck.logs.lines import STAMP_BYTES, LogLine
from servedeck.logs.text import plain_block

_PRINTABLE_ASCII = bytes([*range(0x20, 0x7F), 0x0A])


class BlockBytes(NamedTuple):
    """The content of a block, as `LogBlock` has it."""

    data: bytes
    stamps: bytes
    sources: array[int]


class LogBlock:
    """Consecutive lines, at least one. Immutable; what is derived from the bytes is kept while the
    block is."""

    __slots__ = ("_lines", "_text", "count", "data", "first", "sources", "stamps")

    def __init__(self, first: int, data: bytes, stamps: bytes, sources: array[int]) -> None:
        self.first = first
        """Number of the first line."""
        self.count = len(sources)
        self.data = data
        """The texts, joined with newlines."""
        self.stamps = stamps
        """`STAMP_BYTES` for each line."""
        self.sources = sources
        self._lines: list[bytes] | None = None
        self._text: str | None = None

    @property
    def end(self) -> int:
        """The number after the last line."""
        return self.first + self.count

    def text(self) -> str:
        """The visible text of all lines, joined with newlines."""
        if self._text is None:
            data = self.data
            # five times as fast as to ask each character of a str whether it is printable
            if data.isascii() and not data.translate(None, _PRINTABLE_ASCII):
                self._text = data.decode("ascii")
            else:
                self._text = plain_block(data)
        return self._text

    def texts(self) -> list[str]:
        """The visible text of each line."""
        return self.text().split("\n")

    def raw_lines(self) -> list[bytes]:
        """The bytes of each line. Not to be changed."""
        if self._lines is None:
            self._lines = self.data.split(b"\n")
        return self._lines

    def line(self, index: int) -> LogLine:
        """The line at an index of this block, from 0."""
        at = index * STAMP_BYTES
        return LogLine(
            self.first + index,
            self.stamps[at : at + STAMP_BYTES],
            self.raw_lines()[index],
            self.sources[index],
        )

    def from_index(self, index: int) -> LogBlock:
        """The lines from an index on, as a block of their own."""
        if index == 0:
            return self
        return LogBlock(
            self.first + index,
            b"\n".join(self.raw_lines()[index:]),
            self.stamps[index * STAMP_BYTES :],
            self.sources[index:],
        )


class GrowingBlock:
    """The newest lines, in parts as they were appended."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.size = 0
        self.text_size = 0
        self.data: list[bytes] = []
        self.stamps: list[bytes] = []
        self.sources = array("H")
        self.part_starts: list[int] = []
        """The index of the first line of each part."""

    def add(self, data: bytes, stamps: bytes, sources: array[int]) -> None:
        self.part_starts.append(len(self.sources))
        self.data.append(data)
        self.stamps.append(stamps)
        self.sources.extend(sources)
        self.text_size += len(data) + 1
        self.size += len(data) + 1 + len(stamps) + 2 * len(sources)

    def content(self) -> BlockBytes:
        return BlockBytes(b"\n".join(self.data), b"".join(self.stamps), self.sources)

    def block_from(self, index: int) -> LogBlock:
        """A copy of the lines from an index on; only the parts that have them are read."""
        part = bisect_right(self.part_starts, index) - 1
        start = self.part_starts[part]
        block = LogBlock(
            self.first + start,
            b"\n".join(self.data[part:]),
            b"".join(self.stamps[part:]),
            self.sources[start:],
        )
        return block.from_index(index - start)
