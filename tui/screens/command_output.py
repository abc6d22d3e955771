"""The output of a command in a container, as it arrives, and its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.exec import CommandTarget, kubectl_exec_command, parse_command
from servedeck.cluster.http.errors import describe_error
from servedeck.serving.duration import format_duration
from servedeck.serving.text import format_count
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.ports.change_service import ChangeService
from tui.screens.base import Overlay
from tui.screens.command_prompt import target_text
from tui.workers import Worker
from widgets.log_view import LogView
from widgets.recent_lines import RecentLines
from widgets.styled_line import Line
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine

MAX_LINES = 10_000
"""Lines that are kept, the newest ones."""


class CommandOutputScreen(Overlay[bool]):
    """Runs the command while it is open. Its result is whether another one is to be run there."""

    SCOPE = "output"
    BINDINGS: ClassVar[list[BindingType]] = bindings("output", "app")
    log_view = query_one(LogView)
    status_view = query_one("#command-status", StatusLine)

    def __init__(
        self, service: ChangeService, target: CommandTarget, text: str, options: CommandOptions
    ) -> None:
        """`text` is the command as typed."""
        super().__init__()
        self._service = service
        self._target = target
        self._text = text
        self._words = parse_command(text)
        self._options = options
        self._worker: Worker[None] | None = None
        self._started_at = monotonic()
        self._seconds: float | None = None
        """How long it ran; None while it runs."""
        self._exit_code: int | None = None
        self._error = ""
        self._lines = RecentLines(MAX_LINES)

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        where = target_text(self._target)
        title.set_lines(((" $ ", "key"), (self._text, "title"), (f"  in {where}", "muted")))
        yield title
        yield StatusLine(id="command-status")
        yield LogView()

    def on_mount(self) -> None:
        super().on_mount()
        self.log_view.show(self._lines, self._lines.row)
        self.log_view.focus()
        self._worker = self.start_worker(self._run(), "command")
        self.set_interval(TICK_SECONDS, self._update_status)
        self._update_status()

    async def _run(self) -> None:
        try:
            self._exit_code = await self._service.run_command(
                self._target, self._words, self._add_lines
            )
        except Exception as error:  # any error: the operator must know that it did not end well
            self._error = describe_error(error)
        self._seconds = monotonic() - self._started_at
        self._update_status()
        self.update_footer()

    def _add_lines(self, lines: Iterable[str]) -> None:
        self._lines.extend(lines)
        self.log_view.note_appended()

    def _update_status(self) -> None:
        if self.is_attached and self.is_current:
            self.status_view.set_text(self._status_line(), max_lines=4, indent=3)

    def _status_line(self) -> Line:
        if self._seconds is None:
            running = format_duration(monotonic() - self._started_at)
            return ((" ↻ ", "starting"), (f"running for {running}", ""), *self._dropped())
        took = f"after {format_duration(self._seconds)}"
        if self._error:
            return ((" ✗ ", "error"), (self._error, "error"), (f"  {took}", "muted"))
        style_name = "ready" if self._exit_code == 0 else "error"
        mark = "✓" if self._exit_code == 0 else "✗"
        text = f"exit code {self._exit_code}"
        return ((f" {mark} ", style_name), (text, style_name), (f" {took}", ""), *self._dropped())

    def _dropped(self) -> Line:
        count = self._lines.dropped_count
        if not count:
            return ()
        return ((f"  the first {format_count(count, 'line')} are not kept", "warning"),)

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "again" and self._seconds is None:
            return "The command still runs; esc ends it."
        if action.name == "copy" and not self._lines.count:
            return "There is no output yet." if self._seconds is None else "There is no output."
        return ""

    def label_for(self, action: Action) -> str:
        return "end" if action.name == "close" and self._seconds is None else action.label

    async def do_copy(self) -> None:
        text = "\n".join(self._lines.texts)
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal))

    async def do_copy_command(self) -> None:
        command = kubectl_exec_command(self._target, self._words, self._options)
        self.show_message(
            *await copy_with_message(command, self.app_context.write_to_terminal, command)
        )

    def do_wrap(self) -> None:
        self.log_view.set_wrapping(not self.log_view.wrapping)

    def do_again(self) -> None:
        self.dismiss(True)

    def do_close(self) -> None:
        if self._seconds is not None or self._worker is None:
            self.dismiss(False)
            return
        self._worker.cancel()
        self._seconds = monotonic() - self._started_at
        self._error = (
            "The connection to the command was closed; a process that prints nothing may go on."
        )
        self._update_status()
        self.update_footer()
