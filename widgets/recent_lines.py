"""The newest lines of a text that grows, for a LogView."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from widgets.log_viewport import LogRow
from widgets.styled_line import sanitized


class RecentLines:
    """At most `capacity` lines; the oldest ones are dropped."""

    def __init__(self, capacity: int) -> None:
        self._texts: deque[str] = deque(maxlen=capacity)
        self.dropped_count = 0

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._texts)

    @property
    def end(self) -> int:
        """The number after the last line."""
        return self.dropped_count + len(self._texts)

    @property
    def texts(self) -> Sequence[str]:
        """The lines, oldest first."""
        return self._texts

    def extend(self, lines: Iterable[str]) -> None:
        """Add lines."""
        for line in lines:
            if len(self._texts) == self._texts.maxlen:
                self.dropped_count += 1
            self._texts.append(line)

    def numbers(self, start: int, stop: int) -> range:
        """The numbers of the lines at these positions."""
        end = min(stop, len(self._texts))
        return range(self.dropped_count + max(start, 0), self.dropped_count + max(end, 0))

    def position(self, number: int) -> int:
        """The position of the first line with this or a higher number."""
        return max(0, min(number - self.dropped_count, len(self._texts)))

    def holder(self, number: int) -> int:
        """As `position`: no line is folded."""
        return self.position(number)

    def row(self, number: int) -> LogRow:
        """How a line is shown."""
        return LogRow(text=((sanitized(self._texts[number - self.dropped_count]), ""),))
