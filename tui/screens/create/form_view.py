"""The first two steps: the fields of a draft, updated while typing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from textual.message import Message

from servedeck.changes.draft import EMPTY_VARIABLE, EMPTY_VOLUME, Draft
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.issues import Issue
from tui.internals.textual_private import draw_lines_plainly
from tui.ports.change_service import Inventory
from tui.screens.create import env_rows, field_options, steps
from tui.screens.create.draft_values import get_row, get_text, moved_path, set_text
from tui.screens.create.form_content import build_row, matches_path
from tui.screens.create.option_picker import OptionPicker
from tui.screens.create.review_text import is_masked
from widgets.form import Form
from widgets.form_rows import (
    ButtonField,
    ChoiceField,
    EditableRow,
    FieldRow,
    FormField,
    FormRow,
    ReadOnlyRow,
    TextField,
    VariableRow,
)
from widgets.styled_line import Line


class FormView(Form):
    """Rows of one step. The errors of a field are shown after it lost the focus."""

    @dataclass
    class Changed(Message):
        """The draft was replaced."""

        path: str

    @dataclass
    class RowAdded(Message):
        """The draft has one more row, which is empty."""

        path: str

    @dataclass
    class Focused(Message):
        """The focus moved to another field."""

        path: str

    @dataclass
    class EnvFileRequested(Message):
        """Loading variables from a file was requested."""

        path: str

    def __init__(self, draft: Draft, id: str | None = None) -> None:
        super().__init__(id=id)
        draw_lines_plainly(self)
        self.draft = draft
        self.step = 1
        self.touched: set[str] = set()
        """Rows that lost the focus: their errors are shown."""
        self.reveal = False
        self._inventory: Inventory | None = None
        self._system_volumes: Sequence[SystemVolume] = ()
        self._issues: Sequence[Issue] = ()
        self._focused_row_path: str = ""
        self._last_focused_paths: dict[int, str] = {}
        """The last focused field of each step."""
        self.extra_note: Callable[[str], Line] = lambda _path: ()
        """What is shown below the row of a field besides; called with its path."""
        self.masks_texts = False
        """Whether texts that contain a secret are masked, as they are if others have set them."""
        self._shown: list[tuple[object, ...]] = []
        """The layout that is shown."""

    # -- what it shows --------------------------------------------------------------------------

    def reset(self, draft: Draft) -> None:
        """Forget what was shown: `show_step` shows another draft as a new form would."""
        self.draft = draft
        self.touched = set()
        self.reveal = False
        self._issues = ()
        self._last_focused_paths = {}
        if self.rows:
            self.set_rows(())

    def show_step(self, step: int, focus: str = "", *fallbacks: str) -> None:
        """Show the fields of a step; the focus goes to `focus`, or to the last focused field, or to
        the first required one; if that field no longer exists, to another one."""
        self.step = step
        wanted = focus or self._last_focused_paths.get(step, "") or self._first_missing_path()
        self.rebuild(wanted)
        if fallbacks and self.find_field([wanted]) is None:
            self.focus_path(*fallbacks)

    def rebuild(self, *focus: str) -> None:
        """Rebuild the rows after their number changed. The focus goes to the first of the fields
        `focus` in the form's order."""
        self._focused_row_path = ""
        self._shown = self._layout()
        self.set_rows(
            [
                build_row(one, self.draft, reveal=self.reveal, masks_texts=self.masks_texts)
                for one in steps.form_items(self.step, self.draft, self._system_volumes)
            ]
        )
        self._update_issues()
        self.update_notes()
        self.focus_path(*focus)

    def _layout(self) -> list[tuple[object, ...]]:
        """The fields and rows of the draft, without their values."""
        return [
            (type(one), path, get_row(self.draft, path).get("source"))
            if isinstance(one, steps.VariableItem)
            else (type(one), path)
            for one in steps.form_items(self.step, self.draft, self._system_volumes)
            for path in [getattr(one, "path", "")]
        ]

    def show_values(self, focus: str) -> None:
        """Show the draft after it was changed from outside. Fields stay as they are, with their
        cursors, if they are the same; else they are rebuilt, with the focus on `focus`."""
        if self._shown != self._layout():
            is_text = isinstance(self.focused_field, TextField) and self.contains_focus
            cursor = self.editor.cursor_position if is_text else None
            self.rebuild(focus)
            field = self.focused_field
            if cursor is not None and isinstance(field, TextField) and field.path == focus:
                self.editor.cursor_position = min(cursor, len(self.editor.value))
            return
        for field in self.fields:
            self._show_value(field)
        self.set_reveal(self.reveal)
        self._update_issues()
        self.update_notes()

    def _show_value(self, field: FormField) -> None:
        """Show the draft's value in a field."""
        text = self.get_text(field.path)
        if isinstance(field, TextField):
            self.show_text(field, text)
        elif isinstance(field, ChoiceField):
            self.show_choice(field, *field_options.display_value(field.path, text))

    def remove_blank_rows(self) -> None:
        """Remove empty rows before another step is shown or this one is rebuilt."""
        moved = env_rows.remove_blank_rows(self.draft)
        # The rows on the screen no longer match the draft: until they are rebuilt, updates of the
        # cluster must not look up a removed row.
        self.set_rows(())
        if moved:
            self.touched = {now for path in self.touched if (now := moved_path(path, moved))}
            self._last_focused_paths = {
                step: moved_path(path, moved) for step, path in self._last_focused_paths.items()
            }

    def show_hint(self, path: str, hint: str) -> bool:
        """Show the help of a field beside it; False if there is no space for it."""
        row = next((row for row in self.rows if row.path == path), None)
        if not isinstance(row, FieldRow):
            return False
        self.refresh_row(row)
        return row.show_hint(hint)

    def _first_missing_path(self) -> str:
        known = steps.fields_by_path(self.draft)
        for item in steps.form_items(self.step, self.draft, self._system_volumes):
            if not isinstance(item, steps.FieldItem) or item.path not in known:
                continue
            if item.field.required and not self.get_text(item.path).strip():
                return item.path
        return ""

    def set_issues(self, issues: Sequence[Issue]) -> None:
        """The current errors and warnings of all fields."""
        self._issues = issues
        self._update_issues()

    @property
    def shown_issues(self) -> list[Issue]:
        """The issues that are shown: all but those of fields that have not lost the focus yet."""
        hidden = [
            row.path
            for row in self.rows
            if isinstance(row, EditableRow) and row.path not in self.touched
        ]
        return [one for one in self._issues if not any(_is_issue_of(one, path) for path in hidden)]

    def _update_issues(self) -> None:
        changed = False
        for row in self.rows:
            if isinstance(row, EditableRow):
                shown = self._issues if row.path in self.touched else ()
                changed = (
                    row.set_issues([one for one in shown if _is_issue_of(one, row.path)]) or changed
                )
        if changed:
            self.update_layout()

    def set_inventory(
        self, inventory: Inventory | None, system_volumes: Sequence[SystemVolume]
    ) -> None:
        """The inventory of the cluster; call it again when it changes."""
        self._inventory = inventory
        self._system_volumes = system_volumes
        self.update_notes()

    def update_notes(self, path: str = "") -> None:
        """Update what is shown below the fields; with a `path`, below the field that was changed
        alone."""
        changed = False
        for row in self.rows:
            if isinstance(row, ReadOnlyRow) and not path:
                changed = row.set_lines(*steps.system_volume_lines(self._system_volumes)) or changed
            elif isinstance(row, EditableRow) and f"{path or row.path}.".startswith(f"{row.path}."):
                changed = row.set_note(self._note_of(row)) or changed
        if changed:
            self.update_layout()

    def _note_of(self, row: EditableRow) -> Line:
        note = self.extra_note(row.path)
        if isinstance(row, FieldRow):
            known = (
                field_options.field_note(row.path, self.draft, self._inventory)
                if isinstance(row.field, ChoiceField)
                else field_options.text_note(row.path, self.draft)
            )
            return (*note, ("  ", ""), *known) if note and known else (*note, *known)
        return note

    def set_reveal(self, reveal: bool) -> None:
        """Show secret values, or mask them."""
        self.reveal = reveal
        for row in self.rows:
            if isinstance(row, VariableRow):
                self._mask_variable(row)
            elif isinstance(row, FieldRow) and isinstance(row.field, TextField):
                secret = self.masks_texts and contains_secret(self.get_text(row.path))
                self.show_masked(row.field, secret and not reveal)

    def _mask_variable(self, row: FormRow) -> None:
        if isinstance(row, VariableRow) and row.value in row.fields:
            self.show_masked(
                row.value, is_masked(get_row(self.draft, row.path)) and not self.reveal
            )

    # -- texts ----------------------------------------------------------------------------------

    def get_text(self, path: str) -> str:
        """The text of a field."""
        return get_text(self.draft, path)

    def text_edited(self, field: TextField) -> None:
        set_text(self.draft, field.path, field.text)
        self._mask_variable(self.row_of(field))
        self.post_message(self.Changed(field.path))

    def select_value(self, path: str, text: str) -> None:
        """Set a value chosen from a list; the errors of the field are shown at once."""
        self.touched.add(path)
        set_text(self.draft, path, text)
        if self.rows and self._shown != self._layout():
            self.rebuild(path)  # a switch, whose fields appear or go
        for field in self.fields:
            if field.path == path:
                self._show_value(field)
        self.update_notes()
        self.post_message(self.Changed(path))

    async def flush_typed_text(self) -> None:
        """Store everything typed so far, even if the input has not handled it yet."""
        if self.screen.focused is not self.editor:
            return
        taken = asyncio.Event()
        self.editor.call_later(taken.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await taken.wait()
        self.take_typed_text()

    def on_form_neighbor_requested(self, message: Form.NeighborRequested) -> None:
        message.stop()
        path = message.path
        keys = [
            one.key
            for one in field_options.field_choices(path, self.draft, self._inventory)
            if not one.disabled_reason
        ]
        if not keys:
            self._pick_value(path)
            return
        now = self.get_text(path)
        at = keys.index(now) + message.step if now in keys else 0
        self.select_value(path, keys[at % len(keys)])

    def on_form_options_requested(self, message: Form.OptionsRequested) -> None:
        message.stop()
        self._pick_value(message.path, message.typed)

    def _pick_value(self, path: str, typed: str = "") -> None:
        """Show the list of a field's values, narrowed by what was typed."""
        if isinstance(self.app.screen, OptionPicker):
            self.app.screen.insert_text(typed)  # a second letter, typed before the list opened
            return

        def on_choice(key: str | None) -> None:
            if key is not None:
                self.select_value(path, key)
            elif path.endswith(".pvc"):
                self.remove_row_if_blank(path)

        field = steps.fields_by_path(self.draft).get(path, steps.VOLUME_FIELDS[0])
        picker = OptionPicker(
            field.label,
            field_options.field_choices(path, self.draft, self._inventory),
            self.get_text(path),
            typed=typed,
            allow_custom=field_options.allows_custom_value(path, self.draft),
        )
        self.app.push_screen(picker, on_choice)

    # -- moving ---------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Focus the next field, or press the button; True after the last field of the first
        step."""
        field = self.focused_field
        if isinstance(field, ButtonField) and self.contains_focus:
            self.press_button(field)
            return False
        finished = self.is_last_focused
        if not finished:
            self.move_focus(1)
        return finished

    def find_field(self, paths: Iterable[str]) -> FormField | None:
        """The first field that matches one of the paths."""
        wanted = [path for path in paths if path]
        return next(
            (one for one in self.fields if any(matches_path(one.path, path) for path in wanted)),
            None,
        )

    def focus_path(self, *paths: str) -> None:
        """Focus the first field that matches one of the paths, else the form's first."""
        target = self.find_field(paths) or next(iter(self.fields), None)
        if target is not None:
            self.focus_field(target)

    def field_focused(self, field: FormField) -> None:
        row = self.row_of(field).path
        before, self._focused_row_path = self._focused_row_path, row
        self._last_focused_paths[self.step] = field.path
        if before and before != row:
            self._on_row_left(before)
        # After the message about the change that moved the focus: that one is recorded first.
        self.call_later(self.post_message, self.Focused(field.path))

    def _on_row_left(self, row: str) -> None:
        self.touched.add(row)
        path, _, at = row.rpartition(".")
        unread = get_row(self.draft, row).get("source") == "line"
        if unread and env_rows.reparse_line(self.draft, path, int(at)):
            self.call_later(self._rebuild_parsed_row, row)
        self.post_message(self.Changed(row))

    def _rebuild_parsed_row(self, row: str) -> None:
        self.rebuild(self.path)
        self.post_message(self.Changed(row))

    def mark_all_touched(self) -> None:
        """The step is finished: show all its errors."""
        self.touched |= {row.path for row in self.rows if isinstance(row, EditableRow)}
        self._update_issues()

    # -- rows of lists --------------------------------------------------------------------------

    def on_form_pressed(self, message: Form.Pressed) -> None:
        message.stop()
        self.press_button(message.button)

    def press_button(self, button: ButtonField) -> None:
        """Add a row, or ask for a file to load."""
        verb, _, path = button.path.partition(".")
        if verb == "load":
            self.post_message(self.EnvFileRequested(path))
            return
        rows = self.draft.rows[path]
        rows.append(dict(EMPTY_VOLUME if path == "volumes" else EMPTY_VARIABLE))
        added = f"{path}.{len(rows) - 1}"
        self.post_message(self.RowAdded(added))
        self.rebuild(f"{added}.pvc" if path == "volumes" else f"{added}.name")
        if path == "volumes":
            self._pick_value(f"{added}.pvc")

    def remove_row(self) -> str:
        """Remove the focused row; returns what was removed, "" if there is no row."""
        row, _, _ = self.path.rpartition(".")
        path, _, at = row.rpartition(".")
        if path not in self.draft.rows or not at.isdigit():
            return ""
        gone = self.draft.rows[path].pop(int(at))
        self.touched = {one for one in self.touched if not one.startswith(f"{path}.")}
        left = len(self.draft.rows[path])
        self.rebuild(f"{path}.{min(int(at), left - 1)}" if left else f"add.{path}")
        self.post_message(self.Changed(f"{path}.{at}"))
        return gone.get("name") or gone.get("pvc") or "the row"

    def remove_row_if_blank(self, path: str) -> None:
        """Remove the focused row of the field at `path` if it is empty."""
        if env_rows.is_blank(get_row(self.draft, path.rpartition(".")[0])):
            self.remove_row()


def _is_issue_of(issue: Issue, row: str) -> bool:
    return f"{issue.field}.".startswith(f"{row}.")
