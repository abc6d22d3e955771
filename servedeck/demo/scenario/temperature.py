"""The serving with a temperature policy."""

from __future__ import annotations

from servedeck.demo.clock import Clock
from servedeck.demo.controllers.base import find_condition
from servedeck.demo.resources import PODS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.temperature import (
    DEFAULT_THRESHOLD,
    TEMPERATURE_ANNOTATION,
    TEMPERATURE_GATE,
    GateReason,
    TemperaturePolicy,
    format_policy,
    format_temperature,
)

SERVING: Key = ("search", "bge-m3")
_NORMAL_CELSIUS = 52
"""What the accelerators of Pods have in the simulated past, about."""


def add_policy(deployment: Json) -> None:
    """The policy and its gate, in a Deployment that is being made."""
    annotations = deployment["metadata"].setdefault("annotations", {})
    annotations[TEMPERATURE_ANNOTATION] = format_policy(TemperaturePolicy())
    pod = deployment["spec"]["template"]["spec"]
    pod["readinessGates"] = [{"conditionType": TEMPERATURE_GATE}]


class PastTemperatureController:
    """Lets Pods with the gate into traffic while the past is simulated, and in a demo without
    processes of its own: there is no `servedeck controller` that could."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        store.subscribe(self._pod_changed, PODS)

    def stop(self) -> None:
        self._store.unsubscribe(self._pod_changed)

    def _pod_changed(self, change: StoreChange) -> None:
        pod = change.object
        gates = (pod.get("spec") or {}).get("readinessGates") or ()
        if change.type == "DELETED" or find_condition(pod, TEMPERATURE_GATE) is not None:
            return
        if any(one.get("conditionType") == TEMPERATURE_GATE for one in gates):
            self._clock.call_later(0.1, lambda: self._let_in(key_of(pod)))

    def _let_in(self, key: Key) -> None:
        pod = self._store.find(PODS, *key)
        if pod is None or find_condition(pod, TEMPERATURE_GATE) is not None:
            return
        limit = format_temperature(DEFAULT_THRESHOLD)
        condition = {
            "type": TEMPERATURE_GATE,
            "status": "True",
            "reason": GateReason.NORMAL.value,
            "message": f"{format_temperature(_NORMAL_CELSIUS)}, below {limit}",
            "lastTransitionTime": self._clock.timestamp(),
        }

        def write(obj: Json) -> None:
            status = obj.setdefault("status", {})
            status["conditions"] = [*(status.get("conditions") or ()), condition]

        self._store.mutate(PODS, *key, write, "status")
