"""What is typed to find lines of a log: a text to search, a filter, a time to go to."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from servedeck.logs.fields import FieldQuery
from servedeck.logs.query import LineMatcher, LineQuery, QueryError
from servedeck.serving.text import truncate
from tui.logs.scan import LogScan
from widgets.log_view import LogView
from widgets.search_line import SearchLine
from widgets.styled_line import Span

MAX_NEEDLE_WIDTH = 24
"""Cells of a searched text, or of a filter, where the number of lines is shown."""

_FIELD_PATTERN = re.compile(r"\.(?=[A-Za-z_][\w.-]*\s*(?:[=<>]|!=))")
_INVERSE_PREFIX = "!"
_TERM_SEPARATOR = re.compile(r"\s+&\s+")
_CLOCK_PATTERN = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)[T ])?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
)
_AGE_PATTERN = re.compile(r"-\s*(?P<count>\d+)\s*(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class InputKind(StrEnum):
    """What the input is for."""

    SEARCH = "search"
    FILTER = "filter"
    TIME = "time"


class LogFind:
    """The search and the filter of a pane, which passes on the messages of the inputs."""

    def __init__(
        self,
        scan: Callable[[], LogScan | None],
        view: Callable[[], LogView],
        inputs: Callable[[InputKind], SearchLine],
        *,
        clock: Callable[[], datetime],
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when other lines are shown or marked."""
        self._scan, self._view, self._inputs = scan, view, inputs
        self._clock = clock
        self._on_change = on_change
        self.kind: InputKind | None = None
        """The input that keys go to; None for none."""
        self.needle = ""
        """The searched text; "" for none."""
        self.filter_text = ""
        """The filter as it was typed; "" for none."""
        self._query: LineQuery | None = None
        self._queries: tuple[LineMatcher, ...] = ()
        self._origin: int | None = None
        """The line from which is searched: where the cursor was when the input was opened, or a hit
        was gone to."""
        self._includes_origin = True
        """Whether that line may be the hit."""
        self._was_following = True
        self._place: int | None = None
        """The line where the cursor was before a filter that is not decided yet; None for none."""
        self._wants_hit = 0
        """Direction in which a hit is looked for that was not found yet; 0 for none."""

    # -- the inputs ---------------------------------------------------------------------------

    def open(self, kind: InputKind) -> None:
        """Type a text to search, a filter, or a time."""
        self.close()
        self.kind = kind
        view, line = self._view(), self._inputs(kind)
        self._origin, self._was_following = view.current, view.following
        line.open()
        line.show_error("")
        if kind is InputKind.FILTER and self.filter_text:
            with line.input.prevent(line.input.Changed):
                line.input.value = self.filter_text
            line.input.cursor_position = len(self.filter_text)

    def close(self) -> None:
        """Hide the input; what was found stays."""
        if self.kind is not None:
            self._inputs(self.kind).close()
            self.kind = None

    def typed(self, text: str) -> None:
        """The text of the input has changed: search and filter follow it as it is typed."""
        if self.kind is InputKind.SEARCH:
            self._show_error(self.search(text))
        elif self.kind is InputKind.FILTER:
            self._show_error(self.set_filter(text))
        elif self.kind is InputKind.TIME:
            self._show_error("")

    def submitted(self, text: str) -> bool:
        """Enter was pressed; False if the input stays open, with what is wrong below it."""
        problem = ""
        if self.kind is InputKind.SEARCH:
            problem = self.search(text)
        elif self.kind is InputKind.FILTER:
            problem = self.set_filter(text)
        elif self.kind is InputKind.TIME:
            problem = self.go_to_time(text)
        if problem:
            self._show_error(problem)
            return False
        self.close()
        return True

    def given_up(self) -> None:
        """Escape was pressed in the input: a search or filter is removed."""
        kind = self.kind
        self.close()
        if kind is InputKind.SEARCH:
            self.clear_search()
        elif kind is InputKind.FILTER:
            self.set_filter("")

    def _show_error(self, sentence: str) -> None:
        if self.kind is not None:
            self._inputs(self.kind).show_error(sentence)

    # -- search -------------------------------------------------------------------------------

    @property
    def query(self) -> LineQuery | None:
        """What is searched; None for nothing."""
        return self._query

    def search(self, text: str) -> str:
        """Search a text from where the input was opened; returns what is wrong with it."""
        if text == self.needle and (self._query is not None or not text):
            return ""
        scan = self._scan()
        try:
            query = LineQuery.parse(text) if text else None
        except QueryError as error:
            return str(error)
        self.needle, self._query = text, query
        view = self._view()
        near = self._origin if self._origin is not None else view.current or 0
        if scan is not None:
            scan.start_search(query, near)
        self._wants_hit = 0
        if query is not None:
            # Upwards while the end is followed: below it there is nothing yet.
            self._wants_hit = -1 if self._was_following else 1
            self._origin, self._includes_origin = near, True
            self._go_to_hit(self._wants_hit)
        self._on_change()
        return ""

    def clear_search(self) -> None:
        """Search nothing; the view stays where it is."""
        self.needle, self._query, self._wants_hit = "", None, 0
        if (scan := self._scan()) is not None:
            scan.start_search(None, 0)
        self._on_change()

    def move(self, step: int) -> None:
        """Go to the next (1) or previous hit (-1); the first one follows the last one."""
        current = self._view().current
        if current is not None:
            self._origin, self._includes_origin = current, False
            self._wants_hit = step
            self._go_to_hit(step)

    def note_progress(self) -> None:
        """More was searched: go to the hit that was looked for."""
        self._keep_place()
        if self._wants_hit:
            self._go_to_hit(self._wants_hit)

    def _go_to_hit(self, step: int) -> None:
        """Go to the next hit from where it is looked for, if it is known already."""
        scan, at = self._scan(), self._origin
        search = scan.search if scan is not None else None
        if search is None or at is None:
            return
        own = 1 if self._includes_origin else 0
        hit = search.next_hit(at - own) if step > 0 else search.previous_hit(at + own)
        if hit is None and search.complete:
            hit = search.next_hit(-1) if step > 0 else search.previous_hit(1 << 62)
        if hit is not None:
            self._wants_hit = 0
            self._view().go_to(hit)
            self._on_change()
        elif search.complete:
            self._wants_hit = 0

    def search_span(self) -> Span:
        """What is searched, and the number of lines: "/vllm  3 of 17"."""
        scan = self._scan()
        search = scan.search if scan is not None else None
        needle = truncate(self.needle, MAX_NEEDLE_WIDTH)
        if search is None:
            return "", ""
        if not search.count:
            return (f"/{needle}  not found" if search.complete else f"/{needle}  searching…"), (
                "warning" if search.complete else "muted"
            )
        rank = ""
        current = self._view().cursor
        if current is not None and search.is_hit(current):
            rank = f"{search.rank(current):,} of "
        more = "" if search.complete else "+"
        return f"/{needle}  {rank}{search.count:,}{more}", "accent"

    # -- filter -------------------------------------------------------------------------------

    def set_filter(self, text: str) -> str:
        """Show only the lines that match every term of the text; all with "". Returns what is wrong
        with it."""
        text = text.strip()
        if text == self.filter_text:
            return ""
        try:
            queries = parse_filter(text)
        except ValueError as error:
            return str(error)
        self.filter_text, self._queries = text, queries
        self._start_filter()
        return ""

    def _start_filter(self) -> None:
        if (scan := self._scan()) is not None:
            view = self._view()
            if self._place is None and not view.following:
                self._place = view.cursor
            scan.start_filter(self._queries)
            view.set_lines(scan.lines)
            self._keep_place()
        self._on_change()

    def _keep_place(self) -> None:
        """Go back to the line where the cursor was before the filter, or the next one that is
        shown, as soon as it is decided."""
        scan, view = self._scan(), self._view()
        if self._place is None or scan is None:
            return
        if view.following:
            self._place = None
        elif scan.filter is None or scan.filter.complete:
            place, self._place = self._place, None
            view.go_to(place)

    def filter_span(self) -> Span:
        """The filter, and how many lines it shows."""
        scan = self._scan()
        shown = scan.filter if scan is not None else None
        if shown is None:
            return "", ""
        more = "" if shown.complete else "+"
        text = truncate(self.filter_text, MAX_NEEDLE_WIDTH)
        return f"&{text}  {shown.count:,}{more} shown", "accent" if shown.count else "warning"

    def restart(self) -> None:
        """Another log is shown: search and filter go on in it."""
        self._origin = self._place = None
        if (scan := self._scan()) is None:
            return
        if self._query is not None:
            scan.start_search(self._query, 0)
        if self._queries:
            self._start_filter()

    # -- time ---------------------------------------------------------------------------------

    def go_to_time(self, text: str) -> str:
        """Go to the first line at or after a time; returns what is wrong with it."""
        at = parse_time(text, self._clock())
        if at is None:
            return "Enter a time such as 14:05, 2026-01-31 14:05:30, 14:05 UTC, or -5m."
        if (scan := self._scan()) is not None:
            self._view().go_to(scan.levels.line_at_time(int(at.timestamp() * 1e9)))
        return ""


def parse_filter(text: str) -> tuple[LineMatcher, ...]:
    """The terms of a filter, separated by " & ": a regular expression, `!` before one that must not
    match, `.` before a comparison of a field (".status>=500"). Raises ValueError (QueryError) with
    one sentence."""
    queries: list[LineMatcher] = []
    for term in _TERM_SEPARATOR.split(text.strip()):
        if not term:
            continue
        inverse = term.startswith(_INVERSE_PREFIX) and len(term) > 1
        rest = term[1:] if inverse else term
        if _FIELD_PATTERN.match(rest):
            queries.append(FieldQuery.parse(rest[1:], inverse=inverse))
        else:
            queries.append(LineQuery.parse(rest, inverse=inverse))
    return tuple(queries)


def parse_time(text: str, now: datetime) -> datetime | None:
    """A time of day in the local time zone, or with a final "UTC" or "Z" in that, a date and time,
    or an age ("-5m"); None for anything else. A time of day that is still to come is yesterday's.
    """
    text = text.strip()
    if age := _AGE_PATTERN.fullmatch(text):
        try:
            return now - timedelta(**{_UNITS[age["unit"]]: int(age["count"])})
        except (OverflowError, ValueError):  # Python converts no number of thousands of digits
            return None
    is_utc = text.upper().endswith(("UTC", "Z"))
    found = _CLOCK_PATTERN.fullmatch(re.sub(r"\s*(?i:utc|z)$", "", text))
    if found is None:
        return None
    local = now.astimezone(UTC if is_utc else None)
    try:
        clock = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0))
        if found["date"]:
            # the offset of the time zone is that of the day
            at = datetime.combine(date.fromisoformat(found["date"]), clock)
            return at.replace(tzinfo=UTC) if is_utc else at.astimezone()
        at = datetime.combine(local.date(), clock, local.tzinfo)
        return at - timedelta(days=1) if at > local else at
    except (OverflowError, OSError, ValueError):
        return None
