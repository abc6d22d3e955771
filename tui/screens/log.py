"""The log of one container: its last lines, then what it writes, for as long as it is watched."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one

from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.logs import MARK, Stream
from servedeck.fleet.views import ContainerView, Key, PodView
from servedeck.serving.objects.records import INFERENCE_CONTAINER
from servedeck.serving.text import clip
from servedeck.serving.units import counted
from tui.actions import Action, bindings
from tui.screens.base import ActionScreen
from tui.source import Changes
from widgets.status_popover import HEALTH_TONES
from widgets.stream_log import StreamLog
from widgets.styled_line import Line, Span, line_width, wrap
from widgets.text_view import Bar

FIRST_LINES = 200
"""Lines of the past that are shown."""

MOST_STATE_LINES = 3
"""Lines that the state takes where it is a long sentence."""

LEAST_NAME = 12
"""Cells of a name that stay, however narrow the screen is."""

_STREAMS = {
    Stream.CONNECTING: "connecting",
    Stream.WAITING: "waiting for the container to start",
    Stream.RECONNECTING: "reconnecting",
}
"""What is said of a log from which no lines arrive."""


class LogScreen(ActionScreen[None]):
    """Follows one container of one Pod of a serving."""

    SCOPE = "log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("log", "app")
    heading = query_one("#heading", Bar)
    log_view = query_one(StreamLog)

    def __init__(self, key: Key, pod: str, container: str = "") -> None:
        super().__init__()
        self._key = key
        self._pod = pod
        self._container = container
        self._previous = False
        self._problem = ""
        self._ended = False
        self._stream = Stream.CONNECTING

    def compose_body(self) -> ComposeResult:
        yield Bar(id="heading")
        yield StreamLog(mark=MARK)

    def on_mount(self) -> None:
        super().on_mount()
        self.log_view.focus()
        self._open()

    def fit(self, size: Size) -> None:
        super().fit(size)
        self.call_after_refresh(self._show_heading)

    # -- what is followed ---------------------------------------------------------------------

    @property
    def pods(self) -> tuple[PodView, ...]:
        view = self.servedeck.source.fleet.view(self._key)
        return view.pods if view is not None else ()

    @property
    def pod(self) -> PodView | None:
        """The Pod, None where it is gone."""
        return next((pod for pod in self.pods if pod.name == self._pod), None)

    @property
    def container(self) -> ContainerView | None:
        pod = self.pod
        if pod is None:
            return None
        return next((each for each in pod.containers if each.name == self._container), None)

    def _open(self) -> None:
        """Begin with the log of the Pod and container that are chosen."""
        pod = self.pod
        if pod is not None and self.container is None:
            self._container = first_container(pod)
        self.log_view.clear()
        self._problem = ""
        self._ended = False
        self._stream = Stream.CONNECTING
        self._show_heading()
        self.show_hints()
        self.start(self._follow(), "log")

    async def _follow(self) -> None:
        """Write what comes until nothing more can come."""
        try:
            async for batch in self.servedeck.cluster.follow(
                self._key.namespace,
                self._pod,
                self._container,
                tail=FIRST_LINES,
                previous=self._previous,
                on_stream=self._on_stream,
            ):
                self.log_view.write_lines(batch)
        except ClusterError as error:
            self._problem = str(error)
        self._ended = True
        self._show_heading()

    def _on_stream(self, stream: Stream) -> None:
        self._stream = stream
        self._show_heading()

    # -- what is shown ------------------------------------------------------------------------

    def on_changes(self, changes: Changes) -> None:
        if self._key in changes.keys:
            self._show_heading()
            self.show_hints()

    def _show_heading(self) -> None:
        if not self.is_attached or not (width := self.heading.inner_width):
            return
        state = wrap(self._state(width), width, hanging=1)[:MOST_STATE_LINES]
        self.heading.styles.height = 1 + len(state)
        self.heading.set_lines(self._title(width), *state)

    def _title(self, width: int) -> Line:
        """The Pod and its state in one line; the beginning of a long name gives way, as its end
        tells Pods apart."""
        pod, pods = self.pod, self.pods
        rest: list[Span] = []
        if pod is None:
            rest.append(("  the Pod is gone", "pending"))
        else:
            rest += [("  ", ""), (pod.status, HEALTH_TONES[pod.health])]
            if pod.restarts:
                rest.append((f"  {counted(pod.restarts, 'restart')}", "warning"))
            if len(pods) > 1:
                at = [each.name for each in pods].index(self._pod) + 1
                rest.append((f"  Pod {at} of {len(pods)}", "muted"))
        room = max(width - 1 - line_width(tuple(rest)), LEAST_NAME)
        name = f"{self._key.namespace}/{self._pod}"
        if len(name) > room:
            name = self._pod
        if len(name) > room:
            name = f"…{name[1 - room :]}"
        return ((" ", ""), (name, "strong"), *rest)

    def _state(self, width: int) -> Line:
        """The container, whether new lines arrive and are in sight, and how many there are."""
        log = self.log_view
        state: list[Span] = [("  ", "")]
        if self._previous:
            state.append(("previous instance  ", "pending"))
        if self._problem:
            state.append((self._problem, "error"))
        elif self._ended:
            state.append(("ended", "muted"))
        elif waiting := waits_for(self.pod, self.container) if not log.lines else "":
            state.append((waiting, "pending"))
        elif self._stream is not Stream.OPEN:
            state.append((_STREAMS[self._stream], "pending"))
        elif log.following:
            state.append(("✓ following", "ready"))
        if not log.following:
            between = "  " if len(state) > 1 else ""
            below = counted(log.unseen, "line")
            state.append((f"{between}holding, {below} below", "pending"))
        state.append((f"  {counted(len(log.lines), 'line')}", "muted"))
        if log.dropped:
            state.append((f", {log.dropped:,} older dropped", "muted"))
        room = max(width - 1 - line_width(tuple(state)), LEAST_NAME)
        return ((" ", ""), (clip(self._container, room), "accent"), *state)

    def on_stream_log_moved(self) -> None:
        self._show_heading()

    # -- actions ------------------------------------------------------------------------------

    def why_not(self, action: Action) -> str:
        pod = self.pod
        if action.name == "previous" and not self._previous:
            container = self.container
            if container is None or not container.has_previous:
                return f"{self._container or 'The container'} has not been restarted."
        if action.name == "container" and (pod is None or len(pod.containers) < 2):
            return "The Pod has no other container."
        if action.name == "pod" and len(self.pods) < 2:
            return "The serving has no other Pod."
        return ""

    def do_previous(self) -> None:
        self._previous = not self._previous
        self._open()

    def do_container(self) -> None:
        if (pod := self.pod) is not None:
            names = [container.name for container in pod.containers]
            at = names.index(self._container) if self._container in names else -1
            self._container = names[(at + 1) % len(names)]
            self._previous = False
            self._open()

    def do_pod(self) -> None:
        names = [pod.name for pod in self.pods]
        at = names.index(self._pod) if self._pod in names else -1
        self._pod = names[(at + 1) % len(names)]
        self._container = ""
        self._previous = False
        self._open()

    def do_follow(self) -> None:
        self.log_view.set_following(not self.log_view.following)

    def do_wrap(self) -> None:
        self.log_view.set_wrapping(not self.log_view.wrapping)

    def do_close(self) -> None:
        self.app.pop_screen()


def first_container(pod: PodView) -> str:
    """The container to begin with: where the cause lies, else the inference server."""
    names = [container.name for container in pod.containers]
    for wanted in (pod.container, INFERENCE_CONTAINER):
        if wanted in names:
            return wanted
    of_the_pod = [container.name for container in pod.containers if not container.init]
    return (of_the_pod or names or [""])[0]


def waits_for(pod: PodView | None, container: ContainerView | None) -> str:
    """Why there are no lines yet, in a few words; "" where there is no reason."""
    if pod is None:
        return "the Pod is gone"
    if container is None or not container.state:
        return f"waiting for the Pod to be started: {pod.reason or pod.status}"
    if container.state == "Waiting":
        return f"waiting for the container to start: {pod.reason or pod.status}"
    return ""
