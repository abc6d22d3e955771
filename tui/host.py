"""What every screen can ask of the app that shows it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from textual.worker import Worker

    from tui.source import Cluster, Source
    from tui.workbench import Workbench
    from widgets.status_popover import Crash, Tail


class Host(Protocol):
    """The app, as its screens see it."""

    source: Source
    cluster: Cluster
    readonly: bool
    keys: dict[str, str]
    """The operator's keymap: an action's id -> its keys."""
    favourites: tuple[str, ...]
    """Namespaces of the keys 1 to 9, in their order; empty for those with most servings."""
    wide: bool
    columns: tuple[str, ...]
    """Keys of the only columns to show; empty for all."""
    leaving: bool
    """True from the moment that the end was asked for."""

    @property
    def workbench(self) -> Workbench | None:
        """None where there is no cluster to create anything in."""

    def clock(self) -> datetime:
        """The time now."""

    def key_of(self, action_id: str) -> str:
        """The key of an action as people write it, in the operator's keymap."""

    async def show_namespace(self, name: str) -> None:
        """Show one namespace, or all with ""."""

    def pick_namespace(self) -> None:
        """Let the operator choose one."""

    def pick_context(self) -> None:
        """Let the operator choose a context."""

    async def read_tail(self, crash: Crash, lines: int) -> Tail:
        """The last lines of a crashed container, or why there are none."""

    def write_to_terminal(self, sequence: str) -> None:
        """Send a control sequence to the terminal, past the screen."""

    def hold(self, worker: Worker[None], what: str) -> None:
        """Keep the keys that come until the worker ends; `what` says what it does."""

    async def do_quit(self) -> None:
        """End, unless a screen says why not yet."""

    def do_help(self) -> None:
        """Show what the keys of the screen in front do."""
