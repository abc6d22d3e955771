"""The statuses that Envoy Gateway writes to HTTPRoutes and BackendTrafficPolicies. Routes may send
to InferencePools, as with Envoy AI Gateway.

Sources: Gateway API v1.4 (HTTPRoute status, PolicyStatus), envoyproxy/gateway
internal/gatewayapi/backendtrafficpolicy.go and status/policy.go.
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.controllers.base import ControllerContext, WorkQueue, find_condition
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    SERVICES,
)
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.gateway_listeners import ANY_HOST, accepted_hosts

CONTROLLER_NAME = "gateway.envoyproxy.io/gatewayclass-controller"

_BACKENDS = {one.kind: one for one in (SERVICES, INFERENCE_POOLS)}
"""What a rule can send to, by kind."""
_MOST_ANCESTORS = 16
"""Gateway API, PolicyStatus; Envoy Gateway leaves the others out."""


class HTTPRouteController:
    """Writes the conditions Accepted and ResolvedRefs of HTTPRoutes. A listener accepts them from
    all namespaces."""

    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._route_changed, HTTP_ROUTES)
        for resource in _BACKENDS.values():
            context.store.subscribe(self._backend_changed, resource)
        context.store.subscribe(self._gateway_changed, GATEWAYS)

    def resync(self) -> None:
        for route in self._store.list(HTTP_ROUTES):
            self._queue.add(key_of(route))

    def _route_changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object), 0.2)

    def _backend_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED":
            for route in self._store.list(HTTP_ROUTES, change.object["metadata"]["namespace"]):
                self._queue.add(key_of(route), 0.2)

    def _gateway_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED" or (change.old or {})["spec"] != change.object["spec"]:
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
                            route, known, "Accepted", *self._check_parent(route, reference)
                        ),
                        self._condition(route, known, "ResolvedRefs", *self._check_backends(route)),
                    ],
                }
            )

        def write(obj: Json) -> None:
            obj["status"] = {"parents": parents}

        self._store.mutate(HTTP_ROUTES, *key, write, "status")

    def _check_parent(self, route: Json, reference: Json) -> tuple[bool, str, str]:
        namespace = reference.get("namespace") or route["metadata"]["namespace"]
        gateway = self._store.find(GATEWAYS, namespace, reference.get("name", ""))
        listeners = [
            one
            for one in (gateway or {}).get("spec", {}).get("listeners") or ()
            if reference.get("sectionName") in (None, one["name"])
            and reference.get("port") in (None, one["port"])
        ]
        if not listeners:
            return (False, *event_messages.NO_PARENT)
        own = [one.get("hostname") or ANY_HOST for one in listeners]
        if accepted_hosts(route["spec"].get("hostnames") or (), own) is None:
            return (False, *event_messages.NO_LISTENER_HOSTNAME)
        return (True, *event_messages.ROUTE_ACCEPTED)

    def _check_backends(self, route: Json) -> tuple[bool, str, str]:
        namespace = route["metadata"]["namespace"]
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            for index, backend in enumerate(rule.get("backendRefs") or ()):
                resource = _BACKENDS.get(backend.get("kind", "Service"))
                if resource is None:
                    continue
                place = backend.get("namespace") or namespace
                if self._store.find(resource, place, backend.get("name", "")) is None:
                    reason, text = event_messages.BACKEND_MISSING
                    return (
                        False,
                        reason,
                        text.format(
                            rule=number,
                            index=index,
                            kind=resource.kind.lower(),
                            namespace=place,
                            name=backend.get("name", ""),
                        ),
                    )
        return (True, *event_messages.REFS_RESOLVED)

    def _condition(
        self, route: Json, old: Json, type_: str, value: bool, reason: str, message: str
    ) -> Json:
        known = find_condition(old, type_)
        now = self._clock.timestamp()
        same = known is not None and known.get("status") == str(value)
        return {
            "type": type_,
            "status": str(value),
            "reason": reason,
            "message": message,
            "observedGeneration": route["metadata"].get("generation", 1),
            "lastTransitionTime": (known or {}).get("lastTransitionTime", now) if same else now,
        }


class BackendTrafficPolicyController:
    """Writes the condition Accepted of BackendTrafficPolicies, for each Gateway above a target. A
    policy whose targets do not exist has no status, as in Envoy Gateway."""

    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._policy_changed, BACKEND_TRAFFIC_POLICIES)
        context.store.subscribe(self._route_changed, HTTP_ROUTES)

    def resync(self) -> None:
        for policy in self._store.list(BACKEND_TRAFFIC_POLICIES):
            self._queue.add(key_of(policy))

    def _policy_changed(self, change: StoreChange) -> None:
        """Another policy of the namespace may lose or win its target by it."""
        if change.type != "MODIFIED" or (change.old or {})["spec"] != change.object["spec"]:
            self._add_namespace(change.object)

    def _route_changed(self, change: StoreChange) -> None:
        if change.type != "MODIFIED" or (change.old or {})["spec"] != change.object["spec"]:
            self._add_namespace(change.object)

    def _add_namespace(self, obj: Json) -> None:
        for policy in self._store.list(BACKEND_TRAFFIC_POLICIES, obj["metadata"]["namespace"]):
            self._queue.add(key_of(policy), 0.2)

    def _sync(self, key: Key) -> None:
        policy = self._store.find(BACKEND_TRAFFIC_POLICIES, *key)
        if policy is None or "deletionTimestamp" in policy["metadata"]:
            return
        ancestors = [
            {
                "ancestorRef": reference,
                "controllerName": CONTROLLER_NAME,
                "conditions": [self._condition(policy, reference, refused)],
            }
            for reference, refused in self._ancestors(policy)
        ]

        def write(obj: Json) -> None:
            obj["status"] = {"ancestors": ancestors[:_MOST_ANCESTORS]}
            if not ancestors:
                del obj["status"]

        self._store.mutate(BACKEND_TRAFFIC_POLICIES, *key, write, "status")

    def _ancestors(self, policy: Json) -> list[tuple[Json, str]]:
        """The Gateways above the targets, and why the policy is refused there, "" if it is not."""
        namespace, found = policy["metadata"]["namespace"], {}
        for target in policy_targets(policy):
            route = self._store.find(HTTP_ROUTES, namespace, target)
            if route is None:
                continue
            winner = attached_policy(self._store, namespace, target)
            is_refused = winner is None or winner["metadata"]["uid"] != policy["metadata"]["uid"]
            message = event_messages.POLICY_CONFLICT.format(kind="HTTPRoute", name=target)
            for parent in route["spec"].get("parentRefs") or ():
                reference = {
                    "group": parent.get("group") or GATEWAYS.group,
                    "kind": parent.get("kind") or GATEWAYS.kind,
                    "namespace": parent.get("namespace") or namespace,
                    "name": parent.get("name", ""),
                }
                found[str(reference)] = reference, message if is_refused else ""
        return list(found.values())

    def _condition(self, policy: Json, reference: Json, refused: str) -> Json:
        old: Json = next(
            (
                {"status": one}
                for one in (policy.get("status") or {}).get("ancestors") or ()
                if one.get("ancestorRef") == reference
            ),
            {},
        )
        known, value = find_condition(old, "Accepted"), str(not refused)
        reason, message = ("Conflicted", refused) if refused else event_messages.POLICY_ACCEPTED
        now = self._clock.timestamp()
        same = known is not None and known.get("status") == value
        return {
            "type": "Accepted",
            "status": value,
            "reason": reason,
            "message": message,
            "observedGeneration": policy["metadata"].get("generation", 1),
            "lastTransitionTime": (known or {}).get("lastTransitionTime", now) if same else now,
        }


def policy_targets(policy: Json) -> list[str]:
    """The names of the HTTPRoutes to which the policy is attached."""
    spec = policy.get("spec") or {}
    references = [*(spec.get("targetRefs") or ()), *filter(None, [spec.get("targetRef")])]
    return [one.get("name", "") for one in references if one.get("kind") == HTTP_ROUTES.kind]


def attached_policy(store: ObjectStore, namespace: str, route: str) -> Json | None:
    """The BackendTrafficPolicy of an HTTPRoute: the oldest one that names it."""
    policies = [
        one
        for one in store.list(BACKEND_TRAFFIC_POLICIES, namespace)
        if route in policy_targets(one) and "deletionTimestamp" not in one["metadata"]
    ]
    return min(
        policies,
        key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]),
        default=None,
    )


def _parent_ref_key(reference: Json) -> str:
    return "/".join(str(reference.get(k, "")) for k in ("namespace", "name", "sectionName", "port"))
