"""What the create form and the edit form share: messages of their fields, and the keys of the
fields."""

from __future__ import annotations

from typing import TypeVar

from textual.geometry import Size
from textual.getters import query_one

from tui.screens.base import Overlay
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.draft_values import get_row
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.file_transfer import FileTransfer
from tui.screens.create.form_editor import FormEditor, list_words
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.create.key_picker import KeyPicker
from widgets.field_input import FieldInput
from widgets.form_rows import ButtonField
from widgets.styled_line import wrap
from widgets.text_view import StatusLine

INVENTORY_UPDATE_SECONDS = 0.25
"""Seconds between two updates of nodes, PVCs and namespaces."""
TALL_HEIGHT = 16
"""Lines of the screen from which the help of a field has more than one line."""
HELP_HEIGHT = 2
"""Lines of the help of a field, so that the form does not move; up to twice as many for a long
one."""
PULL_SECRETS = "image_pull_secrets"
"""The field whose words are chosen from a list."""

Result = TypeVar("Result")


class FormScreen(Overlay[Result]):
    """A screen with a form. A subclass creates the parts below, and calls `update_restored` and
    others where it shows more than the form."""

    AUTO_FOCUS = ""
    HAS_HELP = False
    """It has its own key for the help: the usual one is text here."""

    form: FormView
    inventory_watch: InventoryWatch
    autosave: DraftAutosave
    _edited: EditedDraft
    _editor: FormEditor
    _files: FileTransfer
    help_bar = query_one("#field-help", StatusLine)
    _reveal = False

    def on_mount(self) -> None:
        super().on_mount()
        self.adapt_to_size(self.app.size)  # before the first layout, which paints the form

    def save_on_exit(self) -> None:
        self.autosave.write_now()

    async def on_unmount(self) -> None:
        self.autosave.close()
        await self.inventory_watch.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.help_bar.styles.height = HELP_HEIGHT if size.height >= TALL_HEIGHT else 1
        self.help_bar.display = size.height >= 10
        self.update_field_help(self._focused_path())

    # -- help of the fields -------------------------------------------------------------------

    def update_field_help(self, path: str) -> None:
        """Show the help of the field at the bottom."""
        field = self.form.focused_field
        self.show_help_text(
            field.help_text
            if isinstance(field, ButtonField) and field.path == path
            else self._editor.field_help(path)
        )

    @property
    def help_width(self) -> int:
        """Cells of a line of the help."""
        return self.size.width

    def show_help_text(self, text: str) -> None:
        """Show a text in place of the help of a field, with more lines where it needs them."""
        lines = wrap(((" ", ""), (text, "muted")), self.help_width - 1, 1)
        if self.size.height >= TALL_HEIGHT:
            self.help_bar.styles.height = min(max(len(lines), HELP_HEIGHT), 2 * HELP_HEIGHT)
        self.help_bar.set_lines(*lines)

    # -- the form -----------------------------------------------------------------------------

    @property
    def shows_form(self) -> bool:
        """Whether the fields are shown, and not something else in their place."""
        return True

    def _focused_path(self) -> str:
        return self.form.path if self.shows_form else ""

    def handle_draft_change(self, path: str = "") -> None:
        """The draft was changed in the form; at `path`, if one field alone was."""

    def on_form_view_focused(self, message: FormView.Focused) -> None:
        self._editor.handle_focus(message.path)
        self.update_field_help(message.path)
        self.update_footer()

    def on_form_view_row_added(self, message: FormView.RowAdded) -> None:
        self._edited.undo_history.record(message.path)

    def on_form_view_changed(self, message: FormView.Changed) -> None:
        self._editor.handle_change(message.path)
        self.handle_draft_change(message.path)

    def on_field_input_lines_pasted(self, message: FieldInput.LinesPasted) -> None:
        self._editor.paste_lines(message.path, message.text)

    def on_form_view_env_file_requested(self, message: FormView.EnvFileRequested) -> None:
        self._files.load_env_file(lambda text: self._editor.import_lines(message.path, text))

    # -- what the keys do -----------------------------------------------------------------------

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if self.shows_form:
            await self.form.flush_typed_text()
        await super().action_do(action_id, *arguments)

    def do_edit_value(self) -> None:
        self.form.move_focus(1)

    def do_move(self, key: str) -> None:
        self.form.move_focus(1 if key in ("down", "tab") else -1)

    def do_move_section(self, key: str) -> None:
        self.form.focus_section(1 if key == "pagedown" else -1)

    def do_remove(self) -> None:
        self._editor.remove_row()

    def do_source(self) -> None:
        self._editor.change_source()

    def do_pick_key(self) -> None:
        row, change_service = self._editor.focused_variable(), self.app_context.change_service
        is_pull_secret = self.form.path == PULL_SECRETS
        if not (row or is_pull_secret) or change_service is None:
            self.show_message(
                "Only a variable's value and image pull Secrets are chosen from Secrets."
            )
            return
        draft = self.form.draft
        texts = get_row(draft, row)
        picker = KeyPicker(
            change_service,
            ask=lambda screen, on_choice: self.app.push_screen(screen, on_choice),
            start_worker=lambda work, label: self.start_worker(work, "keys", busy_label=label),
            show_message=self.show_message,
            fill=lambda source, name, key: self._editor.fill_variable(
                row, texts, source, name, key
            ),
        )
        namespace = draft.texts["namespace"]
        if is_pull_secret:
            present = list_words(draft.texts[PULL_SECRETS])
            picker.start_pull_secrets(
                namespace, present, lambda name: self._editor.add_word(PULL_SECRETS, name)
            )
            return
        picker.start(texts, namespace, keys_only=self.form.path.endswith(".key"))

    def do_undo(self) -> None:
        if self._editor.undo():
            self.handle_draft_restored()

    def do_redo(self) -> None:
        if self._editor.redo():
            self.handle_draft_restored()

    def handle_draft_restored(self) -> None:
        """A change was undone or redone."""
        self.handle_draft_change()
        self.update_footer()

    def do_reveal(self) -> None:
        self._reveal = not self._reveal
        self.form.set_reveal(self._reveal)
        self.show_message(
            "Secret values are shown." if self._reveal else "Secret values are masked."
        )

    def do_help(self) -> None:
        self.app_context.do_help()
