"""The command line: every action by its name, and a few words with an argument."""

from __future__ import annotations

import re
from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import Input

from servedeck.serving.text import one_line
from tui.actions import Action, bindings, in_scope, shown_keys
from tui.screens.base import ActionScreen
from tui.screens.pick import Choice, PickScreen
from widgets.columns import Column, Row

ARGUMENTS = {
    "ns": "namespace",
    "namespace": "namespace",
    "ctx": "context",
    "context": "context",
}
"""Commands that take a name, and what of."""

INSTEAD = {
    "the status of a serving lists its Pods, and its digits open their logs": (
        *("pods", "pod", "po", "events", "event", "ev", "describe"),
    ),
    "the list shows the Deployments that serve a model": (
        "deployments",
        "deployment",
        "deploy",
        "dp",
    ),
    "Connect shows a serving's Service and how to reach it": ("services", "service", "svc"),
    "the create form lists the nodes that have free accelerators": ("nodes", "node", "no"),
    ":ns lists the namespaces": ("namespaces", "projects", "project"),
    ":ctx lists the contexts": ("contexts", "clusters", "cluster"),
}
"""What servedeck has in place of views that k9s has -> their names there."""

ALIASES = {"q!": "q", "quit": "q", "exit": "q", "qa": "q", "h": "help"}


class CommandScreen(PickScreen):
    """Actions of the screen behind it; its result is an action's id, or "ns NAME", "ctx NAME"."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("pick")
    PROMPT = ":"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("label", "COMMAND", least=14, most=24, rank=0),
        Column("key", "KEY", least=6, most=10, rank=1),
        Column("detail", "WHAT IT DOES", least=20, most=200, rank=2),
    )

    def __init__(self, behind: ActionScreen[object]) -> None:
        keymap = behind.servedeck.keys
        self._keys: dict[str, str] = {}
        choices: list[Choice] = []
        for scope in (*behind.scopes(), "app"):
            for action in in_scope(scope):
                if _pickable(action):
                    self._keys[action.id] = shown_keys(action, keymap)
                    label = action.label if not action.command else f":{action.command}"
                    choices.append(
                        Choice(
                            action.id, label, action.help, action.command, behind.why_not(action)
                        )
                    )
        super().__init__("Commands", choices)
        self._pointed = False
        """The line under the cursor was chosen by the arrows or the mouse."""

    def choices(self) -> list[Choice]:
        """Those that what was typed names, then those whose description has it."""
        words = self.line.text.split()
        if len(words) == 2 and words[0] in ARGUMENTS:
            what = ARGUMENTS[words[0]]
            line = Choice(f"{what} {words[1]}", self.line.text, f"Go to the {what} {words[1]}.")
            return [line]
        text = self.line.text.strip()
        if text in ALIASES:
            return self._named(ALIASES[text])
        found = super().choices()
        named = [one for one in found if _names(one, text)]
        return named + [one for one in found if one not in named]

    def _named(self, word: str) -> list[Choice]:
        return [choice for choice in self._choices if choice.word == word]

    def row(self, choice: Choice) -> Row:
        key = self._keys.get(choice.key, "")
        tone = "muted" if choice.off else ""
        detail = choice.off or choice.detail
        return Row(choice.key, (choice.label, ((key, "key"),), ((detail, "muted"),)), tone)

    def do_choose(self) -> None:
        if len(self.line.text.split()) == 2 and self.line.text.split()[0] in ARGUMENTS:
            self.dismiss(str(self.table.cursor_key))
            return
        text = self.line.text.strip()
        chosen = next((one for one in self._choices if one.key == self.table.cursor_key), None)
        if text in ALIASES or not text or self._pointed or (chosen and _names(chosen, text)):
            super().do_choose()
            return
        word = one_line(text)
        instead = next((has for has, names in INSTEAD.items() if word.casefold() in names), "")
        reason = instead or ("the arrows choose one of these" if chosen else "esc closes")
        self.say(f"no command '{word}'; {reason}.", "warning")

    def do_move(self, key: str) -> None:
        self._pointed = True
        super().do_move(key)

    def on_fleet_table_cell_clicked(self) -> None:
        self._pointed = True
        super().on_fleet_table_cell_clicked()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._pointed = False
        super().on_input_changed(event)


def _names(choice: Choice, text: str) -> bool:
    """Whether what was typed begins words of the command or of its label; what its description
    says is no name of it."""
    words = re.split(r"[^\w]+", f"{choice.word} {choice.label}".casefold())
    return all(any(one.startswith(part) for one in words) for part in text.casefold().split())


def _pickable(action: Action) -> bool:
    return not (
        action.keyed or action.widget or action.name == "command" or action.id == "servings.quit"
    )
