"""Loading and saving files in the create form."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.getters import query_one

from servedeck.changes.draft import Draft
from servedeck.serving.spec.document import DocumentError, from_yaml, to_yaml
from servedeck.serving.spec.issues import errors
from tui.screens.create import files, review_text
from tui.screens.create.form_view import FormView
from tui.screens.create.review_step import ReviewScreen
from tui.screens.file_dialog import FileDialog


class ImportExportScreen(ReviewScreen):
    """Saves and loads the draft as YAML, and loads env files."""

    form = query_one(FormView)

    def schedule_save(self, path: str = "") -> None:
        """The draft was changed at `path`: save it."""

    async def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""

    def do_save(self) -> None:
        self.validate_draft()
        if self.spec is None:
            first = errors(self.issues)[0].message
            self.show_message(f"It cannot be saved as YAML yet: {first}", "warning")
            return
        text = to_yaml(self.spec)
        secret = review_text.has_masked_values(self.draft)
        hint = "Secret values are saved in the file unmasked." if secret else ""
        proposed = f"{self.draft.texts['name'] or 'serving'}.yaml"
        ask = FileDialog("Save the serving as YAML", proposed, for_writing=True, hint=hint)

        def on_path_chosen(path: Path | None) -> None:
            if path is not None:
                write = self._write_file(path, text, private=secret)
                self.start_worker(write, "file", busy_label=f"Writing {path}")

        self.app.push_screen(ask, on_path_chosen)

    async def _write_file(self, path: Path, text: str, *, private: bool) -> None:
        try:
            await asyncio.to_thread(files.write_text, path, text, private=private)
        except OSError as error:
            self.show_message(f"{path} was not saved: {error.strerror}.", "error", 20)
        else:
            self.show_message(f"Saved as {path}; servedeck create -f {path} opens it.", "ready", 20)

    def do_load(self) -> None:
        ask = FileDialog(
            "Load a serving from YAML",
            "",
            for_writing=False,
            hint="The file replaces the form; a file with errors changes nothing.",
        )

        def on_path_chosen(path: Path | None) -> None:
            if path is not None:
                self.start_worker(self._load_file(path), "file", busy_label=f"Reading {path}")

        self.app.push_screen(ask, on_path_chosen)

    async def _load_file(self, path: Path) -> None:
        try:
            spec = await asyncio.to_thread(lambda: from_yaml(files.read_text(path)))
        except (OSError, UnicodeDecodeError) as error:
            self.show_message(
                f"{path} cannot be read: {files.describe_file_error(error)}", "error", 20
            )
            return
        except DocumentError as error:
            more = f" ({len(error.issues)} in all)" if len(error.issues) > 1 else ""
            self.show_message(f"{path}: {error.issues[0]}{more}", "error", 30)
            return
        loaded = Draft.from_spec(spec)
        loaded.texts["namespace"] = loaded.texts["namespace"] or self.draft.texts["namespace"]
        self.draft.texts, self.draft.rows = loaded.texts, loaded.rows
        self.form.touched.clear()
        self.schedule_save()
        await self.show_step(1, "name")
        self.show_message(f"Loaded {path}.", "ready")

    def on_form_view_env_file_requested(self, message: FormView.EnvFileRequested) -> None:
        ask = FileDialog("Load variables from an env file", ".env", for_writing=False)

        def on_path_chosen(path: Path | None) -> None:
            if path is not None:
                load = self._load_env_file(message.path, path)
                self.start_worker(load, "file", busy_label=f"Reading {path}")

        self.app.push_screen(ask, on_path_chosen)

    async def _load_env_file(self, list_path: str, path: Path) -> None:
        try:
            text = await asyncio.to_thread(files.read_text, path)
        except (OSError, UnicodeDecodeError) as error:
            self.show_message(
                f"{path} cannot be read: {files.describe_file_error(error)}", "error", 20
            )
            return
        await self.form.import_lines(list_path, text)
