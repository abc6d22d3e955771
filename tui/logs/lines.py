"""How a line of a log is shown: its time, its Pod, its level, and what was searched in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice

from servedeck.logs.ansi import styled_text
from servedeck.logs.fields import format_fields
from servedeck.logs.levels import Level, level_of
from servedeck.logs.lines import NOTICE_SOURCE, LogLine, LogSource, stamp_to_ns
from servedeck.serving.duration import format_duration
from servedeck.serving.text import truncate
from widgets.log_viewport import LogRow
from widgets.styled_line import Line, Span

MAX_SHOWN_BYTES = 64 << 10
"""Bytes of a line that are read to show it; whole lines are saved and searched."""

MAX_LABEL_WIDTH = 24
"""Cells of the name of a Pod before its lines."""

NOTICE_PREFIX = "── "
"""Begins a line that servedeck has written."""

MARK_GLYPH = "◆"

_POD_STYLES = ("ansi cyan", "ansi green", "ansi magenta", "ansi yellow", "ansi blue", "ansi red")
_LEVEL_STYLES = {
    Level.CRITICAL: "error",
    Level.ERROR: "error",
    Level.WARNING: "warning",
    Level.DEBUG: "muted",
}


class TimeMode(StrEnum):
    """How the time of a line is shown."""

    NONE = "no time"
    LOCAL = "local time"
    UTC = "UTC"
    RELATIVE = "age"

    @property
    def next(self) -> TimeMode:
        modes = list(TimeMode)
        return modes[(modes.index(self) + 1) % len(modes)]


class LineFormatter:
    """Makes the rows of the lines of a buffer."""

    def __init__(
        self,
        read: Callable[[int], LogLine],
        sources: Callable[[], Sequence[LogSource]],
        clock: Callable[[], datetime],
    ) -> None:
        """`read` gives the line with a number, `sources` what the lines are from."""
        self._read = read
        self._sources = sources
        self._clock = clock
        self.time_mode = TimeMode.NONE
        self.shows_pods = False
        self.shows_containers = False
        self.shows_fields = False
        self.find_hits: Callable[[str], Sequence[tuple[int, int]]] | None = None
        """Where the searched text is in a line; None without a search."""
        self.current_hit: int | None = None
        """Number of the line with the current hit."""
        self.marks: frozenset[int] | set[int] = frozenset()
        """Numbers of the lines that the operator has marked."""
        self.repeats: Callable[[int], int] = lambda _number: 1
        """How many lines the line with a number stands for."""
        self._labels: dict[int, Span] = {}
        self._labeled_count = -1

    def row(self, number: int) -> LogRow:
        """The row of a line."""
        line = self._read(number)
        return LogRow(self._head(line), self._text(line))

    def text(self, line: LogLine) -> str:
        """The text of a line as it is shown."""
        return "".join(text for text, _ in self._text(line))

    # -- what is before the text --------------------------------------------------------------

    def _head(self, line: LogLine) -> Line:
        spans: list[Span] = []
        if self.marks:
            spans.append((f"{MARK_GLYPH if line.number in self.marks else ' '} ", "warning"))
        if self.time_mode is not TimeMode.NONE:
            spans.append((f"{self.time_text(line)} ", "muted"))
        if self.shows_pods or self.shows_containers:
            spans.append(self._label(line.source))
        if (repeats := self.repeats(line.number)) > 1:
            spans.append((f"×{repeats:,} ", "accent"))
        return tuple(spans)

    def time_text(self, line: LogLine) -> str:
        """The time of a line in the current mode."""
        try:
            seconds = stamp_to_ns(line.stamp) / 1e9
        except ValueError:
            return "?"
        if self.time_mode is TimeMode.RELATIVE:
            age = max(0.0, self._clock().timestamp() - seconds)
            return f"{format_duration(age):>6}"
        try:
            at = datetime.fromtimestamp(seconds, UTC)
            at = at if self.time_mode is TimeMode.UTC else at.astimezone()
        except (OverflowError, OSError, ValueError):
            return "?"
        return f"{at:%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"

    def _label(self, source: int) -> Span:
        sources = self._sources()
        if self._labeled_count != len(sources):
            self._labeled_count = len(sources)
            self._labels = self._make_labels(sources)
        return self._labels.get(source, ("", ""))

    def reset_labels(self) -> None:
        """The lines are from other sources."""
        self._labeled_count = -1

    def _make_labels(self, sources: Sequence[LogSource]) -> dict[int, Span]:
        known = [one for one in sources if one.number != NOTICE_SOURCE]
        pods = list(dict.fromkeys(one.pod for one in known))
        short = shorten_names(pods)
        labels = {}
        for one in known:
            parts = [short[one.pod]] if self.shows_pods else []
            parts += [one.container] if self.shows_containers else []
            style = _POD_STYLES[pods.index(one.pod) % len(_POD_STYLES)]
            labels[one.number] = (truncate("/".join(parts), MAX_LABEL_WIDTH), style)
        width = max((len(text) for text, _ in labels.values()), default=0)
        made = {number: (f"{text:<{width}} ", style) for number, (text, style) in labels.items()}
        return made | {NOTICE_SOURCE: (" " * (width + 1), "")}

    # -- the text -----------------------------------------------------------------------------

    def _text(self, line: LogLine) -> Line:
        raw, rest = line.text, len(line.text) - MAX_SHOWN_BYTES
        styled = styled_text(raw[:MAX_SHOWN_BYTES] if rest > 0 else raw)
        if line.source == NOTICE_SOURCE:
            return ((NOTICE_PREFIX, "accent"), *((text, "accent") for text, _ in styled))
        plain = "".join(text for text, _ in styled)
        if self.shows_fields and (fields := format_fields(plain)) != plain:
            plain, styled = fields, ((fields, ""),)
        base = _LEVEL_STYLES.get(level_of(plain), "")
        spans: list[Span] = [
            (text, f"ansi {style}" if style and not base else base) for text, style in styled
        ]
        if self.find_hits is not None and (hits := self.find_hits(plain)):
            style = "code-current" if line.number == self.current_hit else "code-hit"
            spans = _mark_hits(spans, hits, style)
        if rest > 0:
            spans.append((f" … {rest:,} more bytes", "muted"))
        return tuple(spans)


def _mark_hits(
    spans: Sequence[Span], hits: Sequence[tuple[int, int]], style_name: str
) -> list[Span]:
    """The spans, with another style where the hits are."""
    marked: list[Span] = []
    offset = first = 0
    for text, style in spans:
        at = 0
        while first < len(hits) and hits[first][1] <= offset:
            first += 1
        for start, end in islice(hits, first, None):
            if start >= offset + len(text):
                break
            start, end = max(start - offset, at), min(end - offset, len(text))
            if start < end:
                marked += [(text[at:start], style), (text[start:end], style_name)]
                at = end
        marked.append((text[at:], style))
        offset += len(text)
    return [span for span in marked if span[0]]


def shorten_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the names of Pods, after a dash, that tell them apart."""
    parts = {name: name.split("-") for name in names}
    for kept in range(1, max((len(each) for each in parts.values()), default=0)):
        short = {name: "-".join(each[-kept:]) for name, each in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {name: name for name in names}
