"""A form: draws rows of fields from plain data, with one input over the focused field. A widget for
each row, label and field takes 300 ms to open, and two more milliseconds for each key."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets.input import Selection

from widgets.field_input import FieldInput
from widgets.form_canvas import FormCanvas
from widgets.form_rows import (
    ButtonField,
    ChoiceField,
    FormField,
    HeadingRow,
    TextField,
)


class Form(FormCanvas, can_focus=True, inherit_bindings=False):
    """Rows, one below the other. Left and right select the previous or the next value of a choice,
    space or a letter opens its list; space presses a button."""

    DEFAULT_CSS = """
    Form > FieldInput { display: none; }
    """

    @dataclass
    class NeighborRequested(Message):
        """The previous or the next value of a choice was requested."""

        path: str
        step: int

    @dataclass
    class OptionsRequested(Message):
        """The list of a choice was requested, narrowed by what was typed already."""

        path: str
        typed: str

    @dataclass
    class Pressed(Message):
        """A button was pressed."""

        button: ButtonField

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.editor = FieldInput()
        """The input over the focused field, if that is one for text."""
        self._section_start: FormField | None = None
        """The first field of the section that was jumped to, while it has the focus."""
        self._pressed_field: FormField | None = None
        """The field on which the mouse button went down."""
        self._selection_start: int | None = None
        """Where it went down in a text that had no focus, while it is down."""

    def compose(self) -> ComposeResult:
        yield self.editor

    @property
    def is_container(self) -> bool:
        return True

    def focus_on_click(self) -> bool:
        """Clicks focus a field, not the form."""
        return False

    # -- the fields -----------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Path of the focused field, "" for none."""
        return self._focused_field.path if self._focused_field and self.contains_focus else ""

    @property
    def focused_field(self) -> FormField | None:
        """The field that has the focus, or had it before something else got it."""
        return self._focused_field

    @property
    def contains_focus(self) -> bool:
        """Whether keys go to the form."""
        return self.is_attached and self.screen.focused in (self, self.editor)

    def focus_field(self, field: FormField, cursor: int | None = None) -> None:
        """Give the focus to a field, and show it; `cursor` is where the cursor of a text goes."""
        before = self._focused_field
        self.take_typed_text()
        if isinstance(before, TextField):
            before.cursor = self.editor.cursor_position
        if isinstance(field, TextField) and cursor is not None:
            field.cursor = cursor
        if field is not self._section_start:
            self._section_start = None
        self._focused_field = field
        is_text = isinstance(field, TextField)
        if isinstance(field, TextField):
            self.editor.edit(field)
        self.rows_laid_out()
        self.screen.set_focus(self.editor if is_text else self, scroll_visible=False)
        for one in (before, field):
            if one is not None and one in self._rows_by_field:
                self.refresh_row(self._rows_by_field[one])
        self.scroll_to_focus()
        self.field_focused(field)

    def field_focused(self, field: FormField) -> None:
        """A field has got the focus; for a subclass."""

    def text_edited(self, field: TextField) -> None:
        """Something was typed into a field, whose text it is now; for a subclass."""

    def rows_laid_out(self) -> None:
        """Put the input over the focused field."""
        place = self.place_of(self._focused_field)
        self.editor.display = place is not None and isinstance(place.field, TextField)
        if place is None or not self.editor.display:
            return
        styles = self.editor.styles
        wanted = place.x, self.top_of(self._rows_by_field[place.field])
        if (styles.offset.x.value, styles.offset.y.value) != wanted:
            styles.offset = wanted
            self.call_after_refresh(self._place_terminal_cursor)
        styles.width = place.width

    def _place_terminal_cursor(self) -> None:
        """Input methods show what is being composed at the terminal's cursor."""
        if self.editor.has_focus:
            self.app.cursor_position = self.editor.cursor_screen_offset

    def take_typed_text(self) -> None:
        """Store what was typed into the focused field."""
        field = self._focused_field
        if isinstance(field, TextField) and self.editor.path == field.path:
            text = self.editor.text
            if text != field.text:
                field.text = text
                self.text_edited(field)

    def show_text(self, field: TextField, text: str) -> None:
        """Show another text in a field; its cursor stays where it is."""
        if text == field.text:
            return
        field.text = text
        if field is self._focused_field:
            self.editor.show_text(text)
        self.refresh_row(self._rows_by_field[field])

    def show_masked(self, field: TextField, masked: bool) -> None:
        """Show the text of a field, or mask it."""
        if masked == field.masked:
            return
        field.masked = masked
        if field is self._focused_field:
            self.editor.password = masked
        self.refresh_row(self._rows_by_field[field])

    def show_choice(self, field: ChoiceField, display_text: str, detail: str = "") -> None:
        """Show another value of a choice."""
        if (display_text, detail) != (field.display_text, field.detail):
            field.display_text, field.detail = display_text, detail
            self.refresh_row(self._rows_by_field[field])

    # -- moving ---------------------------------------------------------------------------------

    def move_focus(self, by: int) -> None:
        """Focus the next or the previous field, wrapping at the ends."""
        if self.fields:
            at = self._focused_index + by if self.contains_focus else 0
            self.focus_field(self.fields[at % len(self.fields)])

    @property
    def _focused_index(self) -> int:
        field = self._focused_field
        return self.fields.index(field) if field in self._rows_by_field else 0

    @property
    def is_last_focused(self) -> bool:
        """Whether the last field has the focus."""
        return self.contains_focus and self._focused_field in self.fields[-1:]

    def focus_section(self, by: int) -> None:
        """Focus the first field of the next or the previous section."""
        starts: list[int] = []
        after_heading = False
        for row in self._rows:
            after_heading = after_heading or isinstance(row, HeadingRow)
            if after_heading and row.fields:
                starts.append(self.fields.index(row.fields[0]))
                after_heading = False
        here = self._focused_index
        ahead = [at for at in starts if at > here] if by > 0 else [at for at in starts if at < here]
        if ahead:
            self._section_start = self.fields[ahead[0] if by > 0 else ahead[-1]]
            self.focus_field(self._section_start)

    def scroll_to_focus(self) -> None:
        """Scroll the focused row into view, with the messages below it; after a jump to a section
        as much of it as fits."""
        field, height = self._focused_field, self.size.height
        if field is None or field not in self._rows_by_field or not height:
            return
        row = self._rows_by_field[field]
        at = self._rows.index(row)
        top, bottom = self._row_tops[at], self._row_tops[at] + row.height
        if field is self.fields[0]:
            y = 0
        elif field is self._section_start:
            heading = next(
                (n for n in range(at, -1, -1) if isinstance(self._rows[n], HeadingRow)), at
            )
            y = self._row_tops[heading]
        else:
            y = min(max(self.scroll_offset.y, bottom - height), top)
        self.scroll_to(y=y, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self.editor.display and round(old_value) != round(new_value):
            self.refresh(layout=True)  # the input moves with its field

    # -- input ----------------------------------------------------------------------------------

    def on_field_input_edited(self, message: FieldInput.Edited) -> None:
        message.stop()
        self.take_typed_text()

    def on_key(self, event: events.Key) -> None:
        field = self._focused_field
        if self.screen.focused is not self or field is None:
            return
        if isinstance(field, ButtonField):
            if event.key != "space":
                return
            self.post_message(self.Pressed(field))
        elif event.key in ("left", "right"):
            self.post_message(self.NeighborRequested(field.path, -1 if event.key == "left" else 1))
        elif event.key == "space":
            self.post_message(self.OptionsRequested(field.path, ""))
        elif event.character and event.character.isprintable():
            self.post_message(self.OptionsRequested(field.path, event.character))
        else:
            return
        event.stop()
        event.prevent_default()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        field = self._pressed_field = self.field_at(event.screen_x, event.screen_y)
        if field is None or (field is self._focused_field and self.contains_focus):
            return
        if not isinstance(field, TextField):
            self.focus_field(field)
            return
        self.focus_field(field, cursor=0)  # the start of the text is shown, as without the focus
        self._selection_start = self.editor.index_at(event.screen_x - self.field_region(field).x)
        self.editor.cursor_position = self._selection_start
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        field = self._focused_field
        if self._selection_start is not None and isinstance(field, TextField):
            index = self.editor.index_at(event.screen_x - self.field_region(field).x)
            self.editor.selection = Selection(self._selection_start, index)

    def on_mouse_up(self) -> None:
        if self._selection_start is not None:
            self._selection_start = None
            self.release_mouse()

    def on_click(self) -> None:
        field, self._pressed_field = self._pressed_field, None
        if isinstance(field, ButtonField):
            self.post_message(self.Pressed(field))
        elif isinstance(field, ChoiceField):
            self.post_message(self.OptionsRequested(field.path, ""))

    def _refresh_focused_row(self) -> None:
        field = self._focused_field
        if field is not None and field in self._rows_by_field:
            self.refresh_row(self._rows_by_field[field])

    def on_focus(self) -> None:
        self._refresh_focused_row()

    def on_blur(self) -> None:
        self._refresh_focused_row()

    def on_descendant_focus(self) -> None:
        self._refresh_focused_row()

    def on_descendant_blur(self) -> None:
        self._refresh_focused_row()
