"""KEDA: makes an autoscaler of each ScaledObject, measures its triggers, and scales between zero
and one, which the autoscaler cannot.

Sources: keda 2.21 controllers/keda/scaledobject_controller.go,
pkg/scaling/executor/scale_scaledobjects.go, pkg/scaling/scale_handler.go, pkg/fallback/fallback.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.clock import parse_timestamp
from servedeck.demo.controllers.autoscaling import keda_conditions as conditions
from servedeck.demo.controllers.autoscaling.fallback import TriggerHealth, fallback_value
from servedeck.demo.controllers.autoscaling.metric_sources import MetricSources
from servedeck.demo.controllers.autoscaling.scale_target import (
    KEDA_MANAGER,
    ScaleTarget,
    find_target,
)
from servedeck.demo.controllers.autoscaling.scaled_object import (
    ScalingWishes,
    autoscaler_name,
    build_autoscaler,
)
from servedeck.demo.controllers.autoscaling.triggers import Trigger, TriggerError, read_trigger
from servedeck.demo.controllers.base import ControllerContext, WorkQueue
from servedeck.demo.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of

_RECONCILE_SECONDS = 0.3
_TARGET_KIND = "apps/v1.Deployment"


@dataclass
class _Measurement:
    """What KEDA knows of one ScaledObject."""

    generation: object = None
    """Of the spec and the annotations that its triggers and its autoscaler were made of."""
    triggers: list[Trigger] = field(default_factory=list)
    health: TriggerHealth = field(default_factory=TriggerHealth)
    last: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Time and value of the last poll, by metric."""


class KedaOperator:
    """Reconciles ScaledObjects when they change, and polls the triggers of each."""

    def __init__(self, context: ControllerContext, sources: MetricSources) -> None:
        self._store = context.store
        self._clock = context.clock
        self._recorder = context.recorder
        self._sources = sources
        self._known: dict[Key, _Measurement] = {}
        self._reconciles = WorkQueue(context.clock, self._reconcile)
        self._polls = WorkQueue(context.clock, self._poll)
        context.store.subscribe(self._changed, SCALED_OBJECTS)
        context.store.subscribe(self._target_changed, DEPLOYMENTS)
        context.store.subscribe(self._autoscaler_changed, HORIZONTAL_POD_AUTOSCALERS)

    def resync(self) -> None:
        for scaled in self._store.list(SCALED_OBJECTS):
            self._reconciles.add(key_of(scaled))

    # -- for the autoscaler ------------------------------------------------------------------------

    def external_metric(self, namespace: str, scaled_name: str, metric: str) -> float:
        """The value of a trigger, as KEDA's metrics server answers it. Raises TriggerError."""
        known = self._known.get((namespace, scaled_name))
        trigger = next((t for t in known.triggers if t.metric == metric), None) if known else None
        scaled = self._store.find(SCALED_OBJECTS, namespace, scaled_name)
        if known is None or trigger is None or scaled is None:
            raise TriggerError(f"no matching metrics found for {metric}")
        wishes = ScalingWishes(scaled)
        cached = known.last.get(metric)
        spec = next(
            (one for index, one in enumerate(wishes.triggers) if f"s{index}-" in metric), {}
        )
        if spec.get("useCachedMetrics") and cached is not None:
            time, value = cached
            if self._clock.time() - time <= wishes.polling_seconds:
                return value
        try:
            value = trigger.measure(self._sources)
        except TriggerError:
            failures = known.health.failed(metric)
            self._write_health(scaled, known)
            if wishes.fallback is None or failures <= int(wishes.fallback["failureThreshold"]):
                raise TriggerError(f"no matching metrics found for {metric}") from None
            return fallback_value(wishes.fallback, trigger, self._target_of(scaled))
        known.health.succeeded(metric)
        self._write_health(scaled, known)
        return value

    def _write_health(self, scaled: Json, known: _Measurement) -> None:
        fallback = ScalingWishes(scaled).fallback
        if fallback is None:
            return
        falls_back = known.health.most_failures > int(fallback["failureThreshold"])

        def write(status: Json) -> None:
            status["health"] = known.health.to_json()
            conditions.set_condition(
                status, *(conditions.FALLBACK if falls_back else conditions.NO_FALLBACK)
            )

        self._write_status(key_of(scaled), write)

    # -- changes -----------------------------------------------------------------------------------

    def _changed(self, change: StoreChange) -> None:
        key = key_of(change.object)
        if change.type == "DELETED":
            self._known.pop(key, None)
            self._restore_replicas(change.object)
        elif change.type == "ADDED" or _wishes_of(change.object) != _wishes_of(change.old or {}):
            self._reconciles.add(key, _RECONCILE_SECONDS)

    def _target_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED":
            for scaled in self._store.list(SCALED_OBJECTS, change.object["metadata"]["namespace"]):
                self._reconciles.add(key_of(scaled), _RECONCILE_SECONDS)

    def _autoscaler_changed(self, change: StoreChange) -> None:
        """KEDA makes its autoscaler again where somebody has deleted or changed it."""
        meta, old = change.object["metadata"], change.old
        if change.type == "MODIFIED" and old is not None and old["spec"] == change.object["spec"]:
            return
        for owner in meta.get("ownerReferences") or ():
            if owner.get("kind") == SCALED_OBJECTS.kind:
                self._reconciles.add((meta["namespace"], owner["name"]), _RECONCILE_SECONDS)

    def _restore_replicas(self, scaled: Json) -> None:
        original = (scaled.get("status") or {}).get("originalReplicaCount")
        if original is None or not ScalingWishes(scaled).restores_replicas:
            return
        target = self._target_of(scaled)
        if target is not None and target.wanted != int(original):
            target.set_replicas(int(original), KEDA_MANAGER)

    # -- reconciling -------------------------------------------------------------------------------

    def _reconcile(self, key: Key) -> None:
        scaled = self._store.find(SCALED_OBJECTS, *key)
        if scaled is None or "deletionTimestamp" in scaled["metadata"]:
            return
        known = self._known.setdefault(key, _Measurement())
        wishes, is_new = ScalingWishes(scaled), not scaled.get("status")
        target = self._target_of(scaled)
        if target is None:
            self._write_status(key, lambda status: conditions.set_target_missing(status))
            self._recorder.record(scaled, event_messages.KEDA_CHECK_FAILED)
            return
        self._write_status(key, lambda status: _set_target(status, scaled, target))
        if wishes.is_paused:
            self._pause(key, scaled)
            return
        try:
            known.triggers = [
                read_trigger(index, trigger) for index, trigger in enumerate(wishes.triggers)
            ]
        except TriggerError as error:
            self._recorder.record(scaled, event_messages.KEDA_SCALER_FAILED, error=str(error))
            self._write_status(key, conditions.set_triggers_wrong)
            return
        self._make_autoscaler(scaled, known.triggers)

        def write(status: Json) -> None:
            conditions.set_condition(status, *conditions.READY)
            if wishes.pauses_a_direction:
                conditions.set_condition(status, *conditions.PAUSED)
            elif conditions.status_of(status, "Paused") == "True":
                conditions.set_condition(status, *conditions.UNPAUSED)
            status["externalMetricNames"] = [one.metric for one in known.triggers]
            status.pop("pausedReplicaCount", None)

        self._write_status(key, write)
        if is_new:
            self._recorder.record(scaled, event_messages.KEDA_SCALERS)
            self._recorder.record(scaled, event_messages.KEDA_READY)
        self._polls.add(key)

    def _pause(self, key: Key, scaled: Json) -> None:
        """Sets the replicas that an annotation asks for, if it does, and rests."""
        wishes, target = ScalingWishes(scaled), self._target_of(scaled)
        count = wishes.paused_replicas
        if target is not None and count is not None and target.wanted != count:
            target.set_replicas(count, KEDA_MANAGER)
        name = autoscaler_name(scaled)
        if self._store.find(HORIZONTAL_POD_AUTOSCALERS, key[0], name) is not None:
            self._store.delete(HORIZONTAL_POD_AUTOSCALERS, key[0], name)

        def write(status: Json) -> None:
            if conditions.status_of(status, "Paused") != "True":
                conditions.set_condition(status, *conditions.PAUSED)
                conditions.set_condition(status, *conditions.READY_BUT_PAUSED)
            if count is not None:
                status["pausedReplicaCount"] = count

        self._write_status(key, write)

    def _make_autoscaler(self, scaled: Json, triggers: list[Trigger]) -> None:
        wanted = build_autoscaler(scaled, triggers)
        namespace, name = key_of(wanted)
        found = self._store.find(HORIZONTAL_POD_AUTOSCALERS, namespace, name)
        if found is None:
            self._store.create(HORIZONTAL_POD_AUTOSCALERS, wanted)
            return

        def write(obj: Json) -> None:
            obj["spec"] = wanted["spec"]
            obj["metadata"]["labels"] = wanted["metadata"]["labels"]

        self._store.mutate(HORIZONTAL_POD_AUTOSCALERS, namespace, name, write)

    # -- polling -----------------------------------------------------------------------------------

    def _poll(self, key: Key) -> None:
        scaled = self._store.find(SCALED_OBJECTS, *key)
        known = self._known.get(key)
        target = None if scaled is None else self._target_of(scaled)
        if scaled is None or known is None or target is None:
            return
        wishes = ScalingWishes(scaled)
        if wishes.is_paused:
            return
        self._polls.add(key, wishes.polling_seconds)
        active, has_error = [], False
        for trigger in known.triggers:
            try:
                value = trigger.measure(self._sources)
            except TriggerError as error:
                has_error = True
                self._recorder.record(scaled, event_messages.KEDA_SCALER_FAILED, error=str(error))
                continue
            known.last[trigger.metric] = self._clock.time(), value
            if value > trigger.activation:
                active.append(trigger.metric)
        self._request_scale(scaled, target, active, has_error=has_error)

    def _request_scale(
        self, scaled: Json, target: ScaleTarget, active: list[str], *, has_error: bool
    ) -> None:
        """Source: scale_scaledobjects.go, RequestScale."""
        wishes, key, replicas = ScalingWishes(scaled), key_of(scaled), target.wanted
        changes: list[conditions.Condition] = []
        if not has_error and not conditions.is_true(scaled, "Ready"):
            changes.append(conditions.READY)
        was_active = False
        if active:
            if replicas == 0 or (wishes.idle is not None and replicas < wishes.least):
                was_active = self._activate(scaled, target, active)
            elif has_error:
                changes.append(conditions.PARTLY_FAILING)
            else:
                was_active = True
            changes.append(conditions.ACTIVE)
        else:
            changes.append(conditions.NOT_ACTIVE)
            changes += self._deactivate(scaled, target, has_error=has_error)

        def write(status: Json) -> None:
            if was_active:
                status["lastActiveTime"] = self._clock.timestamp()
            for one in changes:
                conditions.set_condition(status, *one)

        self._write_status(key, write)

    def _activate(self, scaled: Json, target: ScaleTarget, active: list[str]) -> bool:
        """Scales from zero, or from idle; whether that was allowed."""
        wishes, before = ScalingWishes(scaled), target.wanted
        if wishes.pauses_scale_out:
            return False
        target.set_replicas(max(1, wishes.least), KEDA_MANAGER)
        self._recorder.record(
            scaled,
            event_messages.KEDA_ACTIVATED,
            before=before,
            after=target.wanted,
            triggers=";".join(active),
            **_target_names(scaled),
        )
        return True

    def _deactivate(
        self, scaled: Json, target: ScaleTarget, *, has_error: bool
    ) -> list[conditions.Condition]:
        """No trigger is active: scales to zero after the cooldown; the conditions that follow."""
        wishes, replicas = ScalingWishes(scaled), target.wanted
        if has_error and (wishes.fallback or {}).get("replicas"):
            return []
        if has_error and wishes.fallback is None:
            return [conditions.FAILING]
        if (wishes.idle is not None and replicas > wishes.idle) or (
            replicas > 0 and wishes.least == 0
        ):
            if wishes.pauses_scale_in:
                return []
            if not self._has_cooled_down(scaled):
                return [conditions.COOLING_DOWN]
            to = wishes.least if wishes.idle is None else wishes.idle
            target.set_replicas(to, KEDA_MANAGER)
            self._recorder.record(
                scaled,
                event_messages.KEDA_DEACTIVATED,
                before=replicas,
                after=to,
                **_target_names(scaled),
            )
        elif replicas < wishes.least and wishes.idle is None:
            target.set_replicas(wishes.least, KEDA_MANAGER)
        return []

    def _has_cooled_down(self, scaled: Json) -> bool:
        wishes, now = ScalingWishes(scaled), self._clock.time()
        last = (scaled.get("status") or {}).get("lastActiveTime")
        if last is None:
            created = parse_timestamp(scaled["metadata"]["creationTimestamp"])
            return created + wishes.initial_cooldown_seconds < now
        return parse_timestamp(last) + wishes.cooldown_seconds < now

    # -- helpers -----------------------------------------------------------------------------------

    def _target_of(self, scaled: Json) -> ScaleTarget | None:
        namespace = scaled["metadata"]["namespace"]
        try:
            return find_target(self._store, namespace, ScalingWishes(scaled).target)
        except StatusError:
            return None

    def _write_status(self, key: Key, change: conditions.StatusChange) -> None:
        def write(obj: Json) -> None:
            status = obj.setdefault("status", {})
            conditions.initialize(status)
            change(status)

        self._store.mutate(SCALED_OBJECTS, *key, write, "status")


def _wishes_of(scaled: Json) -> tuple[object, object]:
    return scaled.get("spec"), (scaled.get("metadata") or {}).get("annotations")


def _set_target(status: Json, scaled: Json, target: ScaleTarget) -> None:
    status["scaleTargetKind"] = _TARGET_KIND
    status["scaleTargetGVKR"] = {
        "group": "apps",
        "kind": "Deployment",
        "resource": "deployments",
        "version": "v1",
    }
    status["hpaName"] = autoscaler_name(scaled)
    status.setdefault("originalReplicaCount", target.wanted)


def _target_names(scaled: Json) -> dict[str, str]:
    return {
        "kind": _TARGET_KIND,
        "namespace": scaled["metadata"]["namespace"],
        "name": ScalingWishes(scaled).target.get("name", ""),
    }
