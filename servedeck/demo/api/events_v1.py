"""Converts Events of the core group to events.k8s.io/v1. Source: kubernetes
pkg/apis/events/v1/conversion.go."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


def to_events_v1(event: Json) -> Json:
    """The same Event as events.k8s.io/v1."""
    built = {_NAMES.get(name, name): value for name, value in event.items()}
    return built | {"apiVersion": "events.k8s.io/v1"}
