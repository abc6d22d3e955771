"""The command line: every action by its name, and a few words with an argument."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

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

    def choices(self) -> list[Choice]:
        words = self.line.text.split()
        if len(words) == 2 and words[0] in ARGUMENTS:
            what = ARGUMENTS[words[0]]
            line = Choice(f"{what} {words[1]}", self.line.text, f"Go to the {what} {words[1]}.")
            return [line]
        text = self.line.text.strip()
        return super().choices() if text not in ALIASES else self._named(ALIASES[text])

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
        else:
            super().do_choose()


def _pickable(action: Action) -> bool:
    return not (
        action.keyed or action.widget or action.name == "command" or action.id == "servings.quit"
    )
