"""A long text wrapped to a width, of which only the offsets of its lines are kept."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.cells import cell_len, get_character_cell_size

from widgets.document_view import Place
from widgets.styled_line import Line, Span

MARK_WIDTH = 2
"""Cells left of a text, for the mark of a line that can be folded."""
_MIN_SHARE = 3
"""A line is broken at a blank unless less than one such part of it would be filled."""
_FEW_CHARACTERS = 20_000
"""A text with fewer is wrapped in about 5 ms."""


class TextSource(Protocol):
    """The lines of a text before they are wrapped; none has anything that controls a terminal."""

    hanging: int
    """Cells that the second and later lines of a wrapped one are indented by."""

    def shown(self) -> Iterable[int]:
        """Indexes of the lines that are shown, in order."""

    def text(self, index: int) -> str: ...

    def spans(self, index: int, text: str) -> Sequence[tuple[int, str]]:
        """Where each part of the line ends, and its style name; the last one ends with the line."""

    def mark(self, index: int) -> Span:
        """What is left of the line, at most MARK_WIDTH cells."""


class WrappedDocument:
    """The document of a source. To make one of a large source takes about a second for 4 MiB: do
    that in a thread."""

    def __init__(self, source: TextSource, width: int) -> None:
        self._source = source
        self._items, self._starts, self._ends = array("l"), array("l"), array("l")
        room = max(width - MARK_WIDTH, 1)
        self._hanging = max(0, min(source.hanging, room // 2, room - 2))
        for item in source.shown():
            for start, end in wrap_positions(source.text(item), room, self._hanging):
                self._items.append(item)
                self._starts.append(start)
                self._ends.append(end)

    def __len__(self) -> int:
        return len(self._items)

    def line(self, index: int) -> Line:
        item, start, end = self._items[index], self._starts[index], self._ends[index]
        text = self._source.text(item)
        is_first = not index or self._items[index - 1] != item
        spans: list[Span] = []
        if is_first:
            mark, style = self._source.mark(item)
            spans.append((mark.ljust(MARK_WIDTH), style))
        else:
            spans.append((" " * (MARK_WIDTH + self._hanging), ""))
        at = start
        for stop, style_name in self._source.spans(item, text):
            first, last = max(at, start), min(stop, end)
            if first < last:
                spans.append((text[first:last], style_name))
            at = max(at, stop)
        return tuple(spans)

    def place(self, index: int) -> Place:
        item = self._items[index]
        return Place(0, item, index - bisect_left(self._items, item))

    def find(self, place: Place) -> int:
        first = bisect_left(self._items, place.item)
        if first >= len(self._items):
            return max(len(self._items) - 1, 0)
        if self._items[first] != place.item:  # it is in what is folded: where that begins
            return max(first - 1, 0)
        last = bisect_left(self._items, place.item + 1) - 1
        return min(first + place.line, last)


def is_large(source: TextSource) -> bool:
    """Whether to wrap it would stop the screen."""
    total = 0
    for index in source.shown():
        total += len(source.text(index)) + 40
        if total > _FEW_CHARACTERS:
            return True
    return False


def wrap_positions(text: str, width: int, hanging: int = 0) -> list[tuple[int, int]]:
    """Start and end of each line of at most `width` cells, broken at blanks where that is good, the
    second and later ones `hanging` cells shorter. A blank where it is broken is left out."""
    positions = []
    start, room, length = 0, width, len(text)
    is_ascii = text.isascii()
    while True:
        end = min(start + room, length) if is_ascii else _fit(text, start, room)
        if end >= length:
            positions.append((start, length))
            return positions
        blank = text.rfind(" ", start, end + 1)
        if blank > start + room // _MIN_SHARE and not text[start:blank].isspace():
            positions.append((start, blank))
            start = blank + 1
            if start == length:
                return positions
        else:
            positions.append((start, end))
            start = end
        room = max(width - hanging, 1)


def _fit(text: str, start: int, room: int) -> int:
    """The end of what fits into so many cells from `start` on: at least one character."""
    piece = text[start : start + room]
    if cell_len(piece) == len(piece) == room:
        end = start + room
    else:
        end, cells = start, 0
        while end < len(text):
            cells += get_character_cell_size(text[end])
            if cells > room:
                break
            end += 1
    while end < len(text) and not get_character_cell_size(text[end]):
        end += 1  # a combining mark stays with its letter
    return max(end, start + 1)
