"""Why a serving is in its state: cause in words, failing Pods with their Events, the crashed
container's last lines, what to do. True for as long as it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message

from servedeck.fleet.views import ContainerView, EventView, PodView, ServingView
from servedeck.serving.status.diagnosis import Health
from servedeck.serving.text import clip, one_line
from servedeck.serving.units import counted, signed_age
from widgets.serving_rows import status_word
from widgets.styled_line import Line, Span, harmless
from widgets.text_view import Lines, Paragraph

EVENTS_OF_A_POD = 3
"""Events shown for each Pod; more of them repeat the cause."""

LONGEST = 600
"""Cells of one message."""
LONGEST_LINE = 240
"""Cells of one log line; the log screen shows all of it."""

LONGEST_NAME = 100
"""Cells of one name or reason."""

TAIL_WHERE_TIGHT = 5
"""Log lines shown where the room does not hold everything; the last ones tell the most."""

FRAMED = 6
"""Lines from which on the status has a frame; below it the frame would leave too little."""

HEALTH_TONES = {
    Health.ERROR: "error",
    Health.PENDING: "pending",
    Health.STARTING: "starting",
    Health.OK: "ready",
    Health.TERMINATING: "muted",
}


class Crash(NamedTuple):
    """A container whose last lines explain the state, and the instance that wrote them."""

    namespace: str
    pod: str
    container: str
    previous: bool
    """The lines are those of an instance that ended and was replaced."""
    instance: tuple[str, int]
    """Container id and restarts: another value means that there are other lines to read."""


class Tail(NamedTuple):
    """The last lines of a crashed container, as far as they have come."""

    crash: Crash
    lines: tuple[str, ...] = ()
    problem: str = ""
    """Why there are none, in one sentence; "" while they are read or where they came."""
    loading: bool = True


def crash_of(view: ServingView) -> Crash | None:
    """The container whose last lines the status shows: that of the first failing Pod that has
    some; None where no container crashed."""
    for pod in view.failing_pods:
        container = _culprit(pod)
        if container is not None:
            return Crash(
                pod.namespace,
                pod.name,
                container.name,
                container.has_previous and container.state != "Terminated",
                (container.container_id, container.restarts),
            )
    return None


def _culprit(pod: PodView) -> ContainerView | None:
    """The container that the Pod's cause lies in, if it left lines behind."""
    wrote = [
        container
        for container in pod.containers
        if container.has_previous or container.state == "Terminated"
    ]
    for container in wrote:
        if container.name == pod.container:
            return container
    if pod.container or pod.health is not Health.ERROR:
        return None
    return wrote[0] if wrote else None


def paragraphs(
    view: ServingView,
    now: datetime,
    tail: Tail | None,
    keys: Sequence[str],
    *,
    room: str = "",
    tight: bool = False,
) -> list[Paragraph]:
    """The status of a serving as text. `keys` are those that open the Pods' logs, in the order of
    `view.pods`; `room` says where the most is free of what is scarce.

    The crashed container's last lines stand before every Event. Where it is `tight` there are no
    empty lines, and the last of those lines come right after the cause, so that they are in sight
    without scrolling.
    """
    result = [Paragraph(_title(view), hanging=2, whole=True)]
    if view.message:
        result += [Paragraph(), Paragraph(((_short(view.message), "strong"),))]
    if room:
        result.append(Paragraph(((_short(room), ""),)))
    if tail is not None and tight:
        result += _tail(tail, TAIL_WHERE_TIGHT)
    if view.status.recovery:
        result.append(Paragraph((("→ ", "accent"), (view.status.recovery, "accent")), hanging=2))
    if tail is not None and not tight:
        result += [Paragraph(), *_tail(tail)]
    keyed = list(zip(view.pods, [*keys, *([""] * len(view.pods))], strict=False))
    failing = {pod.uid for pod in view.failing_pods}
    for pod, key in keyed:
        if pod.uid in failing or pod.health is Health.STARTING:
            result += [Paragraph(), *_pod(pod, key, now, said=view.message)]
    result += _notices("Events of the Deployment", view.events, now)
    rest = [
        (pod, key)
        for pod, key in keyed
        if pod.uid not in failing and pod.health is not Health.STARTING
    ]
    if rest:
        result.append(Paragraph())
        result += [
            Paragraph(_head(pod, key, now), hanging=5, whole=True, ref=pod.uid) for pod, key in rest
        ]
    if not view.pods:
        result += [Paragraph(), Paragraph((("It has no Pods.", "muted"),))]
    return [paragraph for paragraph in result if paragraph.line] if tight else result


def _title(view: ServingView) -> Line:
    name = clip(harmless(str(view.key)), LONGEST_NAME)
    spans: list[Span] = [(name, "strong"), ("  ", ""), status_word(view.status)]
    if view.reason:
        spans += [("  ", ""), (clip(harmless(view.reason), LONGEST_NAME), "strong")]
    spans += [("  ", ""), (f"{view.ready}/{view.desired} ready", "")]
    if view.failing:
        spans += [("  ", ""), (f"{view.failing} failing", "")]
    if view.rollout:
        spans += [("  ", ""), (clip(harmless(view.rollout), LONGEST_NAME), "accent")]
    return tuple(spans)


def _head(pod: PodView, key: str, now: datetime) -> Line:
    """Key, name, status, readiness, restarts and node of a Pod."""
    spans: list[Span] = [
        (f"{key:>2} " if key else "   ", "key"),
        (clip(harmless(pod.name), LONGEST_NAME), ""),
        ("  ", ""),
        (clip(harmless(pod.status), LONGEST_NAME), HEALTH_TONES[pod.health]),
    ]
    if pod.reason and pod.reason != pod.status:
        spans.append((f" ({clip(harmless(pod.reason), LONGEST_NAME)})", "strong"))
    spans.append((f"  {clip(pod.ready, LONGEST_NAME)}", "muted"))
    if pod.restarts:
        text = f"  {counted(pod.restarts, 'restart')}"
        if pod.restarted_at is not None:
            text += f", {signed_age((now - pod.restarted_at).total_seconds())} ago"
        spans.append((text, "warning"))
    if pod.old_revision:
        spans.append(("  old revision", "muted"))
    if pod.node:
        spans.append((f"  on {clip(harmless(pod.node), LONGEST_NAME)}", "muted"))
    if pod.restarts or not pod.is_ready:
        spans += [("  ", ""), ("View logs", "accent")]
    return tuple(spans)


def _pod(pod: PodView, key: str, now: datetime, said: str) -> list[Paragraph]:
    """A Pod that is not well: its head, its cause unless that was said, its Events."""
    result = [Paragraph(_head(pod, key, now), hanging=5, whole=True, ref=pod.uid)]
    if pod.message and pod.message != said:
        result.append(Paragraph((("   ", ""), (_short(pod.message), "")), hanging=3))
    result += [_event(event, now) for event in pod.events[:EVENTS_OF_A_POD]]
    return result


def _short(text: str) -> str:
    return clip(harmless(one_line(text)), LONGEST)


def _event(event: EventView, now: datetime) -> Paragraph:
    when = signed_age((now - event.time).total_seconds()) if event.time is not None else ""
    often = f" ×{event.count}" if event.count > 1 else ""
    return Paragraph(
        (
            (f"   {when:>6} ", "muted"),
            (clip(harmless(event.reason), LONGEST_NAME), "pending"),
            (often, "muted"),
            ("  ", ""),
            (_short(event.message), "muted"),
        ),
        hanging=10,
    )


def _notices(title: str, events_: Sequence[EventView], now: datetime) -> list[Paragraph]:
    if not events_:
        return []
    return [
        Paragraph(),
        Paragraph(((title, "muted"),)),
        *(_event(event, now) for event in events_[:EVENTS_OF_A_POD]),
    ]


def _tail(tail: Tail, most: int = 0) -> list[Paragraph]:
    """The last lines, the last `most` of them and cut at the edge where `most` is not 0."""
    crash = tail.crash
    whose = "Last lines before the restart" if crash.previous else "Last lines"
    head: Line = ((_short(f"{whose} of {crash.container} in {crash.pod}"), "muted"),)
    if tail.problem:
        return [Paragraph(head), Paragraph((("   ", ""), (tail.problem, "pending")), hanging=3)]
    if not tail.lines:
        text = "reading…" if tail.loading else "The container wrote nothing."
        return [Paragraph(head), Paragraph((("   ", ""), (text, "muted")))]
    return [
        Paragraph(head),
        *(
            Paragraph(
                (("   │ ", "muted"), (clip(harmless(line), LONGEST_LINE), "")),
                hanging=5,
                cut=bool(most),
            )
            for line in tail.lines[-most:]
        ),
    ]


class StatusPopover(Lines):
    """The status of one serving in front of the list, beside its row."""

    DEFAULT_CSS = """
    StatusPopover {
        position: absolute;
        layer: overlay;
        display: none;
        border: round $border;
        padding: 0 1;
        scrollbar-background: $panel;
        scrollbar-background-hover: $panel;
        scrollbar-background-active: $panel;
    }
    StatusPopover.-frameless { border: none; border-left: outer $border; }
    """
    BINDINGS = [
        Binding("escape,space,q,enter", "close", "Close", id="status.close"),
        Binding("down,j", "lines(1)", "Down", show=False),
        Binding("up,k", "lines(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
        Binding("home,g", "lines(-1000000)", "Top", show=False),
        Binding("end,G", "lines(1000000)", "End", show=False),
    ]

    @dataclass
    class Closed(Message):
        """The operator closed the status."""

    @dataclass
    class Missed(Message):
        """A digit was pressed that no Pod has."""

        key: str

    @dataclass
    class LogRequested(Message):
        """The key of a Pod was pressed."""

        pod: PodView

    def __init__(
        self, pod_keys: Sequence[str], clock: Callable[[], datetime], id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._pod_keys = tuple(pod_keys)
        self._clock = clock
        self.view: ServingView | None = None
        self.tail: Tail | None = None
        self._room = ""
        self._tight = False

    @property
    def is_open(self) -> bool:
        return self.view is not None

    def show(self, view: ServingView, tail: Tail | None, room: str = "") -> None:
        """Show the status of a serving, or bring what is shown up to date; `place` says where."""
        fresh = self.view is None or self.view.key != view.key
        self.view, self.tail, self._room = view, tail, room
        self.tick()
        if fresh:
            self.scroll_to(y=0, animate=False)

    def tick(self) -> None:
        """Bring the times up to date; draws only lines that read otherwise by now."""
        if self.view is not None:
            self.set_paragraphs(self._paragraphs_now(self._tight))

    def _paragraphs_now(self, tight: bool) -> list[Paragraph]:
        assert self.view is not None
        return paragraphs(
            self.view, self._clock(), self.tail, self._pod_keys, room=self._room, tight=tight
        )

    def hide(self) -> None:
        self.view = self.tail = None
        self.display = False

    def place(self, rows: Region, line: int) -> None:
        """Take the room that the text needs within `rows`, the lines of the list, below or above
        the row on `line` so that this stays in sight: the larger side where neither is enough. A
        list of one or two lines is covered. Both are in cells of the screen."""
        if self.view is None:
            return
        below, above = rows.bottom - line - 1, line - rows.y
        most = max(below, above)
        covering = most < 2
        room = rows.height if covering else most
        frame = 2 if room >= FRAMED else 0
        width = rows.width - (5 if frame else 4)
        whole = self._paragraphs_now(False)
        self._tight = frame + self.height_in(width, whole) > room
        self.set_paragraphs(self._paragraphs_now(True) if self._tight else whole)
        height = min(frame + self.height_in(width), room)
        if covering:
            y = rows.y
        elif height <= below or below >= above:
            y, height = line + 1, min(height, below)
        else:
            y = line - height
        self.set_class(not frame, "-frameless")
        self.styles.width, self.styles.height = rows.width, max(height, 1)
        self.styles.offset = (rows.x, y)
        self.display = True

    def action_close(self) -> None:
        self.post_message(self.Closed())

    def action_lines(self, lines: int) -> None:
        self.scroll_lines(lines)

    def action_pages(self, pages: int) -> None:
        self.scroll_pages(pages)

    def on_key(self, event: events.Key) -> None:
        if self.view is not None and event.key in self._pod_keys:
            number = self._pod_keys.index(event.key)
            if number < len(self.view.pods):
                self.post_message(self.LogRequested(self.view.pods[number]))
            elif event.key.isdigit():
                # Not a namespace of the list, which is behind.
                self.post_message(self.Missed(event.key))
            else:
                return
            event.stop()
            event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        inside = event.get_content_offset(self)
        if inside is None or self.view is None:
            return
        ref = self.ref_at(inside.y)
        pod = next((pod for pod in self.view.pods if ref and pod.uid == ref), None)
        if pod is not None:
            self.post_message(self.LogRequested(pod))
