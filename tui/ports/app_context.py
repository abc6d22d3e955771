"""What every screen can ask of the app that shows it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from textual.worker import Worker

    from tui.ports.change_service import ChangeService
    from tui.ports.serving_source import LogService, ServingSource
    from widgets.status_popover import CrashedContainer, LogTail


class AppContext(Protocol):
    """The app, as its screens see it."""

    source: ServingSource
    log_service: LogService
    readonly: bool
    keymap: dict[str, str]
    """The operator's keymap: an action's id -> its keys."""
    favorites: tuple[str, ...]
    """Namespaces of the keys 1 to 9, in their order; empty for those with most servings."""
    wide: bool
    columns: tuple[str, ...]
    """Keys of the only columns to show; empty for all."""
    exiting: bool
    """True from the moment that the end was asked for."""

    @property
    def change_service(self) -> ChangeService | None:
        """None where there is no cluster to create anything in."""

    def clock(self) -> datetime:
        """The time now."""

    def key_display_for(self, action_id: str) -> str:
        """The key of an action as people write it, in the operator's keymap."""

    async def show_namespace(self, name: str) -> None:
        """Show one namespace, or all with ""."""

    def pick_namespace(self) -> None:
        """Let the operator choose one."""

    def pick_context(self) -> None:
        """Let the operator choose a context."""

    async def read_log_tail(self, crash: CrashedContainer, lines: int) -> LogTail:
        """The last lines of a crashed container, or why there are none."""

    def write_to_terminal(self, sequence: str) -> None:
        """Send a control sequence to the terminal, past the screen."""

    def hold_keys(self, worker: Worker[None], label: str) -> None:
        """Keep the keys that come until the worker ends; `what` says what it does."""

    async def do_quit(self) -> None:
        """End, unless a screen says why not yet."""

    def do_help(self) -> None:
        """Show what the keys of the screen in front do."""
