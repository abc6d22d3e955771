"""The header of the serving list: context and namespace, state of the connection, number of
servings in each state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from textual import events
from textual.message import Message

from servedeck.serving.status.status import Status
from servedeck.serving.text import format_count
from widgets.serving_rows import STATUS_STYLES
from widgets.styled_line import Line, Span, align_left_right, fit_line, line_width, sanitized
from widgets.text_view import StatusLine


@dataclass(frozen=True)
class HeaderData:
    """The content of the header."""

    context: str = ""
    namespace: str = ""
    """The one namespace that is shown; "" for all."""
    connection: Line = ()
    counts: Mapping[Status, int] = field(default_factory=dict)
    shown_count: int = 0
    """Servings in the list, after the filter."""
    total_count: int = 0
    """Servings in the namespace."""
    namespaces: Sequence[str] = ()
    """Namespaces of the keys 1 to 9."""
    readonly: bool = False
    forwards: str = ""
    """The ports that are forwarded, "forward 127.0.0.1:8000"; "" for none."""


_PROBLEM_STATUSES = {Status.ERROR, Status.DEGRADED, Status.PENDING}


class ListHeader(StatusLine):
    """Context, namespace and connection; counts by state; the namespaces of the digits."""

    @dataclass
    class NamespaceClicked(Message):
        """The digit of a namespace was clicked; 0 for all."""

        digit: int

    @dataclass
    class StatusClicked(Message):
        """The count of a status was clicked; None for that of all servings."""

        status: Status | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._data = HeaderData()
        self._namespace_regions: list[tuple[int, int, int]] = []
        self._status_regions: list[tuple[int, int, Status | None]] = []

    def set_data(self, data: HeaderData) -> None:
        """Draw what differs."""
        if data != self._data:
            self._data = data
            self._update_lines()

    def on_resize(self) -> None:
        self._update_lines()

    def _update_lines(self) -> None:
        width = self.inner_width
        if width:
            self.set_lines(
                self._context_line(width), self._counts_line(width), self._namespaces_line(width)
            )

    def _context_line(self, width: int) -> Line:
        heading = self._data
        left: list[Span] = [(" servedeck ", "title"), ("  ", "")]
        if heading.context:
            left += [(sanitized(heading.context), "strong"), (" / ", "muted")]
        left.append((sanitized(heading.namespace) or "all namespaces", "strong"))
        if heading.readonly:
            left.append(("  read-only", "warning"))
        if heading.forwards:
            left.append((f"  {heading.forwards}", "accent"))
        return align_left_right(tuple(left), (*heading.connection, (" ", "")), width)

    def _counts_line(self, width: int) -> Line:
        heading = self._data
        number, noun = format_count(heading.total_count, "serving").split(" ")
        if heading.shown_count != heading.total_count:
            number = f"{heading.shown_count:,} of {number}"
        right: Line = ((number, "strong"), (f" {noun} ", "muted"))
        for worded in (set(Status), _PROBLEM_STATUSES, set[Status]()):
            left: list[Span] = [(" ", "")]
            x = 1
            spots: list[tuple[int, int, Status | None]] = []
            for status, count in heading.counts.items():
                if count:
                    text = f"{status.glyph} {count:,}"
                    text += f" {status.value}" if status in worded else ""
                    between = "   " if worded else "  "
                    left += [(text, STATUS_STYLES[status]), (between, "")]
                    spots.append((x, x + cell_len(text), status))
                    x += cell_len(text + between)
            if x + line_width(right) <= width:
                break
        begin = width - line_width(right)
        self._status_regions = [
            *((start, min(end, begin - 1), status) for start, end, status in spots),
            (begin, width, None),
        ]
        return align_left_right(tuple(left), right, width)

    def _namespaces_line(self, width: int) -> Line:
        heading = self._data
        spans: list[Span] = [(" ", "")]
        self._namespace_regions = []
        x = 1
        for digit, namespace in enumerate(("", *heading.namespaces[:9])):
            name = sanitized(namespace) or "all"
            style_name = "strong" if namespace == heading.namespace else "muted"
            taken = line_width(((str(digit), ""), (name, "")))
            if x + taken + 1 > width:
                break
            spans += [(str(digit), "key"), (" ", ""), (name, style_name), ("  ", "")]
            self._namespace_regions.append((x, x + taken + 1, digit))
            x += taken + 3
        return fit_line(tuple(spans), width)

    def on_click(self, event: events.Click) -> None:
        if event.y == 1:
            for start, end, status in self._status_regions:
                if start <= event.x < end:
                    self.post_message(self.StatusClicked(status))
        elif event.y == 2:
            for start, end, digit in self._namespace_regions:
                if start <= event.x < end:
                    self.post_message(self.NamespaceClicked(digit))
