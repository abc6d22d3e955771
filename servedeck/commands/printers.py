"""Views as text for scripts: JSON of a documented, versioned shape (docs/get.md), tables, names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from servedeck.fleet.views import ContainerView, EventView, PodView, ServingView
from servedeck.serving.text import cells, clip, one_line
from servedeck.serving.units import age

API_VERSION = "servedeck.dev/v1"
"""Grows when a field goes or changes its meaning; new fields come without a new version."""

# -- JSON -------------------------------------------------------------------------------------


def serving(view: ServingView) -> dict[str, Any]:
    """The JSON object of a serving."""
    endpoint = view.endpoint
    return {
        "apiVersion": API_VERSION,
        "kind": "Serving",
        "namespace": view.key.namespace,
        "name": view.key.name,
        "uid": view.uid,
        "status": view.status.value,
        "reason": view.reason,
        "message": view.message,
        "recovery": view.status.recovery,
        "failing": view.failing,
        "ready": view.ready,
        "desired": view.desired,
        "rollout": view.rollout,
        "restarts": view.restarts,
        "template": view.template,
        "model": view.model,
        "image": view.image,
        "accelerator": {
            "name": view.accelerator,
            "resource": view.accelerator_resource,
            "count": view.accelerator_count,
        },
        "endpoint": {
            "url": endpoint.url,
            "source": endpoint.source,
            "problem": endpoint.problem,
            "address": endpoint.address,
            "service": endpoint.service,
            "port": endpoint.port,
            "model": endpoint.model,
            "forward": endpoint.forward,
        },
        "scaler": view.scaler,
        "created": _time(view.created),
        "labels": view.labels,
        "description": view.description,
        "managed": view.managed,
        "pods": [_pod(pod) for pod in view.pods],
        "events": [_event(event) for event in view.events],
    }


def serving_list(views: Iterable[ServingView]) -> dict[str, Any]:
    """The JSON object of several servings."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ServingList",
        "items": [serving(view) for view in views],
    }


def _pod(pod: PodView) -> dict[str, Any]:
    return {
        "name": pod.name,
        "uid": pod.uid,
        "status": pod.status,
        "ready": pod.ready,
        "isReady": pod.is_ready,
        "restarts": pod.restarts,
        "restartedAt": _time(pod.restarted_at),
        "node": pod.node,
        "created": _time(pod.created),
        "health": pod.health.value,
        "reason": pod.reason,
        "message": pod.message,
        "container": pod.container,
        "oldRevision": pod.old_revision,
        "containers": [_container(container) for container in pod.containers],
        "events": [_event(event) for event in pod.events],
    }


def _container(container: ContainerView) -> dict[str, Any]:
    return {
        "name": container.name,
        "state": container.state,
        "ready": container.ready,
        "restarts": container.restarts,
        "init": container.init,
        "hasPrevious": container.has_previous,
        "containerID": container.container_id,
    }


def _event(event: EventView) -> dict[str, Any]:
    return {
        "time": _time(event.time),
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "count": event.count,
    }


def _time(time: datetime | None) -> str | None:
    """RFC 3339 in UTC, as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else None


def name(view: ServingView) -> str:
    """The Deployment behind the serving, as kubectl names it and takes it back."""
    return f"deployment.apps/{view.key.name}"


# -- tables -----------------------------------------------------------------------------------


def _age(view: ServingView, now: datetime) -> str:
    if view.created is None:
        return "<unknown>"
    return age((now - view.created).total_seconds())


def _accelerator(view: ServingView, _: datetime) -> str:
    return f"{view.accelerator} x{view.accelerator_count}" if view.accelerator else ""


_COLUMNS: Mapping[str, Callable[[ServingView, datetime], str]] = {
    "NAMESPACE": lambda view, _: view.key.namespace,
    "NAME": lambda view, _: view.key.name,
    "STATUS": lambda view, _: view.status.value,
    "REASON": lambda view, _: view.reason,
    "READY": lambda view, _: f"{view.ready}/{view.desired}",
    "RESTARTS": lambda view, _: str(view.restarts),
    "ROLLOUT": lambda view, _: view.rollout,
    "TEMPLATE": lambda view, _: view.template,
    "MODEL": lambda view, _: view.model,
    "ACCELERATOR": _accelerator,
    "AGE": _age,
    "ENDPOINT": lambda view, _: view.endpoint.url,
    "SCALER": lambda view, _: view.scaler,
    "IMAGE": lambda view, _: view.image,
    "MESSAGE": lambda view, _: view.message,
}
_ESSENTIAL = ("NAME", "STATUS", "REASON", "READY", "RESTARTS", "TEMPLATE", "ACCELERATOR", "AGE")
_WIDEST = 100
"""Cells of one column; what is longer is cut, the JSON has all of it."""
_GAP = "   "


class Table:
    """Rows of servings whose columns stay as wide as they were once printed."""

    def __init__(self, *, wide: bool, namespaces: bool) -> None:
        names = tuple(_COLUMNS)[1:] if wide else _ESSENTIAL
        self.columns = ("NAMESPACE", *names) if namespaces else names
        self._widths = [len(column) for column in self.columns]

    def row(self, view: ServingView, now: datetime) -> tuple[str, ...]:
        """Cells of a serving; empty ones as kubectl prints them."""
        texts = (_COLUMNS[column](view, now) for column in self.columns)
        return tuple(clip(one_line(text), _WIDEST) or "<none>" for text in texts)

    def lines(self, rows: Sequence[Sequence[str]], *, header: bool) -> list[str]:
        """The rows as aligned lines."""
        for row in rows:
            self._widths = [
                max(width, cells(text)) for width, text in zip(self._widths, row, strict=True)
            ]
        return [self._line(row) for row in ([self.columns, *rows] if header else rows)]

    def _line(self, row: Sequence[str]) -> str:
        padded = (
            text + " " * (width - cells(text))
            for text, width in zip(row, self._widths, strict=True)
        )
        return _GAP.join(padded).rstrip()
