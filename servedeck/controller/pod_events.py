"""Kubernetes Events about the changes of a Pod, so that `kubectl describe` and timelines show them.

Equal Events about a Pod are one object with a count, as client-go's recorder makes them
(tools/record/events_cache.go).
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import EVENT
from servedeck.controller.records import GatedPod
from servedeck.serving.objects.records import ObjectMeta
from servedeck.serving.temperature import Decision, GateReason, GateState

COMPONENT = "servedeck-controller"

_log = logging.getLogger(__name__)


class PodEvent(NamedTuple):
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_RETURNS: dict[GateReason, tuple[Literal["Normal", "Warning"], str]] = {
    GateReason.NORMAL: ("Normal", "TemperatureNormal"),
    GateReason.UNKNOWN: ("Warning", "TemperatureUnknown"),
    GateReason.OFF: ("Normal", "TemperaturePolicyOff"),
    GateReason.LAST_READY_POD: ("Warning", "TemperatureHigh"),
}


def event_of(before: GateState | None, decision: Decision) -> PodEvent | None:
    """The Event of a change of the condition; None for one that nobody needs to know."""
    was_out = before is not None and not before.passes
    was_kept = before is not None and before.passes and before.reason == GateReason.LAST_READY_POD
    message = decision.message
    if decision.reason is GateReason.HOT:
        if was_out:
            return None
        return PodEvent("Warning", "TemperatureHigh", f"Taken out of traffic: {message}.")
    if was_out:
        return PodEvent(*_RETURNS[decision.reason], f"Back in traffic: {message}.")
    if decision.reason is GateReason.LAST_READY_POD and not was_kept:
        return PodEvent("Warning", "TemperatureHigh", f"Kept in traffic: {message}.")
    if decision.reason is GateReason.NORMAL and was_kept:
        return PodEvent("Normal", "TemperatureNormal", f"Cooled down in traffic: {message}.")
    return None


class EventRecorder:
    """Writes Events. What fails is logged: nothing waits for an Event."""

    def __init__(self, connection: Connection, identity: str) -> None:
        self._connection = connection
        self._identity = identity
        self._problem: object = None

    async def record(self, pod: GatedPod, event: PodEvent, now: datetime) -> None:
        """Write it, or add 1 to the count of an equal one."""
        meta = pod.metadata
        try:
            await self._write(meta, event, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
            self._problem = None
        except ClusterError as error:
            if _is_of_ending_namespace(error):
                return  # with all that is in it
            # Messages name the Event, which differs each time.
            problem = error.code if isinstance(error, ApiError) else str(error)
            if problem != self._problem:
                _log.warning("No Event about the Pod %s/%s: %s", meta.namespace, meta.name, error)
            self._problem = problem

    async def _write(self, pod: ObjectMeta, event: PodEvent, time: str) -> None:
        name = event_name(pod, event)
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": pod.uid,
            },
            **event._asdict(),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._identity,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        try:
            await self._connection.request("POST", EVENT.collection_path(pod.namespace), body=body)
        except ApiError as error:
            if error.code != 409:
                raise
            path = EVENT.object_path(pod.namespace, name)
            count = _decode_count(await self._connection.get(path))
            await self._connection.request(
                "PATCH",
                path,
                body={"count": count + 1, "lastTimestamp": time},
                content_type="application/merge-patch+json",
            )


def _is_of_ending_namespace(error: ClusterError) -> bool:
    """Whether the namespace is being deleted (kubernetes plugin/pkg/admission/namespace/lifecycle):
    nothing is created in it any more."""
    return isinstance(error, ApiError) and any(
        cause.get("reason") == "NamespaceTerminating" for cause in error.causes
    )


class _Counted(msgspec.Struct):
    count: int | None = None


def _decode_count(body: bytes) -> int:
    try:
        return msgspec.json.decode(body, type=_Counted).count or 1
    except (msgspec.DecodeError, ValueError):
        return 1


def event_name(pod: ObjectMeta, event: PodEvent) -> str:
    """The same for equal Events about the same Pod. Its last part is longer than the time that
    client-go writes there (`servedeck.serving.status.events.recorded_at`)."""
    digest = hashlib.sha256("\0".join((pod.uid, *event)).encode()).hexdigest()
    return f"{pod.name[:200].rstrip('.-')}.{digest[:24]}"
