"""The first two steps: the fields of a draft, kept as they are typed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widget import Widget

from servedeck.changes.draft import VARIABLE, VOLUME, Draft
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.env_file import parse
from servedeck.serving.spec.fields import Kind
from servedeck.serving.spec.issues import Problem
from tui.screens.create import env_rows, field_options, steps
from tui.screens.create.review_text import masked
from tui.workbench import Around
from widgets.form import (
    LONGEST_VALUE,
    WIDEST,
    ChoiceRow,
    FieldInput,
    FormRow,
    TextRow,
    VariableRow,
)
from widgets.form_parts import Fact, FormBody, FormButton, Heading
from widgets.select_field import ChoiceBox

WIDTHS = {Kind.INTEGER: 12, Kind.FRACTION: 12, Kind.QUANTITY: 16, Kind.ARGUMENTS: 100}
"""Cells of an input at most, by the kind of its field."""

EDITORS = "FieldInput, ChoiceBox, FormButton"
MOST_LINES = 500
"""Lines that are taken at once; each becomes a row of widgets."""


class FormView(FormBody):
    """Rows of one step. Problems of a field are shown once it was left."""

    DEFAULT_CSS = """
    FormView { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """

    @dataclass
    class Changed(Message):
        """The draft is another."""

        path: str

    @dataclass
    class RowAdded(Message):
        """The draft has a row more, in which nothing stands yet."""

        path: str

    @dataclass
    class Focused(Message):
        """Another field has the focus."""

        path: str

    @dataclass
    class ChoiceWanted(Message):
        """The list of a field's values is wanted."""

        path: str
        typed: str

    @dataclass
    class FileWanted(Message):
        """Variables are to be read from a file."""

        path: str

    @dataclass
    class Said(Message):
        """A sentence for the message line."""

        text: str
        tone: str = ""

    def __init__(self, draft: Draft, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft = draft
        self.step = 1
        self.left: set[str] = set()
        """Rows that were left: what is wrong with them is shown."""
        self.reveal = False
        self._around: Around | None = None
        self._system: Sequence[SystemVolume] = ()
        self._problems: Sequence[Problem] = ()
        self._row: str = ""
        self._at: dict[int, str] = {}
        """The field that had the focus last, by step."""
        self._editors: list[Widget] = []
        self._rows: list[FormRow] = []
        self._section: Widget | None = None
        """The first field of the section that was gone to, while it has the cursor."""

    # -- what it shows --------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "", *others: str) -> None:
        """Show the fields of a step; the cursor goes to `focus`, or where it was last, or to the
        first field that must be filled; where that field is gone, to one of the others."""
        self.step = step
        wanted = focus or self._at.get(step, "") or self._first_missing()
        await self.rebuild(wanted)
        if others and not any(self._leads(one, wanted) for one in self._editors):
            self.focus_path(*others)

    async def rebuild(self, *focus: str) -> None:
        """Make the rows anew, after the number of them changed. The cursor goes to the first of
        the fields `focus` in the form's order."""
        self._row = ""
        self._forget()
        top = self.scroll_offset.y
        with self.app.batch_update():
            await self.remove_children()
            built = [self._built(one) for one in steps.items(self.step, self.draft, self._system)]
            await self.mount_all(built)
            # Kept: looking for them costs more than all else that a key does.
            self._editors = list(self.query(EDITORS))
            self._rows = list(self.query(FormRow))
            self._show_problems()
            self._show_notes()
            self.scroll_to(y=top, animate=False)
            self.focus_path(*focus)

    def drop_blank(self) -> None:
        """Remove rows into which nothing was written, before another step is shown or this one is
        shown anew."""
        moved = env_rows.drop_blank(self.draft)
        self._forget()
        if moved:
            self.left = {now for path in self.left if (now := _moved(path, moved))}
            self._at = {step: _moved(path, moved) for step, path in self._at.items()}

    def _forget(self) -> None:
        """The rows on the screen are no longer those of the draft: what comes in until they are
        made anew, as the cluster's news, must not look a row up that is gone."""
        self._editors = []
        self._rows = []

    def _built(self, item: steps.Item) -> Widget:
        if isinstance(item, steps.Title):
            return Heading(item.text, item.detail)
        if isinstance(item, steps.Info):
            return Fact(item.name, *item.lines)
        if isinstance(item, steps.Button):
            return FormButton(item.path, item.label, item.help)
        if isinstance(item, steps.Variable):
            path, _, at = item.path.rpartition(".")
            row = self.draft.rows[path][int(at)]
            return VariableRow(item.path, row, masked=masked(row) and not self.reveal)
        field, text = item.field, self.text(item.path)
        if field_options.is_choice(item.path, self.draft):
            drawn = field_options.shown(item.path, text)
            return ChoiceRow(item.path, field.label, *drawn, required=field.required)
        return TextRow(
            item.path,
            field.label,
            text,
            required=field.required,
            widest=WIDTHS.get(field.kind, WIDEST),
        )

    def show_hint(self, path: str, hint: str) -> bool:
        """Show what a field is for beside it; False where there is no room for that."""
        row = next((row for row in self._rows if row.path == path), None)
        return row is not None and row.show_hint(hint)

    def _first_missing(self) -> str:
        known = steps.fields(self.draft)
        for item in steps.items(self.step, self.draft, self._system):
            if not isinstance(item, steps.Input) or item.path not in known:
                continue
            if item.field.required and not self.text(item.path).strip():
                return item.path
        return ""

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """What is wrong by now, of all fields."""
        self._problems = problems
        self._show_problems()

    def _show_problems(self) -> None:
        for row in self._rows:
            shown = self._problems if row.path in self.left else ()
            row.set_problems([one for one in shown if f"{one.field}.".startswith(f"{row.path}.")])

    def set_around(self, around: Around | None, system: Sequence[SystemVolume]) -> None:
        """What the cluster says; call it again when it says something else."""
        self._around = around
        self._system = system
        self._show_notes()

    def _show_notes(self) -> None:
        for row in self._rows:
            if isinstance(row, ChoiceRow):
                row.set_note(field_options.note(row.path, self.draft, self._around))
        for fact in self.query(Fact):
            fact.set_lines(*steps.system_lines(self._system))

    def set_reveal(self, reveal: bool) -> None:
        """Show values that look secret, or dots in their place."""
        self.reveal = reveal
        for row in self._rows:
            if isinstance(row, VariableRow):
                row.set_masked(masked(self._texts_of(row.path)) and not reveal)

    # -- texts ----------------------------------------------------------------------------------

    def text(self, path: str) -> str:
        """What stands in a field."""
        if path in self.draft.texts:
            return self.draft.texts[path]
        row, _, name = path.rpartition(".")
        return self._texts_of(row).get(name, "")

    def _texts_of(self, row: str) -> dict[str, str]:
        path, _, at = row.rpartition(".")
        rows = self.draft.rows.get(path, ())
        return rows[int(at)] if at.isdigit() and int(at) < len(rows) else dict(VARIABLE)

    def set_text(self, path: str, text: str) -> None:
        """Keep what was typed or chosen."""
        if path == "template":
            self.draft.choose_template(text)
        elif path in self.draft.texts:
            self.draft.texts[path] = text
        else:
            row, _, name = path.rpartition(".")
            self._texts_of(row)[name] = text
            for variable in self._rows:
                if isinstance(variable, VariableRow) and variable.path == row:
                    variable.set_masked(masked(self._texts_of(row)) and not self.reveal)
        self.post_message(self.Changed(path))

    def choose(self, path: str, text: str) -> None:
        """Take a value of a list; the problems of the field are shown at once."""
        self.left.add(path)
        self.set_text(path, text)
        for row in self._rows:
            if isinstance(row, ChoiceRow) and row.path == path:
                row.box.show(*field_options.shown(path, text))
        self._show_notes()

    async def settle(self) -> None:
        """Take what was typed before this moment, also where the input has not come to it yet."""
        focused = self.screen.focused
        if not isinstance(focused, FieldInput):
            return
        taken = asyncio.Event()
        focused.call_later(taken.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await taken.wait()
        if focused.is_attached and focused.text != self.text(focused.path):
            self.set_text(focused.path, focused.text)

    def on_field_input_edited(self, message: FieldInput.Edited) -> None:
        message.stop()
        self.set_text(message.input.path, message.text)

    def on_choice_box_stepped(self, message: ChoiceBox.Stepped) -> None:
        message.stop()
        path = message.box.path
        keys = [
            one.key for one in field_options.choices(path, self.draft, self._around) if not one.off
        ]
        if not keys:
            self.post_message(self.ChoiceWanted(path, ""))
            return
        now = self.text(path)
        at = keys.index(now) + message.step if now in keys else 0
        self.choose(path, keys[at % len(keys)])

    def on_choice_box_wanted(self, message: ChoiceBox.Wanted) -> None:
        message.stop()
        self.post_message(self.ChoiceWanted(message.box.path, message.typed))

    # -- moving ---------------------------------------------------------------------------------

    def editors(self) -> list[Widget]:
        """Everything that can have the focus, in order."""
        return self._editors

    def move(self, by: int) -> None:
        """The next or the previous field, round at the ends."""
        editors = self.editors()
        focused = self.screen.focused
        at = editors.index(focused) + by if focused in editors else 0
        if editors:
            self.screen.set_focus(editors[at % len(editors)], scroll_visible=False)

    def move_section(self, by: int) -> None:
        """The first field of the next or the previous section."""
        starts: list[Widget] = []
        wanted = False
        for child in self.walk_children():
            wanted = wanted or isinstance(child, Heading)
            if wanted and isinstance(child, (FieldInput, ChoiceBox, FormButton)):
                starts.append(child)
                wanted = False
        editors = self.editors()
        focused = self.screen.focused
        here = editors.index(focused) if focused in editors else 0
        places = [editors.index(one) for one in starts if one in editors]
        ahead = [at for at in places if at > here] if by > 0 else [at for at in places if at < here]
        if ahead:
            target = editors[ahead[0] if by > 0 else ahead[-1]]
            self._section = target
            self.screen.set_focus(target, scroll_visible=False)

    async def go_on(self) -> bool:
        """The next field, or what the button says; True after the last field of the first step."""
        focused = self.screen.focused
        if isinstance(focused, FormButton):
            await self.press(focused)
            return False
        finished = focused is not None and focused in self.editors()[-1:]
        if not finished:
            self.move(1)
        return finished

    def focus_path(self, *paths: str) -> None:
        """Put the cursor on the first field that one of the paths leads to, else on the form's
        first."""
        editors = [one for one in self.editors() if any(self._leads(one, p) for p in paths)]
        target = next(iter([*editors, *self.editors()]), None)
        if target is not None:
            self.screen.set_focus(target, scroll_visible=False)
            self.call_after_refresh(self._scroll_to_row, target)

    def _leads(self, editor: Widget, path: str) -> bool:
        own = path_of(editor)
        named = path.replace(".secret.name", ".ref").replace(".config_map.name", ".ref")
        named = named.replace(".secret.key", ".key").replace(".config_map.key", ".key")
        return bool(path) and (own == named or own.startswith(f"{path}."))

    def _scroll_to_row(self, editor: Widget) -> None:
        """Bring the whole row onto the screen, with what is said under it."""
        if editor.is_attached:
            row = next((one for one in editor.ancestors if isinstance(one, FormRow)), editor)
            first = self.editors()[0] if self.editors() else None
            if editor is not self._section:
                self._section = None
            if editor is first:
                self.scroll_to(y=0, animate=False)
            elif self._section is not None:
                # As much of the section as there is room for, from its heading on.
                heading = next((one for one in _before(self, row) if isinstance(one, Heading)), row)
                self.scroll_to_widget(heading, animate=False, top=True, force=True)
            else:
                self.scroll_to_widget(row, animate=False, top=False, force=True)

    def watch_virtual_size(self) -> None:
        """Rows grew or shrank: what has the cursor stays on the screen, with its errors."""
        focused = self.screen.focused if self.is_attached else None
        if focused is not None and path_of(focused):
            self.call_after_refresh(self._scroll_to_row, focused)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        path = path_of(event.widget)
        row = next((one.path for one in event.widget.ancestors if isinstance(one, FormRow)), path)
        before, self._row = self._row, row
        self._at[self.step] = path
        if before and before != row:
            self._leave(before)
        self.call_after_refresh(self._scroll_to_row, event.widget)
        self.post_message(self.Focused(path))

    def _leave(self, row: str) -> None:
        self.left.add(row)
        path, _, at = row.rpartition(".")
        unread = self._texts_of(row).get("source") == "line"
        if unread and env_rows.mend(self.draft, path, int(at)):
            self.call_later(self._mended, row)
        self.post_message(self.Changed(row))

    async def _mended(self, row: str) -> None:
        await self.rebuild(path_of(self.screen.focused))
        self.post_message(self.Changed(row))

    def leave_all(self) -> None:
        """The step is finished: everything that is wrong in it is shown."""
        self.left |= {row.path for row in self._rows}
        self._show_problems()

    # -- rows of lists --------------------------------------------------------------------------

    async def on_form_button_pressed(self, message: FormButton.Pressed) -> None:
        message.stop()
        await self.press(message.button)

    async def press(self, button: FormButton) -> None:
        """Add a row, or ask for a file to load."""
        verb, _, path = button.path.partition(".")
        if verb == "load":
            self.post_message(self.FileWanted(path))
            return
        rows = self.draft.rows[path]
        rows.append(dict(VOLUME if path == "volumes" else VARIABLE))
        added = f"{path}.{len(rows) - 1}"
        self.post_message(self.RowAdded(added))
        await self.rebuild(f"{added}.claim" if path == "volumes" else f"{added}.name")
        if path == "volumes":
            self.post_message(self.ChoiceWanted(f"{added}.claim", ""))

    async def on_field_input_lines_pasted(self, message: FieldInput.LinesPasted) -> None:
        message.stop()
        row, _, name = message.input.path.rpartition(".")
        path, _, at = row.rpartition(".")
        texts = self._texts_of(row)
        if self._too_much(message.text):
            return
        if name == "value" and texts["name"] and not parse(message.text).assignments:
            # Lines that are no variables, under a name: a certificate, say. It is the value.
            texts["value"] = message.text.strip("\r\n")
            await self.rebuild(message.input.path)
            self.post_message(self.Changed(row))
            return
        await self.take_lines(path, message.text, int(at))

    async def take_lines(self, path: str, text: str, at: int | None = None) -> None:
        """Make rows of pasted lines or of a file."""
        if self._too_much(text):
            return
        taken = env_rows.take(self.draft, path, text, at)
        self.left |= {f"{path}.{number}" for number in range(len(self.draft.rows[path]))}
        lines = [i for i, row in enumerate(self.draft.rows[path]) if row["source"] == "line"]
        await self.rebuild(f"{path}.{lines[0]}" if lines else f"add.{path}")
        self.post_message(self.Changed(path))
        self.post_message(self.Said(taken.sentence, "warning" if taken.bad else ""))

    def _too_much(self, text: str) -> bool:
        """Whether the form cannot hold the lines; then it is said."""
        if (lines_given := text.count("\n")) > MOST_LINES:
            sentence = f"That is {lines_given:,} lines; give at most {MOST_LINES:,} at once."
        elif len(text) > LONGEST_VALUE and any(len(s) > LONGEST_VALUE for s in text.split("\n")):
            sentence = f"A line is too long; a value takes at most {LONGEST_VALUE:,} characters."
        else:
            return False
        self.post_message(self.Said(sentence, "warning"))
        return True

    async def remove_row(self) -> str:
        """Remove the row under the cursor; returns what was removed, "" where it is no row."""
        row, _, _ = path_of(self.screen.focused).rpartition(".")
        path, _, at = row.rpartition(".")
        if path not in self.draft.rows or not at.isdigit():
            return ""
        gone = self.draft.rows[path].pop(int(at))
        self.left = {one for one in self.left if not one.startswith(f"{path}.")}
        left = len(self.draft.rows[path])
        await self.rebuild(f"{path}.{min(int(at), left - 1)}" if left else f"add.{path}")
        self.post_message(self.Changed(f"{path}.{at}"))
        return gone.get("name") or gone.get("claim") or "the row"

    async def remove_if_blank(self, path: str) -> None:
        """Remove the row of the field at `path`, which has the cursor, if nothing is in it."""
        if env_rows.is_blank(self._texts_of(path.rpartition(".")[0])):
            await self.remove_row()

    async def change_source(self) -> str:
        """Take the variable's value from elsewhere; returns a sentence, "" where there is none."""
        row, _, _ = path_of(self.screen.focused).rpartition(".")
        if "source" not in self._texts_of(row) or not row.startswith(("env.", "transformer.env.")):
            return ""
        texts = self._texts_of(row)
        sentence = env_rows.next_source(texts)
        editor = "ref" if texts["source"] in ("secret", "config_map") else "value"
        await self.rebuild(f"{row}.{editor}")
        self.post_message(self.Changed(row))
        return sentence


def _before(form: Widget, row: Widget) -> list[Widget]:
    """The form's parts before the one that holds `row`, the nearest first."""
    part = next((one for one in form.children if one is row or row in one.walk_children()), None)
    children = list(form.children)
    return children[: children.index(part)][::-1] if part in children else []


def _moved(path: str, moved: Mapping[str, str]) -> str:
    """Where a field stands after rows of its list were removed, "" where it is gone."""
    for row, now in moved.items():
        if path == row or path.startswith(f"{row}."):
            return now and now + path.removeprefix(row)
    return path


def path_of(widget: Widget | None) -> str:
    """Path of the field that an editor belongs to."""
    return widget.path if isinstance(widget, (FieldInput, ChoiceBox, FormButton)) else ""
