"""The order of a form's fields: which one is next, and what must be visible around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from widgets.form import FieldInput, FormRow
from widgets.form_parts import FormButton, FormHeading
from widgets.select_field import SelectField

EDITOR_SELECTOR = "FieldInput, SelectField, FormButton"


def field_path(widget: Widget | None) -> str:
    """Path of the field that an editor belongs to."""
    return widget.path if isinstance(widget, (FieldInput, SelectField, FormButton)) else ""


def row_of(editor: Widget) -> Widget:
    """The row that contains the editor, or the editor itself."""
    return next((one for one in editor.ancestors if isinstance(one, FormRow)), editor)


class FieldOrder:
    """The widgets that can have the focus, in order."""

    def __init__(self) -> None:
        self.editors: Sequence[Widget] = ()
        self._section_start: Widget | None = None
        """The first field of the section that was jumped to, while it has the focus."""

    def neighbor(self, focused: Widget | None, by: int) -> Widget | None:
        """The next or the previous field, wrapping at the ends."""
        if not self.editors:
            return None
        at = self.editors.index(focused) + by if focused in self.editors else 0
        return self.editors[at % len(self.editors)]

    def is_last(self, widget: Widget | None) -> bool:
        return widget is not None and widget in self.editors[-1:]

    def section_start(
        self, widgets: Iterable[Widget], focused: Widget | None, by: int
    ) -> Widget | None:
        """The first field of the next or the previous section; `widgets` are all of the form's, in
        order."""
        starts: list[int] = []
        after_heading = False
        for child in widgets:
            after_heading = after_heading or isinstance(child, FormHeading)
            if after_heading and child in self.editors:
                starts.append(self.editors.index(child))
                after_heading = False
        here = self.editors.index(focused) if focused in self.editors else 0
        ahead = [at for at in starts if at > here] if by > 0 else [at for at in starts if at < here]
        if not ahead:
            return None
        self._section_start = self.editors[ahead[0] if by > 0 else ahead[-1]]
        return self._section_start

    def find(self, paths: Iterable[str]) -> Widget | None:
        """The first field that matches one of the paths."""
        wanted = [path for path in paths if path]
        return next(
            (one for one in self.editors if any(_matches(field_path(one), p) for p in wanted)), None
        )

    def top_widget(self, editor: Widget, parts: Sequence[Widget]) -> Widget | None:
        """The widget at which the view must begin while the editor has the focus: its section's
        heading after a jump to the section, None otherwise. `parts` are the form's children."""
        if editor is not self._section_start:
            self._section_start = None
            return None
        row = row_of(editor)
        at = next(
            (at for at, one in enumerate(parts) if one is row or row in one.walk_children()), 0
        )
        return next((one for one in reversed(parts[:at]) if isinstance(one, FormHeading)), row)


def _matches(own: str, path: str) -> bool:
    """Whether the editor of the field `own` edits the value at `path`, or a part of it."""
    named = path.replace(".secret.name", ".ref").replace(".config_map.name", ".ref")
    named = named.replace(".secret.key", ".key").replace(".config_map.key", ".key")
    return own == named or own.startswith(f"{path}.")
