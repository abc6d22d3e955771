"""A dialog for the path of a file to read or to write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from tui.action_tables.action import Action
from tui.actions import bindings
from tui.path_completion import Completion, complete_path, run_in_daemon_thread
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView

KEY_HOLD_SECONDS = 1.0
"""Seconds for which keys after enter wait for the path to be read: they are meant for the screen
behind the dialog. A path that takes longer is waited for no more, so that esc closes the dialog."""


class _PathState(NamedTuple):
    """What was read of a path."""

    path: Path
    problem: str = ""
    """Why it cannot be chosen, in a sentence."""
    exists: bool = False


class FileDialog(Overlay[Path | None]):
    """The dialog; an existing file is overwritten only if enter is pressed twice."""

    SCOPE = "file"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("file")
    line_input = query_one(LineInput)
    text_view = query_one(TextView)

    def __init__(self, title: str, initial_path: str, *, for_writing: bool, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._initial_path = initial_path
        self._for_writing = for_writing
        self._hint = hint
        self._overwrite_path: Path | None = None
        self._entered_text = ""
        """The path that was entered and is being read, "" for none."""
        self._reading_path = ""
        """The path whose directory is being read, "" for none."""
        self._completed_text: str | None = None
        """What the last completion made of the input."""

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
        self.text_view.can_focus = False
        self._show_hints()
        self.line_input.input.focus()

    def _show_hints(self) -> None:
        where = f"Relative paths begin at {Path.cwd()}."
        texts = [where, *([self._hint] if self._hint else [])]
        self.text_view.set_paragraphs(
            [Paragraph(), *(Paragraph(((text, "muted"),)) for text in texts)]
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        self._overwrite_path = None
        self.line_input.show_error("")
        if event.value != self._completed_text:
            self._completed_text = None
            self._show_hints()

    def on_input_submitted(self) -> None:
        typed = self.line_input.text.strip()
        if not typed:
            self.line_input.show_error("Enter a path, or close with esc.")
            return
        if typed == self._entered_text:
            self._show_reading()
            return
        self._entered_text = typed
        has_answer = asyncio.Event()
        self.start_worker(self._choose(self.line_input.text, typed, has_answer), "choice")
        self.start_worker(self._hold_keys(has_answer), "keys", busy_label=f"Reading {typed}")

    def _show_reading(self) -> None:
        text = f"{self._entered_text} is still being read; esc closes the dialog."
        self.show_message(text, "warning")

    async def _hold_keys(self, has_answer: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(KEY_HOLD_SECONDS):
                await has_answer.wait()
        except TimeoutError:
            self._show_reading()

    async def _choose(self, value: str, typed: str, has_answer: asyncio.Event) -> None:
        """Close the dialog with the path, or show why it cannot be chosen."""
        try:
            state = await run_in_daemon_thread(
                lambda: _read_path(typed, for_writing=self._for_writing), "servedeck file dialog"
            )
            self.clear_message()
            if self.line_input.text == value:  # else more was typed meanwhile
                self._apply(state)
        finally:
            if self._entered_text == typed:
                self._entered_text = ""
            has_answer.set()

    def _apply(self, state: _PathState) -> None:
        if state.problem:
            self.line_input.show_error(state.problem)
        elif state.exists and self._for_writing and self._overwrite_path != state.path:
            self._overwrite_path = state.path
            text = f"{state.path} exists; press enter again to overwrite it."
            self.line_input.show_error(text, "warning")
        else:
            self.dismiss(state.path)

    # -- completion -----------------------------------------------------------------------------

    def do_complete(self) -> None:
        """Complete what is before the cursor, when its directory has been read."""
        if self._reading_path:
            self.show_message(f"{self._reading_path} is still being read.", "warning")
            return
        line = self.line_input.input
        typed = line.value[: line.cursor_position]
        self._reading_path = typed.rpartition("/")[0] or "The directory"
        self.start_worker(self._complete(line.value, typed), "completion")

    async def _complete(self, value: str, typed: str) -> None:
        try:
            found = await run_in_daemon_thread(lambda: complete_path(typed), "servedeck completion")
        finally:
            self._reading_path = ""
        line = self.line_input.input
        if line.value != value or line.cursor_position != len(typed):
            return  # more was typed meanwhile
        if found.problem:
            self.line_input.show_error(found.problem, "warning")
            return
        self._completed_text = found.text + value[len(typed) :]
        line.value = self._completed_text
        line.cursor_position = len(found.text)
        self.text_view.set_paragraphs(_candidate_paragraphs(found))

    def do_close(self) -> None:
        self.dismiss(None)


def _read_path(typed: str, *, for_writing: bool) -> _PathState:
    """Read whether a file can be read from the path, or written to it. Blocks."""
    path = Path(typed)
    try:
        path = path.expanduser()
        exists = path.exists()
        if path.is_dir():
            problem = f"{path} is a directory; enter the name of a file in it."
        elif for_writing and not path.parent.is_dir():
            problem = (
                f"The directory {path.parent} does not exist; create it first, or choose another."
            )
        else:
            problem = "" if exists or for_writing else f"{path} does not exist; correct the path."
    except (RuntimeError, ValueError, OSError) as error:
        return _PathState(path, f"{typed} is not a path: {error}.")
    return _PathState(path, problem, exists)


def _candidate_paragraphs(found: Completion) -> list[Paragraph]:
    """The names that can follow; none where the only one was filled in."""
    if found.total == 1:
        return []
    names = tuple(
        (f"{name}  ", "accent" if name.endswith("/") else "") for name in found.candidates
    )
    more = found.total - len(found.candidates)
    paragraphs = [Paragraph(), Paragraph(((" ", ""), *names), 1, keep_spans=True)]
    rest = [f"and {more:,} more"] if more else []
    rest += ["the directory has more entries than were read"] if found.has_unread else []
    if rest:
        text = f" {', '.join(rest)}; type more of the name."
        paragraphs.append(Paragraph(((text, "muted"),), 1))
    return paragraphs
