"""Rows of a form: a label, an input beside it, and below it the errors of the value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from servedeck.serving.spec.issues import Issue
from servedeck.serving.text import sanitize
from widgets.form_parts import FormPart
from widgets.line_input import PlainInput
from widgets.select_field import SelectField
from widgets.styled_line import Line, fit_line, wrap

LABEL_WIDTH = 25
"""Cells of the label and the mark before it."""

MIN_INPUT_WIDTH = 24
"""Cells that an input has, in a terminal where its label leaves as many."""

VARIABLE_INDENT = 3
"""Cells before the name of a variable, which has no label."""

NAME_WIDTH = 25
"""Cells of the name."""

MAX_INPUT_WIDTH = 72
"""Maximum width of an input in cells, so that the text beside it is near."""

MAX_VALUE_LENGTH = 16_384
"""Maximum number of characters; longer text belongs in a ConfigMap or a Secret."""

_LINE_BREAK_MARK, _TAB_MARK = "⏎", "⇥"
"""How line breaks and tabs of a value are shown in a one-line input."""


def to_display(text: str) -> str:
    """A value as it is shown in an input; `from_display` reads it back."""
    if text.isprintable():
        return text
    marked = text.replace("\r\n", "\n").replace("\n", _LINE_BREAK_MARK).replace("\t", _TAB_MARK)
    return sanitize(marked)


def from_display(text: str) -> str:
    """The value of the text in an input."""
    return text.replace(_LINE_BREAK_MARK, "\n").replace(_TAB_MARK, "\t")


class FieldInput(PlainInput):
    """The input of a row. `path` names the field that it is part of."""

    @dataclass
    class Edited(Message):
        """Something was typed; `text` is its value."""

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
        accepts_lines: bool = False,
    ) -> None:
        super().__init__(placeholder=placeholder, length_limit=MAX_VALUE_LENGTH)
        self.path = path
        self.password = masked
        self.accepts_lines = accepts_lines
        self._has_placeholder = bool(placeholder)
        self._original_text = text
        with self.prevent(Input.Changed):
            self.value = to_display(text)
        self.cursor_position = len(self.value)

    def on_resize(self) -> None:
        """Without colors an empty input is marked by an underline."""
        if self.app.no_color and not self._has_placeholder:
            self.placeholder = "_" * max(self.size.width - 1, 0)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """An equals sign ends a name; the screen binds it."""
        ends = key == "equals_sign" and self.path.endswith(".name")
        return not ends and super().check_consume_key(key, character)

    @property
    def text(self) -> str:
        """The value of the typed text; a value that cannot be shown counts until it is edited."""
        return (
            self._original_text
            if self.value == to_display(self._original_text)
            else from_display(self.value)
        )

    def show_text(self, text: str) -> None:
        """Show another value; the cursor stays where it is."""
        if text == self.text:
            return
        self._original_text = text
        cursor = self.cursor_position
        with self.prevent(Input.Changed):
            self.value = to_display(text)
        self.cursor_position = min(cursor, len(self.value))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self, self.text))

    def on_paste(self, event: events.Paste) -> None:
        lines = event.text.strip("\r\n")
        if self.accepts_lines and ("\n" in lines or (not self.value and "=" in lines)):
            event.stop()
            event.prevent_default()
            self.post_message(self.LinesPasted(self, event.text))


class FormRow(FormPart):
    """Base of the rows: draws label, note and errors around its editors. One widget instead of
    four: a form has forty rows, and the time to open it grows with its widgets."""

    DEFAULT_CSS = """
    FormRow {
        height: 1;
        layout: horizontal;
        overflow: hidden hidden;
        & FieldInput { width: 1fr; }
        & SelectField { width: 1fr; }
    }
    """
    can_focus = False

    def __init__(
        self,
        path: str,
        label: str,
        *,
        required: bool = False,
        indent: int = LABEL_WIDTH,
        max_input_width: int = MAX_INPUT_WIDTH,
    ) -> None:
        super().__init__()
        self.path = path
        self.label = label
        self.indent = self._full_indent = indent
        self.max_input_width = max_input_width
        self._hint = ""
        self.required = required
        self._note: Line = ()
        self._issues: tuple[Issue, ...] = ()
        self._wrapped_for: tuple[object, ...] = ()
        self._detail_lines: list[Line] = []
        self._contains_focus = False

    @property
    def is_container(self) -> bool:
        return True

    def compose(self) -> ComposeResult:
        for at, editor in enumerate(self.compose_editors()):
            if at == 0:
                editor.styles.margin = (0, 0, 0, self.indent)
            editor.styles.max_width = self.max_input_width
            yield editor

    def compose_editors(self) -> Iterator[Widget]:
        """The widgets beside the label."""
        yield from ()

    def on_mount(self) -> None:
        self._update_detail_lines()

    def on_resize(self) -> None:
        self._fit_indent()
        self._update_detail_lines()

    def _fit_indent(self) -> None:
        """In a narrow terminal the label leaves most of the line to the input."""
        room = max(self.size.width - MIN_INPUT_WIDTH, self.size.width // 3, 4)
        indent = min(self._full_indent, room)
        if indent != self.indent and self.children:
            self.indent = indent
            self.children[0].styles.margin = (0, 0, 0, indent)

    # -- what is under the input ----------------------------------------------------------------

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The errors and warnings that are shown."""
        return self._issues

    @property
    def detail_lines(self) -> Sequence[Line]:
        """The lines under the input."""
        return self._detail_lines

    def show_hint(self, hint: str) -> bool:
        """Show the help of the focused field beside the input; False if it does not fit."""
        room = self.size.width - self._hint_column - 1
        self._hint = hint if 0 < cell_len(hint) <= room else ""
        self.refresh(Region(0, 0, self.size.width, 1))
        return bool(self._hint)

    @property
    def _hint_column(self) -> int:
        """Column on which the hint begins."""
        return self.indent + self.max_input_width + 2

    def set_note(self, note: Line) -> None:
        """Show a line that informs; () shows none."""
        self._note = note
        self._update_detail_lines()

    def set_issues(self, issues: Sequence[Issue]) -> None:
        """Show the issues, errors first."""
        self._issues = tuple(sorted(issues, key=lambda one: not one.is_error))
        self._update_detail_lines()

    def _update_detail_lines(self) -> None:
        wrapped = (self.size.width, self._note, self._issues)
        if not self.size.width or wrapped == self._wrapped_for:
            return
        self._wrapped_for = wrapped
        indent = (" " * self.indent, "")
        lines: list[Line] = []
        for problem in self._issues:
            mark, style_name = ("✗ ", "error") if problem.is_error else ("! ", "warning")
            text = ((mark, style_name), (problem.message, style_name))
            lines += wrap((indent, *text), self.size.width - 1, self.indent + 2)
        if self._note:
            lines += wrap((indent, ("  ", ""), *self._note), self.size.width - 1, self.indent + 2)
        if len(lines) != len(self._detail_lines):
            self.styles.height = 1 + len(lines)
        self._detail_lines = lines
        self.refresh()

    # -- drawing --------------------------------------------------------------------------------

    def label_line(self) -> Line:
        """The part of the first line that no editor covers."""
        return (
            ("▌" if self._contains_focus else " ", "accent"),
            (self.label, "strong" if self._contains_focus else "muted"),
            (" *" if self.required else "", "key"),
        )

    def render_line(self, y: int) -> Strip:
        line: Line = ()
        if y == 0:
            line = self.label_line()
            if self._hint and self._contains_focus:
                line = (*fit_line(line, self._hint_column), (self._hint, "muted"))
        elif y <= len(self._detail_lines):
            line = self._detail_lines[y - 1]
        return self.make_strip(line, self.size.width, self.rich_style)

    def on_descendant_focus(self) -> None:
        self._contains_focus = True
        self.refresh(Region(0, 0, self.indent, 1))

    def on_descendant_blur(self) -> None:
        self._contains_focus = False
        self.refresh(Region(0, 0, self.size.width if self._hint else self.indent, 1))


class TextRow(FormRow):
    """A text field."""

    def __init__(
        self,
        path: str,
        label: str,
        text: str,
        *,
        required: bool = False,
        placeholder: str = "",
        masked: bool = False,
        max_input_width: int = MAX_INPUT_WIDTH,
    ) -> None:
        super().__init__(path, label, required=required, max_input_width=max_input_width)
        self._text = text
        self._placeholder = placeholder
        self._masked = masked

    def compose_editors(self) -> Iterator[Widget]:
        yield FieldInput(self.path, self._text, placeholder=self._placeholder, masked=self._masked)

    def set_masked(self, masked: bool) -> None:
        """Show the text, or mask it."""
        if masked != self._masked:
            self._masked = masked
            self.query_one(FieldInput).password = masked


class ChoiceRow(FormRow):
    """A field that holds one of several values."""

    def __init__(
        self,
        path: str,
        label: str,
        display_text: str,
        detail: str = "",
        *,
        required: bool = False,
        max_input_width: int = MAX_INPUT_WIDTH,
    ) -> None:
        super().__init__(path, label, required=required, max_input_width=max_input_width)
        self.select_field = SelectField(path, display_text, detail)

    def compose_editors(self) -> Iterator[Widget]:
        yield self.select_field


SOURCE_KIND_NAMES = {"secret": "Secret", "config_map": "ConfigMap"}


class VariableRow(FormRow):
    """An environment variable: NAME = value, or NAME from a key of a Secret or a ConfigMap; or a
    line that could not be read, kept to be fixed."""

    DEFAULT_CSS = """
    VariableRow .name { width: 25; }
    """

    def __init__(self, path: str, row: dict[str, str], *, masked: bool) -> None:
        super().__init__(path, "", indent=VARIABLE_INDENT)
        self.row = row
        self._masked = masked

    def compose_editors(self) -> Iterator[Widget]:
        if self.row["source"] == "line":
            yield self._value_input()
            return
        name = FieldInput(
            f"{self.path}.name", self.row["name"], placeholder="NAME", accepts_lines=True
        )
        name.add_class("name")
        yield name
        if self.row["source"]:
            ref = FieldInput(f"{self.path}.ref", self.row["ref"], placeholder="name")
            ref.styles.margin = (0, 0, 0, len(self._separator()))
            yield ref
            key = FieldInput(f"{self.path}.key", self.row["key"], placeholder="key")
            key.styles.margin = (0, 0, 0, 1)
            yield key
        else:
            value = self._value_input()
            value.styles.margin = (0, 0, 0, len(self._separator()))
            yield value

    def _value_input(self) -> FieldInput:
        return FieldInput(
            f"{self.path}.value",
            self.row["value"],
            placeholder="value",
            masked=self._masked,
            accepts_lines=True,
        )

    def _separator(self) -> str:
        """The separator between the name and the source of its value."""
        source = self.row["source"]
        return f" ← {SOURCE_KIND_NAMES.get(source, '?')} " if source else " = "

    def label_line(self) -> Line:
        mark = ("▌" if self._contains_focus else " ", "accent")
        blank = " " * (VARIABLE_INDENT + NAME_WIDTH - 1)
        return (mark, (blank, ""), (self._separator(), "muted"))

    def set_masked(self, masked: bool) -> None:
        """Show the value, or mask it."""
        if masked != self._masked:
            self._masked = masked
            for one in self.query(FieldInput):
                if one.path.endswith(".value"):
                    one.password = masked
