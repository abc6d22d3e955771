"""What is beside a log: errors, hits and marks, in their part of it."""

from __future__ import annotations

import pytest

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.lines import LineBatch, ns_to_stamp
from servedeck.logs.query import LineQuery
from tui.logs.marks import ERROR, HIT, MARK, bar_marks
from tui.logs.scan import LogScan


def make_scan(count: int, errors: set[int]) -> LogScan:
    buffer = LogBuffer()
    texts = [b"ERROR failed" if number in errors else b"INFO ok" for number in range(count)]
    buffer.append(LineBatch([ns_to_stamp(0)] * count, texts, [1] * count))
    scan = LogScan(buffer, lambda: None)
    while scan.levels.advance():
        pass
    return scan


def glyphs(scan: LogScan, height: int, marks: frozenset[int] = frozenset()) -> str:
    found = bar_marks(scan, scan.lines, marks, height)
    return "".join(one.glyph if one is not None else "." for one in found)


@pytest.mark.parametrize(
    ("count", "errors", "height", "expected"),
    [
        (0, set[int](), 3, "..."),
        (3, {1}, 6, ".!...."),
        (6, {1, 5}, 6, ".!...!"),
        (100, {0, 55, 99}, 10, "!....!...!"),
        (7, {3}, 3, ".!."),
        (1, {0}, 1, "!"),
    ],
)
def test_errors_are_beside_their_lines_or_in_their_part(
    count: int, errors: set[int], height: int, expected: str
) -> None:
    assert glyphs(make_scan(count, errors), height) == expected.replace("!", ERROR.glyph)


def test_hits_replace_errors_and_a_mark_is_above_both() -> None:
    scan = make_scan(10, {0, 4})
    assert glyphs(scan, 5, frozenset({9})) == f"{ERROR.glyph}.{ERROR.glyph}.{MARK.glyph}"
    scan.start_search(LineQuery("failed"), near=0)
    assert scan.search is not None
    while scan.search.advance():
        pass
    assert glyphs(scan, 5, frozenset({5})) == f"{HIT.glyph}.{MARK.glyph}.."
