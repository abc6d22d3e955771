"""Where the simulated requests of each endpoint go: to the backends of its HTTPRoute by their
weights, spread over Pods as its BackendTrafficPolicy says. The endpoint picker of an InferencePool
chooses by the requests that a Pod has, as well, so it spreads them as the default does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from servedeck.demo.controllers.base import ControllerContext, WorkQueue
from servedeck.demo.controllers.gateway import attached_policy
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    SERVICES,
)
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.load_balancing import LEAST_REQUEST, REDRAW_SECONDS, Balancing
from servedeck.demo.workloads.traffic import Route, Traffic
from servedeck.serving.conventions import REVISION_LABEL, SERVING_LABEL

_DELAY_SECONDS = 0.2
_ALL: Key = ("", "")
_REQUEST_PATH = "/v1/chat/completions"
_NO_MATCH: Json = {}


class TrafficRouting:
    """Keeps the routes of `traffic` as the objects say."""

    def __init__(self, context: ControllerContext, traffic: Traffic) -> None:
        self._store = context.store
        self._clock = context.clock
        self._traffic = traffic
        self._isolation = context.isolation
        self._drawn: tuple[str, ...] = ()
        """Endpoints whose requests are spread by chance."""
        self._queue = WorkQueue(context.clock, self._sync)
        self._draws = WorkQueue(context.clock, self._draw)
        for resource in (HTTP_ROUTES, SERVICES, INFERENCE_POOLS, BACKEND_TRAFFIC_POLICIES):
            context.store.subscribe(self._changed, resource)
        context.store.subscribe(self._deployment_changed, DEPLOYMENTS)

    def resync(self) -> None:
        self._queue.add(_ALL)

    def _changed(self, change: StoreChange) -> None:
        old, new = change.old, change.object
        if change.type == "DELETED" or old is None or old.get("spec") != new.get("spec"):
            self._queue.add(_ALL, _DELAY_SECONDS)

    def _deployment_changed(self, change: StoreChange) -> None:
        is_new = change.type == "DELETED" or change.old is None
        if is_new and _is_revision(change.object):
            self._queue.add(_ALL)

    def _sync(self, _: Key) -> None:
        # A second revision has no endpoint, and so no requests of its own.
        routes = {
            "/".join(key_of(one)): Route(())
            for one in self._store.list(DEPLOYMENTS)
            if _is_revision(one)
        }

        def read(route: Json) -> None:
            name = "/".join(key_of(route))
            routes[name] = Route(tuple(self._backends(route)), balancing_of(self._store, route))

        for route in self._store.list(HTTP_ROUTES):
            self._isolation(partial(read, route))
        self._traffic.set_routes(routes, self._clock.time())
        self._drawn = tuple(
            name for name, route in routes.items() if route.balancing.type == "Random"
        )
        if self._drawn:
            self._draws.add(_ALL, REDRAW_SECONDS)

    def _draw(self, _: Key) -> None:
        self._traffic.redraw(self._drawn, self._clock.time())
        if self._drawn:
            self._draws.add(_ALL, REDRAW_SECONDS)

    def _backends(self, route: Json) -> Iterator[tuple[str, float]]:
        references = (_rule_of_requests(route) or {}).get("backendRefs") or ()
        weights = [int(one.get("weight", 1)) for one in references]
        for reference, weight in zip(references, weights, strict=True):
            serving = self._serving_of(route, reference)
            if serving and weight:
                yield serving, weight / sum(weights)

    def _serving_of(self, route: Json, reference: Json) -> str:
        """The serving behind a backendRef, "" for none."""
        namespace = reference.get("namespace") or route["metadata"]["namespace"]
        is_pool = reference.get("kind") == INFERENCE_POOLS.kind
        resource = INFERENCE_POOLS if is_pool else SERVICES
        backend = self._store.find(resource, namespace, reference.get("name", ""))
        selector = ((backend or {}).get("spec") or {}).get("selector") or {}
        if is_pool:
            selector = selector.get("matchLabels") or {}
        name = selector.get(SERVING_LABEL) or selector.get("app")
        return f"{namespace}/{name}" if name else ""


def balancing_of(store: ObjectStore, route: Json) -> Balancing:
    """How the requests of a route are spread over Pods."""
    references = (_rule_of_requests(route) or {}).get("backendRefs") or ()
    if any(one.get("kind") == INFERENCE_POOLS.kind for one in references):
        return LEAST_REQUEST
    policy = attached_policy(store, *key_of(route))
    found = ((policy or {}).get("spec") or {}).get("loadBalancer") or {}
    if not found.get("type"):
        return LEAST_REQUEST
    hashing = found.get("consistentHash") or {}
    named = [hashing.get("header") or {}, *(hashing.get("headers") or ())]
    header = ",".join(one["name"] for one in named if one.get("name"))
    return Balancing(found["type"], header if found["type"] == "ConsistentHash" else "")


def _is_revision(deployment: Json) -> bool:
    return REVISION_LABEL in (deployment["metadata"].get("labels") or {})


def _rule_of_requests(route: Json) -> Json | None:
    """The rule for ordinary requests: of those without conditions on headers, the one whose path
    matches most of it, the first of equal ones (Gateway API, HTTPRouteRule)."""
    best: tuple[int, Json | None] = (-1, None)
    endpoint = "/".join(("", *key_of(route)))
    for rule in route["spec"].get("rules") or ():
        for match in rule.get("matches") or (_NO_MATCH,):
            length = _matched_length(match, endpoint)
            if not match.get("headers") and length > best[0]:
                best = length, rule
    return best[1]


def _matched_length(match: Json, endpoint: str) -> int:
    """How much of the path of a request the match names; -1 if it does not match. A path of the
    route's own choice counts as the endpoint."""
    path = match.get("path") or {}
    value = str(path.get("value") or "/").rstrip("/")
    if path.get("type", "PathPrefix") != "PathPrefix":
        return -1
    if "/-/" in f"{value}/":
        return -1
    request = endpoint + _REQUEST_PATH
    return len(value) if f"{request}/".startswith(f"{value}/") else 0
