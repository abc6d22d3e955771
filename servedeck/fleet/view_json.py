"""Views as JSON, in a documented, versioned format (docs/get.md)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from servedeck.cluster.command_options import CommandOptions
from servedeck.fleet.views import ContainerView, EventView, PodGroup, PodView, ServingView

API_VERSION = "servedeck.dev/v1"
"""Increases when a field is removed or changes its meaning; new fields do not increase it."""


_NO_OPTIONS = CommandOptions()


def serving_json(view: ServingView, options: CommandOptions = _NO_OPTIONS) -> dict[str, Any]:
    """The JSON object of a serving; `options` name the cluster in its command."""
    endpoint = view.endpoint
    return {
        "apiVersion": API_VERSION,
        "kind": "Serving",
        "namespace": view.key.namespace,
        "name": view.key.name,
        "uid": view.uid,
        "workloadKind": view.kind,
        "status": view.status.value,
        "reason": view.reason,
        "message": view.message,
        "recovery": view.recovery,
        "failing": view.failing,
        "ready": view.ready,
        "desired": view.desired,
        "rollout": view.rollout,
        "rolloutMessage": view.rollout_message,
        "restarts": view.restarts,
        "template": view.template,
        "model": view.model,
        "modelSource": view.model_source,
        "owner": view.owner,
        "image": view.image,
        "accelerator": {
            "name": view.accelerator,
            "resource": view.accelerator_resource,
            "count": view.accelerator_count,
        },
        "endpoint": {
            "url": endpoint.url,
            "source": endpoint.source,
            "problem": endpoint.issue,
            "address": endpoint.cluster_url,
            "service": endpoint.service_name,
            "port": endpoint.port,
            "grpc": endpoint.is_grpc,
            "model": endpoint.model,
            "portForwardCommand": options.add_to(endpoint.port_forward_command),
        },
        "autoscaler": view.autoscaler,
        "asyncQueue": view.has_async_queue,
        "created": _format_time(view.created),
        "labels": view.labels,
        "description": view.description,
        "objectives": view.objectives,
        "managed": view.managed,
        "pods": [_pod_json(pod) for pod in view.pods],
        "podGroups": [_group_json(group) for group in view.pod_groups],
        "events": [_event_json(event) for event in view.events],
    }


def serving_list_json(
    views: Iterable[ServingView], options: CommandOptions = _NO_OPTIONS
) -> dict[str, Any]:
    """The JSON object of several servings."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ServingList",
        "items": [serving_json(view, options) for view in views],
    }


def _pod_json(pod: PodView) -> dict[str, Any]:
    return {
        "name": pod.name,
        "uid": pod.uid,
        "status": pod.status,
        "ready": pod.ready,
        "isReady": pod.is_ready,
        "restarts": pod.restarts,
        "lastFinishedAt": _format_time(pod.last_finished_at),
        "node": pod.node,
        "created": _format_time(pod.created),
        "health": pod.health.value,
        "reason": pod.reason,
        "message": pod.message,
        "container": pod.container,
        "oldRevision": pod.old_revision,
        "finished": pod.finished,
        "containers": [_container_json(container) for container in pod.containers],
        "events": [_event_json(event) for event in pod.events],
    }


def _group_json(group: PodGroup) -> dict[str, Any]:
    return {
        "count": group.count,
        "health": group.health.value,
        "reason": group.reason,
        "message": group.message,
        "finished": group.finished,
        "nodes": list(group.nodes),
        "newest": _format_time(group.newest.created),
    }


def _container_json(container: ContainerView) -> dict[str, Any]:
    return {
        "name": container.name,
        "state": container.state,
        "ready": container.ready,
        "restarts": container.restarts,
        "init": container.init,
        "hasPrevious": container.has_previous,
        "containerID": container.container_id,
    }


def _event_json(event: EventView) -> dict[str, Any]:
    return {
        "time": _format_time(event.time),
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "count": event.count,
    }


def _format_time(time: datetime | None) -> str | None:
    """RFC 3339 in UTC, as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else None
