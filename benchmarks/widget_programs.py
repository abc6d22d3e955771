"""Programs that `benchmarks.textual_widgets` measures: one part of a user interface each, made from
servedeck's widgets or from Textual's.

    python -m benchmarks.widget_programs SIDE PART COUNT

`f5` opens the part; `f6` changes what the footer shows. SIDE is

    servedeck   servedeck's widgets in servedeck's app
    replaced    Textual's widgets in servedeck's app, with its driver and its screen buffer
    textual     Textual's widgets in a plain app of Textual
    markup      the same, with markup in the entries of a list, which is Textual's default

The part `hostile` is a list whose first entry is number COUNT of HOSTILE_TEXTS.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, HelpPanel, Input, OptionList, Static
from textual.widgets.option_list import Option

import tui.app
from styles.themes import DARK
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tui.app import ServedeckApp
from tui.screens.base import ActionScreen
from tui.screens.command import CommandScreen
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.help import HelpScreen
from tui.screens.pick import Choice, PickScreen, rank_choices
from widgets.footer import KeyHint

SIDES = ("servedeck", "replaced", "textual")
PARTS = ("pick", "dialog", "help", "command", "footer", "message")

MARKER = "entry-0001"
"""Shown as soon as a list is open."""

HOSTILE_TEXTS = {
    "markup [/foo]": "a[/foo]b",
    "markup [red]": "a[red]b",
    "clipboard, ESC ]52": "a\x1b]52;c;UE9D\x07b",
    "cursor, ESC [77;7H": "a\x1b[77;7Hb",
    "CSI of 8 bits": "a\x9b31mb",
}
"""What a name from a cluster may contain."""

DIALOG_OPTIONS = (("r", "restart"), ("s", "scale down"), ("c", "cancel"))
QUESTION = "Restart the serving?"
MESSAGE = "The serving was restarted."


def make_labels(count: int) -> list[str]:
    return [f"entry-{number:04}" for number in range(1, count + 1)]


# -- Textual's widgets ----------------------------------------------------------------------------


class TextualPicker(ModalScreen[None]):
    """A list under an input that narrows it, as PickScreen does."""

    CSS = "OptionList { height: 1fr; }"
    AUTO_FOCUS = "Input"
    BINDINGS = [Binding("down", "down", priority=True), Binding("escape", "dismiss")]

    has_markup = False

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self._choices = [Choice(label, label) for label in labels]

    def compose(self) -> ComposeResult:
        entry = Input(compact=True)
        entry.cursor_blink = False
        yield entry
        yield OptionList(*(Option(one.label) for one in self._choices), markup=self.has_markup)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(OptionList).highlighted = 0

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def on_input_changed(self, event: Input.Changed) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(one.label) for one in rank_choices(self._choices, event.value)])
        options.highlighted = 0


class TextualDialog(ModalScreen[None]):
    """A question with three options."""

    CSS = "OptionList { height: 1fr; }"
    BINDINGS = [Binding("escape", "dismiss")]

    def compose(self) -> ComposeResult:
        yield Static(QUESTION, markup=False)
        yield OptionList(*(f"{key}  {label}" for key, label in DIALOG_OPTIONS), markup=False)


class EntryCommands(Provider):
    """Commands that do nothing; `labels` are set by the program."""

    labels: Sequence[str] = ()

    async def discover(self) -> Hits:
        for label in self.labels:
            yield DiscoveryHit(label, lambda: None, help="an entry")

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for label in self.labels:
            if (score := matcher.match(label)) > 0:
                yield Hit(score, matcher.highlight(label), lambda: None, help="an entry")


class FooterScreen(Screen[None]):
    """A screen with bindings and a footer."""

    BINDINGS = [
        Binding(key, "nothing", f"Action {number}") for number, key in enumerate("abcdefgh", 1)
    ]

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True

    def compose(self) -> ComposeResult:
        yield Static("the body", markup=False)
        yield Footer(show_command_palette=False)

    def action_nothing(self) -> None: ...

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return True if action != "nothing" or self._is_enabled else None

    def toggle(self) -> None:
        self._is_enabled = not self._is_enabled
        self.refresh_bindings()


def open_textual(app: App[Any], part: str, labels: Sequence[str]) -> None:
    match part:
        case "pick":
            app.push_screen(TextualPicker(labels))
        case "dialog":
            app.push_screen(TextualDialog())
        case "help":
            app.screen.mount(HelpPanel())
        case "command":
            EntryCommands.labels = labels
            app.push_screen(CommandPalette(providers=[EntryCommands]))
        case "footer":
            app.push_screen(FooterScreen())
        case "message":
            app.notify(MESSAGE, markup=False)


class TextualApp(App[None]):
    """A plain app of Textual, with its own driver."""

    BINDINGS = [Binding("f5", "open", "Open"), Binding("f6", "toggle", "Toggle")]

    def __init__(self, part: str, labels: Sequence[str]) -> None:
        super().__init__()
        self.animation_level = "none"
        self._part, self._labels = part, labels

    def compose(self) -> ComposeResult:
        yield Static("ready", markup=False)

    def action_open(self) -> None:
        open_textual(self, self._part, self._labels)

    def action_toggle(self) -> None:
        if isinstance(self.screen, FooterScreen):
            self.screen.toggle()


# -- servedeck's widgets --------------------------------------------------------------------------


class EntryCommandScreen(CommandScreen):
    """The command line with other commands."""

    def __init__(self, screen: ActionScreen[object], labels: Sequence[str]) -> None:
        super().__init__(screen)
        self._choices = [Choice(label, f":{label}", "an entry", label) for label in labels]


class ServedeckFooterScreen(ActionScreen[None]):
    """A screen with servedeck's footer."""

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True

    def update_footer(self) -> None:
        self.key_footer.set_hints(
            [
                KeyHint(f"action-{number}", key, f"Action {number}", not self._is_enabled)
                for number, key in enumerate("abcdefgh", 1)
            ]
        )

    def toggle(self) -> None:
        self._is_enabled = not self._is_enabled
        self.update_footer()


def open_servedeck(app: ServedeckApp, part: str, labels: Sequence[str]) -> None:
    match part:
        case "pick":
            app.push_screen(PickScreen("Entries", [Choice(label, label) for label in labels]))
        case "dialog":
            options = [DialogOption(key, label) for key, label in DIALOG_OPTIONS]
            app.push_screen(ConfirmDialog(QUESTION, [], options))
        case "help":
            app.push_screen(HelpScreen(app.servings.scopes()))
        case "command":
            app.push_screen(EntryCommandScreen(app.servings, labels))
        case "footer":
            app.push_screen(ServedeckFooterScreen())
        case "message":
            app.show_message(MESSAGE)


class ServedeckWidgetsApp(ServedeckApp):
    """servedeck's app over an empty list, with two more keys."""

    CSS_PATH = [Path(tui.app.__file__).parent / one for one in ServedeckApp.CSS_PATH]
    open_part: Callable[[], None]

    def on_unbound_key(self, event: Any) -> None:
        if event.key == "f5":
            self.open_part()
        elif event.key == "f6" and isinstance(self.screen, FooterScreen | ServedeckFooterScreen):
            self.screen.toggle()


def make_servedeck_app(
    part: str, labels: Sequence[str], *, replaced: bool = False
) -> ServedeckWidgetsApp:
    app = ServedeckWidgetsApp(
        fakes.FakeSource(),
        fakes.FakeLogService(),
        FakeDetailService(),
        clock=lambda: fakes.NOW,
        theme=DARK.name,
    )
    open_it = open_textual if replaced else open_servedeck
    app.open_part = partial(open_it, app, part, labels)  # type: ignore[arg-type]
    return app


def main(side: str, part: str, count: int) -> None:
    labels = make_labels(count)
    if part == "hostile":
        part, labels = "pick", [list(HOSTILE_TEXTS.values())[count], MARKER]
    TextualPicker.has_markup = side == "markup"
    app: App[None]
    if side in ("textual", "markup"):
        app = TextualApp(part, labels)
    else:
        app = make_servedeck_app(part, labels, replaced=side == "replaced")
    app.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
