"""The cards of one Pod: its history, containers, probes, conditions, volumes, node and Events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.cards import Card, CardRow
from servedeck.detail.object_watch import LiveObject
from servedeck.detail.overview import describe_volume
from servedeck.fleet.views import PodView
from servedeck.serving.accelerators import is_accelerator
from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import (
    ContainerStateTerminated,
    ContainerStatus,
    Event,
    Node,
    Pod,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.status import reasons
from servedeck.serving.status.events import event_count, event_time, newest_first
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.pod_fields import concerns_container, container_statuses
from servedeck.serving.status.pod_history import HistoryStep, pod_history
from servedeck.serving.status.pods import format_restarts, pod_columns
from servedeck.serving.text import one_line

MAX_EVENTS = 50
"""Events of a Pod that are shown; the newest are used."""
_decode_pod = RecordDecoder(Pod).decode
_decode_node = RecordDecoder(Node).decode


def pod_cards(
    pod_object: LiveObject,
    node_object: LiveObject | None,
    events: Sequence[Event],
    now: datetime,
    *,
    view: PodView | None = None,
    notes: Mapping[str, str] = {},
) -> tuple[Card, ...]:
    """What is known about a Pod. `view` is that of the list; `notes` are sentences about what
    cannot be read ("node", "events"), by card."""
    pod: Pod = _decode_pod(pod_object.json_text.encode()).record
    value = pod_object.value
    node: Node | None = None
    if node_object is not None:
        node = _decode_node(node_object.json_text.encode()).record
    return (
        Card("history", "History", tuple(_history_rows(pod_history(pod, events, now), now))),
        Card("pod", "Pod", tuple(_pod_rows(pod, value, events, now, view))),
        *_container_cards(pod, value, events, now),
        Card("conditions", "Conditions", tuple(_condition_rows(pod, now)), "None reported yet."),
        Card("volumes", "Volumes", tuple(_volume_rows(value)), "No volumes."),
        Card(
            "node",
            "Node",
            tuple(_node_rows(node, now)),
            notes.get("node") or ("Not scheduled." if not pod.spec.node_name else "Not read yet."),
        ),
        Card(
            "events",
            "Events",
            tuple(_event_rows(events, now)),
            notes.get("events") or "No Events in the last hour.",
        ),
    )


def _history_rows(steps: Sequence[HistoryStep], now: datetime) -> Iterator[CardRow]:
    for number, step in enumerate(steps):
        yield CardRow(
            str(number),
            clock_time(step.time, now),
            step.text,
            style_name="error" if step.is_failure else "",
        )


def clock_time(time: datetime | None, now: datetime) -> str:
    """A time of today as "14:02:11", another one with its date; "" for None. Local time."""
    if time is None:
        return ""
    local, today = time.astimezone(), now.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%m-%d %H:%M:%S}"


def _pod_rows(
    pod: Pod, value: JsonObject, events: Sequence[Event], now: datetime, view: PodView | None
) -> Iterator[CardRow]:
    columns = pod_columns(pod)
    diagnosis = diagnose(pod, events, now)
    yield CardRow("status", "Status", columns.status, note=diagnosis.reason)
    if diagnosis.message:
        yield CardRow("reason", "Reason", diagnosis.message, style_name="strong")
    yield CardRow("ready", "Ready", columns.ready)
    yield CardRow("restarts", "Restarts", format_restarts(columns, now))
    yield CardRow("node", "Node", pod.spec.node_name)
    yield CardRow("ip", "IP", pod.status.pod_ip)
    yield CardRow("qos", "QoS Class", pod.status.qos_class)
    if view is not None and view.revision:
        yield CardRow(
            "revision", "Revision", view.revision, note="old revision" if view.old_revision else ""
        )
    spec = as_mapping(value, "spec")
    for key, label in (
        ("serviceAccountName", "Service Account"),
        ("priorityClassName", "Priority Class"),
        ("runtimeClassName", "Runtime Class"),
    ):
        if name := as_str(spec.get(key)):
            yield CardRow(key, label, name)
    yield CardRow("created", "Created", time=pod.metadata.creation_timestamp)


def _container_cards(
    pod: Pod, value: JsonObject, events: Sequence[Event], now: datetime
) -> Iterator[Card]:
    statuses = {status.name: status for _, status in container_statuses(pod)}
    spec = as_mapping(value, "spec")
    for key, noun in (("initContainers", "Init Container"), ("containers", "Container")):
        for container in mappings(spec.get(key)):
            name = as_str(container.get("name"))
            is_sidecar = key == "initContainers" and container.get("restartPolicy") == "Always"
            title = f"{'Sidecar' if is_sidecar else noun} {name}"
            rows = _container_rows(container, statuses.get(name), events, now)
            yield Card(f"container.{name}", title, tuple(rows))


def _container_rows(
    container: JsonObject, status: ContainerStatus | None, events: Sequence[Event], now: datetime
) -> Iterator[CardRow]:
    if status is None:
        yield CardRow("state", "State", "", note="not reported yet")
    else:
        yield _state_row(status)
        if (running := status.state.running) is not None:
            yield CardRow("started", "Started", time=running.started_at)
        last = status.last_state.terminated
        if last is not None:
            yield CardRow("last", "Last Termination", describe_end(last), style_name="strong")
        restarts = status.restart_count
        style_name = "warning" if restarts else ""
        yield CardRow("restarts", "Restarts", str(restarts), style_name=style_name)
    yield CardRow("image", "Image", as_str(container.get("image")))
    limits, requests = (as_mapping(container, "resources", key) for key in ("limits", "requests"))
    yield CardRow("limits", "Limits", _format_resources(limits))
    yield CardRow("requests", "Requests", _format_resources(requests))
    for key, label in (
        ("startupProbe", "Startup Probe"),
        ("readinessProbe", "Readiness Probe"),
        ("livenessProbe", "Liveness Probe"),
    ):
        probe = as_mapping(container, key)
        if probe:
            yield CardRow(key, label, describe_probe(probe))
            failure = _last_probe_failure(label.split()[0].lower(), container, events, now)
            if failure:
                yield CardRow(f"{key}.failure", "  last failure", failure, style_name="error")


def _state_row(status: ContainerStatus) -> CardRow:
    state = status.state
    if state.running is not None:
        text = "Running" if status.ready else "Running, not ready"
        style_name = "ready" if status.ready else "starting"
        return CardRow("state", "State", text, style_name=style_name)
    if state.terminated is not None:
        style_name = "error" if state.terminated.exit_code else "muted"
        text = f"Terminated: {describe_end(state.terminated)}"
        return CardRow("state", "State", text, style_name=style_name)
    if state.waiting is not None:
        text = ": ".join(filter(None, (state.waiting.reason, one_line(state.waiting.message))))
        text = f"Waiting: {text}" if text else "Waiting"
        return CardRow("state", "State", text, style_name="pending")
    return CardRow("state", "State", note="not reported yet")


def describe_end(terminated: ContainerStateTerminated) -> str:
    """ "OOMKilled, exit code 137, after 38s"."""
    reason = terminated.reason or ("Completed" if not terminated.exit_code else "Error")
    parts = [reason, f"exit code {terminated.exit_code}"]
    if terminated.signal:
        parts.append(f"signal {terminated.signal}")
    if terminated.started_at is not None and terminated.finished_at is not None:
        seconds = (terminated.finished_at - terminated.started_at).total_seconds()
        parts.append(f"after {format_duration(max(seconds, 0))}")
    if message := one_line(terminated.message):
        parts.append(message)
    return ", ".join(parts)


def _format_resources(resources: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in resources.items())


def describe_probe(probe: Mapping[str, Any]) -> str:
    """A probe as `kubectl describe` writes it: "http-get :8000/health delay=0s timeout=1s
    period=10s #success=1 #failure=3". Defaults are those of the API (kubernetes
    pkg/apis/core/v1/defaults.go)."""
    http, exec_, tcp, grpc = (
        as_mapping(probe, key) for key in ("httpGet", "exec", "tcpSocket", "grpc")
    )
    if http:
        scheme = "https-get" if as_str(http.get("scheme")) == "HTTPS" else "http-get"
        what = f"{scheme} :{http.get('port', '')}{as_str(http.get('path')) or '/'}"
    elif exec_:
        words = exec_.get("command")
        what = f"exec {' '.join(map(str, words)) if isinstance(words, list) else ''}"
    elif tcp:
        what = f"tcp-socket :{tcp.get('port', '')}"
    elif grpc:
        what = f"grpc :{grpc.get('port', '')} {as_str(grpc.get('service'))}".strip()
    else:
        what = "unknown"

    def number(key: str, default: int) -> int:
        found = as_int(probe.get(key))
        return default if found is None else found

    return (
        f"{one_line(what)} delay={number('initialDelaySeconds', 0)}s"
        f" timeout={number('timeoutSeconds', 1)}s period={number('periodSeconds', 10)}s"
        f" #success={number('successThreshold', 1)} #failure={number('failureThreshold', 3)}"
    )


def _last_probe_failure(
    kind: str, container: JsonObject, events: Sequence[Event], now: datetime
) -> str:
    name = as_str(container.get("name"))
    for event in newest_first(events):
        if event.reason != "Unhealthy" or not concerns_container(event, name):
            continue
        found = reasons.parse_probe_failure(event.message)
        if found is not None and found.kind == kind:
            time, count = event_time(event), event_count(event)
            ago = f"{format_duration((now - time).total_seconds())} ago" if time else ""
            often = f"×{count}" if count > 1 else ""
            return ", ".join(filter(None, (found.detail or "failed", often, ago)))
    return ""


def _condition_rows(pod: Pod, now: datetime) -> Iterator[CardRow]:
    for condition in pod.status.conditions:
        text = condition.status
        if condition.reason:
            text += f" ({condition.reason})"
        if condition.last_transition_time is not None:
            seconds = (now - condition.last_transition_time).total_seconds()
            text += f" for {format_duration(max(seconds, 0))}"
        is_bad = (condition.status != "True") != (condition.type in _BAD_CONDITIONS)
        yield CardRow(
            condition.type,
            condition.type,
            text,
            note=one_line(condition.message),
            style_name="pending" if is_bad else "",
        )


_BAD_CONDITIONS = frozenset(
    {"DisruptionTarget", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"}
)
"""Conditions that mean a problem if they are True; for others that is so if they are not."""


def _volume_rows(value: JsonObject) -> Iterator[CardRow]:
    for at, volume in enumerate(mappings(as_mapping(value, "spec").get("volumes"))):
        yield CardRow(str(at), as_str(volume.get("name")), describe_volume(volume))


def _node_rows(node: Node | None, now: datetime) -> Iterator[CardRow]:
    if node is None:
        return
    yield CardRow("name", "Name", node.metadata.name)
    if node.spec.unschedulable:
        yield CardRow("cordoned", "Scheduling", "cordoned", style_name="pending")
    for condition in node.status.conditions:
        bad_status = "True" if condition.type in _BAD_CONDITIONS else "False"
        if condition.type == "Ready" or condition.status == bad_status:
            is_bad = condition.status in (bad_status, "Unknown")
            age = ""
            if condition.last_transition_time is not None:
                seconds = (now - condition.last_transition_time).total_seconds()
                age = f" for {format_duration(max(seconds, 0))}"
            yield CardRow(
                condition.type,
                condition.type,
                f"{condition.status}{age}",
                note=one_line(condition.message) if is_bad else "",
                style_name="error" if is_bad else "",
            )
    for at, taint in enumerate(node.spec.taints):
        text = f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
        yield CardRow(f"taint.{at}", "Taint", text)
    amounts = {
        key: amount
        for key, amount in node.status.allocatable.items()
        if key in ("cpu", "memory", "pods") or is_accelerator(key)
    }
    yield CardRow("allocatable", "Allocatable", _format_resources(amounts))


def _event_rows(events: Sequence[Event], now: datetime) -> Iterator[CardRow]:
    newest = newest_first(events)[:MAX_EVENTS]
    for number, event in enumerate(reversed(newest)):
        count = event_count(event)
        often = f" ×{count}" if count > 1 else ""
        is_warning = event.type == "Warning"
        mark = "! " if is_warning else ""
        yield CardRow(
            str(number),
            clock_time(event_time(event), now),
            f"{mark}{event.reason}{often}: {one_line(event.message)}",
            style_name="pending" if is_warning else "",
        )
