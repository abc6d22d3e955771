"""Which rows of which lines of a long log are visible; only those lines are read and formatted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from widgets.styled_line import Line, Span, sanitized, wrap

MAX_LINE_LENGTH = 4096
"""Maximum number of characters that are shown of a line; some servers log whole prompts."""


class ShownLines(Protocol):
    """The lines that are shown, oldest first, by their numbers; a filter leaves numbers out."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def end(self) -> int:
        """The number after the last line that is shown or left out."""

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        """The numbers of the lines at these positions."""

    def position(self, number: int) -> int:
        """The position of the first line with this or a higher number."""

    def holder(self, number: int) -> int:
        """The position of the line that stands for this one: of itself, where none is folded; of
        the next one, if it is not shown."""


class NoLines:
    """Nothing is shown."""

    count = 0
    end = 0

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        return ()

    def position(self, number: int) -> int:
        return 0

    def holder(self, number: int) -> int:
        return 0


class LogRow(NamedTuple):
    """How one line is shown."""

    head: Line = ()
    """What stays at the left edge: the time, the Pod."""
    text: Line = ()
    """The line itself; style names that begin with "ansi " are colors of the terminal."""


class LogViewport:
    """The part of a log that is visible: its end, or the rows from `top` on."""

    def __init__(self) -> None:
        self.lines: ShownLines = NoLines()
        self.format_line: Callable[[int], LogRow] = lambda _number: LogRow()
        self.width = 1
        """Cells of a row."""
        self.height = 0
        """Rows on the screen."""
        self.at_end = True
        """Whether the end is visible, whatever is added."""
        self.wrapping = False
        self.top = 0
        """Number of the first visible line, unless the end is."""
        self.top_piece = 0
        """First visible row of that line, when it is wrapped."""
        self._rows: list[tuple[int, LogRow | Line]] = []
        self._rows_valid = False
        self._formatted: dict[int, LogRow] = {}

    def invalidate(self) -> None:
        """Other rows are visible."""
        self._rows_valid = False

    def forget_formats(self) -> None:
        """Lines look different than before."""
        self._formatted.clear()
        self._rows_valid = False

    def note_appended(self) -> None:
        """There are more lines; the last visible one may stand for more lines than before."""
        if self._rows:
            self._formatted.pop(self._rows[-1][0], None)
        self._rows_valid = False

    def rows(self) -> list[tuple[int, LogRow | Line]]:
        """The visible rows with the numbers of their lines."""
        if not self._rows_valid:
            self._rows_valid = True
            count = self.lines.count
            if not count or self.height <= 0:
                self._rows = []
            elif self.at_end:
                self._rows = self._rows_before(count, self.height)
            else:
                self._rows = self._rows_from(self.lines.position(self.top))
        return self._rows

    @property
    def positions(self) -> tuple[int, int]:
        """The position of the first visible line, and of the one after the last."""
        rows = self.rows()
        if not rows:
            return 0, 0
        return self.lines.position(rows[0][0]), self.lines.position(rows[-1][0] + 1)

    def row_of(self, number: int) -> int | None:
        """The first row on the screen of a line; None if it is not visible."""
        return next((y for y, (one, _) in enumerate(self.rows()) if one == number), None)

    def pieces(self, number: int) -> Sequence[LogRow | Line]:
        """The rows on the screen that a line takes."""
        row = self._format(number)
        if not self.wrapping:
            return (row,)
        return wrap((*row.head, *row.text), self.width, indent=2)

    def stay(self) -> None:
        """Keep the visible rows where they are, whatever is added."""
        if not self._rows:
            self._rows_valid = False  # lines have arrived that are not painted yet
        rows = self.rows()
        self.at_end = False
        if rows:
            self.top = rows[0][0]
            self.top_piece = max(0, len(self.pieces(self.top)) - _count_first(rows))

    def place(self, number: int, y: int) -> None:
        """Begin so that a line is at row `y`, as far as there are lines above."""
        position = self.lines.position(number)
        above = self._rows_before(position, y) if y > 0 else []
        if above:
            self.top = above[0][0]
            self.top_piece = len(self.pieces(self.top)) - _count_first(above)
        else:
            self.top, self.top_piece = number, 0
        self._rows_valid = False

    def scroll_in_line(self, number: int, rows: int) -> bool:
        """Scroll within a visible line that is wrapped to more rows than the screen has; False if
        it has none left in that direction."""
        total = len(self.pieces(number)) if self.wrapping else 0
        if total <= self.height or self.row_of(number) is None:
            return False
        first = self.top_piece if number == self.top else 0
        target = max(0, min(first + rows, total - self.height))
        if target == first and number == self.top:
            return False
        self.top, self.top_piece = number, target
        self._rows_valid = False
        return True

    def _format(self, number: int) -> LogRow:
        row = self._formatted.get(number)
        if row is None:
            if len(self._formatted) > 4 * max(self.height, 50):
                self._formatted.clear()
            row = self._formatted[number] = _cut(self.format_line(number))
        return row

    def _rows_from(self, position: int) -> list[tuple[int, LogRow | Line]]:
        """The rows from a position on; the screen is filled from above if they are too few."""
        numbers = self.lines.numbers(position, position + self.height)
        if not numbers or numbers[0] != self.top:  # the line is no longer held, or not shown
            self.top_piece = 0
        rows: list[tuple[int, LogRow | Line]] = []
        for number in numbers:
            pieces = self.pieces(number)
            skipped = self.top_piece if not rows else 0
            rows += [(number, piece) for piece in pieces[min(skipped, len(pieces) - 1) :]]
            if len(rows) >= self.height:
                return rows[: self.height]
        return self._rows_before(self.lines.count, self.height)

    def _rows_before(self, position: int, height: int) -> list[tuple[int, LogRow | Line]]:
        """The last rows before a position."""
        rows: list[tuple[int, LogRow | Line]] = []
        for number in reversed(self.lines.numbers(max(0, position - height), position)):
            rows[:0] = [(number, piece) for piece in self.pieces(number)]
            if len(rows) >= height:
                break
        return rows[-height:]


def _count_first(rows: Sequence[tuple[int, LogRow | Line]]) -> int:
    """How many of the rows are of the first one's line."""
    return sum(1 for number, _ in rows if number == rows[0][0])


def _cut(row: LogRow) -> LogRow:
    """At most MAX_LINE_LENGTH characters of the text, on one line."""
    if len(row.text) == 1 and len(row.text[0][0]) <= MAX_LINE_LENGTH:
        return row
    spans: list[Span] = []
    room = MAX_LINE_LENGTH
    for text, style_name in row.text:
        if len(text) > room:
            spans.append((sanitized(text[:room]) + "…", style_name))
            break
        spans.append((text, style_name))
        room -= len(text)
    return row._replace(text=tuple(spans))
