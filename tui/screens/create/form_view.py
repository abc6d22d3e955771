"""The first two steps: the fields of a draft, updated while typing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widget import Widget

from servedeck.changes.draft import EMPTY_VARIABLE, EMPTY_VOLUME, Draft
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.issues import Issue
from tui.ports.change_service import Inventory
from tui.screens.create import env_rows, field_options, steps
from tui.screens.create.draft_values import get_row, get_text, moved_path, set_text
from tui.screens.create.field_order import EDITOR_SELECTOR, FieldOrder, field_path, row_of
from tui.screens.create.form_widgets import build_widget
from tui.screens.create.option_picker import OptionPicker
from tui.screens.create.review_text import is_masked
from widgets.form import ChoiceRow, FieldInput, FormRow, TextRow, VariableRow
from widgets.form_parts import FormBody, FormButton, ReadOnlyLines
from widgets.select_field import SelectField
from widgets.styled_line import Line


class FormView(FormBody):
    """Rows of one step. The errors of a field are shown after it lost the focus."""

    DEFAULT_CSS = """
    FormView { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """

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
        self.draft = draft
        self.step = 1
        self.touched: set[str] = set()
        """Rows that lost the focus: their errors are shown."""
        self.reveal = False
        self._inventory: Inventory | None = None
        self._system_volumes: Sequence[SystemVolume] = ()
        self._issues: Sequence[Issue] = ()
        self._focused_row: str = ""
        self._last_focused_paths: dict[int, str] = {}
        """The last focused field of each step."""
        self.extra_note: Callable[[str], Line] = lambda _path: ()
        """What is shown below the row of a field besides; called with its path."""
        self.masks_texts = False
        """Whether texts that contain a secret are masked, as they are if others have set them."""
        self._shown: list[tuple[object, ...]] = []
        """The layout that is shown."""
        self.field_order = FieldOrder()
        self._rows: list[FormRow] = []
        self._info_lines: list[ReadOnlyLines] = []

    # -- what it shows --------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "", *fallbacks: str) -> None:
        """Show the fields of a step; the focus goes to `focus`, or to the last focused field, or to
        the first required one; if that field no longer exists, to another one."""
        self.step = step
        wanted = focus or self._last_focused_paths.get(step, "") or self._first_missing_path()
        await self.rebuild(wanted)
        if fallbacks and self.field_order.find([wanted]) is None:
            self.focus_path(*fallbacks)

    async def rebuild(self, *focus: str) -> None:
        """Rebuild the rows after their number changed. The focus goes to the first of the fields
        `focus` in the form's order."""
        self._focused_row = ""
        self._forget_rows()
        top = self.scroll_offset.y
        with self.app.batch_update():
            await self.remove_children()
            self._shown = self._layout()
            built = [
                build_widget(one, self.draft, reveal=self.reveal, masks_texts=self.masks_texts)
                for one in steps.form_items(self.step, self.draft, self._system_volumes)
            ]
            await self.mount_all(built)
            # Cached: querying them takes longer than everything else that a key does.
            self.field_order.editors = list(self.query(EDITOR_SELECTOR))
            self._rows = list(self.query(FormRow))
            self._info_lines = list(self.query(ReadOnlyLines))
            self._update_issues()
            self.update_notes()
            self.scroll_to(y=top, animate=False)
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

    async def show_values(self, focus: str) -> None:
        """Show the draft after it was changed from outside. Inputs stay as they are, with their
        cursors, if the fields are the same; else they are rebuilt, with the focus on `focus`."""
        if self._shown != self._layout():
            focused = self.screen.focused
            cursor = focused.cursor_position if isinstance(focused, FieldInput) else None
            await self.rebuild(focus)
            focused = self.screen.focused
            if cursor is not None and isinstance(focused, FieldInput) and focused.path == focus:
                focused.cursor_position = min(cursor, len(focused.value))
            return
        for editor in self.field_order.editors:
            if isinstance(editor, FieldInput):
                editor.show_text(self.get_text(editor.path))
            elif isinstance(editor, SelectField):
                text = self.get_text(editor.path)
                editor.set_display(*field_options.display_value(editor.path, text))
        self.set_reveal(self.reveal)
        self._update_issues()
        self.update_notes()

    def remove_blank_rows(self) -> None:
        """Remove empty rows before another step is shown or this one is rebuilt."""
        moved = env_rows.remove_blank_rows(self.draft)
        self._forget_rows()
        if moved:
            self.touched = {now for path in self.touched if (now := moved_path(path, moved))}
            self._last_focused_paths = {
                step: moved_path(path, moved) for step, path in self._last_focused_paths.items()
            }

    def _forget_rows(self) -> None:
        """The rows on the screen no longer match the draft: until they are rebuilt, updates of the
        cluster must not look up a removed row."""
        self.field_order.editors = ()
        self._rows = []
        self._info_lines = []

    def show_hint(self, path: str, hint: str) -> bool:
        """Show the help of a field beside it; False if there is no space for it."""
        row = next((row for row in self._rows if row.path == path), None)
        return row is not None and row.show_hint(hint)

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

    def _update_issues(self) -> None:
        for row in self._rows:
            shown = self._issues if row.path in self.touched else ()
            row.set_issues([one for one in shown if f"{one.field}.".startswith(f"{row.path}.")])

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
        for row in self._rows:
            if path and not f"{path}.".startswith(f"{row.path}."):
                continue
            note = self.extra_note(row.path)
            if isinstance(row, ChoiceRow):
                known = field_options.field_note(row.path, self.draft, self._inventory)
                note = (*note, ("  ", ""), *known) if note and known else (*note, *known)
            row.set_note(note)
        for info_lines in self._info_lines if not path else ():
            info_lines.set_lines(*steps.system_volume_lines(self._system_volumes))

    def set_reveal(self, reveal: bool) -> None:
        """Show secret values, or mask them."""
        self.reveal = reveal
        for row in self._rows:
            if isinstance(row, VariableRow):
                row.set_masked(is_masked(get_row(self.draft, row.path)) and not reveal)
            elif isinstance(row, TextRow) and self.masks_texts:
                row.set_masked(contains_secret(self.get_text(row.path)) and not reveal)

    # -- texts ----------------------------------------------------------------------------------

    def get_text(self, path: str) -> str:
        """The text of a field."""
        return get_text(self.draft, path)

    def set_text(self, path: str, text: str) -> None:
        """Store what was typed or chosen."""
        set_text(self.draft, path, text)
        row, _, _ = path.rpartition(".")
        for variable in self._rows:
            if isinstance(variable, VariableRow) and variable.path == row:
                variable.set_masked(is_masked(get_row(self.draft, row)) and not self.reveal)
        self.post_message(self.Changed(path))

    def select_value(self, path: str, text: str) -> None:
        """Set a value chosen from a list; the errors of the field are shown at once."""
        self.touched.add(path)
        self.set_text(path, text)
        for row in self._rows:
            if isinstance(row, ChoiceRow) and row.path == path:
                row.select_field.set_display(*field_options.display_value(path, text))
        self.update_notes()

    async def flush_typed_text(self) -> None:
        """Store everything typed so far, even if the input has not handled it yet."""
        focused = self.screen.focused
        if not isinstance(focused, FieldInput):
            return
        taken = asyncio.Event()
        focused.call_later(taken.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await taken.wait()
        if focused.is_attached and focused.text != self.get_text(focused.path):
            self.set_text(focused.path, focused.text)

    def on_field_input_edited(self, message: FieldInput.Edited) -> None:
        message.stop()
        self.set_text(message.input.path, message.text)

    def on_select_field_neighbor_requested(self, message: SelectField.NeighborRequested) -> None:
        message.stop()
        path = message.select_field.path
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

    def on_select_field_options_requested(self, message: SelectField.OptionsRequested) -> None:
        message.stop()
        self._pick_value(message.select_field.path, message.typed)

    def _pick_value(self, path: str, typed: str = "") -> None:
        """Show the list of a field's values, narrowed by what was typed."""
        if isinstance(self.app.screen, OptionPicker):
            self.app.screen.insert_text(typed)  # a second letter, typed before the list opened
            return

        async def on_choice(key: str | None) -> None:
            if key is not None:
                self.select_value(path, key)
            elif path.endswith(".pvc"):
                await self.remove_row_if_blank(path)

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

    @property
    def focused_path(self) -> str:
        """Path of the focused field, "" for none."""
        return field_path(self.screen.focused)

    def move_focus(self, by: int) -> None:
        """Focus the next or the previous field, wrapping at the ends."""
        self._focus(self.field_order.neighbor(self.screen.focused, by))

    def focus_section(self, by: int) -> None:
        """Focus the first field of the next or the previous section."""
        focused = self.screen.focused
        self._focus(self.field_order.section_start(self.walk_children(Widget), focused, by))

    def _focus(self, editor: Widget | None) -> None:
        if editor is not None:
            self.screen.set_focus(editor, scroll_visible=False)

    async def advance(self) -> bool:
        """Focus the next field, or press the button; True after the last field of the first
        step."""
        focused = self.screen.focused
        if isinstance(focused, FormButton):
            await self.press_button(focused)
            return False
        finished = self.field_order.is_last(focused)
        if not finished:
            self.move_focus(1)
        return finished

    def focus_path(self, *paths: str) -> None:
        """Focus the first field that matches one of the paths, else the form's first."""
        target = self.field_order.find(paths) or next(iter(self.field_order.editors), None)
        if target is not None:
            self._focus(target)
            self.call_after_refresh(self._scroll_to_row, target)

    def _scroll_to_row(self, editor: Widget) -> None:
        """Scroll the whole row into view, with the messages below it."""
        if not editor.is_attached:
            return
        top = self.field_order.top_widget(editor, list(self.children))
        if editor in self.field_order.editors[:1]:
            self.scroll_to(y=0, animate=False)
        elif top is not None:  # as much of the section as fits
            self.scroll_to_widget(top, animate=False, top=True, force=True)
        else:
            self.scroll_to_widget(row_of(editor), animate=False, top=False, force=True)

    def watch_virtual_size(self) -> None:
        """Rows grew or shrank: keep the focused row in view, with its errors."""
        focused = self.screen.focused if self.is_attached else None
        if focused is not None and field_path(focused):
            self.call_after_refresh(self._scroll_to_row, focused)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        path = field_path(event.widget)
        row = next((one.path for one in event.widget.ancestors if isinstance(one, FormRow)), path)
        before, self._focused_row = self._focused_row, row
        self._last_focused_paths[self.step] = path
        if before and before != row:
            self._on_row_left(before)
        self.call_after_refresh(self._scroll_to_row, event.widget)
        self.post_message(self.Focused(path))

    def _on_row_left(self, row: str) -> None:
        self.touched.add(row)
        path, _, at = row.rpartition(".")
        unread = get_row(self.draft, row).get("source") == "line"
        if unread and env_rows.reparse_line(self.draft, path, int(at)):
            self.call_later(self._rebuild_parsed_row, row)
        self.post_message(self.Changed(row))

    async def _rebuild_parsed_row(self, row: str) -> None:
        await self.rebuild(self.focused_path)
        self.post_message(self.Changed(row))

    def mark_all_touched(self) -> None:
        """The step is finished: show all its errors."""
        self.touched |= {row.path for row in self._rows}
        self._update_issues()

    # -- rows of lists --------------------------------------------------------------------------

    async def on_form_button_pressed(self, message: FormButton.Pressed) -> None:
        message.stop()
        await self.press_button(message.button)

    async def press_button(self, button: FormButton) -> None:
        """Add a row, or ask for a file to load."""
        verb, _, path = button.path.partition(".")
        if verb == "load":
            self.post_message(self.EnvFileRequested(path))
            return
        rows = self.draft.rows[path]
        rows.append(dict(EMPTY_VOLUME if path == "volumes" else EMPTY_VARIABLE))
        added = f"{path}.{len(rows) - 1}"
        self.post_message(self.RowAdded(added))
        await self.rebuild(f"{added}.pvc" if path == "volumes" else f"{added}.name")
        if path == "volumes":
            self._pick_value(f"{added}.pvc")

    async def remove_row(self) -> str:
        """Remove the focused row; returns what was removed, "" if there is no row."""
        row, _, _ = self.focused_path.rpartition(".")
        path, _, at = row.rpartition(".")
        if path not in self.draft.rows or not at.isdigit():
            return ""
        gone = self.draft.rows[path].pop(int(at))
        self.touched = {one for one in self.touched if not one.startswith(f"{path}.")}
        left = len(self.draft.rows[path])
        await self.rebuild(f"{path}.{min(int(at), left - 1)}" if left else f"add.{path}")
        self.post_message(self.Changed(f"{path}.{at}"))
        return gone.get("name") or gone.get("pvc") or "the row"

    async def remove_row_if_blank(self, path: str) -> None:
        """Remove the focused row of the field at `path` if it is empty."""
        if env_rows.is_blank(get_row(self.draft, path.rpartition(".")[0])):
            await self.remove_row()
