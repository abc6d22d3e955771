"""The status of a serving as text: cause in words, failing Pods with their Events, the crashed
container's last lines, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from servedeck.fleet.views import (
    SHOWN_PODS,
    ContainerView,
    EventView,
    PodGroup,
    PodView,
    ServingView,
)
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.log_error import LogErrorMatch
from servedeck.serving.text import format_count, one_line, truncate
from widgets.serving_rows import rollout_style, status_span
from widgets.styled_line import Line, Span, sanitized
from widgets.text_view import Paragraph

MAX_EVENTS_PER_POD = 3
"""Events shown for each Pod; more of them repeat the reason."""

MAX_MESSAGE_LENGTH = 600
"""Cells of one message."""
MAX_LOG_LINE_LENGTH = 240
"""Cells of one log line; the log screen shows all of it."""

MAX_NAME_LENGTH = 100
"""Cells of one name or reason."""

COMPACT_TAIL_LINES = 5
"""Number of log lines shown if not everything fits; the last ones are the most useful."""

HEALTH_STYLES = {
    PodHealth.ERROR: "error",
    PodHealth.PENDING: "pending",
    PodHealth.STARTING: "starting",
    PodHealth.OK: "ready",
    PodHealth.TERMINATING: "muted",
}


_DETAILED_HEALTH = (PodHealth.ERROR, PodHealth.PENDING, PodHealth.STARTING)
"""Health of Pods that are shown with their failure reason and Events."""


class CrashedContainer(NamedTuple):
    """A container whose last lines explain the status, and the instance that wrote them."""

    namespace: str
    pod: str
    container: str
    previous: bool
    """The lines are those of an instance that ended and was replaced."""
    instance: tuple[str, int]
    """Container id and restarts: a new value means that there are new lines to read."""


class LogTail(NamedTuple):
    """The last lines of a crashed container, as far as they were read."""

    container: CrashedContainer
    lines: tuple[str, ...] = ()
    error: str = ""
    """Why there are none, in one sentence; "" while they are being read or after success."""
    loading: bool = True
    cause: LogErrorMatch | None = None
    """The known error in the lines, or in those before them."""


def find_crashed_container(view: ServingView) -> CrashedContainer | None:
    """The container whose last lines the status shows: that of the first failing Pod that has
    some; None where no container crashed."""
    for pod in view.failing_pods:
        container = _crashed_container_of(pod)
        if container is not None:
            return CrashedContainer(
                pod.namespace,
                pod.name,
                container.name,
                container.has_previous and container.state != "Terminated",
                (container.container_id, container.restarts),
            )
    return None


def _crashed_container_of(pod: PodView) -> ContainerView | None:
    """The container that caused the Pod's status, if it wrote lines."""
    wrote = [
        container
        for container in pod.containers
        if container.has_previous or container.state == "Terminated"
    ]
    for container in wrote:
        if container.name == pod.container:
            return container
    if pod.container or pod.health is not PodHealth.ERROR:
        return None
    return wrote[0] if wrote else None


def status_paragraphs(
    view: ServingView,
    now: datetime,
    log_tail: LogTail | None,
    pod_keys: Sequence[str],
    *,
    capacity_hint: str = "",
    recovery: str = "",
    compact: bool = False,
) -> list[Paragraph]:
    """The status of a serving as text. `pod_keys` open the Pods' logs, in the order of `view.pods`;
    `capacity_hint` names the nodes with the most free capacity; `recovery` replaces the recovery
    step of the view. Many Pods with the same reason take
    one line. The crashed container's last lines
    come before every Event. If it is `compact`, there are no empty lines, and those lines come
    right after the failure reason, so that they are visible without scrolling.
    """
    result = [Paragraph(title_line(view), indent=2, keep_spans=True)]
    result += reason_paragraphs(
        view, log_tail, capacity_hint=capacity_hint, recovery=recovery, compact=compact
    )
    keys = {pod.uid: key for pod, key in zip(view.pods, pod_keys, strict=False)}
    collapsed = {
        pod.uid: group for group in view.pod_groups if group.is_collapsed for pod in group.pods
    }
    for pod in view.pods:
        if pod.health not in _DETAILED_HEALTH:
            continue
        group = collapsed.get(pod.uid)
        if group is None:
            key = keys.get(pod.uid, "")
            result += [Paragraph(), *_pod_paragraphs(pod, key, now, shown_message=view.message)]
        elif pod is group.pods[0]:
            result += [Paragraph(), *_group_paragraphs(group, keys, now, view.message)]
    result += deployment_paragraphs(view, now)
    rest = [pod for pod in view.pods if pod.health not in _DETAILED_HEALTH]
    if rest:
        result.append(Paragraph())
        result += [_pod_paragraph(pod, keys, now) for pod in rest]
    if not view.pods:
        result += [Paragraph(), Paragraph(((view.no_pods_text, "muted"),))]
    return [paragraph for paragraph in result if paragraph.line] if compact else result


def reason_paragraphs(
    view: ServingView,
    log_tail: LogTail | None,
    *,
    capacity_hint: str = "",
    recovery: str = "",
    compact: bool = False,
) -> list[Paragraph]:
    """Why the serving is in its status, what to do, and the crashed container's last lines."""
    result: list[Paragraph] = []
    if view.message:
        result += [Paragraph(), Paragraph(((_shorten(view.message), "strong"),))]
    if capacity_hint:
        result.append(Paragraph(((_shorten(capacity_hint), ""),)))
    if log_tail is not None and compact:
        result += log_tail_paragraphs(log_tail, COMPACT_TAIL_LINES, shown_message=view.message)
    if view.rollout_message:
        result += [Paragraph(), Paragraph(((_shorten(view.rollout_message), "strong"),))]
    if step := recovery or view.recovery:
        result.append(Paragraph((("→ ", "accent"), (_shorten(step), "accent")), indent=2))
    if log_tail is not None and not compact:
        result.append(Paragraph())
        result += log_tail_paragraphs(log_tail, shown_message=view.message)
    return result


def deployment_paragraphs(view: ServingView, now: datetime) -> list[Paragraph]:
    """Warnings about the workload, and about the ReplicaSets of a Deployment."""
    return _event_section(f"Events of the {view.kind}", view.events, now)


def pod_paragraphs(pod: PodView, now: datetime, shown_message: str) -> list[Paragraph]:
    """Details of one Pod besides its line: its failure reason unless it is shown already, and its
    Events."""
    result: list[Paragraph] = []
    if pod.message and pod.message != shown_message:
        result.append(Paragraph((("   ", ""), (_shorten(pod.message), "")), indent=3))
    return result + [_event_paragraph(event, now) for event in pod.events[:MAX_EVENTS_PER_POD]]


def _group_paragraphs(
    group: PodGroup, keys: Mapping[str, str], now: datetime, shown_message: str
) -> list[Paragraph]:
    """Pods with the same reason: one line, their failure reason unless it is shown already, the
    first of them if they live, and the Events of the newest."""
    newest = group.newest
    text = truncate(sanitized(group.summary(now)), MAX_NAME_LENGTH)
    line = Paragraph(
        (("   ", ""), (text, HEALTH_STYLES[group.health])),
        indent=5,
        keep_spans=True,
        target=newest.uid,
    )
    pods = () if group.finished else group.pods[:SHOWN_PODS]
    return [
        line,
        *(_pod_paragraph(pod, keys, now) for pod in pods),
        *pod_paragraphs(newest, now, shown_message),
    ]


def title_line(view: ServingView) -> Line:
    """Name, status, reason, Pods and rollout of a serving."""
    name = truncate(sanitized(str(view.key)), MAX_NAME_LENGTH)
    spans: list[Span] = [(name, "strong"), ("  ", ""), status_span(view.status)]
    if view.reason:
        spans += [("  ", ""), (truncate(sanitized(view.reason), MAX_NAME_LENGTH), "strong")]
    spans += [("  ", ""), (f"{view.ready}/{view.desired} ready", "")]
    if view.failing:
        spans += [("  ", ""), (f"{view.failing} failing", "")]
    if view.rollout:
        text = truncate(sanitized(view.rollout), MAX_NAME_LENGTH)
        spans += [("  ", ""), (text, rollout_style(view))]
    if view.revision_of:
        text = truncate(sanitized(view.revision_text), MAX_NAME_LENGTH)
        spans += [("  ", ""), (text, "muted")]
    return tuple(spans)


def _pod_line(pod: PodView, key: str, now: datetime) -> Line:
    """Key, name, status, readiness, restarts and node of a Pod."""
    spans: list[Span] = [
        (f"{key:>2} " if key else "   ", "key"),
        (truncate(sanitized(pod.name), MAX_NAME_LENGTH), ""),
        ("  ", ""),
        (truncate(sanitized(pod.status), MAX_NAME_LENGTH), HEALTH_STYLES[pod.health]),
    ]
    if pod.reason and pod.reason != pod.status:
        spans.append((f" ({truncate(sanitized(pod.reason), MAX_NAME_LENGTH)})", "strong"))
    spans.append((f"  {truncate(pod.ready, MAX_NAME_LENGTH)}", "muted"))
    if pod.restarts:
        text = f"  {format_count(pod.restarts, 'restart')}"
        if pod.last_finished_at is not None:
            text += f", {format_signed_duration((now - pod.last_finished_at).total_seconds())} ago"
        spans.append((text, "warning"))
    if pod.old_revision:
        spans.append(("  old revision", "muted"))
    if pod.node:
        spans.append((f"  on {truncate(sanitized(pod.node), MAX_NAME_LENGTH)}", "muted"))
    if pod.restarts or not pod.is_ready:
        spans += [("  ", ""), ("View logs", "accent")]
    return tuple(spans)


def _pod_paragraph(pod: PodView, keys: Mapping[str, str], now: datetime) -> Paragraph:
    line = _pod_line(pod, keys.get(pod.uid, ""), now)
    return Paragraph(line, indent=5, keep_spans=True, target=pod.uid)


def _pod_paragraphs(pod: PodView, key: str, now: datetime, shown_message: str) -> list[Paragraph]:
    """A failing Pod: its first line, its failure reason unless it is shown already, its Events."""
    line = Paragraph(_pod_line(pod, key, now), indent=5, keep_spans=True, target=pod.uid)
    return [line, *pod_paragraphs(pod, now, shown_message)]


def _shorten(text: str) -> str:
    return truncate(sanitized(one_line(text)), MAX_MESSAGE_LENGTH)


def _event_paragraph(event: EventView, now: datetime) -> Paragraph:
    when = (
        format_signed_duration((now - event.time).total_seconds()) if event.time is not None else ""
    )
    often = f" ×{event.count}" if event.count > 1 else ""
    return Paragraph(
        (
            (f"   {when:>6} ", "muted"),
            (truncate(sanitized(event.reason), MAX_NAME_LENGTH), "pending"),
            (often, "muted"),
            ("  ", ""),
            (_shorten(event.message), "muted"),
        ),
        indent=10,
    )


def _event_section(title: str, events: Sequence[EventView], now: datetime) -> list[Paragraph]:
    if not events:
        return []
    return [
        Paragraph(),
        Paragraph(((title, "muted"),)),
        *(_event_paragraph(event, now) for event in events[:MAX_EVENTS_PER_POD]),
    ]


def log_tail_paragraphs(
    log_tail: LogTail, max_lines: int = 0, *, shown_message: str = ""
) -> list[Paragraph]:
    """The known error that they say, unless the message shown above says it, and the last lines; at
    most `max_lines` of them and cut at the edge if it is not 0."""
    cause, crash = log_tail.cause, log_tail.container
    lines = _tail_line_paragraphs(log_tail, max_lines)
    if cause is None or cause.text in shown_message:
        return lines
    return [Paragraph(((_shorten(f"{crash.container} {cause.sentence}"), "strong"),)), *lines]


def _tail_line_paragraphs(log_tail: LogTail, max_lines: int) -> list[Paragraph]:
    crash = log_tail.container
    whose = "Last lines before the restart" if crash.previous else "Last lines"
    head: Line = ((_shorten(f"{whose} of {crash.container} in {crash.pod}"), "muted"),)
    if log_tail.error:
        return [Paragraph(head), Paragraph((("   ", ""), (log_tail.error, "pending")), indent=3)]
    if not log_tail.lines:
        text = "reading…" if log_tail.loading else "The container wrote nothing."
        return [Paragraph(head), Paragraph((("   ", ""), (text, "muted")))]
    return [
        Paragraph(head, no_wrap=bool(max_lines)),
        *(
            Paragraph(
                (("   │ ", "muted"), (truncate(sanitized(line), MAX_LOG_LINE_LENGTH), "")),
                indent=5,
                no_wrap=bool(max_lines),
            )
            for line in log_tail.lines[-max_lines:]
        ),
    ]
