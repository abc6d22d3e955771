"""Writes the condition of the gate into the status of Pods."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.lease import server_time
from servedeck.cluster.resources import POD
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.controller.election import is_older_version
from servedeck.controller.metrics import ControllerMetrics
from servedeck.controller.pod_events import EventRecorder, event_of
from servedeck.controller.records import GatedPod
from servedeck.serving.temperature import TEMPERATURE_GATE, Decision, GateState

_log = logging.getLogger(__name__)


class ConditionWriter:
    """It knows what it has written before the watch tells it: a decision by an older state could
    take out the last Pod after the last but one."""

    def __init__(
        self, connection: Connection, recorder: EventRecorder, metrics: ControllerMetrics
    ) -> None:
        self._connection = connection
        self._recorder = recorder
        self._metrics = metrics
        self._written: dict[str, GatedPod] = {}
        """Pods as the API server answered, by uid, until the watch has them."""

    def state_of(self, pod: GatedPod) -> GateState | None:
        """The condition of a Pod of the watch."""
        written = self._written.get(pod.metadata.uid)
        if written is None:
            return pod.gate_state
        if is_older_version(pod.metadata.resource_version, written.metadata.resource_version):
            return written.gate_state
        del self._written[pod.metadata.uid]
        return pod.gate_state

    def keep_only(self, uids: set[str]) -> None:
        """Forget the Pods that are no more."""
        for uid in self._written.keys() - uids:
            del self._written[uid]

    async def write(self, pod: GatedPod, decision: Decision) -> bool:
        """Write the condition, and an Event about the change. False if that failed for a reason
        that may pass."""
        meta, before, now = pod.metadata, self.state_of(pod), server_time(self._connection)
        is_same_status = before is not None and before.passes == decision.passes
        since = before.since if before is not None and is_same_status else None
        condition: dict[str, Any] = {
            "type": TEMPERATURE_GATE,
            "status": "True" if decision.passes else "False",
            "reason": decision.reason.value,
            "message": decision.message,
            "lastTransitionTime": _format_time(since or now),
        }
        try:
            response = await self._connection.request(
                "PATCH",
                f"{POD.object_path(meta.namespace, meta.name)}/status",
                # The uid: another Pod may have got the name.
                body={"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}},
                content_type="application/strategic-merge-patch+json",
            )
            self._written[meta.uid] = _decode(response.body).record
        except ClusterError as error:
            if isinstance(error, ApiError) and error.code == 404:
                return True  # it has gone
            self._metrics.failed.inc()
            _log.warning(
                "The condition of the Pod %s/%s is not written: %s",
                meta.namespace,
                meta.name,
                error,
            )
            return False
        self._metrics.written.labels(decision.reason.value).inc()
        _log.info(
            "Pod %s/%s: %s (%s)", meta.namespace, meta.name, decision.reason.value, decision.message
        )
        if (event := event_of(before, decision)) is not None:
            await self._recorder.record(pod, event, now)
        return True


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_decode = RecordDecoder(GatedPod).decode
