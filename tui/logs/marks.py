"""What is beside a log: where hits, errors and the operator's marks are in all of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from tui.logs.lines import MARK_GLYPH
from tui.logs.scan import LogScan
from widgets.log_view import Mark
from widgets.log_viewport import ShownLines

HIT = Mark("•", "accent")
ERROR = Mark("!", "error")
MARK = Mark(MARK_GLYPH, "warning")


def bar_marks(
    scan: LogScan, shown: ShownLines, marks: Iterable[int], height: int
) -> Sequence[Mark | None]:
    """What each of `height` equal parts of the shown lines contains, or each line if there are
    fewer: a mark of the operator, a hit of the search, or without a search an error."""
    count = shown.count
    if not count or height <= 0:
        return (None,) * max(height, 0)
    found: list[Mark | None] = [None] * height
    # The part at y begins at this position, and its line has this number.
    total = max(count, height)
    starts = [-(-y * total // height) for y in range(height + 1)]
    numbers = [
        shown.numbers(at, at + 1)[0] if at < count else shown.numbers(count - 1, count)[0] + 1
        for at in starts
    ]
    search, errors = scan.search, scan.levels.errors
    for y in range(height):
        start, stop = numbers[y], numbers[y + 1]
        if search is not None:
            hit = search.next_hit(start - 1)
            if hit is not None and hit < stop:
                found[y] = HIT
        elif bisect_left(errors, start) < bisect_left(errors, stop):
            found[y] = ERROR
    for number in marks:
        if number < numbers[0]:
            continue  # it was dropped
        position = shown.position(number)
        if position < count:
            found[min(position * height // total, height - 1)] = MARK
    return found
