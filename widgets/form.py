"""Rows of a form: a label, an input beside it, and under it what is wrong with what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.getters import query_one
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from servedeck.serving.problems import Problem
from servedeck.serving.text import sanitise
from widgets.choice_box import ChoiceBox
from widgets.line_input import PlainInput
from widgets.lines import Bar
from widgets.spans import Line, wrap

LABEL_WIDTH = 25
"""Cells of the label and the mark before it."""

VARIABLE_INDENT = 3
"""Cells before the name of a variable, which has no label."""

_BREAK, _TAB = "⏎", "⇥"
"""How line breaks and tabs of a value stand in an input of one line."""


def shown(text: str) -> str:
    """A value as it stands in an input; `meant` reads it back."""
    if text.isprintable():
        return text
    marked = text.replace("\r\n", "\n").replace("\n", _BREAK).replace("\t", _TAB)
    return sanitise(marked)


def meant(text: str) -> str:
    """The value of what stands in an input."""
    return text.replace(_BREAK, "\n").replace(_TAB, "\t")


class FieldInput(PlainInput):
    """The input of a row. `path` names the field that it is part of."""

    @dataclass
    class Edited(Message):
        """Something was typed; `text` is what is meant by it."""

        input: FieldInput
        text: str

    @dataclass
    class LinesPasted(Message):
        """Several lines, or an assignment, were pasted into a variable."""

        input: FieldInput
        text: str

    def __init__(
        self,
        path: str,
        text: str,
        *,
        placeholder: str = "",
        masked: bool = False,
        takes_lines: bool = False,
        most: int = 0,
    ) -> None:
        super().__init__(placeholder=placeholder)
        self.path = path
        self.password = masked
        self.takes_lines = takes_lines
        self.max_length = most or None
        with self.prevent(Input.Changed):
            self.value = shown(text)
        self.cursor_position = len(self.value)

    @dataclass
    class Named(Message):
        """An equals sign ended the name, as in NAME=value."""

        input: FieldInput

    def _on_key(self, event: events.Key) -> None:  # type: ignore[override]
        if event.character == "=" and self.path.endswith(".name"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Named(self))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self, meant(event.value)))

    def _on_paste(self, event: events.Paste) -> None:
        lines = event.text.strip("\r\n")
        if self.takes_lines and ("\n" in lines or (not self.value and "=" in lines)):
            event.stop()
            event.prevent_default()
            self.post_message(self.LinesPasted(self, event.text))


class FormRow(Widget):
    """Base of the rows: label, editors, note and problems."""

    DEFAULT_CSS = """
    FormRow {
        height: auto;
        & > Horizontal { height: 1; }
        & > #under { display: none; }
        & FieldInput { width: 1fr; }
        & ChoiceBox { width: 1fr; }
    }
    """
    under = query_one("#under", Bar)
    label_bar = query_one(".label", Bar)

    def __init__(
        self, path: str, label: str, *, required: bool = False, indent: int = LABEL_WIDTH
    ) -> None:
        super().__init__()
        self.path = path
        self.label = label
        self.indent = indent
        self.required = required
        self._note: Line = ()
        self._problems: tuple[Problem, ...] = ()
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        label = Bar()
        label.add_class("label")
        label.styles.width = self.indent
        with Horizontal():
            yield label
            yield from self.compose_editors()
        yield Bar(id="under")

    def compose_editors(self) -> ComposeResult:
        """The widgets beside the label."""
        yield from ()

    def on_mount(self) -> None:
        self._draw_label()
        self._draw_under()

    def on_resize(self) -> None:
        self._draw_under()

    # -- what is under the input ----------------------------------------------------------------

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is shown as wrong or doubtful."""
        return self._problems

    def set_note(self, note: Line) -> None:
        """Show a line that informs; () shows none."""
        self._note = note
        self._draw_under()

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """Show what is wrong, the errors first."""
        self._problems = tuple(sorted(problems, key=lambda one: not one.is_error))
        self._draw_under()

    def _draw_under(self) -> None:
        drawn = (self.size.width, self._note, self._problems)
        if not self.is_mounted or not self.size.width or drawn == self._drawn:
            return
        self._drawn = drawn
        indent = (" " * self.indent, "")
        lines: list[Line] = []
        for problem in self._problems:
            mark, tone = ("✗ ", "error") if problem.is_error else ("! ", "warning")
            text = ((mark, tone), (problem.message, tone))
            lines += wrap((indent, *text), self.size.width - 1, self.indent + 2)
        if self._note:
            lines += wrap((indent, ("  ", ""), *self._note), self.size.width - 1, self.indent + 2)
        self.under.display = bool(lines)
        self.under.styles.height = max(1, len(lines))
        self.under.set_lines(*lines)
        self.under.refresh()

    # -- focus ----------------------------------------------------------------------------------

    def _draw_label(self) -> None:
        focused = self.has_focus_within
        self.label_bar.set_lines(
            (
                ("▌" if focused else " ", "accent"),
                (self.label, "strong" if focused else "muted"),
                (" *" if self.required else "", "key"),
            )
        )

    def on_descendant_focus(self) -> None:
        self._draw_label()

    def on_descendant_blur(self) -> None:
        self._draw_label()


class TextRow(FormRow):
    """A field that text is typed into."""

    def __init__(
        self, path: str, label: str, text: str, *, required: bool = False, placeholder: str = ""
    ) -> None:
        super().__init__(path, label, required=required)
        self._text = text
        self._placeholder = placeholder

    def compose_editors(self) -> ComposeResult:
        yield FieldInput(self.path, self._text, placeholder=self._placeholder)


class ChoiceRow(FormRow):
    """A field that holds one of several values."""

    def __init__(
        self, path: str, label: str, shown: str, detail: str = "", *, required: bool = False
    ) -> None:
        super().__init__(path, label, required=required)
        self.box = ChoiceBox(path, shown, detail)

    def compose_editors(self) -> ComposeResult:
        yield self.box


SOURCES = {"secret": "Secret", "config_map": "ConfigMap"}


class VariableRow(FormRow):
    """An environment variable: NAME = value, or NAME from a key of a Secret or a ConfigMap; or a
    line that could not be read, kept to be mended."""

    DEFAULT_CSS = """
    VariableRow {
        & .name { width: 25; }
        & .between { width: 3; }
        & .source { width: 13; }
    }
    """

    def __init__(self, path: str, row: dict[str, str], *, masked: bool) -> None:
        super().__init__(path, "", indent=VARIABLE_INDENT)
        self.row = row
        self._masked = masked

    def compose_editors(self) -> ComposeResult:
        source = self.row["source"]
        if source == "line":
            yield FieldInput(
                f"{self.path}.value", self.row["value"], masked=self._masked, takes_lines=True
            )
            return
        name = FieldInput(
            f"{self.path}.name", self.row["name"], placeholder="NAME", takes_lines=True
        )
        name.add_class("name")
        between = Bar()
        between.add_class("source" if source else "between")
        yield name
        yield between
        if source:
            between.set_lines(((f" ← {SOURCES.get(source, '?'):<9} ", "muted"),))
            yield FieldInput(f"{self.path}.ref", self.row["ref"], placeholder="name")
            key = Bar()
            key.add_class("between")
            key.set_lines(((" / ", "muted"),))
            yield key
            yield FieldInput(f"{self.path}.key", self.row["key"], placeholder="key")
        else:
            between.set_lines(((" = ", "muted"),))
            yield FieldInput(
                f"{self.path}.value",
                self.row["value"],
                placeholder="value",
                masked=self._masked,
                takes_lines=True,
            )

    def set_masked(self, masked: bool) -> None:
        """Show the value, or dots in its place."""
        if masked != self._masked:
            self._masked = masked
            for one in self.query(FieldInput):
                if one.path.endswith(".value"):
                    one.password = masked

    def on_field_input_named(self, message: FieldInput.Named) -> None:
        message.stop()
        for one in self.query(FieldInput):
            if one.path.endswith((".value", ".ref")):
                one.focus()


class Heading(Bar):
    """Title of a section."""

    DEFAULT_CSS = """
    Heading { height: 2; }
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


class Fact(Bar):
    """A line of the form that nobody can change."""

    def __init__(self, name: str, *lines: Line) -> None:
        super().__init__(id=f"fact-{name}")
        self.styles.height = max(1, len(lines))
        self.set_lines(*lines)


class FormButton(Bar, can_focus=True):
    """Something that the form can do, reached like a field."""

    can_focus = True

    @dataclass
    class Pressed(Message):
        """It is to be done."""

        button: FormButton

    def __init__(self, path: str, label: str, help: str) -> None:
        super().__init__()
        self.path = path
        self.label = label
        self.help = help

    def on_mount(self) -> None:
        self._draw()

    def _draw(self, *, focused: bool = False) -> None:
        self.set_lines((("▌" if focused else " ", "accent"), (self.label, "key")))

    def on_focus(self) -> None:
        self._draw(focused=True)

    def on_blur(self) -> None:
        self._draw()

    def on_click(self) -> None:
        self.post_message(self.Pressed(self))

    def on_key(self, event: events.Key) -> None:
        if event.key in ("enter", "space"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(self))
