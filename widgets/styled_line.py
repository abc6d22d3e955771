"""Lines of toned text: the one way in which our widgets draw.

A tone is the name of a component class without its prefix (`tone--error`), so looks stay in the
style sheets, and no string is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.scroll_view import ScrollView
from textual.strip import Strip

from servedeck.serving.text import one_line, sanitise

Span = tuple[str, str]
"""Text and its tone; the tone "" is the widget's own style."""
Line = tuple[Span, ...]

TONES = (
    *("error", "degraded", "pending", "starting", "ready", "off"),
    *("strong", "muted", "struck", "title", "key", "accent", "warning"),
)


COMPONENTS = {f"tone--{tone}" for tone in TONES}
"""Component classes of the tones."""


class SpanDrawing(ScrollView):
    """Draws spans in tones whose styles a subclass knows."""

    @property
    def inner_width(self) -> int:
        """Cells of a line beside the scrollbar."""
        return self.scrollable_content_region.width

    def tone(self, name: str) -> Style:
        """Style that the tone adds to the style below it."""
        return Style.null()

    def strip(self, line: Line, width: int, base: Style, *, toned: bool = True) -> Strip:
        """`line` cut or filled to `width` cells."""
        styles: Callable[[str], Style] = self.tone if toned else lambda _tone: Style.null()
        segments: list[Segment] = []
        room = width
        for text, tone in line:
            if room <= 0:
                break
            text = harmless(text)
            taken = cell_len(text)
            if taken > room:
                text, taken = cut(text, room), room
            segments.append(Segment(text, base + styles(tone)))
            room -= taken
        if room > 0:
            segments.append(Segment(" " * room, base))
        return Strip(segments, width)


class SpanView(SpanDrawing):
    """Base of the widgets that draw spans; knows the style of each tone."""

    COMPONENT_CLASSES = COMPONENTS

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        # Textual finds these anew for each repaint, at half a millisecond for a dozen.
        self._own_style: Style | None = None
        self._ground: Color | None = None
        self._looks: dict[tuple[str, bool], Style] = {}

    def notify_style_update(self) -> None:
        self._own_style = self._ground = None
        self._looks.clear()
        super().notify_style_update()

    @property
    def rich_style(self) -> Style:
        """The widget's own style."""
        if self._own_style is None:
            self._own_style = super().rich_style
        return self._own_style

    @property
    def ground(self) -> Color:
        """The widget's background."""
        if self._ground is None:
            self._ground = self.background_colors[1]
        return self._ground

    def component_style(self, name: str, *, partial: bool = False) -> Style:
        """Style of a component class; `partial` leaves out what is below it."""
        style = self._looks.get((name, partial))
        if style is None:
            style = self.get_component_rich_style(name, partial=partial)
            self._looks[name, partial] = style
        return style

    def tone(self, name: str) -> Style:
        """Style that the tone adds to the style below it."""
        return self.component_style(f"tone--{name}", partial=True) if name else Style.null()


def harmless(text: str) -> str:
    """`text` fit for one line of a terminal, whatever reached the widget."""
    return text if text.isprintable() else one_line(sanitise(text))


def cut(text: str, width: int) -> str:
    """`text` in exactly `width` cells, ending in "…" where something is missing."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def line_width(line: Line) -> int:
    """Cells that the line takes."""
    return sum(cell_len(text) for text, _tone in line)


def plain(line: Line) -> str:
    """The line's text alone."""
    return "".join(text for text, _tone in line)


def joined(lines: Iterable[Line], between: Line = ((" ", ""),)) -> Line:
    """The lines one after the other with `between` them; empty ones are left out."""
    result: list[Span] = []
    for line in lines:
        if line:
            result += (*between, *line) if result else line
    return tuple(result)


def wrap(line: Line, width: int, hanging: int = 0, *, whole: bool = False) -> list[Line]:
    """`line` in lines of at most `width` cells, broken at blanks where there is one, the second
    and later ones indented by `hanging` cells. `whole` breaks between spans where that is
    possible."""
    width = max(width, 1)
    hanging = max(0, min(hanging, width // 2, width - 2))
    lines: list[list[Span]] = [[]]
    room = width
    for text, tone in line:
        text = harmless(text)
        if whole and room < cell_len(text) <= width - hanging:
            text = text.lstrip(" ")
            lines.append([])
            room = width - hanging
        for word in _words(text):
            taken = cell_len(word)
            if taken > room:
                fits = cell_len(word.rstrip(" "))
                if fits <= room:
                    word, taken = word.rstrip(" "), fits
                elif fits <= width - hanging:
                    lines.append([])
                    room = width - hanging
                    if taken > room:
                        word, taken = word.rstrip(" "), fits
                else:
                    first, *rest = _chopped(word, room, width - hanging)
                    if first:
                        lines[-1].append((first, tone))
                    for piece in rest:
                        lines.append([(piece, tone)])
                    room = width - hanging - cell_len(rest[-1]) if rest else room - cell_len(first)
                    continue
            lines[-1].append((word, tone))
            room -= min(taken, room)
    indent: Line = ((" " * hanging, ""),) if hanging else ()
    return [(*(indent if number else ()), *_merged(spans)) for number, spans in enumerate(lines)]


def _words(text: str) -> list[str]:
    """Words, each with the blanks that follow it."""
    words: list[str] = []
    start = 0
    for end in range(1, len(text)):
        if text[end] != " " and text[end - 1] == " ":
            words.append(text[start:end])
            start = end
    if text[start:]:
        words.append(text[start:])
    return words


def _chopped(word: str, first: int, rest: int) -> list[str]:
    """A word too long for a line, in pieces of `first` and then `rest` cells."""
    if first < max(rest // 3, 1):
        return ["", *chop_cells(word, rest)]
    head = chop_cells(word, first)[0]
    return [head, *chop_cells(word[len(head) :], rest)]


def _merged(spans: list[Span]) -> list[Span]:
    """Neighbours of one tone as one span."""
    result: list[Span] = []
    for text, tone in spans:
        if result and result[-1][1] == tone:
            result[-1] = (result[-1][0] + text, tone)
        else:
            result.append((text, tone))
    return result


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` at the left edge and `right` at the right one; `left` is cut where both do not fit."""
    room = width - line_width(right) - 1
    if room <= 0:
        return right
    return (*fitted(left, room), (" ", ""), *right)


def fitted(line: Line, width: int) -> Line:
    """`line` in exactly `width` cells, ending in "…" where something is missing."""
    spans: list[Span] = []
    room = width
    for text, tone in line:
        taken = cell_len(text)
        if taken > room:
            spans.append((cut(text, room), tone))
            return tuple(spans)
        spans.append((text, tone))
        room -= taken
    return (*spans, (" " * room, "")) if room else tuple(spans)
