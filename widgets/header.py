"""The head of the serving list: where one is, how true the picture is, how many servings are in
each state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from textual import events
from textual.message import Message

from servedeck.serving.status.status import Status
from servedeck.serving.units import counted
from widgets.serving_rows import TONES
from widgets.styled_line import Line, Span, fitted, harmless, line_width, spread
from widgets.text_view import Bar


@dataclass(frozen=True)
class Heading:
    """What the head says."""

    context: str = ""
    namespace: str = ""
    """The one namespace that is shown; "" for all."""
    connection: Line = ()
    counts: Mapping[Status, int] = field(default_factory=dict)
    shown: int = 0
    """Servings in the list, after the filter."""
    total: int = 0
    """Servings in the namespace."""
    namespaces: Sequence[str] = ()
    """Namespaces of the keys 1 to 9."""
    readonly: bool = False


_TROUBLES = {Status.ERROR, Status.DEGRADED, Status.PENDING}


class FleetHeader(Bar):
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
        self._heading = Heading()
        self._spots: list[tuple[int, int, int]] = []
        self._count_spots: list[tuple[int, int, Status | None]] = []

    def show(self, heading: Heading) -> None:
        """Draw what differs."""
        if heading != self._heading:
            self._heading = heading
            self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        width = self.inner_width
        if width:
            self.set_lines(self._place(width), self._counts(width), self._digits(width))

    def _place(self, width: int) -> Line:
        heading = self._heading
        left: list[Span] = [(" servedeck ", "title"), ("  ", "")]
        if heading.context:
            left += [(harmless(heading.context), "strong"), (" / ", "muted")]
        left.append((harmless(heading.namespace) or "all namespaces", "strong"))
        if heading.readonly:
            left.append(("  read-only", "warning"))
        return spread(tuple(left), (*heading.connection, (" ", "")), width)

    def _counts(self, width: int) -> Line:
        heading = self._heading
        number, noun = counted(heading.total, "serving").split(" ")
        if heading.shown != heading.total:
            number = f"{heading.shown:,} of {number}"
        right: Line = ((number, "strong"), (f" {noun} ", "muted"))
        for worded in (set(Status), _TROUBLES, set[Status]()):
            left: list[Span] = [(" ", "")]
            x = 1
            spots: list[tuple[int, int, Status | None]] = []
            for status, count in heading.counts.items():
                if count:
                    text = f"{status.glyph} {count:,}"
                    text += f" {status.value}" if status in worded else ""
                    between = "   " if worded else "  "
                    left += [(text, TONES[status]), (between, "")]
                    spots.append((x, x + cell_len(text), status))
                    x += cell_len(text + between)
            if x + line_width(right) <= width:
                break
        begin = width - line_width(right)
        self._count_spots = [
            *((start, min(end, begin - 1), status) for start, end, status in spots),
            (begin, width, None),
        ]
        return spread(tuple(left), right, width)

    def _digits(self, width: int) -> Line:
        heading = self._heading
        spans: list[Span] = [(" ", "")]
        self._spots = []
        x = 1
        for digit, namespace in enumerate(("", *heading.namespaces[:9])):
            name = harmless(namespace) or "all"
            tone = "strong" if namespace == heading.namespace else "muted"
            taken = line_width(((str(digit), ""), (name, "")))
            if x + taken + 1 > width:
                break
            spans += [(str(digit), "key"), (" ", ""), (name, tone), ("  ", "")]
            self._spots.append((x, x + taken + 1, digit))
            x += taken + 3
        return fitted(tuple(spans), width)

    def on_click(self, event: events.Click) -> None:
        if event.y == 1:
            for start, end, status in self._count_spots:
                if start <= event.x < end:
                    self.post_message(self.StatusClicked(status))
        elif event.y == 2:
            for start, end, digit in self._spots:
                if start <= event.x < end:
                    self.post_message(self.NamespaceClicked(digit))
