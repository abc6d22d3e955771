"""The page of one serving: its state in a header, and a tab for each pane."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import TabbedContent, TabPane, Tabs

from servedeck.changes.operations.object_edit import EDITABLE_KINDS, ObjectEdit
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.resources import DEPLOYMENT
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from servedeck.serving.spec.mapping.json_values import JsonObject
from tui import status_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.async_queue.action_pane import TaskActionPane
from tui.clipboard import copy_with_message
from tui.command_flow import ask_command, not_running_reason
from tui.container_shell import Container
from tui.logs.target import LogTarget
from tui.object_editor import ObjectEditor
from tui.operation_flow import OPERATION_ACTIONS, OperationFlow
from tui.panes.base import Pane
from tui.panes.events import EventsPane
from tui.panes.logs import LogsPane
from tui.panes.metrics import MetricsPane
from tui.panes.overview import OverviewPane
from tui.panes.queue import QueuePane
from tui.panes.rollouts import RolloutsPane
from tui.panes.settings import SettingsPane
from tui.panes.yaml import YamlPane
from tui.port_forward_flow import forwards_mark, open_forwards, start_forward
from tui.ports.serving_source import SourceChanges
from tui.ports.task_actions import TaskActions
from tui.screens.base import ActionOwner
from tui.screens.edit.edit_flow import EditFlow
from tui.screens.serving_actions import WAY_OUT_ORDER, ServingActionScreen
from tui.traffic_flow import open_traffic, start_revision, traffic_disabled_reason
from widgets.page_tabs import PageTabs
from widgets.status_paragraphs import title_line
from widgets.styled_line import Line, fit_line, sanitized
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from servedeck.async_queue.queue_api import QueueApi
    from servedeck.serving.scaling.proposal import ScalingProposal

OPENING_SECONDS = 0.04
"""Seconds that the first paint of another serving waits for its data at most. An API server that is
near responds within 15 ms: the first picture is the whole one, and half as much is painted."""

TRAFFIC_ORDER = 6
"""Place of the traffic split in the footer of the tab Settings, behind the tab's own actions."""

Shown = TypeVar("Shown")
"""Result of a screen over the page."""

PANES: tuple[type[Pane], ...] = (
    OverviewPane,
    MetricsPane,
    LogsPane,
    QueuePane,
    SettingsPane,
    EventsPane,
    RolloutsPane,
    YamlPane,
)
"""The tabs, in order."""


def find_pane(title: str) -> type[Pane] | None:
    """The pane whose tab has that title, in any case, also with a hyphen for a space; None if there
    is none."""
    name = title.lower().replace(" ", "-")
    return next((pane for pane in PANES if tab_name(pane) == name), None)


def tab_name(pane: type[Pane] | Pane) -> str:
    """The title of a pane as the command line has it: one word."""
    return pane.TITLE.lower().replace(" ", "-")


class ServingScreen(ServingActionScreen[NamespacedName]):
    """Everything about one serving; it follows the watches, also after the serving was deleted. Its
    result is the serving that was shown last.

    An installed screen can be shown again, with `reopen`: that takes a fraction of the time of
    mounting another one. While it is closed, it watches, requests and paints nothing.
    """

    SCOPE = "serving"
    BINDINGS: ClassVar[list[BindingType]] = bindings("serving", "app")
    title_view = query_one("#serving-title", StatusLine)
    banner = query_one("#banner", StatusLine)
    tabs = query_one(PageTabs)

    def __init__(
        self,
        view: ServingView,
        *,
        pane: type[Pane] = PANES[0],
        log: LogTarget | None = None,
        find_neighbor: Callable[[NamespacedName, int], NamespacedName | None],
    ) -> None:
        """`pane` is the tab that is shown first, `log` what log it shows then. `find_neighbor`
        gives the serving before (-1) or after (1) another one in the list."""
        super().__init__()
        self.key = view.key
        self._view = view
        """The serving as it was last; a deleted one stays."""
        self._deleted_at: datetime | None = None
        self._find_neighbor = find_neighbor
        self.operation_flow = OperationFlow(self, on_done=self._on_operations_done)
        self.edit_flow = EditFlow(self, self.operation_flow)
        self._object_editor = ObjectEditor(self, self.operation_flow)
        self._first_pane = pane
        self._first_log = log
        self._panes = [self._create_pane(one) for one in PANES]
        self._active: Pane | None = None
        self._opened_target: tuple[str, str] | None = None
        """Context and namespace that the serving is from; None while the page is closed."""
        self._ticker: Timer | None = None
        self._paints_at = 0.0
        """When it paints also what is not complete."""

    def reopen(
        self,
        view: ServingView,
        *,
        pane: type[Pane] = PANES[0],
        log: LogTarget | None = None,
    ) -> None:
        """Show a serving as a new screen would; the page was closed, and is shown after this."""
        self._set_serving(view)
        self.edit_flow.follow(view)
        self._opened_target = self._current_target()
        self._wait_for_data()
        if self._ticker is not None:
            self._ticker.resume()
        self.clear_message()
        self.update_header()
        number = PANES.index(pane)
        if self._panes[number].is_mounted:
            # At once, so that the first paint shows it.
            self._select_pane(number)
            self._activate_pane(self._panes[number], log)
        else:
            self.tabs.active = _tab_id(number)
            self.call_later(self._show_pane, number, log)

    def _create_pane(self, kind: type[Pane]) -> Pane:
        pane = kind(self.key)
        if isinstance(pane, QueuePane):
            pane.create_actions = self._create_task_actions
        return pane

    def _create_task_actions(
        self,
        key: NamespacedName,
        api: QueueApi,
        *,
        now: Callable[[], float],
        on_done: Callable[[str, str], bool],
    ) -> TaskActions:
        from tui.async_queue.action_flow import TaskActionFlow

        return TaskActionFlow(self, key, api, now=now, on_done=on_done)

    def _set_serving(self, view: ServingView) -> None:
        self.key, self._view, self._deleted_at = view.key, view, None
        for pane in self._panes:
            pane.set_serving(view.key)
        self.app_context.source.prioritize(view.key)

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="serving-title")
        yield StatusLine(id="banner")
        with PageTabs(initial=_tab_id(PANES.index(self._first_pane))):
            for number, pane in enumerate(self._panes):
                yield TabPane(f"{number + 1} {pane.TITLE}", id=_tab_id(number))

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Tabs).can_focus = False
        self._ticker = self.set_interval(TICK_SECONDS, self._tick)
        self.app_context.source.prioritize(self.key)
        self._opened_target = self._current_target()
        self.call_later(self._show_pane, PANES.index(self._first_pane), self._first_log)
        self.update_header()
        self.edit_flow.follow(self._view)

    async def on_unmount(self) -> None:
        await self.edit_flow.close()

    @property
    def active_pane(self) -> Pane | None:
        """The pane of the tab that is shown; None before the first one is mounted."""
        return self._active

    @property
    def _mounted_pane(self) -> Pane | None:
        """The pane of the tab that is shown; None while it has no widgets yet."""
        return self._active if self._active is not None and self._active.is_mounted else None

    # -- painting -----------------------------------------------------------------------------

    def _wait_for_data(self) -> None:
        """Another serving is shown: do not paint at once."""
        self._paints_at = monotonic() + OPENING_SECONDS
        self.set_timer(OPENING_SECONDS, self.check_idle)

    def can_paint(self) -> bool:
        pane = self._mounted_pane
        return pane is None or not pane.is_loading or monotonic() >= self._paints_at

    # -- tabs ---------------------------------------------------------------------------------

    async def _show_pane(self, number: int, log: LogTarget | None = None) -> None:
        """Show a tab; its pane is mounted when it is shown first."""
        if self._opened_target is None:
            return  # closed meanwhile
        pane = self._panes[number]
        if self._active is not pane:
            self._select_pane(number)
            if not pane.is_attached:
                await self.tabs.get_pane(_tab_id(number)).mount(pane)
                if self._active is not pane:
                    return  # another tab was chosen with the mouse, or the page was closed
            self._activate_pane(pane, log)
        elif log is not None and isinstance(pane, LogsPane):
            pane.choose_pod(log)

    def _select_pane(self, number: int) -> None:
        self._leave_pane()
        self._active = self._panes[number]
        self.tabs.active = _tab_id(number)

    def _activate_pane(self, pane: Pane, log: LogTarget | None) -> None:
        if log is not None and isinstance(pane, LogsPane):
            pane.choose_pod(log)
        pane.activate()
        self.update_message()
        self.update_footer()

    def _leave_pane(self) -> None:
        if self._active is not None and self._active.is_active:
            self._active.deactivate()

    async def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """A click on a tab."""
        # Another one may have been chosen with a key since.
        if self._active is not None and event.pane.id == self.tabs.active:
            await self._show_pane(int((event.pane.id or "tab-0").removeprefix("tab-")))

    async def on_pane_log_requested(self, message: Pane.LogRequested) -> None:
        log = LogTarget(message.pod, message.container, message.time_ns)
        await self._show_pane(PANES.index(LogsPane), log)

    def on_pane_timeline_requested(self) -> None:
        self.do_timeline()

    def on_pane_value_requested(self, message: Pane.ValueRequested) -> None:
        from tui.screens.value import ValueScreen

        self.app.push_screen(ValueScreen(message.title, message.text))

    def on_pane_pod_requested(self, message: Pane.PodRequested) -> None:
        from tui.screens.pod import PodResult, PodScreen

        pod = next((one for one in self._view.pods if one.uid == message.uid), None)
        if pod is None:
            return

        async def closed(result: PodResult | None) -> None:
            if result is not None and result.action == "logs":
                await self._show_pane(
                    PANES.index(LogsPane), LogTarget(result.pod, result.container)
                )
            elif result is not None and result.action == "yaml":
                await self._show_yaml("Pod", result.pod)

        self._push_over_pane(PodScreen(self.key, pod), closed)

    def _push_over_pane(
        self,
        screen: Screen[Shown],
        on_closed: Callable[[Shown | None], Awaitable[None]] | None = None,
    ) -> None:
        """Show a screen that has watches of its own. The pane under it is paused, save for a log,
        whose lines would be read again, and a queue, whose tasks the screen follows."""
        pane = self._active
        keeps_on = isinstance(pane, (LogsPane, QueuePane))
        is_paused = pane is not None and pane.is_active and not keeps_on
        if pane is not None and is_paused:
            pane.deactivate()

        async def closed(result: Shown | None) -> None:
            # First, as it may show another tab: a pane that takes the focus shows its own.
            if on_closed is not None:
                await on_closed(result)
            if pane is not None and is_paused and pane is self._active and not pane.is_active:
                pane.activate()

        self.app.push_screen(screen, closed)

    def on_settings_pane_what_if_requested(self, message: SettingsPane.WhatIfRequested) -> None:
        from tui.scaling_flow import proposal_texts, with_known_starts
        from tui.screens.what_if import WhatIfScreen

        async def closed(proposal: ScalingProposal | None) -> None:
            if proposal is not None:
                self.edit_flow.start(self._view, "auto_scaling", proposal_texts(proposal))

        can_use = not self.edit_flow.disabled_reason(self._view)
        starts = self.app_context.history.starts.durations(self._view.uid)
        proposal = with_known_starts(message.proposal, starts)
        screen = WhatIfScreen(self.key, proposal, can_use=can_use)
        self._push_over_pane(screen, closed)

    def on_queue_settings_pane_queue_requested(self) -> None:
        from tui.async_queue.turn_on_flow import open_turn_on

        open_turn_on(self, self.key, self.show_message)

    def on_queue_settings_pane_limits_requested(
        self, message: SettingsPane.LimitsRequested
    ) -> None:
        from tui.async_queue.limits_flow import open_limits

        open_limits(self, self.key, self.show_message, focused=message.focused)

    def on_rollouts_pane_difference_requested(
        self, message: RolloutsPane.DifferenceRequested
    ) -> None:
        from tui.screens.revision_diff import RevisionDiffScreen

        self.app.push_screen(RevisionDiffScreen(message.title, message.changes))

    def on_rollouts_pane_canary_requested(self, message: RolloutsPane.CanaryRequested) -> None:
        start_revision(self, self._view, message.number)

    def on_metrics_pane_queries_requested(self, message: MetricsPane.QueriesRequested) -> None:
        from tui.screens.metric_queries import MetricQueriesScreen

        self.app.push_screen(MetricQueriesScreen(message.title, message.queries, message.link))

    def on_metrics_pane_objectives_requested(
        self, message: MetricsPane.ObjectivesRequested
    ) -> None:
        from tui.objectives_flow import open_objectives

        open_objectives(self, self.operation_flow, self._view, message.values)

    async def on_pane_yaml_requested(self, message: Pane.YamlRequested) -> None:
        await self._show_yaml(message.kind, message.name)

    async def _show_yaml(self, kind: str, name: str) -> None:
        number = PANES.index(YamlPane)
        pane = cast(YamlPane, self._panes[number])
        if reason := pane.choose_object(kind, name):
            self.show_message(reason, "warning")
        else:
            await self._show_pane(number)

    def on_yaml_pane_object_pick_requested(self, message: YamlPane.ObjectPickRequested) -> None:
        from tui.screens.pick_object import ObjectPicker

        picker = ObjectPicker(self.key, message.selected_title)
        self.app.push_screen(picker, self._show_object)

    def _show_object(self, title: str | None) -> None:
        """An object was picked."""
        if title is not None:
            self.post_message(Pane.YamlRequested(*title.split("/", 1)))

    def on_pane_choice_requested(self, message: Pane.ChoiceRequested) -> None:
        from tui.screens.pick import Choice, PickScreen

        def on_closed(name: str | None) -> None:
            if name is not None:
                message.on_chosen(name)

        choices = [Choice(name, name) for name in message.names]
        self.app.push_screen(PickScreen(message.title, choices, message.selected), on_closed)

    def on_logs_pane_pod_pick_requested(self, message: LogsPane.PodPickRequested) -> None:
        from tui.screens.pick_pods import PodPicker, chosen_names

        def on_closed(names: str | None) -> None:
            if names is not None:
                message.on_chosen(chosen_names(names))

        self.app.push_screen(PodPicker(message.pods, message.chosen), on_closed)

    def on_pane_path_requested(self, message: Pane.PathRequested) -> None:
        from tui.screens.file_dialog import FileDialog

        def on_closed(path: Path | None) -> None:
            if path is not None:
                message.on_chosen(path)

        dialog = FileDialog(
            message.title, message.proposed_path, for_writing=True, hint=message.hint
        )
        self.app.push_screen(dialog, on_closed)

    def on_events_pane_opened(self, message: EventsPane.Opened) -> None:
        from tui.screens.event import EventScreen

        self.app.push_screen(EventScreen(message.serving_uid, message.key))

    def on_task_action_pane_task_requested(self, message: TaskActionPane.TaskRequested) -> None:
        from tui.screens.task import TaskScreen

        async def closed(log: LogTarget | None) -> None:
            if log is not None:
                await self._show_pane(PANES.index(LogsPane), log)

        task = TaskScreen(self.key, message.live, message.api, message.task, listed=message.listed)
        self._push_over_pane(task, closed)

    def on_pane_actions_changed(self) -> None:
        self.update_footer()

    def on_pane_message_shown(self, message: Pane.MessageShown) -> None:
        self.show_message(message.text, message.style_name)

    # -- what it shows ------------------------------------------------------------------------

    def _current_target(self) -> tuple[str, str]:
        source = self.app_context.source
        return source.context, source.namespace

    def on_changes(self, changes: SourceChanges) -> None:
        if self._opened_target is None:
            return  # not mounted yet; it reads everything then
        if self._current_target() != self._opened_target:
            self._close()  # the list is that of another cluster or namespace
            return
        if self.key in changes.keys or changes.state_changed:
            self.update_header()
        if self.key in changes.keys:
            self.edit_flow.handle_changes()
        if self._active is not None and self._active.is_active:
            self._active.on_changes(changes)

    def update_header(self) -> None:
        """Update name, status, badges, and how old the data are."""
        source = self.app_context.source
        view = source.fleet.view(self.key)
        if view is not None:
            self._view, self._deleted_at = view, None
        elif self._deleted_at is None:
            self._deleted_at = self.app_context.clock()
        state = source.state
        width = self.title_view.inner_width or self.app.size.width
        title = status_text.line_with_connection(
            ((" ", ""), *title_line(self._view), *forwards_mark(self.app_context, self.key)),
            state,
            width,
            source.context,
        )
        self.title_view.set_lines(title, fit_line(self._cause_line(), width))
        self.banner.set_text(
            status_text.banner_line(state, self.app_context.key_display_for, empty=False),
            max_lines=2,
            indent=3,
        )
        self.update_message()

    def _cause_line(self) -> Line:
        """Why the serving is in its status, in one line."""
        if self._deleted_at is not None:
            when = self._deleted_at.astimezone().strftime("%H:%M:%S")
            return ((" ", ""), (f"deleted at {when}; the last state is shown", "pending"))
        text = self._view.message or self._view.status.description
        return ((" ", ""), (sanitized(text), "" if self._view.message else "muted"))

    def default_message(self) -> Line:
        """The endpoint, or why there is none."""
        endpoint = self._view.endpoint
        if endpoint.url:
            return ((" ", ""), (endpoint.url, ""))
        return ((" ", ""), (endpoint.issue, "muted")) if endpoint.issue else ()

    def on_port_forwards_changed(self) -> None:
        self.update_header()

    def _tick(self) -> None:
        if self.app_context.source.state.stale_for is not None:
            self.update_header()
        if self._active is not None and self._active.is_active and self.is_current:
            self._active.update_ages()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one(Tabs).display = size.height >= 12
        self.title_view.styles.height = 2 if size.height >= 14 else 1
        self.call_after_refresh(self.update_header)

    # -- actions ------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        pane = self._mounted_pane
        if pane is None:
            return (self.SCOPE,)
        scopes = pane.scopes()
        return (*scopes, self.SCOPE) if pane.SCOPE in scopes else scopes

    def action_owner(self, action: Action) -> ActionOwner:
        pane = self._mounted_pane
        return pane if pane is not None and action.scope == pane.SCOPE else self

    def disabled_reason(self, action: Action) -> str:
        if action.name in ("next", "previous"):
            step = 1 if action.name == "next" else -1
            if self._find_neighbor(self.key, step) is None:
                return f"The list has no serving {'after' if step > 0 else 'before'} this one."
        if action.name in (*OPERATION_ACTIONS, "edit", "unblock") and self._deleted_at is not None:
            return "The serving was deleted."
        if action.name == "rollback":
            return self._rollback_disabled_reason()
        if action.name == "delete" and (pod := self._selected_pod) is not None:
            return self._view.readonly_reason or self.operation_flow.disabled_reason(
                Operation(OperationKind.DELETE_POD, pod.namespace, pod.name)
            )
        if action.name == "run":
            return self._run_disabled_reason()
        if action.name == "edit_object":
            return self._edit_object_disabled_reason()
        if action.name == "traffic":
            return traffic_disabled_reason(self, self._view)
        return self.change_disabled_reason(action)

    def do_close(self) -> None:
        pane = self._active
        if pane is None or not pane.is_active or not pane.go_back():
            self._close()

    def _close(self) -> None:
        self._leave_pane()
        self.edit_flow.stop_following()
        self._active = self._opened_target = None
        self.app_context.source.prioritize(None)
        if self._ticker is not None:
            self._ticker.pause()
        self.dismiss(self.key)
        self._replace_panes()

    def _replace_panes(self) -> None:
        """The next serving starts with new tabs, without what was chosen or searched in these. The
        first one stays mounted, and is reset."""
        first = self._panes[0]
        if first.is_mounted:
            first.reset()
        for number, pane in enumerate(self._panes):
            if pane.is_attached and not (pane is first and pane.is_mounted):
                self._panes[number] = self._create_pane(PANES[number])
                pane.remove()

    async def do_tab(self, key: str) -> None:
        number = int(key) - 1
        if number < len(PANES):
            await self._show_pane(number)
        else:
            self.show_message(f"{key}: there are {len(PANES)} tabs.")

    async def do_next_tab(self) -> None:
        await self._move_tab(1)

    async def do_previous_tab(self) -> None:
        await self._move_tab(-1)

    async def _move_tab(self, step: int) -> None:
        number = self._panes.index(self._active) if self._active is not None else 0
        await self._show_pane((number + step) % len(PANES))

    def do_next(self) -> None:
        self._show_neighbor(1)

    def do_previous(self) -> None:
        self._show_neighbor(-1)

    def _show_neighbor(self, step: int) -> None:
        key = self._find_neighbor(self.key, step)
        view = self.app_context.source.fleet.view(key) if key is not None else None
        if view is None:
            return
        active = self._active
        if active is not None:
            active.deactivate()
        self._set_serving(view)
        self.edit_flow.follow(view)
        self._wait_for_data()
        self.update_header()
        if active is not None:
            active.activate()

    async def do_copy_link(self) -> None:
        """Copy the command line that opens this tab, at the line of a log under the cursor."""
        pane = self._active or self._panes[0]
        path = f"{self.key.namespace}/{self.key.name}"
        words = ["servedeck", "open", path, "--tab", tab_name(pane), *pane.link_options()]
        if not self.key.is_deployment:
            words += ["--kind", self.key.kind]
        text = shlex.join([*words, *self.app_context.command_options.shown_words])
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal, text))

    # -- operations ---------------------------------------------------------------------------

    def footer_order(self, action: Action) -> int:
        if action.name == "rollback" and isinstance(self._mounted_pane, RolloutsPane):
            return WAY_OUT_ORDER
        if action.id == "serving.traffic" and isinstance(self._mounted_pane, SettingsPane):
            return TRAFFIC_ORDER
        return super().footer_order(action)

    def in_footer(self, action: Action) -> bool:
        pane = self._mounted_pane
        if pane is not None and action.scope == pane.SCOPE and not pane.in_footer(action):
            return False
        return super().in_footer(action)

    def label_for(self, action: Action) -> str:
        if action.name == "delete" and self._selected_pod is not None:
            return "delete Pod"
        return action.label

    @property
    def selected_serving(self) -> ServingView:
        """The serving of the page, as it was last."""
        return self._view

    @property
    def edited_field(self) -> str:
        pane = self._mounted_pane
        return pane.edited_field if pane is not None else ""

    @property
    def _selected_pod(self) -> PodView | None:
        """The Pod under the cursor of the tab Overview."""
        pane = self._mounted_pane
        return pane.selected_pod if isinstance(pane, OverviewPane) else None

    @property
    def _run_container(self) -> Container | None:
        """Of the Pod under the cursor, or the first one: the container that fails, or the inference
        server. None without a Pod."""
        pod = self._selected_pod or next(iter(self._view.pods), None)
        if pod is None:
            return None
        name = pod.container or self._view.server_container
        return Container(pod.namespace, pod.name, name)

    def _run_disabled_reason(self) -> str:
        container = self._run_container
        if container is None:
            return self._view.no_pods_text
        pod = next(one for one in self._view.pods if one.name == container.pod)
        return not_running_reason(container, pod) or self.operation_flow.disabled_reason(
            container.run_operation
        )

    def do_run(self) -> None:
        if (container := self._run_container) is not None:
            ask_command(self, container)

    def do_forward(self) -> None:
        app = self.app_context
        active = app.port_forwards.of(self.key) if app.port_forwards is not None else ()
        if active:
            open_forwards(self, active[0])
        else:
            start_forward(self, self._view)

    def do_delete(self) -> None:
        if (pod := self._selected_pod) is not None:
            operation = Operation(OperationKind.DELETE_POD, pod.namespace, pod.name)
            self.operation_flow.open([operation])
        else:
            super().do_delete()

    def _edited_object(self) -> ObjectRef | None:
        """The object of the tab YAML, elsewhere the Deployment; None before it is read."""
        pane = self._mounted_pane
        if not isinstance(pane, YamlPane):
            return ObjectRef(DEPLOYMENT.api_version, DEPLOYMENT.kind, *self.key[:2])
        if (live := pane.live_object) is None:
            return None
        resource, metadata = live.resource, live.metadata
        return ObjectRef(resource.api_version, resource.kind, metadata.namespace, metadata.name)

    def _edit_object_disabled_reason(self) -> str:
        ref = self._edited_object()
        if self._deleted_at is not None:
            return "The serving was deleted."
        if ref is None:
            return "The object is not read yet."
        if ref.kind not in EDITABLE_KINDS:
            article = "An" if ref.kind[:1] in "AEIOU" else "A"
            return f"{article} {ref.kind} is not edited here; o chooses another object."
        if ref.kind == "Deployment":
            return self.edit_flow.disabled_reason(self._view)
        base: JsonObject = {"kind": ref.kind, "metadata": {"namespace": ref.namespace}}
        return self.operation_flow.disabled_reason(ObjectEdit.make(base, {}))

    def _on_operations_done(self, operations: Sequence[Operation]) -> None:
        for one in operations:
            if isinstance(one, ObjectEdit):
                self._object_editor.forget(ObjectRef.from_manifest(one.base))

    def do_edit_object(self) -> None:
        if (ref := self._edited_object()) is not None:
            self._object_editor.start(ref)

    def _rollback_disabled_reason(self) -> str:
        pane = self._mounted_pane
        reason = self.operation_flow.serving_disabled_reason(OperationKind.ROLLBACK, self._view)
        if reason or not isinstance(pane, RolloutsPane):
            return reason
        return pane.rollback_disabled_reason()

    async def do_rollback(self) -> None:
        pane = self._mounted_pane
        if isinstance(pane, RolloutsPane) and (revision := pane.selected_revision) is not None:
            self.operation_flow.start(
                OperationKind.ROLLBACK, [self._view], revision=revision.number
            )
            return
        await self._show_pane(PANES.index(RolloutsPane))
        key = self.app_context.key_display_for("serving.rollback")
        self.show_message(f"Choose a revision; {key} shows what going back to it changes.")

    def do_yaml(self) -> None:
        if self._active is not None:
            self._active.request_yaml()

    def do_traffic(self) -> None:
        open_traffic(self, self._view)

    def do_connect(self) -> None:
        from tui.screens.connect import ConnectScreen

        self.app.push_screen(ConnectScreen(self._view))

    def do_describe(self) -> None:
        from tui.screens.describe import DescribeScreen

        self._push_over_pane(DescribeScreen(self._view))

    def do_timeline(self) -> None:
        from tui.screens.timeline import TimelineScreen

        self._push_over_pane(TimelineScreen(self._view))


def _tab_id(number: int) -> str:
    return f"tab-{number}"
