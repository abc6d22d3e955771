"""What the dialogs share that show a plan before it is carried out: its text, the options below it,
and which keys refer to what is shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from time import monotonic
from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.getters import query_one

from tui.action_tables.action import Action
from tui.screens.base import Overlay
from widgets.text_view import StatusLine, TextView

WAITING = "Waiting for the API server; confirm when the plan is shown."

Result = TypeVar("Result")


class PlanDialog(Overlay[Result]):
    """The keys y and n choose and do what the actions `confirm` and `close` of the scope do. A key
    that was read before the plan was on the screen chooses nothing."""

    HAS_HELP = False
    text_view = query_one(TextView)

    def __init__(self) -> None:
        super().__init__()
        self._notice = ""
        """Why the plan is not the first one, in a sentence."""
        self._choice: bool | None = None
        """Whether the cursor was put on what confirms; None while the plan decides."""
        self._is_on_third = False
        """Whether the cursor was put on the third option, while `_choice` is not None."""
        self._is_plan_shown = False
        """Whether the plan has been on the screen, so that it can be confirmed."""
        self._shown_at = 0.0
        """When the newest plan or result was: keys that were read before do not refer to it."""
        self._waits_for_plan = False
        """Whether the message says that the plan is waited for."""

    def compose_plan(self) -> ComposeResult:
        """The text, and the options below it."""
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view
        yield StatusLine(id="options")

    # -- for a subclass -----------------------------------------------------------------------

    @property
    @abstractmethod
    def is_writing(self) -> bool:
        """Whether something was sent that is not answered yet."""

    @property
    def takes_letters(self) -> bool:
        """Whether y and n choose; otherwise they are text."""
        return True

    @property
    def has_choice(self) -> bool:
        """Whether there are two options to choose from now."""
        return not self.is_writing

    @abstractmethod
    def confirm_disabled_reason(self) -> str:
        """Why the plan cannot be confirmed now, in a sentence; "" if it can."""

    @abstractmethod
    def update_controls(self) -> None:
        """Draw the options, and what depends on them."""

    # -- what is shown ------------------------------------------------------------------------

    def note_plan_shown(self) -> None:
        """The plan is on the screen from now on."""
        self._is_plan_shown, self._shown_at = True, monotonic()
        if self._waits_for_plan:
            self._waits_for_plan = False
            self.clear_message()
        self.update_footer()

    def set_options(self, *options: tuple[str, bool]) -> None:
        """Show options, each with whether the cursor is on it."""
        view = self.query_one("#options", StatusLine)
        view.set_lines(
            *(
                (("▌ " if here else "  ", "accent"), (text, "strong" if here else ""))
                for text, here in options
            )
        )

    def label_for(self, action: Action) -> str:
        """The footer names the key that scrolls where there is more than is shown."""
        label = super().label_for(action)
        return f"{label}, pgdn scroll" if self._has_more and action.name == "move" else label

    @property
    def _has_more(self) -> bool:
        """Whether the text is longer than the screen."""
        return self.is_attached and self.text_view.max_scroll_y > 0

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.call_after_refresh(self.update_footer)

    # -- keys ---------------------------------------------------------------------------------

    async def on_key(self, event: events.Key) -> None:
        if event.key not in ("y", "n") or not self.takes_letters:
            return
        event.stop()
        event.prevent_default()
        confirms = event.key == "y"
        if self.has_choice:
            if confirms and not self.is_for_plan():
                return
            self._choice, self._is_on_third = confirms, False
        self.update_controls()
        await self.action_do(f"{self.SCOPE}.{'confirm' if confirms else 'close'}")

    def is_for_plan(self) -> bool:
        """Whether the key that is handled was pressed when the plan could be read, or what there is
        instead of it. If not, a message says so."""
        if not self._is_plan_shown:
            self._waits_for_plan = True
            self.clear_message()
            self.show_message(self.confirm_disabled_reason() or WAITING, "warning")
        elif self.app_context.input_read_at < self._shown_at:
            # Typed ahead: it does not refer to what is shown now.
            self.show_message("That key was pressed before this was shown; press it again.")
        else:
            return True
        return False

    def move_choice(self, key: str, here: bool | None, options: Sequence[bool | None]) -> None:
        """Put the cursor on the next option or, with a key that goes up, on the previous one.
        `options` are in the order in which they are shown: whether each confirms, None for the
        third; `here` is the one under the cursor."""
        step = -1 if key in ("up", "k", "shift+tab") else 1
        chosen = options[(options.index(here) + step) % len(options)]
        self._choice, self._is_on_third = bool(chosen), chosen is None
        self.update_controls()

    def scroll_pages(self, key: str) -> bool:
        """Scroll the text by a page, if the key does that."""
        if key not in ("pagedown", "pageup"):
            return False
        self.text_view.scroll_pages(1 if key == "pagedown" else -1)
        return True
