"""What all screens share: they paint at once, do actions of the registry, and say what went wrong
in one sentence."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from time import monotonic
from typing import ClassVar, TypeVar, cast

from textual import events
from textual._styles_cache import StylesCache
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from servedeck.cluster.http.errors import explain
from tui.actions import BY_ID, Action, binding_of, in_scope, shown_keys
from tui.host import Host
from tui.source import Changes
from widgets.footer import Hint, KeyBar
from widgets.line_input import PlainInput
from widgets.styled_line import Line
from widgets.text_view import Bar

Result = TypeVar("Result")

FRAME = 1 / 60
"""Seconds between two paints of one screen while it changes all the time."""

SAID_FOR = 8.0
"""Seconds that a message stays on the message line, unless a key is pressed."""


class ActionScreen(Screen[Result], inherit_bindings=False):
    """A screen with a message line and a footer, whose keys are actions of the registry."""

    SCOPE: ClassVar[str] = "app"
    HELPS: ClassVar[bool] = True
    """Whether the help can be asked for here; not where keys are text."""
    BINDINGS: ClassVar[list[BindingType]] = [
        *binding_of("app.suspend"),
        *binding_of("app.redraw"),
    ]
    """What no screen goes without; one that binds the key itself does something else by it."""
    AUTO_FOCUS: ClassVar[str | None] = None
    message_line = query_one("#message", Bar)
    key_bar = query_one(KeyBar)

    def __init__(self) -> None:
        super().__init__()
        self._painted_at = 0.0
        self._said_until = 0.0
        self._focused_last: Widget | None = None

    @property
    def servedeck(self) -> Host:
        return cast(Host, self.app)

    def compose(self) -> ComposeResult:
        yield from self.compose_body()
        yield Bar(id="message")
        yield KeyBar()

    def compose_body(self) -> Iterable[Widget]:
        """The widgets between the top of the screen and its message line."""
        return ()

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close the screen, once: a second key that came in the same moment finds it closed."""
        return super().dismiss(result) if self.is_current else AwaitComplete()

    # -- painting -----------------------------------------------------------------------------

    async def on_idle(self, event: events.Idle) -> None:
        """Paint as soon as nothing more waits to be handled, at most once a frame.

        Textual's own handler leaves each paint to a timer of 60 Hz, which costs one to two frames
        between a key and what it does; measured 36 ms against 6 ms so. Where the last paint was
        less than a frame ago the timer does it, as ever.
        """
        waiting = self._layout_required or self._repaint_required or self._scroll_required
        if not (waiting or self._dirty_widgets) or not self.is_current or self.app._batch_count:
            return
        now = monotonic()
        if now - self._painted_at >= FRAME:
            self._painted_at = now
            event.prevent_default()
            self._on_timer_update()

    # -- actions ------------------------------------------------------------------------------

    def why_not(self, action: Action) -> str:
        """Why the action is not possible now, in one sentence; "" where it is."""
        return ""

    async def action_do(self, action_id: str, *arguments: str) -> None:
        """Do an action of the registry, or say why it cannot be done."""
        if self.servedeck.leaving:
            return  # keys that came after the one that ended it
        action = BY_ID[action_id]
        self.quieten()
        if reason := self.why_not(action):
            self.say(reason, "warning")
            return
        target = self.servedeck if action.scope == "app" else self
        result = getattr(target, f"do_{action.name}")(*arguments)
        if isinstance(result, Coroutine):
            await result

    def scopes(self) -> tuple[str, ...]:
        """Scopes of the actions that the footer and the help show now."""
        return (self.SCOPE,)

    def hinted(self, action: Action) -> bool:
        """Whether the footer has a place for the action now."""
        return bool(action.footer)

    def help_key(self) -> str:
        """The key that lists the keys here, as people write it; "" where there is none."""
        if not self.HELPS:
            return ""
        keys = shown_keys(BY_ID["app.help"], self.servedeck.keys, all_keys=True).split()
        return keys[-1 if isinstance(self.focused, PlainInput) else 0]

    async def why_stay(self) -> str:
        """Why the program should not end yet, in a sentence; "" where it may."""
        return ""

    def left_behind(self) -> str:
        """What whoever ends the program now must know, in a sentence; "" for nothing."""
        return ""

    def show_hints(self) -> None:
        """Bring the footer up to date."""
        keymap = self.servedeck.keys
        actions = [one for scope in self.scopes() for one in in_scope(scope) if self.hinted(one)]
        actions.sort(key=lambda action: action.footer)
        hints = [
            Hint(
                action.id,
                shown_keys(action, keymap),
                action.label,
                bool(self.why_not(action)),
            )
            for action in (*actions, *([BY_ID["app.help"]] if self.HELPS else []))
        ]
        self.key_bar.set_hints(hints)

    async def on_key_bar_pressed(self, message: KeyBar.Pressed) -> None:
        if not BY_ID[message.action].keyed:
            await self.action_do(message.action)

    # -- messages -----------------------------------------------------------------------------

    def say(self, text: str, tone: str = "", seconds: float = SAID_FOR) -> None:
        """Show a sentence on the message line for a while."""
        if not self.children:  # not composed yet, or taken down
            if not self.is_mounted:
                self.call_later(self.say, text, tone, seconds)
            return
        self._said_until = monotonic() + seconds
        self.message_line.set_lines(((" ", ""), (text, tone)))
        self.set_timer(seconds + 0.05, self._silence)

    def on_plain_input_full(self, message: PlainInput.Full) -> None:
        self.say(message.sentence, "warning")

    def quieten(self) -> None:
        """A key was pressed: what was said has been read."""
        self._said_until = 0.0
        self.show_message()

    def _silence(self) -> None:
        if self.is_attached and monotonic() >= self._said_until:
            self.show_message()

    @property
    def speaking(self) -> bool:
        return monotonic() < self._said_until

    def show_message(self) -> None:
        """Put on the message line what belongs there."""
        if not self.speaking:
            self.message_line.set_lines(self.standing_message())

    def standing_message(self) -> Line:
        """What the message line says while there is nothing else to say."""
        return ()

    def on_changes(self, changes: Changes) -> None:
        """Something of the picture, or of the connection, is other than before."""

    def keep_typed(self) -> None:
        """The program ends: write down what was typed. It may be another thread that calls."""

    # -- workers ------------------------------------------------------------------------------

    def start(
        self, work: Coroutine[None, None, None], group: str, *, holds: str = ""
    ) -> Worker[None]:
        """Run `work` beside the screen, in place of what the group ran before. What it does where
        keys mean another thing once it has ended is named by `holds`; they wait for it then."""
        worker = self.run_worker(
            work, name=group, group=group, exclusive=True, exit_on_error=False, description=group
        )
        if worker._task is not None:
            # Python warns of one that is cancelled before it begins.
            worker._task.add_done_callback(lambda _task: work.close())
        if holds:
            self.servedeck.hold(worker, holds)
        return worker

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.say(explain(event.worker.error), "error", 30)

    # -- size ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.show_hints()

    async def on_unmount(self) -> None:
        """Let go of what was drawn: Textual keeps the lines of the last 1,024 widgets in a cache
        of a method, those of closed screens too (14 MiB after 400 screens)."""
        StylesCache.get_inner_outer.cache_clear()

    def on_resize(self, event: events.Resize) -> None:
        if event.size == self.app.size:
            self.fit(event.size)
            self.call_after_refresh(self._focus_again)
        else:
            # It has changed since. A screen that lays itself out for one size tells itself so in
            # another event: with two sizes on their way that would go to and fro for ever.
            event.prevent_default()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._focused_last = event.widget

    def _focus_again(self) -> None:
        """A widget for which there is no room loses the focus; give it back."""
        last = self._focused_last
        if self.focused is None and last is not None and last.is_attached and last.focusable:
            self.set_focus(last)

    def fit(self, size: Size) -> None:
        """Give up what does not fit into a small terminal."""
        self.message_line.display = size.height >= 8
        self.key_bar.display = size.height >= 6


class Overlay(ActionScreen[Result], ModalScreen[Result]):
    """A screen in front of another; opaque, since blending costs 60 kB to the terminal."""
