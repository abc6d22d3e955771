"""Every key and what it does, the keys of the current screen first."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.serving.status.status import Status
from servedeck.serving.text import one_line
from tui.actions import SCOPE_TITLES, action_key_display, actions_in_scope, bindings
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.serving_rows import status_span
from widgets.text_view import Paragraph, TextView

KEY_WIDTH = 12


def build_paragraphs(scopes: Sequence[str], keymap: Mapping[str, str]) -> list[Paragraph]:
    """The help, the named scopes first."""
    result: list[Paragraph] = []
    for scope in dict.fromkeys((*scopes, "table", "app", *SCOPE_TITLES)):
        if not (actions := actions_in_scope(scope)):
            continue  # a pane without keys of its own
        result.append(Paragraph(((SCOPE_TITLES[scope], "title"),)))
        for action in actions:
            keys = action_key_display(action, keymap, all_keys=not action.passes_key)
            words = f" (:{action.command})" if action.command else ""
            result.append(
                Paragraph(
                    ((f"  {keys:<{KEY_WIDTH}}  ", "key"), (action.help, ""), (words, "muted")),
                    indent=KEY_WIDTH + 4,
                )
            )
        result.append(Paragraph())
    result.append(Paragraph((("Statuses", "title"),)))
    for status in Status:
        word, style_name = status_span(status)
        result.append(
            Paragraph(
                (
                    (f"  {word:<{KEY_WIDTH + 2}}  ", style_name),
                    (f"{status.description} ", ""),
                    (status.recovery, "accent"),
                ),
                indent=KEY_WIDTH + 6,
            )
        )
    return result


def kubeconfig_paragraphs(files: Sequence[Path] | None) -> list[Paragraph]:
    """How kubectl in another terminal uses the same kubeconfig; none for that of the environment,
    which it uses anyway."""
    if not files:
        return []
    value = shlex.quote(os.pathsep.join(map(str, files)))
    return [
        Paragraph((("kubectl in Another Terminal", "title"),)),
        Paragraph(((f"  export KUBECONFIG={one_line(value)}", ""),), indent=4),
        Paragraph(),
    ]


class HelpScreen(Overlay[None]):
    """The help."""

    SCOPE = "help"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("help")
    text_view = query_one(TextView)

    def __init__(self, scopes: Sequence[str]) -> None:
        super().__init__()
        self._scopes = tuple(scopes)

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        keys = build_paragraphs(self._scopes, self.app_context.keymap)
        self.text_view.set_paragraphs([*kubeconfig_paragraphs(self.app_context.kubeconfig), *keys])
        self.text_view.focus()

    def do_close(self) -> None:
        self.dismiss(None)

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)
