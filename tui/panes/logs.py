"""The tab Logs: the log of one container, its last lines, then new ones while it is shown."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.logs import NOTICE_PREFIX, LogStreamState
from servedeck.fleet.views import ContainerView, NamespacedName, PodView
from servedeck.serving.text import format_count, truncate
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from widgets.status_paragraphs import HEALTH_STYLES
from widgets.stream_log import StreamLog
from widgets.styled_line import Line, Span, line_width, wrap
from widgets.text_view import StatusLine

INITIAL_LINES = 200
"""Number of earlier lines that are shown."""

MAX_STATE_LINES = 3
"""Maximum number of lines of the state."""

MIN_NAME_WIDTH = 12
"""Minimum width of a name in cells."""

_STREAM_LABELS = {
    LogStreamState.CONNECTING: "connecting",
    LogStreamState.WAITING: "waiting for the container to start",
    LogStreamState.RECONNECTING: "reconnecting",
}
"""The state of a log without new lines."""


class LogsPane(Pane):
    """Follows one container of one Pod of a serving."""

    TITLE = "Logs"
    SCOPE = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")
    heading = query_one("#log-heading", StatusLine)
    log_view = query_one(StreamLog)

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._pod_name = ""
        """"" until a Pod is chosen, or the serving has one."""
        self._container_name = ""
        self._shows_previous = False
        self._error = ""
        self._ended = False
        self._stream_state = LogStreamState.CONNECTING

    def compose(self) -> ComposeResult:
        yield StatusLine(id="log-heading")
        yield StreamLog(marker=NOTICE_PREFIX)

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._pod_name = self._container_name = ""
        self._shows_previous = False

    def choose_pod(self, pod: str, container: str = "") -> None:
        """Show the log of a Pod, now or when the tab is shown."""
        self._pod_name, self._container_name = pod, container
        self._shows_previous = False
        if self.is_active:
            self._open_log()

    def activate(self) -> None:
        super().activate()
        self.log_view.focus()
        self._open_log()

    def deactivate(self) -> None:
        super().deactivate()
        self.workers.cancel_group(self, "log")

    def on_resize(self) -> None:
        self.call_after_refresh(self._update_heading)

    # -- what is followed ---------------------------------------------------------------------

    @property
    def pods(self) -> tuple[PodView, ...]:
        return self.view.pods if self.view is not None else ()

    @property
    def _server_container(self) -> str:
        return self.view.server_container if self.view is not None else ""

    @property
    def pod(self) -> PodView | None:
        """The Pod, None if it was deleted."""
        return next((pod for pod in self.pods if pod.name == self._pod_name), None)

    @property
    def container(self) -> ContainerView | None:
        pod = self.pod
        if pod is None:
            return None
        return next((each for each in pod.containers if each.name == self._container_name), None)

    def _open_log(self) -> None:
        """Start the log of the chosen Pod and container."""
        if not self._pod_name and self.pods:
            self._pod_name, self._container_name = self.pods[0].name, self.pods[0].container
        pod = self.pod
        if pod is not None and self.container is None:
            self._container_name = default_container(pod, self._server_container)
        self.log_view.clear()
        self._error = ""
        self._ended = False
        self._stream_state = LogStreamState.CONNECTING
        self._update_heading()
        self.post_message(self.ActionsChanged())
        if self._pod_name:
            self.start_worker(self._follow_log(), "log")

    async def _follow_log(self) -> None:
        """Append lines until no more can follow."""
        try:
            async for batch in self.app_context.log_service.follow_log(
                self.key.namespace,
                self._pod_name,
                self._container_name,
                tail=INITIAL_LINES,
                previous=self._shows_previous,
                on_state=self._on_stream,
            ):
                self.log_view.write_lines(batch)
        except ClusterError as error:
            self._error = str(error)
        self._ended = True
        self._update_heading()

    def _on_stream(self, stream: LogStreamState) -> None:
        self._stream_state = stream
        self._update_heading()

    # -- what is shown ------------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key in changes.keys:
            if not self._pod_name and self.pods:
                self._open_log()
            self._update_heading()
            self.post_message(self.ActionsChanged())

    def _update_heading(self) -> None:
        if not self.is_attached or not (width := self.heading.inner_width):
            return
        state = wrap(self._state_line(width), width, indent=1)[:MAX_STATE_LINES]
        self.heading.styles.height = 1 + len(state)
        self.heading.set_lines(self._title_line(width), *state)

    def _title_line(self, width: int) -> Line:
        """The Pod and its state in one line; a long name loses its beginning, as its end
        distinguishes Pods."""
        pod, pods = self.pod, self.pods
        rest: list[Span] = []
        if not self._pod_name:
            view = self.view
            text = view.no_pods_text if view is not None else "The serving has no Pods."
            return ((" ", ""), (text, "muted"))
        if pod is None:
            rest.append(("  Pod deleted", "pending"))
        else:
            rest += [("  ", ""), (pod.status, HEALTH_STYLES[pod.health])]
            if pod.restarts:
                rest.append((f"  {format_count(pod.restarts, 'restart')}", "warning"))
            if len(pods) > 1:
                at = [each.name for each in pods].index(self._pod_name) + 1
                rest.append((f"  Pod {at} of {len(pods)}", "muted"))
        room = max(width - 1 - line_width(tuple(rest)), MIN_NAME_WIDTH)
        name = self._pod_name
        if len(name) > room:
            name = f"…{name[1 - room :]}"
        return ((" ", ""), (name, "strong"), *rest)

    def _state_line(self, width: int) -> Line:
        """The container, whether new lines arrive and are visible, and the number of lines."""
        log = self.log_view
        if not self._pod_name:
            return ()
        state: list[Span] = [("  ", "")]
        if self._shows_previous:
            state.append(("previous instance  ", "pending"))
        if self._error:
            state.append((self._error, "error"))
        elif self._ended:
            state.append(("ended", "muted"))
        elif waiting := waiting_reason(self.pod, self.container) if not log.lines else "":
            state.append((waiting, "pending"))
        elif self._stream_state is not LogStreamState.OPEN:
            state.append((_STREAM_LABELS[self._stream_state], "pending"))
        elif log.following:
            state.append(("✓ following", "ready"))
        if not log.following:
            between = "  " if len(state) > 1 else ""
            below = format_count(log.lines_below, "line")
            state.append((f"{between}paused, {below} below", "pending"))
        state.append((f"  {format_count(len(log.lines), 'line')}", "muted"))
        if log.dropped_count:
            state.append((f", {log.dropped_count:,} older dropped", "muted"))
        room = max(width - 1 - line_width(tuple(state)), MIN_NAME_WIDTH)
        return ((" ", ""), (truncate(self._container_name, room), "accent"), *state)

    def on_stream_log_viewport_changed(self) -> None:
        self._update_heading()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        pod = self.pod
        if action.name == "previous" and not self._shows_previous:
            container = self.container
            if container is None or not container.has_previous:
                return f"{self._container_name or 'The container'} has not been restarted."
        if action.name == "container" and (pod is None or len(pod.containers) < 2):
            return "The Pod has no other container."
        if action.name == "pod" and len(self.pods) < 2:
            return "The serving has no other Pod."
        return ""

    def do_previous(self) -> None:
        self._shows_previous = not self._shows_previous
        self._open_log()

    def do_container(self) -> None:
        if (pod := self.pod) is not None:
            names = [container.name for container in pod.containers]
            at = names.index(self._container_name) if self._container_name in names else -1
            self._container_name = names[(at + 1) % len(names)]
            self._shows_previous = False
            self._open_log()

    def do_pod(self) -> None:
        names = [pod.name for pod in self.pods]
        at = names.index(self._pod_name) if self._pod_name in names else -1
        self._pod_name = names[(at + 1) % len(names)]
        self._container_name = ""
        self._shows_previous = False
        self._open_log()

    def do_follow(self) -> None:
        self.log_view.set_following(not self.log_view.following)

    def do_wrap(self) -> None:
        self.log_view.set_wrapping(not self.log_view.wrapping)


def default_container(pod: PodView, server_container: str) -> str:
    """The first container to show: the one that fails, else the inference server."""
    names = [container.name for container in pod.containers]
    for wanted in (pod.container, server_container):
        if wanted in names:
            return wanted
    of_the_pod = [container.name for container in pod.containers if not container.init]
    return (of_the_pod or names or [""])[0]


def waiting_reason(pod: PodView | None, container: ContainerView | None) -> str:
    """Why there are no lines yet, in a few words; "" if there is no reason."""
    if pod is None:
        return "Pod deleted"
    if container is None or not container.state:
        return f"waiting for the Pod to be started: {pod.reason or pod.status}"
    if container.state == "Waiting":
        return f"waiting for the container to start: {pod.reason or pod.status}"
    return ""
