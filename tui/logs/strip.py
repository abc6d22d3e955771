"""The histogram above a log, along which one moves in time."""

from __future__ import annotations

from collections.abc import Callable

from tui.logs.feed import LogFeed
from widgets.log_histogram import bar_count, histogram_lines
from widgets.text_view import StatusLine


class LogStrip:
    """The lines of a log over time."""

    def __init__(self, widget: Callable[[], StatusLine]) -> None:
        self._widget = widget
        self.is_shown = False

    def toggle(self) -> None:
        """Show it, or hide it."""
        self.is_shown = not self.is_shown
        self._widget().display = self.is_shown

    def update(self, feed: LogFeed, current: int | None) -> None:
        """Draw it again; the bar of the line `current` is marked."""
        width = self._widget().inner_width
        if self.is_shown and (cells := bar_count(width)):
            buckets = feed.scan.levels.histogram(cells)
            lines = histogram_lines(buckets, feed.time_ns(current), width)
            self._widget().set_lines(*(lines or ((), ())))

    def neighbor(self, feed: LogFeed, current: int | None, step: int) -> int | None:
        """The first line of the next (1) or previous (-1) bar that has lines; None if there is
        none."""
        cells, now = bar_count(self._widget().inner_width), feed.time_ns(current)
        if not cells or now is None:
            return None
        buckets = feed.scan.levels.histogram(cells)
        at = next((i for i, one in enumerate(buckets) if one.start_ns <= now < one.end_ns), None)
        if at is None:
            return None
        for one in buckets[at + 1 :] if step > 0 else buckets[:at][::-1]:
            if one.errors + one.warnings + one.others:
                return one.first_line
        return None
