"""Asking for the path of a file to read or to write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Bar, Lines, Paragraph


class PathScreen(Overlay[Path | None]):
    """The path; for writing, one that exists is taken only when enter is pressed twice."""

    SCOPE = "path"
    HELPS = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("path")
    line = query_one(LineInput)

    def __init__(self, title: str, proposed: str, *, writes: bool, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._proposed = proposed
        self._writes = writes
        self._hint = hint
        self._confirmed: Path | None = None

    def compose_body(self) -> ComposeResult:
        title = Bar(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield LineInput(">")
        yield Lines()

    def on_mount(self) -> None:
        super().on_mount()
        self.line.input.value = self._proposed
        self.line.input.cursor_position = len(self._proposed)
        where = f"Relative paths begin at {Path.cwd()}."
        texts = [where, *([self._hint] if self._hint else [])]
        lines = self.query_one(Lines)
        lines.can_focus = False
        lines.set_paragraphs([Paragraph(), *(Paragraph(((text, "muted"),)) for text in texts)])
        self.line.input.focus()

    def on_input_changed(self) -> None:
        self._confirmed = None
        self.line.show_problem("")

    async def on_input_submitted(self) -> None:
        typed = self.line.text.strip()
        if not typed:
            self.line.show_problem("The path is missing; write one, or leave with esc.")
            return
        path = Path(typed)
        try:
            path = await asyncio.to_thread(path.expanduser)
            problem = await asyncio.to_thread(self._problem, path)
        except (RuntimeError, ValueError, OSError) as error:
            problem = f"{typed} is no path: {error}."
        if problem:
            self.line.show_problem(problem)
        else:
            self.dismiss(path)

    def _problem(self, path: Path) -> str:
        if path.is_dir():
            return f"{path} is a folder; name a file in it."
        if not self._writes:
            return "" if path.exists() else f"{path} does not exist; correct the path."
        if not path.parent.is_dir():
            return f"The folder {path.parent} does not exist; make it first, or choose another."
        if path.exists() and self._confirmed != path:
            self._confirmed = path
            return f"{path} exists; enter again writes over it."
        return ""

    def do_close(self) -> None:
        self.dismiss(None)
