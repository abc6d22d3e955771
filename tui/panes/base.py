"""What all panes share: a pane is the content of one tab of a serving's page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar, cast

from textual.containers import Vertical
from textual.message import Message
from textual.worker import WorkerState

from servedeck.cluster.http.errors import describe_error
from servedeck.detail.detail_service import Watch
from servedeck.fleet.views import NamespacedName, ServingView
from tui.action_tables.action import Action
from tui.ports.app_context import AppContext
from tui.ports.serving_source import SourceChanges
from tui.workers import ActionRunner, Worker, run_exclusive

W = TypeVar("W", bound=Watch)


class Pane(Vertical):
    """A widget with its own keys, from `activate` to `deactivate`.

    The page calls `activate` when its tab is shown and `deactivate` when it is hidden or the page
    closes. In between it gets `on_changes` and `update_ages`; outside, it watches, requests and
    paints nothing. A subclass sets TITLE, SCOPE and BINDINGS, has a method `do_<name>` for each
    action of its scope, and overrides what it needs.
    """

    TITLE: ClassVar[str]
    SCOPE: ClassVar[str]
    """Scope of its actions in the registry."""
    DEFAULT_CSS = "Pane { height: 1fr; }"

    @dataclass
    class MessageShown(Message):
        """The message line shows a sentence."""

        text: str
        style_name: str = ""

    class ActionsChanged(Message):
        """Another action is possible than before: the footer is out of date."""

    @dataclass
    class LogRequested(Message):
        """The log of a Pod of the serving was requested."""

        pod: str
        container: str = ""
        time_ns: int | None = None
        """Unix time of the line to go to in nanoseconds; None for the end."""

    @dataclass
    class PodRequested(Message):
        """The details of a Pod of the serving were requested."""

        uid: str

    class TimelineRequested(Message):
        """The timeline of the serving was requested."""

    @dataclass
    class ValueRequested(Message):
        """A whole value was requested."""

        title: str
        text: str

    @dataclass
    class YamlRequested(Message):
        """The YAML of an object of the serving was requested; of its workload if `kind` is
        ""."""

        kind: str = ""
        name: str = ""

    @dataclass
    class ChoiceRequested(Message):
        """One of some names is to be chosen."""

        title: str
        names: tuple[str, ...]
        selected: str
        on_chosen: Callable[[str], None]

    @dataclass
    class PathRequested(Message):
        """The path of a file to write is to be asked for."""

        title: str
        proposed_path: str
        hint: str
        on_chosen: Callable[[Path], None]

    def __init__(self, key: NamespacedName) -> None:
        super().__init__()
        self.key = key
        self.is_active = False
        self._open_watches: list[Watch] = []

    @property
    def app_context(self) -> AppContext:
        return cast(AppContext, self.app)

    @property
    def view(self) -> ServingView | None:
        """The serving now; None if it was deleted."""
        return self.app_context.source.fleet.view(self.key)

    @property
    def is_loading(self) -> bool:
        """Whether most of what it shows is still to be read."""
        return False

    def on_unmount(self) -> None:
        self.app_context.note_removed()

    def set_serving(self, key: NamespacedName) -> None:
        """Show another serving; only while the pane is not active."""
        self.key = key

    def reset(self) -> None:
        """Forget what was chosen; only while the pane is not active."""

    def activate(self) -> None:
        """Its tab is shown."""
        self.is_active = True

    def deactivate(self) -> None:
        """Its tab is hidden, or the page closes: stops what it started."""
        self.is_active = False
        self.close_watches()

    def on_changes(self, changes: SourceChanges) -> None:
        """Servings, or the state of the connection, have changed."""

    def go_back(self) -> bool:
        """Close or clear what is open in the pane; False if there is nothing, so that the page is
        closed."""
        return False

    def update_ages(self) -> None:
        """A second has passed."""

    def link_options(self) -> list[str]:
        """Options of `servedeck open` that lead to what is under the cursor."""
        return []

    # -- actions ------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        """Scopes of its actions that are possible now. Without its own, those of the page are not
        shown either."""
        return (self.SCOPE,)

    @property
    def edited_field(self) -> str:
        """Path of the field under the cursor, with which the form begins; "" for none."""
        return ""

    def request_yaml(self) -> None:
        """Request the YAML of what is under the cursor."""
        self.post_message(self.YamlRequested())

    def in_footer(self, action: Action) -> bool:
        """Whether the footer shows an action of its scope now."""
        return True

    def disabled_reason(self, action: Action) -> str:
        """Why the action is not possible now, in one sentence; "" if it is."""
        return ""

    async def action_do(self, action_id: str, *arguments: str) -> None:
        """Run an action of the registry; the screen finds its owner."""
        await cast(ActionRunner, self.screen).action_do(action_id, *arguments)

    def show_message(self, text: str, style_name: str = "") -> None:
        self.post_message(self.MessageShown(text, style_name))

    # -- watches ------------------------------------------------------------------------------

    def add_watch(self, watch: W | None) -> W | None:
        """Keep a watch open until `deactivate` or `close_watches`; returns it."""
        if watch is not None:
            self._open_watches.append(watch)
        return watch

    def close_watches(self) -> None:
        """Close the watches that are open."""
        open_watches, self._open_watches = self._open_watches, []
        for watch in open_watches:
            self._start_closing(watch)

    def close_watch(self, watch: Watch | None) -> None:
        """Close one of the watches that are open."""
        if watch is not None and watch in self._open_watches:
            self._open_watches.remove(watch)
            self._start_closing(watch)

    def _start_closing(self, watch: Watch) -> None:
        # A worker of the app: one of the pane would be cancelled when the page closes.
        self.app.run_worker(_close(watch.close()), group="watches", exit_on_error=False)

    # -- workers ------------------------------------------------------------------------------

    def start_worker(self, work: Coroutine[None, None, None], group: str) -> Worker[None]:
        """Run `work` in the background, replacing the previous worker of the group."""
        return run_exclusive(self, work, group)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.show_message(describe_error(event.worker.error), "error")


async def _close(closing: Awaitable[None]) -> None:
    await closing
