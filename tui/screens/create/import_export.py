"""What the create form reads from files and writes to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.getters import query_one

from servedeck.changes.draft import Draft
from servedeck.serving.spec.document import DocumentError, from_yaml, to_yaml
from servedeck.serving.spec.issues import errors
from tui.screens.create import files, review_text
from tui.screens.create.form_view import FormView
from tui.screens.create.review_step import ReviewingScreen
from tui.screens.file_dialog import PathScreen


class FilingScreen(ReviewingScreen):
    """Saves and loads the draft as YAML, and loads env files."""

    form = query_one(FormView)

    def keep(self, path: str = "") -> None:
        """The draft was changed at `path`: keep it."""

    async def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""

    def do_save(self) -> None:
        self.check()
        if self.spec is None:
            first = errors(self.problems)[0].message
            self.say(f"It cannot be written as YAML yet: {first}", "warning")
            return
        text = to_yaml(self.spec)
        secret = review_text.any_masked(self.draft)
        hint = "Values that look secret are written into the file as they are." if secret else ""
        proposed = f"{self.draft.texts['name'] or 'serving'}.yaml"
        ask = PathScreen("Save the serving as YAML", proposed, writes=True, hint=hint)

        def named(path: Path | None) -> None:
            if path is not None:
                write = self._write(path, text, private=secret)
                self.start(write, "file", holds=f"Writing {path}")

        self.app.push_screen(ask, named)

    async def _write(self, path: Path, text: str, *, private: bool) -> None:
        try:
            await asyncio.to_thread(files.write, path, text, private=private)
        except OSError as error:
            self.say(f"{path} was not written: {error.strerror}.", "error", 20)
        else:
            self.say(f"Saved as {path}; servedeck create -f {path} opens it.", "ready", 20)

    def do_load(self) -> None:
        ask = PathScreen(
            "Load a serving from YAML",
            "",
            writes=False,
            hint="What stands in the form is replaced; it stays as it is where the file is wrong.",
        )

        def named(path: Path | None) -> None:
            if path is not None:
                self.start(self._load(path), "file", holds=f"Reading {path}")

        self.app.push_screen(ask, named)

    async def _load(self, path: Path) -> None:
        try:
            spec = await asyncio.to_thread(lambda: from_yaml(files.read(path)))
        except (OSError, UnicodeDecodeError) as error:
            self.say(f"{path} cannot be read: {files.why(error)}", "error", 20)
            return
        except DocumentError as error:
            more = f" ({len(error.problems)} in all)" if len(error.problems) > 1 else ""
            self.say(f"{path}: {error.problems[0]}{more}", "error", 30)
            return
        loaded = Draft.of(spec)
        loaded.texts["project"] = loaded.texts["project"] or self.draft.texts["project"]
        self.draft.texts, self.draft.rows = loaded.texts, loaded.rows
        self.form.left.clear()
        self.keep()
        await self.show_step(1, "name")
        self.say(f"Loaded {path}.", "ready")

    def on_form_view_file_wanted(self, message: FormView.FileWanted) -> None:
        ask = PathScreen("Load variables from an env file", ".env", writes=False)

        def named(path: Path | None) -> None:
            if path is not None:
                load = self._load_env(message.path, path)
                self.start(load, "file", holds=f"Reading {path}")

        self.app.push_screen(ask, named)

    async def _load_env(self, rows: str, path: Path) -> None:
        try:
            text = await asyncio.to_thread(files.read, path)
        except (OSError, UnicodeDecodeError) as error:
            self.say(f"{path} cannot be read: {files.why(error)}", "error", 20)
            return
        await self.form.take_lines(rows, text)
