"""The HorizontalPodAutoscaler controller.

Sources: kubernetes pkg/controller/podautoscaler/horizontal.go, replica_calculator.go.
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers.autoscaling.metric_proposals import (
    FailedMetricError,
    MetricReader,
    Proposal,
)
from servedeck.demo.controllers.autoscaling.recommendations import ReplicaLimits, ScalingPast
from servedeck.demo.controllers.autoscaling.scale_target import (
    CONTROLLER_MANAGER,
    ScaleTarget,
    find_target,
)
from servedeck.demo.controllers.base import ControllerContext, WorkQueue
from servedeck.demo.resources import HORIZONTAL_POD_AUTOSCALERS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of

SYNC_SECONDS = 15.0
"""--horizontal-pod-autoscaler-sync-period."""
_FIRST_SYNC_SECONDS = 1.0


class HorizontalAutoscaler:
    """Sets the replicas of the targets of all HorizontalPodAutoscalers."""

    def __init__(self, context: ControllerContext, reader: MetricReader) -> None:
        self._context = context
        self._store = context.store
        self._reader = reader
        self._pasts: dict[str, ScalingPast] = {}
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._changed, HORIZONTAL_POD_AUTOSCALERS)

    def resync(self) -> None:
        for autoscaler in self._store.list(HORIZONTAL_POD_AUTOSCALERS):
            self._queue.add(key_of(autoscaler), _FIRST_SYNC_SECONDS)

    def _changed(self, change: StoreChange) -> None:
        if change.type == "DELETED":
            self._pasts.pop(change.object["metadata"]["uid"], None)
        elif change.old is None or change.old["spec"] != change.object["spec"]:
            self._queue.add(key_of(change.object), _FIRST_SYNC_SECONDS)

    def _sync(self, key: Key) -> None:
        autoscaler = self._store.find(HORIZONTAL_POD_AUTOSCALERS, *key)
        if autoscaler is None:
            return
        self._queue.add(key, SYNC_SECONDS)
        past = self._pasts.setdefault(autoscaler["metadata"]["uid"], ScalingPast())
        reconciliation = _Reconciliation(self._context, self._reader, past, autoscaler)
        reconciliation.run()

        def write(obj: Json) -> None:
            obj["status"] = reconciliation.status

        self._store.mutate(HORIZONTAL_POD_AUTOSCALERS, *key, write, "status")


class _Reconciliation:
    """One reconciliation of one autoscaler. `status` is what it writes."""

    def __init__(
        self,
        context: ControllerContext,
        reader: MetricReader,
        past: ScalingPast,
        autoscaler: Json,
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._recorder = context.recorder
        self._reader = reader
        self._past = past
        self._autoscaler = autoscaler
        old = autoscaler.get("status") or {}
        self.status: Json = {**old, "conditions": [dict(c) for c in old.get("conditions") or ()]}

    def run(self) -> None:
        """Sources: reconcileAutoscaler, computeReplicasForMetrics."""
        autoscaler, now = self._autoscaler, self._clock.time()
        namespace, spec = autoscaler["metadata"]["namespace"], autoscaler["spec"]
        try:
            target = find_target(self._store, namespace, spec["scaleTargetRef"])
        except StatusError as error:
            self._set("AbleToScale", "False", "FailedGetScale", _NO_SCALE.format(error=error))
            self._recorder.record(autoscaler, event_messages.HPA_NO_SCALE, error=error)
            return
        self._set("AbleToScale", "True", *_GOT_SCALE)
        current = target.wanted
        limits = ReplicaLimits(int(spec.get("minReplicas") or 1), int(spec["maxReplicas"]))
        self._past.begin(current, now)
        metrics: list[Json] = []
        reason, desired = "", current
        if current == 0:
            self._set("ScalingActive", "False", *_DISABLED)
        elif current > limits.most:
            reason, desired = "Current number of replicas above Spec.MaxReplicas", limits.most
        elif current < limits.least:
            reason, desired = "Current number of replicas below Spec.MinReplicas", limits.least
        else:
            try:
                proposals = self._propose(target)
            except FailedMetricError as error:
                self.status["currentReplicas"] = current
                self.status.setdefault("desiredReplicas", current)
                self._recorder.record(autoscaler, event_messages.HPA_NOT_COMPUTED, error=error)
                return
            highest = max(proposals, key=lambda one: one.replicas)
            metrics = [one.status for one in proposals]
            self._set("ScalingActive", "True", "ValidMetricFound", _VALID.format(highest.name))
            if highest.replicas != current:
                reason = "All metrics below target"
                if highest.replicas > current:
                    reason = f"{highest.name} above target"
            decision = self._past.decide(
                spec.get("behavior"), current, highest.replicas, limits, now
            )
            desired = decision.replicas
            self._set("AbleToScale", "True", *decision.able)
            self._set("ScalingLimited", str(decision.is_limited), *decision.limited)
        if desired != current:
            target.set_replicas(desired, CONTROLLER_MANAGER)
            self._past.changed(current, desired, now)
            self._set("AbleToScale", "True", "SucceededRescale", _RESCALED.format(desired))
            self.status["lastScaleTime"] = self._clock.timestamp()
            self._recorder.record(autoscaler, event_messages.RESCALED, size=desired, reason=reason)
        self.status |= {
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": metrics,
        }

    def _propose(self, target: ScaleTarget) -> list[Proposal]:
        """What the metrics recommend. Raises FailedMetricError where none can be had, or where
        those that can would remove replicas."""
        found, failures = [], []
        metrics: list[Json] = self._autoscaler["spec"].get("metrics") or []
        for metric in metrics:
            try:
                found.append(self._reader.propose(self._autoscaler, metric, target))
            except FailedMetricError as error:
                failures.append(error)
                message = event_messages.HPA_NO_METRIC._replace(reason=error.reason)
                self._recorder.record(self._autoscaler, message, error=error)
        if failures and (not found or max(p.replicas for p in found) < target.wanted):
            first = failures[0]
            self._set("ScalingActive", "False", first.reason, _NO_COUNT.format(error=first))
            raise FailedMetricError(
                first.reason,
                f"invalid metrics ({len(failures)} invalid out of {len(metrics)}), first error "
                f"is: {_first_failure(metrics, first)}",
            )
        return found

    def _set(self, type_: str, value: str, reason: str, message: str) -> None:
        found = self.status["conditions"]
        known = next((one for one in found if one.get("type") == type_), None)
        if known is None:
            known = {"type": type_}
            found.append(known)
        if known.get("status") != value:
            known["lastTransitionTime"] = self._clock.timestamp()
        known |= {"status": value, "reason": reason, "message": message}


_GOT_SCALE = (
    "SucceededGetScale",
    "the HPA controller was able to get the target's current scale",
)
_NO_SCALE = "the HPA controller was unable to get the target's current scale: {error}"
_DISABLED = (
    "ScalingDisabled",
    "scaling is disabled since the replica count of the target is zero",
)
_VALID = "the HPA was able to successfully calculate a replica count from {}"
_RESCALED = "the HPA controller was able to update the target scale to {}"
_NO_COUNT = "the HPA was unable to compute the replica count: {error}"


def _first_failure(metrics: list[Json], error: FailedMetricError) -> str:
    if error.reason != "FailedGetExternalMetric":
        return str(error)
    metric = next(one["external"] for one in metrics if one.get("type") == "External")
    name = metric["metric"]["name"]
    if "averageValue" in metric["target"]:
        return f"failed to get {name} external metric: {error}"
    return f"failed to get external metric {name}: {error}"
