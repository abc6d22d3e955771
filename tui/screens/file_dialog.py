"""A dialog for the path of a file to read or to write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from tui.action_tables.action import Action
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView


class FileDialog(Overlay[Path | None]):
    """The dialog; an existing file is overwritten only if enter is pressed twice."""

    SCOPE = "file"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("file")
    line_input = query_one(LineInput)

    def __init__(self, title: str, initial_path: str, *, for_writing: bool, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._initial_path = initial_path
        self._for_writing = for_writing
        self._hint = hint
        self._overwrite_path: Path | None = None

    def label_for(self, action: Action) -> str:
        is_save = action.name == "choose" and self._for_writing
        return "save" if is_save else super().label_for(action)

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield LineInput(">")
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.line_input.input.value = self._initial_path
        self.line_input.input.cursor_position = len(self._initial_path)
        where = f"Relative paths begin at {Path.cwd()}."
        texts = [where, *([self._hint] if self._hint else [])]
        lines = self.query_one(TextView)
        lines.can_focus = False
        lines.set_paragraphs([Paragraph(), *(Paragraph(((text, "muted"),)) for text in texts)])
        self.line_input.input.focus()

    def on_input_changed(self) -> None:
        self._overwrite_path = None
        self.line_input.show_error("")

    async def on_input_submitted(self) -> None:
        typed = self.line_input.text.strip()
        if not typed:
            self.line_input.show_error("Enter a path, or close with esc.")
            return
        path = Path(typed)
        try:
            path = await asyncio.to_thread(path.expanduser)
            problem = await asyncio.to_thread(self._validate_path, path)
        except (RuntimeError, ValueError, OSError) as error:
            problem = f"{typed} is not a path: {error}."
        if problem:
            self.line_input.show_error(problem)
        else:
            self.dismiss(path)

    def _validate_path(self, path: Path) -> str:
        if path.is_dir():
            return f"{path} is a directory; enter the name of a file in it."
        if not self._for_writing:
            return "" if path.exists() else f"{path} does not exist; correct the path."
        if not path.parent.is_dir():
            return (
                f"The directory {path.parent} does not exist; create it first, or choose another."
            )
        if path.exists() and self._overwrite_path != path:
            self._overwrite_path = path
            return f"{path} exists; press enter again to overwrite it."
        return ""

    def do_close(self) -> None:
        self.dismiss(None)
