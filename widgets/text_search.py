"""Plain-text search in the lines of a text, and cutting a line at cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len

from servedeck.serving.text import sanitize

MAX_HITS = 10_000
"""Maximum number of hits that are counted."""

_CHUNK_LENGTH = 500
"""Characters that are measured together; rich caches the width of strings of less than 512."""

_TAB = "    "


class Hit(NamedTuple):
    """A place where the searched text is."""

    line: int
    start: int
    end: int
    """Characters of the line as it is displayed."""


class CellSlice(NamedTuple):
    """The characters of a text that fit between two cells, and the cells left and right of them
    where a wide character did not fit."""

    start: int
    end: int
    blanks_before: int
    blanks_after: int


def display_text(text: str) -> str:
    """A line as it is displayed: tabs as blanks, nothing that controls a terminal."""
    text = text.replace("\t", _TAB)
    return text if text.isprintable() else sanitize(text).replace("\n", " ")


def find_hits(lines: Iterable[str], needle: str) -> list[Hit]:
    """The first MAX_HITS hits in displayed lines; [] for an empty needle. Upper case is
    distinguished only if the needle has some."""
    if not needle:
        return []
    flags = re.IGNORECASE if needle == needle.lower() else re.NOFLAG
    find = re.compile(re.escape(needle), flags).finditer
    hits: list[Hit] = []
    for number, line in enumerate(lines):
        for found in find(line):
            hits.append(Hit(number, found.start(), found.end()))
            if len(hits) == MAX_HITS:
                return hits
    return hits


def measure_width(lines: Iterable[str]) -> int:
    """Cells of the widest displayed line."""
    return max([cells_before(line, len(line)) for line in lines], default=0)


def cells_before(text: str, index: int) -> int:
    """Cells of the first `index` characters."""
    if text.isascii():
        return min(index, len(text))
    return sum(
        cell_len(text[at : min(at + _CHUNK_LENGTH, index)])
        for at in range(0, min(index, len(text)), _CHUNK_LENGTH)
    )


def slice_cells(text: str, x: int, width: int) -> CellSlice:
    """The part of a displayed line from cell `x` on, in at most `width` cells."""
    if text.isascii():
        start = min(x, len(text))
        return CellSlice(start, min(start + width, len(text)), 0, 0)
    start = cells = 0
    while start < len(text):
        taken = cell_len(text[start : start + _CHUNK_LENGTH])
        if cells + taken >= x:
            break
        cells += taken
        start += _CHUNK_LENGTH
    start = min(start, len(text))
    while start < len(text) and cells < x:
        cells += cell_len(text[start])
        start += 1
    if x:  # what a combining mark belongs to is left of the edge
        while start < len(text) and not cell_len(text[start]):
            start += 1
    blanks = max(0, cells - x)
    end, room = start, width - blanks
    while end < len(text) and (taken := cell_len(text[end])) <= room:
        room -= taken
        end += 1
    return CellSlice(start, end, min(blanks, width), room if end < len(text) else 0)
