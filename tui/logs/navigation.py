"""Where the cursor of a log goes: the line of a link, the first error of a crash, the next error, a
mark of the operator."""

from __future__ import annotations

from collections.abc import Callable

from tui.logs.cause import find_landing
from tui.logs.feed import LogFeed
from tui.logs.lines import LineFormatter
from widgets.log_view import LogView


class LogNavigation:
    """The places of one log. What is not found yet is gone to when it is."""

    def __init__(
        self,
        feed: Callable[[], LogFeed | None],
        view: Callable[[], LogView],
        formatter: LineFormatter,
        on_message: Callable[[str], None],
    ) -> None:
        """`feed` is None while no log is read."""
        self._feed, self._view = feed, view
        self._formatter = formatter
        self._on_message = on_message
        self.cause: tuple[str, str] = ("", "")
        """A known cause that was found, and what to change."""
        self.target_ns: int | None = None
        """Unix time of the line to go to when the log was read; None for none."""
        self._find_crashed: Callable[[], frozenset[str]] | None = None
        """Finds the Pods to whose first error the view is to go then; None for none."""
        self._wanted_error = 0
        """Direction in which an error is looked for that was not found yet; 0 for none."""

    def start(self, find_crashed: Callable[[], frozenset[str]]) -> None:
        """Another log is read. When that is done, go to `target_ns`; without one, and if there are
        crashed Pods now, to the first error of the last run of one of them."""
        self.cause, self._wanted_error = ("", ""), 0
        self._find_crashed = find_crashed if find_crashed() else None
        self._formatter.marks = frozenset()

    def note_progress(self) -> None:
        """More was found in the lines."""
        if self._wanted_error:
            step, self._wanted_error = self._wanted_error, 0
            self.go_to_error(step)
        self._land()

    def _land(self) -> None:
        feed, view = self._feed(), self._view()
        if feed is None or feed.state is None or not feed.state.caught_up:
            return
        if not feed.scan.levels.complete:
            return
        find_crashed, self._find_crashed = self._find_crashed, None
        if self.target_ns is not None:
            view.go_to(feed.scan.levels.line_at_time(self.target_ns))
            self.target_ns = None
        elif find_crashed is not None:
            landing = find_landing(feed.buffer, feed.scan.levels, feed.sources, find_crashed())
            if landing is not None and view.following:
                view.go_to(landing.number)
                self.cause = landing.text, landing.advice

    def go_to_error(self, step: int) -> None:
        """Go to the next error (1) or the previous one (-1)."""
        feed, view = self._feed(), self._view()
        current = view.current
        if current is None or feed is None:
            return
        levels = feed.scan.levels
        if view.following:  # below the end there is none yet
            error = levels.previous_error(feed.buffer.end)
        else:
            error = levels.next_error(current) if step > 0 else levels.previous_error(current)
        if error is not None:
            view.go_to(error)
        elif not levels.complete:
            self._wanted_error = step
        else:
            where = "" if view.following else " below" if step > 0 else " above"
            self._on_message(f"No error{where}.")

    @property
    def marks(self) -> list[int]:
        """The marked lines that are held, ascending."""
        feed = self._feed()
        first = feed.buffer.first if feed is not None else 0
        return sorted(number for number in self._formatter.marks if number >= first)

    def toggle_mark(self) -> None:
        """Mark the line at the cursor, or remove its mark."""
        view = self._view()
        current = view.current
        if current is not None:
            self._formatter.marks = frozenset(self.marks) ^ {current}
            view.go_to(current)
            view.repaint_lines()

    def go_to_next_mark(self) -> None:
        """Go to the next mark, from the last one to the first."""
        view, marks = self._view(), self.marks
        current = view.current
        if marks and current is not None:
            view.go_to(next((one for one in marks if one > current), marks[0]))
