"""What a form shows, as plain data: rows of fields, headings, read-only lines and buttons. `Form`
draws them and has the focus; a widget for each would take ten times as long to open a form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len

from servedeck.serving.spec.issues import Issue
from widgets.styled_line import Line, wrap

LABEL_WIDTH = 25
"""Cells of the label and the mark before it, unless a longer label needs more."""

MIN_INPUT_WIDTH = 24
"""Cells that an input has, in a terminal where its label leaves as many."""

MAX_INPUT_WIDTH = 72
"""Maximum width of an input in cells, so that the text beside it is near."""

VARIABLE_INDENT = 3
"""Cells before the name of a variable, which has no label."""

NAME_WIDTH = 25
"""Maximum width of the name of a variable in cells."""

SOURCE_KIND_NAMES = {"secret": "Secret", "config_map": "ConfigMap"}


@dataclass(eq=False, slots=True)
class TextField:
    """A field that is typed into."""

    path: str
    text: str
    placeholder: str = ""
    masked: bool = False
    accepts_lines: bool = False
    """Whether several pasted lines become rows."""
    cursor: int | None = None
    """Where the cursor was when the field lost the focus; None for the end."""


@dataclass(eq=False, slots=True)
class ChoiceField:
    """A field that holds one of several values."""

    path: str
    display_text: str
    detail: str = ""


@dataclass(eq=False, slots=True)
class ButtonField:
    """A button, which has the focus like a field."""

    path: str
    label: str
    help_text: str


FormField = TextField | ChoiceField | ButtonField


class FieldPlace(NamedTuple):
    """Where a field is on the first line of its row."""

    field: FormField
    x: int
    width: int


class FormRow:
    """Base of the rows: a few lines, and the fields on the first one."""

    path = ""
    fields: Sequence[FormField] = ()

    def __init__(self) -> None:
        self.height = 1
        """Lines of the row, as laid out."""
        self.places: Sequence[FieldPlace] = ()
        """Where its fields are, as laid out."""

    def lay_out(self, width: int) -> None:
        """Fit the row into so many cells. Called when the row or the width changes."""

    def line(self, y: int) -> Line:
        """One of its lines; the first one only if there are no fields on it."""
        return ()

    def lines_between(self, *, has_focus: bool) -> Sequence[Line]:
        """What is on the first line before each field and after the last one."""
        return ((),) * (len(self.places) + 1)


class HeadingRow(FormRow):
    """Title of a section, after a blank line."""

    def __init__(self, title: str, detail: str = "") -> None:
        super().__init__()
        self.height = 2
        self._title = title
        self._detail = detail
        self._line: Line = ()

    def lay_out(self, width: int) -> None:
        taken = cell_len(self._title) + (cell_len(self._detail) + 2 if self._detail else 0)
        detail = ((f" {self._detail} ", "muted"),) if self._detail else ()
        rule = "─" * max(width - taken - 3, 0)
        self._line = ((f" {self._title} ", "title"), *detail, (rule, "muted"))

    def line(self, y: int) -> Line:
        return self._line if y else ()


class ReadOnlyRow(FormRow):
    """Lines that cannot be changed here."""

    def __init__(self, *lines: Line) -> None:
        super().__init__()
        self._lines: Sequence[Line] = ()
        self.set_lines(*lines)

    def set_lines(self, *lines: Line) -> bool:
        """Show other lines. Returns whether they differ from the last ones."""
        changed = lines != self._lines
        self._lines = lines
        self.height = max(1, len(lines))
        return changed

    def line(self, y: int) -> Line:
        return self._lines[y] if y < len(self._lines) else ()


class ButtonRow(FormRow):
    """A button over the whole width."""

    def __init__(self, path: str, label: str, help_text: str) -> None:
        super().__init__()
        self.path = path
        self._button = ButtonField(path, label, help_text)
        self.fields = (self._button,)

    def lay_out(self, width: int) -> None:
        self.places = (FieldPlace(self._button, 0, width),)


class EditableRow(FormRow, ABC):
    """Base of the rows with fields for a value: below them are the errors of the value and what is
    known about it."""

    def __init__(self, path: str, fields: Sequence[FormField]) -> None:
        super().__init__()
        self.path = path
        self.fields = fields
        self.indent = 0
        """Cells before the first field, as laid out."""
        self._width = 0
        self._issues: Sequence[Issue] = ()
        self._note: Line = ()
        self._laid_out_for: tuple[object, ...] = ()
        self._detail_lines: list[Line] = []

    @property
    def issues(self) -> Sequence[Issue]:
        """The errors and warnings that are shown."""
        return self._issues

    @property
    def detail_lines(self) -> Sequence[Line]:
        """The lines under the fields, as laid out."""
        return self._detail_lines

    def set_note(self, note: Line) -> bool:
        """Show a line that informs; () shows none. Returns whether it differs from the last one."""
        changed = note != self._note
        self._note = note
        return changed

    def set_issues(self, issues: Sequence[Issue]) -> bool:
        """Show the issues, errors first. Returns whether they differ from the last ones."""
        issues = sorted(issues, key=lambda one: not one.is_error)
        changed = issues != self._issues
        self._issues = issues
        return changed

    def lay_out(self, width: int) -> None:
        wanted = (width, self._note, self._issues)
        if wanted == self._laid_out_for:
            return
        self._laid_out_for = wanted
        self._width = width
        self.places = self.place_fields(width)
        indent = (" " * self.indent, "")
        lines: list[Line] = []
        for problem in self._issues:
            mark, style_name = ("✗ ", "error") if problem.is_error else ("! ", "warning")
            text = ((mark, style_name), (problem.message, style_name))
            lines += wrap((indent, *text), width - 1, self.indent + 2)
        if self._note:
            lines += wrap((indent, ("  ", ""), *self._note), width - 1, self.indent + 2)
        self._detail_lines = lines
        self.height = 1 + len(lines)

    @abstractmethod
    def place_fields(self, width: int) -> Sequence[FieldPlace]:
        """Where the fields are in so many cells; sets `indent`."""

    def line(self, y: int) -> Line:
        return self._detail_lines[y - 1] if 0 < y <= len(self._detail_lines) else ()


class FieldRow(EditableRow):
    """A label and a field beside it."""

    def __init__(
        self,
        label: str,
        field: TextField | ChoiceField,
        *,
        required: bool = False,
        label_width: int = LABEL_WIDTH,
        max_input_width: int = MAX_INPUT_WIDTH,
    ) -> None:
        super().__init__(field.path, (field,))
        self.field = field
        self._label = label
        self._label_width = label_width
        self._required = required
        self._max_input_width = max_input_width
        self._hint = ""

    def place_fields(self, width: int) -> Sequence[FieldPlace]:
        # In a narrow terminal the label leaves most of the line to the input.
        room = max(width - MIN_INPUT_WIDTH, width // 3, 4)
        self.indent = min(self._label_width, room)
        taken = max(min(width - self.indent, self._max_input_width), 1)
        return (FieldPlace(self.field, self.indent, taken),)

    def show_hint(self, hint: str) -> bool:
        """Show the help of the focused field beside the input; False if it does not fit."""
        room = self._width - self.indent - self._max_input_width - 3
        self._hint = hint if 0 < cell_len(hint) <= room else ""
        return bool(self._hint)

    def lines_between(self, *, has_focus: bool) -> Sequence[Line]:
        label: Line = (
            _focus_mark(has_focus),
            (self._label, "strong" if has_focus else "muted"),
            (" *" if self._required else "", "key"),
        )
        hint = (("  ", ""), (self._hint, "muted")) if has_focus and self._hint else ()
        return (label, hint)


class VariableRow(EditableRow):
    """An environment variable: NAME = value, or NAME from a key of a Secret or a ConfigMap; or a
    line that could not be read, kept to be fixed."""

    def __init__(self, path: str, row: dict[str, str], *, masked: bool) -> None:
        self.value = TextField(
            f"{path}.value", row["value"], "value", masked=masked, accepts_lines=True
        )
        self.source = row["source"]
        name = TextField(f"{path}.name", row["name"], "NAME", accepts_lines=True)
        fields: tuple[TextField, ...]
        if self.source == "line":
            fields = (self.value,)
        elif self.source:
            ref = TextField(f"{path}.ref", row["ref"], "name")
            fields = (name, ref, TextField(f"{path}.key", row["key"], "key"))
        else:
            fields = (name, self.value)
        super().__init__(path, fields)
        self.indent = VARIABLE_INDENT

    @property
    def _separator(self) -> str:
        """The separator between the name and the source of its value."""
        if self.source:
            return f" ← {SOURCE_KIND_NAMES.get(self.source, '?')} "
        return " = "

    def place_fields(self, width: int) -> Sequence[FieldPlace]:
        if self.source == "line":
            taken = max(min(width - self.indent, MAX_INPUT_WIDTH), 1)
            return (FieldPlace(self.fields[0], self.indent, taken),)
        name, *others = self.fields
        gaps = cell_len(self._separator) + len(others) - 1
        room = width - self.indent - gaps
        name_width = max(min(NAME_WIDTH, room // 2), 1)
        places = [FieldPlace(name, self.indent, name_width)]
        x = self.indent + name_width + cell_len(self._separator)
        room -= name_width
        for number, field in enumerate(others):
            taken = max(min(room // (len(others) - number), MAX_INPUT_WIDTH), 1)
            places.append(FieldPlace(field, x, taken))
            x, room = x + taken + 1, room - taken
        return places

    def lines_between(self, *, has_focus: bool) -> Sequence[Line]:
        lines: list[Line] = [()] * (len(self.fields) + 1)
        lines[0] = (_focus_mark(has_focus),)
        if len(self.fields) > 1:
            lines[1] = ((self._separator, "muted"),)
        return lines


def _focus_mark(has_focus: bool) -> tuple[str, str]:
    return ("▌" if has_focus else " ", "accent")
