"""The prompt for a command in a container."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.exec import CommandTarget, kubectl_exec_command, parse_command
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView


class CommandPrompt(Overlay[str | None]):
    """Its result is the command as typed; None for none."""

    SCOPE = "run"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("run")
    line_input = query_one(LineInput)
    text_view = query_one(TextView)

    def __init__(self, target: CommandTarget) -> None:
        super().__init__()
        self._target = target
        self._history_at = 0
        """How many commands before the typed one is shown; 0 for the typed one."""
        self._typed = ""

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield LineInput("$", "nvidia-smi")
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        title = ((" ", ""), (f"Run a command in {target_text(self._target)}", "title"))
        self.query_one("#title", StatusLine).set_text(title, max_lines=2, indent=1)
        self.line_input.input.focus()
        self._update_text()

    def _update_text(self) -> None:
        found = []
        if self.app_context.is_production:
            text = f"{self.app_context.source.context} is a production context."
            found += [Paragraph((("  ! ", "warning"), (text, "warning")), 4), Paragraph()]
        text = "It runs without input and without a terminal; esc in its output ends it."
        found.append(Paragraph((("  ", ""), (text, "muted")), 2))
        if self.line_input.text.strip():
            found += [
                Paragraph(),
                Paragraph((("  The same with kubectl:", "muted"),)),
                Paragraph((("  ", ""), (self._kubectl_command, "strong")), 4),
            ]
        self.text_view.set_paragraphs(found)
        self.update_footer()

    @property
    def _kubectl_command(self) -> str:
        words = parse_command(self.line_input.text)
        return kubectl_exec_command(self._target, words, self.app_context.command_options)

    def on_input_changed(self) -> None:
        self.line_input.show_error("")
        self._update_text()

    def on_input_submitted(self) -> None:
        self.do_start()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "copy" and not self.line_input.text.strip():
            return "Enter a command first."
        if action.name == "history" and not self.app_context.command_history:
            return "No command was run yet."
        return ""

    def do_start(self) -> None:
        text = self.line_input.text.strip()
        if not text:
            self.line_input.show_error("Enter a command, or close with esc.")
        else:
            self.dismiss(text)

    async def do_copy(self) -> None:
        command = self._kubectl_command
        self.show_message(
            *await copy_with_message(command, self.app_context.write_to_terminal, command)
        )

    def do_history(self, key: str) -> None:
        history = self.app_context.command_history
        if self._history_at == 0:
            self._typed = self.line_input.text
        step = 1 if key == "up" else -1
        self._history_at = min(max(self._history_at + step, 0), len(history))
        text = history[-self._history_at] if self._history_at else self._typed
        self.line_input.input.value = text
        self.line_input.input.cursor_position = len(text)

    def do_close(self) -> None:
        self.dismiss(None)


def target_text(target: CommandTarget) -> str:
    """ "container inference-server of Pod chat/llama-0"."""
    container = f"container {target.container} of " if target.container else ""
    return f"{container}Pod {target.namespace}/{target.pod}"
