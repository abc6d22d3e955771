"""Asks for a path, then loads or saves the file: the YAML of a serving, and env files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from servedeck.atomic_file import write_text
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.spec import ServingSpec
from tui.screens.create import files
from tui.screens.file_dialog import FileDialog


class FileTransfer:
    """Loads and saves files, and reports the result in a sentence."""

    def __init__(
        self,
        *,
        ask: Callable[[FileDialog, Callable[[Path | None], None]], object],
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        show_message: Callable[[str, str, float], None],
    ) -> None:
        """`ask` shows the dialog and calls its second argument with the path, None for none;
        `start_worker` runs a coroutine in the background, with a label; `show_message` takes a
        sentence, a style name and seconds."""
        self._ask = ask
        self._start_worker = start_worker
        self._show_message = show_message

    # -- the YAML of a serving ------------------------------------------------------------------

    def save_spec(self, spec: ServingSpec, *, private: bool) -> None:
        """Save it as YAML; a `private` file can be read by its owner only."""
        text = to_yaml(spec)
        hint = "Secret values are saved in the file unmasked." if private else ""
        proposed = f"{spec.name or 'serving'}.yaml"
        dialog = FileDialog("Save the serving as YAML", proposed, for_writing=True, hint=hint)

        def on_path_chosen(path: Path | None) -> None:
            if path is not None:
                self._start_worker(self._write(path, text, private=private), f"Writing {path}")

        self._ask(dialog, on_path_chosen)

    async def _write(self, path: Path, text: str, *, private: bool) -> None:
        try:
            await asyncio.to_thread(write_text, path, text, private=private)
        except OSError as error:
            self._show_message(f"{path} was not saved: {error.strerror}.", "error", 20)
        else:
            saved = f"Saved as {path}; servedeck create -f {path} opens it."
            self._show_message(saved, "ready", 20)

    def load_spec(self, on_loaded: Callable[[ServingSpec], object]) -> None:
        """Load it from YAML."""
        dialog = FileDialog(
            "Load a serving from YAML",
            "",
            for_writing=False,
            hint="The file replaces the form; a file with errors changes nothing.",
        )
        self._ask_and_read(dialog, lambda path, text: self._parse_spec(path, text, on_loaded))

    async def _parse_spec(
        self, path: Path, text: str, on_loaded: Callable[[ServingSpec], object]
    ) -> None:
        try:
            spec = await asyncio.to_thread(from_yaml, text)
        except DocumentError as error:
            more = f" ({len(error.issues)} in all)" if len(error.issues) > 1 else ""
            self._show_message(f"{path}: {error.issues[0]}{more}", "error", 30)
        else:
            on_loaded(spec)
            self._show_message(f"Loaded {path}.", "ready", 8)

    # -- env files ------------------------------------------------------------------------------

    def load_env_file(self, on_loaded: Callable[[str], object]) -> None:
        dialog = FileDialog("Load variables from an env file", ".env", for_writing=False)

        async def on_read(_path: Path, text: str) -> None:
            on_loaded(text)

        self._ask_and_read(dialog, on_read)

    # -- reading --------------------------------------------------------------------------------

    def _ask_and_read(
        self, dialog: FileDialog, on_read: Callable[[Path, str], Awaitable[None]]
    ) -> None:
        def on_path_chosen(path: Path | None) -> None:
            if path is not None:
                self._start_worker(self._read(path, on_read), f"Reading {path}")

        self._ask(dialog, on_path_chosen)

    async def _read(self, path: Path, on_read: Callable[[Path, str], Awaitable[None]]) -> None:
        try:
            text = await asyncio.to_thread(files.read_text, path)
        except (OSError, UnicodeDecodeError) as error:
            why = files.describe_file_error(error)
            self._show_message(f"{path} cannot be read: {why}", "error", 20)
        else:
            await on_read(path, text)
