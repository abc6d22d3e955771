"""The command line: every action by its name, and a few commands with an argument."""

from __future__ import annotations

import re
from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import Input

from servedeck.serving.text import one_line
from tui.action_tables.action import Action
from tui.actions import action_key_display, actions_in_scope, bindings
from tui.screens.base import ActionScreen
from tui.screens.pick import Choice, PickScreen
from widgets.columns import Column, Row

ARGUMENT_COMMANDS = {
    "ns": "namespace",
    "namespace": "namespace",
    "ctx": "context",
    "context": "context",
}
"""Commands that take a name, and the kind of object that it names."""

K9S_ALTERNATIVES = {
    "the status of a serving lists its Pods, and its digits open their logs": (
        *("pods", "pod", "po", "events", "event", "ev", "describe"),
    ),
    "the list shows the Deployments that serve a model": (
        "deployments",
        "deployment",
        "deploy",
        "dp",
    ),
    "the filter kind:statefulset lists the StatefulSets that serve a model": (
        "statefulsets",
        "statefulset",
        "sts",
    ),
    "Connect shows a serving's Service and how to reach it": ("services", "service", "svc"),
    "the create form lists the nodes that have free accelerators": ("nodes", "node", "no"),
    ":ns lists the namespaces": ("namespaces", "projects", "project"),
    ":ctx lists the contexts": ("contexts", "clusters", "cluster"),
}
"""Views of k9s -> where servedeck shows the same."""

ALIASES = {"q!": "q", "quit": "q", "exit": "q", "qa": "q", "h": "help"}


class CommandScreen(PickScreen):
    """Actions of the screen below; its result is an action's id, or "ns NAME", "ctx NAME"."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("pick")
    PROMPT = ":"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("label", "COMMAND", min_width=14, max_width=24, priority=0),
        Column("key", "KEY", min_width=6, max_width=10, priority=1),
        Column("detail", "DESCRIPTION", min_width=20, max_width=200, priority=2),
    )

    def __init__(self, screen: ActionScreen[object]) -> None:
        keymap = screen.app_context.keymap
        self._key_display: dict[str, str] = {}
        choices: list[Choice] = []
        for scope in (*screen.scopes(), "app"):
            for action in actions_in_scope(scope):
                if _is_listed(action):
                    self._key_display[action.id] = action_key_display(action, keymap)
                    label = action.label if not action.command else f":{action.command}"
                    choices.append(
                        Choice(
                            action.id,
                            label,
                            action.help,
                            action.command,
                            screen.action_owner(action).disabled_reason(action),
                        )
                    )
        super().__init__("Commands", choices)
        self._cursor_moved = False
        """The line under the cursor was chosen by the arrows or the mouse."""

    def matching_choices(self) -> list[Choice]:
        """The actions whose name matches the input, then those whose description does."""
        words = self.line_input.text.split()
        if len(words) == 2 and words[0] in ARGUMENT_COMMANDS:
            what = ARGUMENT_COMMANDS[words[0]]
            line = Choice(
                f"{what} {words[1]}", self.line_input.text, f"Go to the {what} {words[1]}."
            )
            return [line]
        text = self.line_input.text.strip()
        if text in ALIASES:
            return self._choices_with_keyword(ALIASES[text])
        return sorted(super().matching_choices(), key=lambda one: not _matches_command(one, text))

    def _choices_with_keyword(self, word: str) -> list[Choice]:
        return [choice for choice in self._choices if choice.keyword == word]

    def build_row(self, choice: Choice) -> Row:
        key = self._key_display.get(choice.key, "")
        style_name = "muted" if choice.disabled_reason else ""
        detail = choice.disabled_reason or choice.detail
        return Row(choice.key, (choice.label, ((key, "key"),), ((detail, "muted"),)), style_name)

    def do_choose(self) -> None:
        if (
            len(self.line_input.text.split()) == 2
            and self.line_input.text.split()[0] in ARGUMENT_COMMANDS
        ):
            self.dismiss(str(self.table.cursor_key))
            return
        text = self.line_input.text.strip()
        chosen = next((one for one in self._choices if one.key == self.table.cursor_key), None)
        if (
            text in ALIASES
            or not text
            or self._cursor_moved
            or (chosen and _matches_command(chosen, text))
        ):
            super().do_choose()
            return
        word = one_line(text)
        instead = next(
            (has for has, names in K9S_ALTERNATIVES.items() if word.casefold() in names), ""
        )
        reason = instead or ("the arrows choose one of these" if chosen else "esc closes")
        self.show_message(f"no command '{word}'; {reason}.", "warning")

    def do_move(self, key: str) -> None:
        self._cursor_moved = True
        super().do_move(key)

    def on_keyed_table_cell_clicked(self) -> None:
        self._cursor_moved = True
        super().on_keyed_table_cell_clicked()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._cursor_moved = False
        super().on_input_changed(event)


def _matches_command(choice: Choice, text: str) -> bool:
    """Whether the input begins words of the command or of its label; its description does not
    count."""
    words = re.split(r"[^\w]+", f"{choice.keyword} {choice.label}".casefold())
    return all(any(one.startswith(part) for one in words) for part in text.casefold().split())


def _is_listed(action: Action) -> bool:
    return not (
        action.passes_key
        or action.bound_by_widget
        or action.name == "command"
        or action.id == "servings.quit"
    )
