"""The app: the source of servings, the screens, and what every screen can use."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.worker import Worker, WorkerState

from servedeck import logging_setup
from servedeck.cluster.auth.kubeconfig import namespace_problem
from servedeck.cluster.auth.subprocess_runner import kill_subprocesses
from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.fleet.history import ServingHistory
from servedeck.fleet.query import describe_ambiguous_name, find_servings
from servedeck.fleet.views import ServingView
from servedeck.serving.text import format_count, sanitize
from styles.themes import ANSI, DARK, DEFAULT_VARIABLES, THEMES
from tui.actions import ACTIONS_BY_ID, action_key_display, key_display, scope_bindings
from tui.garbage_collection import IdleCollector, YoungCollector
from tui.internals.app_hooks import TerminalApp
from tui.internals.driver import TerminalDriver
from tui.internals.textual_private import free_drawn_lines
from tui.key_queue import ORDERED_EVENTS, KeyQueue
from tui.logs.target import LogTarget
from tui.ports.app_context import KeptEdit, Undoable
from tui.ports.log_service import LogService
from tui.ports.serving_source import ServingSource, SourceChanges
from tui.screens.base import MESSAGE_SECONDS, ActionScreen
from tui.screens.servings import ServingsScreen
from tui.sent_requests import SentRequests
from tui.unpainted_input import InputPhase, UnpaintedInput
from tui.workers import run_exclusive
from widgets.status_paragraphs import CrashedContainer, LogTail
from widgets.styled_line import STYLE_CLASSES, sanitized

if TYPE_CHECKING:
    from pathlib import Path

    from servedeck.changes.draft import Draft
    from servedeck.cluster.apply import ObjectRef
    from servedeck.detail.detail_service import DetailService
    from servedeck.forwarding.forwards import PortForwards
    from tui.ports.app_context import AppContext
    from tui.ports.async_queue_service import AsyncQueueService
    from tui.ports.bundle_service import BundleService
    from tui.ports.change_service import ChangeService
    from tui.ports.metrics_service import MetricsService
    from tui.ports.traffic_service import TrafficService
    from tui.screens.pick import PickScreen

_log = logging.getLogger(__name__)

INPUT_DRAIN_TIMEOUT = 0.4
"""Seconds in which text typed before a signal must reach its field."""
CLOSE_TIMEOUT = 2.0
"""Seconds in which connections must close when the app exits."""

LOG_TAIL_TIMEOUT = 10.0
"""Timeout in seconds for the last lines of a container."""

ENDED_PHASES = frozenset({"LIVE", "FORBIDDEN", "UNAUTHORIZED", "RETRYING"})
"""Phases in which a serving that is not listed is not waited for."""

LOADING_PHASES = frozenset({"CONNECTING", "LISTING"})
"""Phases of the source in which servings are not listed yet."""

IGNORED_KEYS = re.compile(r"(left|right|iso)_.*|.*_lock|<ignore>|(lower|raise|mute)_.*|media_.*")
"""Keys that request nothing: modifiers alone, and keys of the system (volume, media)."""


class InitialPage(NamedTuple):
    """The page of a serving that is open at the start."""

    name: str
    namespace: str = ""
    """"" for the one that has a serving of that name."""
    tab: str = ""
    """Title of the tab, in any case; "" for the first."""
    kind: str = ""
    """Kind of the workload, in any case; "" for a Deployment, or any if there is none."""
    log: LogTarget | None = None
    """The log that the tab Logs shows; None for that of all Pods."""


class ServedeckApp(TerminalApp):
    """Shows the servings of a cluster until the operator quits."""

    CSS_PATH = [
        "../styles/base.tcss",
        "../styles/servings.tcss",
        "../styles/serving.tcss",
        "../styles/overlays.tcss",
        "../styles/create.tcss",
    ]
    COMPONENT_CLASSES = STYLE_CLASSES
    TITLE = "servedeck"
    ENABLE_COMMAND_PALETTE = False
    # Takes priority over the focused widget: ctrl+c means the same in a text field.
    BINDINGS: ClassVar[list[BindingType]] = [
        replace(one, priority=True) for one in scope_bindings("app") if one.id == "app.quit"
    ]
    ALLOW_SELECT = False
    """The terminal's own selection (shift and drag) copies what is on the screen."""

    def __init__(
        self,
        source: ServingSource,
        log_service: LogService,
        detail_service: DetailService,
        *,
        favorites: Sequence[str] = (),
        keymap: Mapping[str, str] | None = None,
        theme: str = "",
        readonly: bool = False,
        kubeconfig: tuple[Path, ...] | None = None,
        is_production_context: Callable[[str], bool] = lambda _context: False,
        wide: bool = False,
        columns: Sequence[str] = (),
        column_widths: Mapping[str, int] | None = None,
        filters: Mapping[str, str] | None = None,
        log_memory_bytes: int = 64 << 20,
        change_service: ChangeService | None = None,
        bundle_service: BundleService | None = None,
        metrics_service: MetricsService | None = None,
        async_queue_service: AsyncQueueService | None = None,
        traffic_service: TrafficService | None = None,
        port_forwards: PortForwards | None = None,
        initial_draft: Draft | None = None,
        initial_page: InitialPage | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        is_utf8: bool = True,
    ) -> None:
        """`keymap` is the operator's keymap: an action's id -> its keys, comma separated. `theme`
        is the name of a theme, "" for the one that suits the terminal; `columns` are the only ones
        that are shown, empty for all, `column_widths` the widths in cells of some; `filters` are
        saved filters by name; `log_memory_bytes` is the memory of a log's newest lines.
        `kubeconfig` are its files, None for those of the environment. `is_production_context` says
        of the name of a context whether it is one. With `initial_draft`, the form of a new serving
        is open at the start, filled with that draft, as soon as there is a `change_service`; with
        `initial_page`, the page of a serving is open as soon as it is listed. Keys are queued until
        then. `is_utf8` says whether the terminal shows more than ASCII."""
        no_color = "NO_COLOR" in os.environ
        # Textual removes all color only if it draws in the terminal's own colors.
        super().__init__(
            driver_class=None if "TEXTUAL_DRIVER" in os.environ else TerminalDriver,
            ansi_color=True if no_color else None,
        )
        if "TEXTUAL_ANIMATIONS" not in os.environ:
            self.animation_level = "none"
        self.source = source
        self.log_service = log_service
        self.detail_service = detail_service
        self._shown_namespaces: dict[str, dict[str, None]] = {}
        """Namespaces that were chosen or typed, in that order, by context."""
        self.history = ServingHistory()
        self.favorites = tuple(favorites)
        self.keymap = dict(keymap or {})
        self.readonly = readonly
        self.kubeconfig = kubeconfig
        self._is_production_context = is_production_context
        self.undoable = Undoable()
        self.command_history: list[str] = []
        self.sent_requests = SentRequests(lambda work, name: run_exclusive(self, work, name))
        self.kept_edits: dict[tuple[str, ObjectRef], KeptEdit] = {}
        self.bundle_service = bundle_service
        self.metrics_service = metrics_service
        self.async_queue_service = async_queue_service
        self.traffic_service = traffic_service
        self.port_forwards = port_forwards
        self._change_service = change_service
        self._change_service_ready = asyncio.Event()
        self._initial_draft = initial_draft
        self._initial_page = initial_page
        self.wide = wide
        self.columns = tuple(columns)
        self.column_widths = dict(column_widths or {})
        self.saved_filters = dict(filters or {})
        self.log_memory_bytes = log_memory_bytes
        self.clock = clock
        self.is_utf8 = is_utf8
        self.servings = ServingsScreen()
        for known in THEMES:
            self.register_theme(known)
        few_colors = self.console.color_system in ("standard", None)
        self.theme = ANSI.name if no_color else theme or (ANSI if few_colors else DARK).name
        self.set_keymap(self.keymap)
        self._key_queue = KeyQueue(
            self,
            show_message=self.show_message,
            request_quit=self.do_quit,
            opens_form=lambda: self.screen is self.servings,
            is_exiting=lambda: self.exiting,
        )
        self._idle_collector = IdleCollector(self.set_timer)
        self._young_collector = YoungCollector(
            lambda delay, callback: asyncio.get_running_loop().call_later(delay, callback),
            is_held=self.has_unpainted_input,
        )
        self._unpainted_input = UnpaintedInput(
            lambda: self.last_input_at(), lambda: self._key_queue.is_busy
        )
        self.input_read_at = 0.0
        self._last_exit_blocker = ""
        """Why the last request to quit was rejected."""
        self._exit_task: asyncio.Task[None] | None = None
        self.exiting = False
        """True as soon as the exit was requested."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def get_default_screen(self) -> ServingsScreen:
        return self.servings

    def exit(
        self, result: None = None, return_code: int = 0, message: RenderableType | None = None
    ) -> None:
        if message is None and not self.exiting:
            notices = [s.exit_notice() for s in self.screen_stack if isinstance(s, ActionScreen)]
            notices += self.sent_requests.exit_notices()
            message = Text("\n".join(filter(None, notices))) if any(notices) else None
        self.exiting = True
        super().exit(result, return_code, message)

    # -- keys ---------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._idle_collector.note_key()
        if event.is_forwarded:
            await super().on_event(event)
        elif self._key_queue.should_handle(event):
            if isinstance(event, ORDERED_EVENTS):
                self.input_read_at = event.time
            if isinstance(event, (events.InputEvent, events.Paste)):
                self._unpainted_input.note_dispatched(event.time)
            await super().on_event(event)

    def on_unbound_key(self, event: events.Key) -> None:
        if not IGNORED_KEYS.fullmatch(event.key):
            named = event.character if event.is_printable and event.character else ""
            self._show_unknown_key(named.strip() or key_display(event.key))

    def _show_unknown_key(self, key: str) -> None:
        if isinstance(self.screen, ActionScreen) and not self.exiting:
            lists = self.screen.help_key()
            where = f"{lists} lists the keys" if lists else "the footer lists the keys"
            self.show_message(f"{key}: no action here; {where}.")

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text that no field takes."""
        filters = self.key_display_for("servings.filter")
        first = f"; press {filters} to filter first" if self.screen is self.servings else ""
        self.show_message(
            f"The pasted text is ignored: no field takes text here{first}.", "warning"
        )

    async def action_do(self, action_id: str) -> None:
        """The only action that is bound here."""
        await self.do_quit()

    async def action_quit(self) -> None:
        await self.do_quit()

    def hold_keys(self, worker: Worker[None], label: str) -> None:
        """Queue keys until the worker ends; `label` describes what it does."""
        self._key_queue.hold_keys(worker, label)

    # -- source of servings -------------------------------------------------------------------

    def on_mount(self) -> None:
        self.source.subscribe(self._on_changes)
        if self.port_forwards is not None:
            self.port_forwards.subscribe(self._on_port_forwards_changed)
        self.source.hold_while(self.has_unpainted_input)
        self.app_resume_signal.subscribe(self, lambda _app: self.screen_buffer.invalidate())
        # After the first paint: the source's imports take longer than drawing the screen.
        self.call_after_refresh(self._start_source)
        if self._initial_draft is not None:
            self._start_worker(
                self._open_form(self._initial_draft), "form", busy_label="Opening the form"
            )
        if self._initial_page is not None:
            self._start_worker(
                self._open_page(self._initial_page),
                "page",
                busy_label=f"Opening {self._initial_page.name}",
            )

    @property
    def command_options(self) -> CommandOptions:
        return CommandOptions.of(self.source.context, self.kubeconfig)

    @property
    def is_production(self) -> bool:
        return self._is_production_context(self.source.context)

    @property
    def change_service(self) -> ChangeService | None:
        return self._change_service

    @change_service.setter
    def change_service(self, change_service: ChangeService) -> None:
        self._change_service = change_service
        self._change_service_ready.set()

    async def _open_form(self, draft: Draft) -> None:
        if self._change_service is None:
            await self._change_service_ready.wait()
        if not draft.texts["name"]:  # none of a file
            self.servings.create_flow.propose_defaults(draft)
        self.servings.create_flow.open_form(draft)

    async def _open_page(self, page: InitialPage) -> None:
        """Open the page as soon as the serving is listed."""
        changed = asyncio.Event()
        unsubscribe = self.source.subscribe(lambda _changes: changed.set())
        try:
            # With a namespace it opens before the list is complete.
            while not (found := self._find_servings(page)) or not page.namespace:
                if self.source.state.phase.name in ENDED_PHASES:
                    break
                changed.clear()
                await changed.wait()
        finally:
            unsubscribe()
        if len(found) == 1:
            self.servings.open_page(found[0], page.tab, page.log)
        elif found:
            self.show_message(describe_ambiguous_name(found), "warning")
        elif self.source.state.phase.name == "LIVE":
            where = page.namespace or self.source.namespace
            where = f"namespace {where}" if where else "any namespace"
            self.show_message(f"There is no serving {page.name} in {where}.", "warning")
        else:
            text = f"Cannot open {page.name}: the list of servings is not complete."
            self.show_message(text, "warning")

    def _find_servings(self, page: InitialPage) -> list[ServingView]:
        return find_servings(self.source.fleet.views(), page.name, page.namespace, page.kind)

    # -- callbacks of the driver (tui.internals.driver) -------------------------------------------

    def exit_on_signal(self, number: int) -> None:
        """Restore the terminal, and exit with the code that a shell reports for a signal."""
        self._key_queue.begin_exit()
        self._exit_task = asyncio.create_task(self._exit_with_code(128 + number))

    async def _exit_with_code(self, code: int) -> None:
        if self.terminal_driver is not None:
            self.terminal_driver.disable_input()
        try:
            async with asyncio.timeout(INPUT_DRAIN_TIMEOUT):
                await self._key_queue.drain()
        except TimeoutError:
            pass
        finally:
            self.save_on_exit()
            self.exit(return_code=code)

    def prepare_forced_exit(self) -> None:
        """Save what would be lost when the process exits at once; called in another thread."""
        kill_subprocesses()
        self.save_on_exit()

    def save_on_exit(self) -> None:
        """Save the drafts of all open forms."""
        for screen in list(self.screen_stack):
            if isinstance(screen, ActionScreen):
                screen.save_on_exit()

    def redraw(self) -> None:
        """Redraw the whole screen: what the terminal shows is unknown."""
        self.screen_buffer.invalidate()
        if self.screen_stack:
            self.screen.refresh(layout=True)

    def handle_suspend(self) -> None:
        """Another program has the terminal."""
        self._key_queue.suspend()

    def handle_resume(self) -> None:
        """The terminal is available again."""
        self._key_queue.resume()
        self.app_resume_signal.publish(self)
        self.redraw()

    # -- source of servings, continued ------------------------------------------------------------

    def _start_source(self) -> None:
        gc.enable()  # the command line disabled it for a faster start
        self._start_worker(self.source.start(), "source")

    def _on_changes(self, changes: SourceChanges) -> None:
        self.history.record(
            changes.keys,
            self.source.fleet,
            self.clock(),
            target=(self.source.context, self.source.namespace),
            is_loading=lambda: self.source.state.phase.name in LOADING_PHASES,
        )
        if self.port_forwards is not None:
            self.port_forwards.update(changes.keys)
        for screen in self.screen_stack:
            if isinstance(screen, ActionScreen) and screen.children:  # on_changes reads the widgets
                screen.on_changes(changes)

    def _on_port_forwards_changed(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ActionScreen) and screen.children:
                screen.on_port_forwards_changed()

    def has_unpainted_input(self) -> bool:
        """Whether the effect of a key is still to be painted, and what can wait is to wait."""
        return self._unpainted_input.is_waiting()

    @property
    def input_phase(self) -> InputPhase:
        """What has become of the input that was read last."""
        return self._unpainted_input.phase

    def post_display_hook(self) -> None:
        self._unpainted_input.note_painted()
        self._young_collector.note_painted()

    def note_removed(self) -> None:
        free_drawn_lines()
        if not self.exiting:
            self._idle_collector.note_removed()

    async def on_unmount(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if self.port_forwards is not None:
                    await self.port_forwards.close()
                if self.metrics_service is not None:
                    await self.metrics_service.close()
                if self.async_queue_service is not None:
                    await self.async_queue_service.close()
                await self.source.close()

    async def read_log_tail(self, crash: CrashedContainer, lines: int) -> LogTail:
        """The last lines of a crashed container with the known error in them or in those before,
        or the reason why there are none."""
        from servedeck.serving.status.log_errors import CAUSE_LINES, find_log_error

        try:
            async with asyncio.timeout(LOG_TAIL_TIMEOUT):
                read = await self.log_service.read_last_lines(
                    crash.namespace,
                    crash.pod,
                    crash.container,
                    tail=max(lines, CAUSE_LINES),
                    previous=crash.previous,
                )
        except (ClusterError, OSError, TimeoutError) as error:
            return LogTail(crash, error=describe_error(error), loading=False)
        return LogTail(crash, tuple(read[-lines:]), loading=False, cause=find_log_error(read))

    # -- output to the terminal ---------------------------------------------------------------

    def on_resize(self) -> None:
        self.screen_buffer.invalidate()

    def key_display_for(self, action_id: str) -> str:
        """The key of an action as it is shown, with the operator's keymap applied."""
        return action_key_display(ACTIONS_BY_ID[action_id], self.keymap)

    def do_theme(self) -> None:
        from tui.screens.theme import ThemePicker

        if any(isinstance(screen, ThemePicker) for screen in self.screen_stack):
            self.show_message("The list of themes is open already.", "warning")
            return
        if self.no_color:
            self.show_message("NO_COLOR is set, so there are no colors to choose.", "warning")
            return

        def on_closed(name: str | None) -> None:
            if name is not None:
                self.theme = name
                text = f'Theme {name} until servedeck ends; theme = "{name}" in the settings'
                self.show_message(f"{text} keeps it.", "ready")

        self.push_screen(ThemePicker(list(self.available_themes.values()), self.theme), on_closed)

    def do_screenshot(self) -> None:
        from tui.screenshot import ScreenshotDialog, write_screenshot

        if any(isinstance(screen, ScreenshotDialog) for screen in self.screen_stack):
            self.show_message("A picture is being saved already; name its file first.", "warning")
            return
        picture = self.export_screenshot()

        def on_path(path: Path | None) -> None:
            if path is not None:
                # Not a worker of the screen, which may be one that closes now.
                work = write_screenshot(path, picture, self.show_message)
                self._start_worker(work, "screenshot", busy_label=f"Writing {path}")

        self.push_screen(ScreenshotDialog(self.clock()), on_path)

    def do_redraw(self) -> None:
        self.redraw()

    def do_suspend(self) -> None:
        driver = self.terminal_driver
        if not isinstance(driver, TerminalDriver):
            return
        if reason := driver.suspend_disabled_reason():
            self.show_message(reason, "warning")
            return
        self.app_suspend_signal.publish(self)
        if not driver.suspend():
            self.show_message(
                "servedeck was not started from a shell; it cannot be suspended.", "warning"
            )

    # -- namespace and context ----------------------------------------------------------------

    async def show_namespace(self, name: str) -> None:
        """Show one namespace, or all with ""."""
        if name and (problem := namespace_problem(name)):
            self.show_message(problem, "warning")
            return
        if name:
            self._shown_namespaces.setdefault(self.source.context, {})[name] = None
        if self.source.namespace:
            self.servings.set_namespace("")
            if name != self.source.namespace:
                await self.source.switch(namespace=name)
        else:
            self.servings.set_namespace(name)

    async def show_context(self, name: str) -> None:
        """Switch to another context of the kubeconfig."""
        known = self.source.contexts
        if known and name not in known and name not in await self.source.read_contexts():
            lists = self.key_display_for("servings.context")
            self.show_message(f"There is no context {name}; {lists} lists the contexts.", "warning")
            return
        before = self.source.context
        ended = await self.port_forwards.close() if self.port_forwards is not None else 0
        self.servings.set_namespace("")
        await self.source.switch(context=name)
        if ended:
            count = format_count(ended, "port-forward")
            verb = "has" if ended == 1 else "have"
            self.show_message(f"{count} of context {before} {verb} ended.", "warning")

    def pick_namespace(self) -> None:
        from tui.screens.pick import Choice, PickScreen

        found = Counter(view.key.namespace for view in self.source.fleet.views())
        choices = [Choice("", "all namespaces", format_count(found.total(), "serving"))]
        choices += [
            Choice(name, name, format_count(n, "serving")) for name, n in sorted(found.items())
        ]
        at = self.servings.namespace or self.source.namespace
        screen: PickScreen = PickScreen("Namespace", choices, selected_key=at)
        self._push_picker(screen, self.show_namespace)
        self._start_worker(self._add_all_namespaces(screen), "namespaces")

    async def _add_all_namespaces(self, screen: PickScreen) -> None:
        """Add the namespaces without servings, and those that were chosen before: listing them may
        not be allowed."""
        from tui.screens.pick import Choice

        chosen = self._shown_namespaces.get(self.source.context, {})
        screen.add_choices([Choice(name, sanitized(name), "") for name in chosen])
        with contextlib.suppress(ClusterError):  # those with servings are in the list
            names = await self.log_service.list_namespaces()
            screen.add_choices([Choice(name, name, "") for name in names])

    def pick_context(self) -> None:
        from tui.screens.pick import Choice, PickScreen

        choices = [
            Choice(name, name, "current" if name == self.source.context else "")
            for name in self.source.contexts
        ]
        screen: PickScreen = PickScreen("Context", choices, selected_key=self.source.context)
        self._push_picker(screen, self.show_context)
        self._start_worker(self._add_new_contexts(screen), "contexts")

    async def _add_new_contexts(self, screen: PickScreen) -> None:
        """Add the contexts that the kubeconfig has since it was read."""
        from tui.screens.pick import Choice

        names = await self.source.read_contexts()
        screen.add_choices([Choice(name, name, "") for name in names])

    def _push_picker(
        self, screen: PickScreen, on_picked: Callable[[str], Coroutine[None, None, None]]
    ) -> None:
        def chosen(key: str | None) -> None:
            if key is not None:
                self._start_worker(on_picked(key), "switch", busy_label="Switching")

        self.push_screen(screen, chosen)

    def _start_worker(
        self, work: Coroutine[None, None, None], group: str, busy_label: str = ""
    ) -> None:
        worker = self.run_worker(work, group=group, exclusive=True, exit_on_error=False)
        if busy_label:
            self.hold_keys(worker, busy_label)

    def _run_command(self, command: str | None) -> None:
        """Run the command that was entered."""
        what, _, name = (command or "").partition(" ")
        if what == "context":
            self._start_worker(self.show_context(name), "switch", busy_label="Switching")
        elif what == "namespace":
            name = "" if name in ("all", "-A") else name
            self._start_worker(self.show_namespace(name), "switch", busy_label="Switching")
        elif what in ACTIONS_BY_ID and isinstance(self.screen, ActionScreen):
            self._start_worker(
                self.screen.action_do(what), "command", busy_label=ACTIONS_BY_ID[what].label
            )

    # -- actions of every screen --------------------------------------------------------------

    def do_help(self) -> None:
        from tui.screens.help import HelpScreen

        screen = self.screen
        if isinstance(screen, ActionScreen):
            self.push_screen(HelpScreen(screen.scopes()))

    def do_command(self) -> None:
        from tui.screens.command import CommandScreen

        screen = self.screen
        if isinstance(screen, ActionScreen):
            self.push_screen(CommandScreen(screen), self._run_command)

    def write_to_terminal(self, sequence: str) -> None:
        """Send a control sequence directly to the terminal."""
        if self.terminal_driver is not None:
            self.terminal_driver.write(sequence)
            self.terminal_driver.flush()

    async def do_quit(self) -> None:
        """Quit, unless a screen reports a reason to wait; a second request quits anyway."""
        reason = ""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ActionScreen) and not reason:
                reason = await screen.exit_blocker()
        if reason and reason != self._last_exit_blocker:
            self._last_exit_blocker = reason
            self.show_message(reason, "warning")
        else:
            self.exit(return_code=1 if reason else 0)

    # -- errors -------------------------------------------------------------------------------

    def show_message(
        self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS
    ) -> None:
        """Show a sentence on the message line of the current screen."""
        if isinstance(self.screen, ActionScreen):
            self.screen.show_message(text, style_name, seconds)

    def report_crash(self, error: Exception | None) -> tuple[Text, Text]:
        """The traceback without the values of variables, with what looks secret masked; logged
        too."""
        _log.critical("crashed", exc_info=error)
        lines = "".join(traceback.format_exception(error))
        return (
            Text(sanitize(logging_setup.redact(lines))),
            Text(
                "servedeck crashed. An open form is saved as a draft: start servedeck again and "
                "press n. Please report the lines above."
            ),
        )

    def ignores_error(self, error: Exception) -> bool:
        """A page that is still being built when the operator quits loses its widgets meanwhile."""
        if self.exiting:
            _log.error("while exiting", exc_info=error)
        return self.exiting

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.show_message(describe_error(event.worker.error), "error")


if TYPE_CHECKING:

    def _as_app_context(app: ServedeckApp) -> AppContext:
        return app
