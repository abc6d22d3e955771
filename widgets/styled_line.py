"""Lines of styled text, which all own widgets draw with. A style name is the name of a component
class without its prefix (`style--error`), so the looks are in the style sheets, and no string is
read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.scroll_view import ScrollView
from textual.strip import Strip

from servedeck.serving.text import one_line, sanitize

Span = tuple[str, str]
"""Text and its style name; "" is the widget's own style."""
Line = tuple[Span, ...]

STYLE_NAMES = (
    *("error", "degraded", "pending", "starting", "ready", "scaled-down"),
    *("strong", "muted", "struck", "title", "key", "accent", "warning"),
)


STYLE_CLASSES = {f"style--{style_name}" for style_name in STYLE_NAMES}
"""Component classes of the style names. They are those of the app: Textual finds the rules of each
component class again for each widget that is mounted or focused, 3 ms for these of one widget."""


class StyledLineBase(ScrollView):
    """Draws spans in styles that a subclass looks up."""

    @property
    def inner_width(self) -> int:
        """Cells of a line beside the scrollbar."""
        return self.scrollable_content_region.width

    def named_style(self, name: str) -> Style:
        """Style that the named style adds to the one below it."""
        return Style.null()

    def make_strip(
        self, line: Line, width: int, base_style: Style, *, styled: bool = True
    ) -> Strip:
        """`line` cut or filled to `width` cells."""
        return Strip(self.make_segments(line, width, base_style, styled=styled), width)

    def make_segments(
        self, line: Line, width: int, base_style: Style, *, styled: bool = True
    ) -> list[Segment]:
        """The segments of `line`, cut or filled to `width` cells."""
        styles: Callable[[str], Style] = (
            self.named_style if styled else lambda _style_name: Style.null()
        )
        segments: list[Segment] = []
        room = width
        for text, style_name in line:
            if room <= 0:
                break
            text = sanitized(text)
            taken = cell_len(text)
            if taken > room:
                text, taken = fit_text(text, room), room
            segments.append(Segment(text, base_style + styles(style_name)))
            room -= taken
        if room > 0:
            segments.append(Segment(" " * room, base_style))
        return segments


class StyledLineView(StyledLineBase):
    """Base of the widgets that draw spans; looks up the style of each name."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        # Textual looks these up for each repaint, which takes half a millisecond for a dozen.
        self._cached_rich_style: Style | None = None
        self._cached_background: Color | None = None
        self._cached_component_styles: dict[tuple[str, bool], Style] = {}
        self._cached_named_styles: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        self._cached_rich_style = self._cached_background = None
        self._cached_component_styles.clear()
        named, self._cached_named_styles = self._cached_named_styles, {}
        super().notify_style_update()
        if any(self.named_style(name) != style for name, style in named.items()):
            self.refresh()  # Textual does this for the component classes of the widget itself

    @property
    def rich_style(self) -> Style:
        """The widget's own style."""
        if self._cached_rich_style is None:
            self._cached_rich_style = super().rich_style
        return self._cached_rich_style

    @property
    def background_color(self) -> Color:
        """The widget's background."""
        if self._cached_background is None:
            self._cached_background = self.background_colors[1]
        return self._cached_background

    def component_style(self, name: str, *, partial: bool = False) -> Style:
        """Style of a component class; `partial` excludes the style below it."""
        style = self._cached_component_styles.get((name, partial))
        if style is None:
            style = self.get_component_rich_style(name, partial=partial)
            self._cached_component_styles[name, partial] = style
        return style

    def named_style(self, name: str) -> Style:
        """Style that the named style adds to the one below it: the widget's own, or the app's."""
        if not name:
            return Style.null()
        style = self._cached_named_styles.get(name)
        if style is None:
            component = f"style--{name}"
            if component in self.COMPONENT_CLASSES:
                style = self.component_style(component, partial=True)
            elif component in self.app.COMPONENT_CLASSES:
                style = self.app.get_component_styles(component).partial_rich_style
            else:
                style = Style.null()  # an app without style sheets
            self._cached_named_styles[name] = style
        return style


def sanitized(text: str) -> str:
    """`text` on one line, without what `sanitize` drops."""
    if text.isascii() and text.isprintable():
        return text
    shown = sanitize(text)  # changes some printable characters too
    return shown if text.isprintable() else one_line(shown)


def fit_text(text: str, width: int) -> str:
    """`text` in exactly `width` cells, ending in "…" if it was cut."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if width <= 0:
        return ""
    kept = set_cell_size(text, width - 1)
    return kept + (" " if kept.endswith("…") else "…")


def line_width(line: Line) -> int:
    """Cells that the line takes."""
    return sum(cell_len(text) for text, _style_name in line)


def plain_text(line: Line) -> str:
    """The line's text alone."""
    return "".join(text for text, _style_name in line)


def join_lines(lines: Iterable[Line], separator: Line = ((" ", ""),)) -> Line:
    """The lines joined with `separator`; empty ones are omitted."""
    result: list[Span] = []
    for line in lines:
        if line:
            result += (*separator, *line) if result else line
    return tuple(result)


def wrap(line: Line, width: int, indent: int = 0, *, keep_spans: bool = False) -> list[Line]:
    """`line` in lines of at most `width` cells, broken at blanks where there is one, the second
    and later ones indented by `indent` cells. `keep_spans` breaks between spans where that is
    possible."""
    width = max(width, 1)
    indent = max(0, min(indent, width // 2, width - 2))
    lines: list[list[Span]] = [[]]
    room = width
    for text, style_name in line:
        text = sanitized(text)
        if keep_spans and room < cell_len(text) <= width - indent:
            text = text.lstrip(" ")
            lines.append([])
            room = width - indent
        for word in _split_words(text):
            taken = cell_len(word)
            if taken > room:
                fits = cell_len(word.rstrip(" "))
                if fits <= room:
                    word, taken = word.rstrip(" "), fits
                elif fits <= width - indent:
                    lines.append([])
                    room = width - indent
                    if taken > room:
                        word, taken = word.rstrip(" "), fits
                else:
                    first, *rest = _split_long_word(word, room, width - indent)
                    if first:
                        lines[-1].append((first, style_name))
                    for piece in rest:
                        lines.append([(piece, style_name)])
                    room = width - indent - cell_len(rest[-1]) if rest else room - cell_len(first)
                    continue
            lines[-1].append((word, style_name))
            room -= min(taken, room)
    indent_line: Line = ((" " * indent, ""),) if indent else ()
    return [
        (*(indent_line if number else ()), *_merge_spans(spans))
        for number, spans in enumerate(lines)
    ]


def _split_words(text: str) -> list[str]:
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


def _split_long_word(word: str, first_width: int, rest_width: int) -> list[str]:
    """A word too long for a line, in pieces of `first_width` and then `rest_width` cells."""
    if first_width < max(rest_width // 3, 1):
        return ["", *chop_cells(word, rest_width)]
    head = chop_cells(word, first_width)[0]
    return [head, *chop_cells(word[len(head) :], rest_width)]


def _merge_spans(spans: list[Span]) -> list[Span]:
    """Merge adjacent spans of one style."""
    result: list[Span] = []
    for text, style_name in spans:
        if result and result[-1][1] == style_name:
            result[-1] = (result[-1][0] + text, style_name)
        else:
            result.append((text, style_name))
    return result


def align_left_right(left: Line, right: Line, width: int) -> Line:
    """`left` at the left edge and `right` at the right one; `left` is cut where both do not fit."""
    room = width - line_width(right) - 1
    if room <= 0:
        return right
    return (*fit_line(left, room), (" ", ""), *right)


def _mark_cut(spans: list[Span], rest: str) -> None:
    """End spans that fill a line in "…", if the rest of it has more than blanks."""
    if not rest.strip():
        return
    for number in range(len(spans) - 1, -1, -1):
        text, style_name = spans[number]
        if width := cell_len(text):
            spans[number] = (fit_text(text + rest.lstrip(), width), style_name)
            return


def fit_line(line: Line, width: int) -> Line:
    """`line` in exactly `width` cells, ending in "…" if it was cut."""
    spans: list[Span] = []
    room = width
    for number, (text, style_name) in enumerate(line):
        taken = cell_len(text)
        if taken > room:
            if room:
                spans.append((fit_text(text, room), style_name))
            else:
                _mark_cut(spans, "".join(part for part, _ in line[number:]))
            return tuple(spans)
        spans.append((text, style_name))
        room -= taken
    return (*spans, (" " * room, "")) if room else tuple(spans)
