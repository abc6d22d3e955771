"""Every key and what it does, those of the screen that one comes from first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.serving.status.status import Status
from tui.actions import SCOPES, bindings, in_scope, shown_keys
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll
from widgets.serving_rows import status_word
from widgets.text_view import Lines, Paragraph

KEY_WIDTH = 12


def paragraphs(scopes: Sequence[str], keymap: Mapping[str, str]) -> list[Paragraph]:
    """The help, the named scopes first."""
    result: list[Paragraph] = []
    for scope in dict.fromkeys((*scopes, "table", "app", *SCOPES)):
        result.append(Paragraph(((SCOPES[scope], "title"),)))
        for action in in_scope(scope):
            keys = shown_keys(action, keymap, all_keys=not action.keyed)
            words = f" (:{action.command})" if action.command else ""
            result.append(
                Paragraph(
                    ((f"  {keys:<{KEY_WIDTH}}  ", "key"), (action.help, ""), (words, "muted")),
                    hanging=KEY_WIDTH + 4,
                )
            )
        result.append(Paragraph())
    result.append(Paragraph((("States", "title"),)))
    for status in Status:
        word, tone = status_word(status)
        result.append(
            Paragraph(
                (
                    (f"  {word:<{KEY_WIDTH + 2}}  ", tone),
                    (f"{status.meaning} ", ""),
                    (status.recovery, "accent"),
                ),
                hanging=KEY_WIDTH + 6,
            )
        )
    return result


class HelpScreen(Overlay[None]):
    """The help."""

    SCOPE = "help"
    HELPS = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("help")
    text = query_one(Lines)

    def __init__(self, scopes: Sequence[str]) -> None:
        super().__init__()
        self._scopes = tuple(scopes)

    def compose_body(self) -> ComposeResult:
        yield Lines()

    def on_mount(self) -> None:
        super().on_mount()
        self.text.set_paragraphs(paragraphs(self._scopes, self.servedeck.keys))
        self.text.focus()

    def do_close(self) -> None:
        self.dismiss(None)

    def do_scroll(self, key: str) -> None:
        scroll(self.text, key)
