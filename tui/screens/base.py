"""What all screens share: they paint at once, run actions of the registry, and report errors in one
sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from time import monotonic
from typing import ClassVar, Protocol, TypeVar, cast

from textual import events
from textual.app import ComposeResult, ScreenStackError
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.getters import query_one
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import WorkerState

from servedeck.cluster.http.errors import describe_error
from tui.action_tables.action import Action
from tui.actions import ACTIONS_BY_ID, action_bindings, action_key_display, actions_in_scope
from tui.internals.textual_private import (
    is_batching,
    needs_paint,
    paint_now,
)
from tui.ports.app_context import AppContext
from tui.ports.serving_source import SourceChanges
from tui.unpainted_input import InputPhase
from tui.workers import Worker, run_exclusive
from widgets.footer import KeyFooter, KeyHint
from widgets.line_input import PlainInput
from widgets.styled_line import Line, plain_text, wrap
from widgets.text_view import StatusLine

Result = TypeVar("Result")

PAINT_INTERVAL = 1 / 60
"""Minimum number of seconds between two paints of one screen."""

INPUT_STEP_SECONDS = 0.001
"""Seconds between two questions whether a key has had its effect."""

MESSAGE_SECONDS = 8.0
"""Seconds that a message stays on the message line, unless a key is pressed."""

MAX_MESSAGE_LINES = 4
"""Maximum number of lines of a message; fewer on a low terminal."""


class ActionOwner(Protocol):
    """A screen or a pane: it has a method `do_<name>` for each action of its scope."""

    def disabled_reason(self, action: Action) -> str: ...


class ActionScreen(Screen[Result], inherit_bindings=False):
    """A screen with a message line and a footer, whose keys are actions of the registry."""

    SCOPE: ClassVar[str] = "app"
    HAS_HELP: ClassVar[bool] = True
    """Whether the screen offers the help; False where keys are text."""
    BINDINGS: ClassVar[list[BindingType]] = [
        *action_bindings("app.suspend"),
        *action_bindings("app.redraw"),
        *action_bindings("app.theme"),
        *action_bindings("app.screenshot"),
    ]
    """Bindings of every screen; a screen that binds the key itself overrides them."""
    AUTO_FOCUS: ClassVar[str | None] = None
    message_line = query_one("#message", StatusLine)
    key_footer = query_one(KeyFooter)

    def __init__(self) -> None:
        super().__init__()
        self._styled_theme = ""
        """The theme whose styles it has; "" before it is mounted."""
        self._last_paint_at = 0.0
        self._scheduled_paint: asyncio.TimerHandle | None = None
        """The next call of `on_idle` to paint."""
        self._message_until = 0.0
        self._message: Line = ()
        self._message_height = 1
        self._last_focused: Widget | None = None
        self._pending_result: tuple[Result | None] | None = None
        """Result of a screen that was to close while another one was over it."""

    @property
    def app_context(self) -> AppContext:
        return cast(AppContext, self.app)

    def compose(self) -> ComposeResult:
        yield from self.compose_body()
        yield StatusLine(id="message")
        yield KeyFooter()

    def compose_body(self) -> Iterable[Widget]:
        """The widgets between the top of the screen and its message line."""
        return ()

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close the screen, once: a second key in the same moment has no effect. Under another
        screen it closes when that one is closed."""
        if self.is_active:
            return super().dismiss(result)
        if self in self.app.screen_stack:
            self._pending_result = (result,)
        return AwaitComplete()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        # No style depends on the screens of the stack: Textual's own handler, which runs after this
        # one, would apply all of them to each widget again. That takes 15 to 25 ms on a page. A
        # screen that was not shown while another theme was chosen needs it.
        event.refresh_styles = self._styled_theme != self.app.theme
        self._styled_theme = self.app.theme
        if self._pending_result is not None:
            pending, self._pending_result = self._pending_result, None
            self.dismiss(*pending)

    # -- painting -----------------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        """Whether it is the screen that is shown. Textual's own also says so of the screen under
        it, whose changes would then be painted, although every screen here is opaque."""
        try:
            return self.app.screen is self
        except ScreenStackError:
            return False

    async def on_idle(self, event: events.Idle) -> None:
        """Paint as soon as no message is left to handle, at most once per frame; the effect of a
        key at once, and unless keys wait for a layout nothing else before it. Textual's own handler
        leaves each paint to a timer of 60 Hz, which adds one to two frames between a key and its
        effect: 36 ms measured, against 6 ms here.
        """
        if not needs_paint(self) or not self.is_current or is_batching(self.app):
            return
        if not self.can_paint():
            event.prevent_default()
            return
        event.prevent_default()
        now, phase = monotonic(), self.app_context.input_phase
        if phase is InputPhase.HANDLING:
            self._paint_after(INPUT_STEP_SECONDS)  # together with its effect
            return
        wait = self._last_paint_at + PAINT_INTERVAL - now
        if wait > 0 and phase is not InputPhase.UNPAINTED:
            self._paint_after(wait)
            return
        self._last_paint_at = now
        paint_now(self)

    def _paint_after(self, seconds: float) -> None:
        loop, scheduled = asyncio.get_running_loop(), self._scheduled_paint
        if scheduled is not None:
            if scheduled.when() <= loop.time() + seconds:
                return
            scheduled.cancel()
        self._scheduled_paint = loop.call_later(seconds, self._check_scheduled_paint)

    def _check_scheduled_paint(self) -> None:
        self._scheduled_paint = None
        self.check_idle()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The background, most of which is under widgets: one line is drawn for all of them, which
        is a third less work for each paint of the whole screen."""
        line = Region(crop.x, crop.y, crop.width, min(crop.height, 1))
        return super().render_lines(line) * crop.height

    def can_paint(self) -> bool:
        """Whether a paint now is worth it; when this changes, the screen calls `check_idle`."""
        return True

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        """Why the action is not possible now, in one sentence; "" if it is."""
        return ""

    def action_owner(self, action: Action) -> ActionOwner:
        """What runs the action and says why it is not possible: a part of the screen whose scope it
        has, else the screen."""
        return self

    async def action_do(self, action_id: str, *arguments: str) -> None:
        """Run an action of the registry, or show why it is not possible."""
        if self.app_context.exiting:
            return  # keys after the one that quit
        action = ACTIONS_BY_ID[action_id]
        self.clear_message()
        owner = self.action_owner(action)
        if reason := owner.disabled_reason(action):
            self.show_message(reason, "warning")
            return
        target = self.app_context if action.scope == "app" else owner
        result = getattr(target, f"do_{action.name}")(*arguments)
        if isinstance(result, Coroutine):
            await result

    def scopes(self) -> tuple[str, ...]:
        """Scopes of the actions that the footer and the help show now."""
        return (self.SCOPE,)

    def footer_order(self, action: Action) -> int:
        """Place of the action in the footer now, the smallest first; 0 is not shown there."""
        return action.footer_order

    def in_footer(self, action: Action) -> bool:
        """Whether the footer shows the action now."""
        return bool(self.footer_order(action))

    def label_for(self, action: Action) -> str:
        """What the footer calls the action now."""
        return action.label

    def help_key(self) -> str:
        """The key that lists the keys here, as it is shown; "" for none."""
        if not self.HAS_HELP:
            return ""
        keys = action_key_display(
            ACTIONS_BY_ID["app.help"], self.app_context.keymap, all_keys=True
        ).split()
        return keys[-1 if isinstance(self.focused, PlainInput) else 0]

    async def exit_blocker(self) -> str:
        """Why the program should not exit yet, in a sentence; "" if it may."""
        return ""

    def exit_notice(self) -> str:
        """What the operator must know when the program exits now, in a sentence; "" for nothing."""
        return ""

    def update_footer(self) -> None:
        """Update the footer."""
        self.key_footer.set_hints(self.footer_hints())

    def footer_hints(self) -> list[KeyHint]:
        """What the footer shows, the most important first."""
        keymap = self.app_context.keymap
        actions: list[Action] = []
        taken: set[str] = set()
        for scope in self.scopes():  # a key means what the innermost scope says
            keys = {one: keymap.get(one.id, one.keys).split(",") for one in actions_in_scope(scope)}
            known = [one for one in keys if not taken.issuperset(keys[one])]
            actions += filter(self.in_footer, known)
            taken.update(key for one in known for key in keys[one])
        actions.sort(key=self.footer_order)
        return [
            KeyHint(
                action.id,
                action_key_display(action, keymap),
                self.label_for(action),
                bool(self.action_owner(action).disabled_reason(action)),
            )
            for action in (*actions, *([ACTIONS_BY_ID["app.help"]] if self.HAS_HELP else []))
        ]

    async def on_key_footer_pressed(self, message: KeyFooter.Pressed) -> None:
        action = ACTIONS_BY_ID[message.action]
        if action.bound_by_widget and not action.passes_key:
            # from the app: a key that the screen sends does not reach its own widgets
            self.app.call_later(self.app.simulate_key, action.keys.partition(",")[0])
        elif not action.passes_key:
            await self.action_do(message.action)

    # -- messages -----------------------------------------------------------------------------

    def show_message(
        self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS
    ) -> None:
        """Show a sentence for a while, on several lines if it is long."""
        if not self.children:  # not composed yet, or removed
            if not self.is_mounted:
                self.call_later(self.show_message, text, style_name, seconds)
            return
        self._message_until = monotonic() + seconds
        self._message = ((" ", ""), (text, style_name))
        self._show_message_lines()
        self.set_timer(seconds + 0.05, self._expire_message)

    def on_plain_input_limit_reached(self, message: PlainInput.LimitReached) -> None:
        self.show_message(message.text, "warning")

    def clear_message(self) -> None:
        """Clear the message, since a key was pressed."""
        self._message_until = 0.0
        self.update_message()

    def _expire_message(self) -> None:
        if self.is_attached and monotonic() >= self._message_until:
            self.update_message()

    @property
    def has_message(self) -> bool:
        return monotonic() < self._message_until

    def update_message(self) -> None:
        """Update the message line."""
        if not self.has_message:
            self._set_message_height(1)
            self.message_line.set_lines(self.default_message())

    def _show_message_lines(self) -> None:
        """Wrap the message; what does not fit into the last line is cut there."""
        most = max(1, min(MAX_MESSAGE_LINES, self.app.size.height // 6))
        lines = wrap(self._message, self.app.size.width - 1, 1)
        if len(lines) > most:
            rest = " ".join(plain_text(one).strip() for one in lines[most - 1 :])
            lines[most - 1 :] = [((" ", ""), (rest, self._message[-1][1]))]
        self._set_message_height(max(len(lines), 1))
        self.message_line.set_lines(*lines)

    def _set_message_height(self, height: int) -> None:
        if height != self._message_height:
            self._message_height = height
            self.message_line.styles.height = height

    def default_message(self) -> Line:
        """What the message line shows without a message."""
        return ()

    def on_changes(self, changes: SourceChanges) -> None:
        """Servings, or the state of the connection, have changed."""

    def on_port_forwards_changed(self) -> None:
        """A port-forward was started or stopped, or goes to another Pod."""

    def save_on_exit(self) -> None:
        """The program exits: save what was typed. May be called from another thread."""

    # -- workers ------------------------------------------------------------------------------

    def start_worker(
        self, work: Coroutine[None, None, None], group: str, *, busy_label: str = ""
    ) -> Worker[None]:
        """Run `work` in the background, replacing the previous worker of the group. If the meaning
        of later keys depends on it, `busy_label` describes it, and keys are queued until it
        ends."""
        worker = run_exclusive(self, work, group)
        if busy_label:
            self.app_context.hold_keys(worker, busy_label)
        return worker

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.show_message(describe_error(event.worker.error), "error", 30)

    # -- size ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._styled_theme = self.app.theme
        self.update_footer()

    async def on_unmount(self) -> None:
        self.app_context.note_removed()

    def on_resize(self, event: events.Resize) -> None:
        if event.size == self.app.size:
            self.adapt_to_size(event.size)
            self.call_after_refresh(self._restore_focus)
        else:
            # The size has changed since. A screen sends itself another event after each layout, so
            # two sizes in the queue would alternate forever.
            event.prevent_default()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._last_focused = event.widget

    def _restore_focus(self) -> None:
        """A widget without space loses the focus; restore it."""
        last = self._last_focused
        if self.focused is None and last is not None and last.is_attached and last.focusable:
            self.set_focus(last)

    def adapt_to_size(self, size: Size) -> None:
        """Hide what does not fit into a small terminal."""
        self.message_line.display = size.height >= 8
        if self.has_message:
            self._show_message_lines()
        self.key_footer.display = size.height >= 6


class Overlay(ActionScreen[Result], ModalScreen[Result]):
    """A screen over another one; opaque, since blending sends 60 kB to the terminal."""
