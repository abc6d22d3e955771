"""The parts of a form besides its rows: body, headings, lines, buttons."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from textual import events
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from widgets.styled_line import STYLE_CLASSES, Line, StyledLineBase


class FormBody(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Contains the parts of a form, and caches the styles for all of them: looking up thirteen
    styles for each of a hundred widgets takes longer than everything else about opening a form."""

    COMPONENT_CLASSES = STYLE_CLASSES
    can_focus = False

    def named_style(self, name: str) -> Style:
        """Style that the named style adds to the one below it."""
        return self.get_component_rich_style(f"style--{name}", partial=True)


class FormPart(StyledLineBase):
    """Draws spans in a form."""

    def named_style(self, name: str) -> Style:
        body = next((one for one in self.ancestors if isinstance(one, FormBody)), None)
        return body.named_style(name) if name and body is not None else Style.null()


class FormLine(FormPart):
    """One or a few lines; only lines that differ are repainted."""

    DEFAULT_CSS = """
    FormLine { height: 1; overflow: hidden hidden; }
    """
    can_focus = False

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def set_lines(self, *lines: Line) -> None:
        """Show the lines, the first one at the top."""
        old, self._lines = self._lines, lines
        for y in range(self.size.height):
            if old[y : y + 1] != lines[y : y + 1]:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else ()
        return self.make_strip(line, self.size.width, self.rich_style)


class FormHeading(FormLine):
    """Title of a section."""

    DEFAULT_CSS = """
    FormHeading { height: 2; }
    """

    def __init__(self, title: str, detail: str = "") -> None:
        super().__init__()
        self._title = title
        self._detail = detail

    def on_resize(self) -> None:
        taken = len(self._title) + (len(self._detail) + 2 if self._detail else 0)
        rest = self.size.width - taken - 3
        detail = ((f" {self._detail} ", "muted"),) if self._detail else ()
        self.set_lines(
            (),
            ((f" {self._title} ", "title"), *detail, ("─" * max(rest, 0), "muted")),
        )


class ReadOnlyLines(FormLine):
    """A read-only line of the form."""

    def __init__(self, name: str, *lines: Line) -> None:
        super().__init__(id=f"fact-{name}")
        self.styles.height = max(1, len(lines))
        self.set_lines(*lines)


class FormButton(FormLine, can_focus=True):
    """A button of the form, focused like a field."""

    can_focus = True

    @dataclass
    class Pressed(Message):
        """The button was pressed."""

        button: FormButton

    def __init__(self, path: str, label: str, help_text: str) -> None:
        super().__init__()
        self.path = path
        self.label = label
        self.help_text = help_text

    def on_mount(self) -> None:
        self._update_line()

    def _update_line(self, *, focused: bool = False) -> None:
        self.set_lines((("▌" if focused else " ", "accent"), (self.label, "key")))

    def on_focus(self) -> None:
        self._update_line(focused=True)

    def on_blur(self) -> None:
        self._update_line()

    def on_click(self) -> None:
        self.post_message(self.Pressed(self))

    def on_key(self, event: events.Key) -> None:
        if event.key == "space":
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(self))
