"""The statuses that a Gateway controller writes to HTTPRoutes, and KEDA to ScaledObjects.

Sources: Gateway API v1.4 (HTTPRoute status), Envoy Gateway's messages, keda 2.21
apis/keda/v1alpha1/condition_types.go.
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.controllers.base import ControllerContext, WorkQueue, find_condition
from servedeck.demo.resources import DEPLOYMENTS, GATEWAYS, HTTP_ROUTES, SCALED_OBJECTS, SERVICES
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of

CONTROLLER_NAME = "gateway.envoyproxy.io/gatewayclass-controller"


class HTTPRouteController:
    """Writes the conditions Accepted and ResolvedRefs of HTTPRoutes."""

    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._route_changed, HTTP_ROUTES)
        context.store.subscribe(self._service_changed, SERVICES)
        context.store.subscribe(self._gateway_changed, GATEWAYS)

    def resync(self) -> None:
        for route in self._store.list(HTTP_ROUTES):
            self._queue.add(key_of(route))

    def _route_changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object), 0.2)

    def _service_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED":
            for route in self._store.list(HTTP_ROUTES, change.object["metadata"]["namespace"]):
                self._queue.add(key_of(route), 0.2)

    def _gateway_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED":
            self.resync()

    def _sync(self, key: Key) -> None:
        route = self._store.find(HTTP_ROUTES, *key)
        if route is None or "deletionTimestamp" in route["metadata"]:
            return
        old = {
            _parent_ref_key(parent.get("parentRef") or {}): parent
            for parent in (route.get("status") or {}).get("parents") or ()
        }
        parents = []
        for reference in route["spec"].get("parentRefs") or ():
            known = {"status": old.get(_parent_ref_key(reference), {})}
            parents.append(
                {
                    "parentRef": reference,
                    "controllerName": CONTROLLER_NAME,
                    "conditions": [
                        self._condition(
                            route, known, "Accepted", *self._check_parent(key, reference)
                        ),
                        self._condition(route, known, "ResolvedRefs", *self._check_backends(route)),
                    ],
                }
            )

        def write(obj: Json) -> None:
            obj["status"] = {"parents": parents}

        self._store.mutate(HTTP_ROUTES, *key, write, "status")

    def _check_parent(self, key: Key, reference: Json) -> tuple[bool, str, str]:
        namespace = reference.get("namespace") or key[0]
        gateway = self._store.find(GATEWAYS, namespace, reference.get("name", ""))
        return (
            (True, *event_messages.ROUTE_ACCEPTED)
            if gateway is not None
            else (False, *event_messages.NO_PARENT)
        )

    def _check_backends(self, route: Json) -> tuple[bool, str, str]:
        namespace = route["metadata"]["namespace"]
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            for index, backend in enumerate(rule.get("backendRefs") or ()):
                if backend.get("kind", "Service") != "Service":
                    continue
                place = backend.get("namespace") or namespace
                if self._store.find(SERVICES, place, backend.get("name", "")) is None:
                    reason, text = event_messages.BACKEND_MISSING
                    return (
                        False,
                        reason,
                        text.format(
                            rule=number, index=index, namespace=place, name=backend.get("name", "")
                        ),
                    )
        return (True, *event_messages.REFS_RESOLVED)

    def _condition(
        self, route: Json, old: Json, type_: str, value: bool, reason: str, message: str
    ) -> Json:
        known = find_condition(old, type_)
        same = known is not None and known["status"] == str(value)
        return {
            "type": type_,
            "status": str(value),
            "reason": reason,
            "message": message,
            "observedGeneration": route["metadata"].get("generation", 1),
            "lastTransitionTime": known["lastTransitionTime"]
            if same and known is not None
            else self._clock.timestamp(),
        }


class ScaledObjectController:
    """Writes the conditions of ScaledObjects. It does not scale: the demo has no Prometheus."""

    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._recorder = context.recorder
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._changed, SCALED_OBJECTS)
        context.store.subscribe(self._target_changed, DEPLOYMENTS)

    def resync(self) -> None:
        for scaled in self._store.list(SCALED_OBJECTS):
            self._queue.add(key_of(scaled))

    def _changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object), 0.3)

    def _target_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED":
            for scaled in self._store.list(SCALED_OBJECTS, change.object["metadata"]["namespace"]):
                self._queue.add(key_of(scaled), 0.3)

    def _sync(self, key: Key) -> None:
        scaled = self._store.find(SCALED_OBJECTS, *key)
        if scaled is None or "deletionTimestamp" in scaled["metadata"]:
            return
        name = (scaled["spec"].get("scaleTargetRef") or {}).get("name", "")
        target = self._store.find(DEPLOYMENTS, key[0], name)
        found = target is not None
        conditions = [
            _keda_condition(
                "Ready",
                "True" if found else "False",
                "ScaledObjectReady" if found else "ScaledObjectCheckFailed",
                "ScaledObject is defined correctly and is ready for scaling"
                if found
                else "ScaledObject doesn't have correct scaleTargetRef specification",
            ),
            _keda_condition(
                "Active", "True", "ScalerActive", "Scaling is performed because triggers are active"
            )
            if found
            else _keda_condition("Active", "Unknown", "UnknownState", "Scaler is unknown"),
            _keda_condition(
                "Fallback",
                "False",
                "NoFallbackFound",
                "No fallbacks are active on this scaled object",
            ),
            _keda_condition("Paused", "Unknown", "", ""),
        ]
        status: Json = {
            "conditions": conditions,
            "scaleTargetKind": "apps/v1.Deployment",
            "scaleTargetGVKR": {
                "group": "apps",
                "kind": "Deployment",
                "resource": "deployments",
                "version": "v1",
            },
            "hpaName": f"keda-hpa-{key[1]}",
        }
        if target is not None:
            status["originalReplicaCount"] = target["spec"].get("replicas", 1)
        old = scaled.get("status") or {}
        if "originalReplicaCount" in old:
            status["originalReplicaCount"] = old["originalReplicaCount"]

        def write(obj: Json) -> None:
            obj["status"] = status

        self._store.mutate(SCALED_OBJECTS, *key, write, "status")
        if found and not old:
            self._recorder.record(scaled, event_messages.KEDA_SCALERS)
            self._recorder.record(scaled, event_messages.KEDA_READY)


def _keda_condition(type_: str, value: str, reason: str, message: str) -> Json:
    entry = {"type": type_, "status": value}
    return entry | ({"reason": reason, "message": message} if reason else {})


def _parent_ref_key(reference: Json) -> str:
    return "/".join(str(reference.get(k, "")) for k in ("namespace", "name", "sectionName"))
