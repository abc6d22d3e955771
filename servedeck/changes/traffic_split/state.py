"""How the requests of a serving's endpoint are divided now, and what is known of both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from servedeck.changes.live_objects import LiveObjects, fetch_live_objects
from servedeck.changes.traffic_split.pool_routes import pool_problem, pool_routes
from servedeck.changes.traffic_split.rule_problem import rule_problem
from servedeck.changes.traffic_split.side import Side, find_target, list_revisions, read_side
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.resources import OPENSHIFT_ROUTE, SERVICE
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.edit.differences import FieldDifference, find_field_differences
from servedeck.serving.edit.merge import Side as MergeSide
from servedeck.serving.edit.revision_base import RevisionBase, read_revision_base
from servedeck.serving.edit.takeover import take_over
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.objects.traffic_split import (
    SERVICE_KIND,
    WEIGHTED_KINDS,
    TrafficRule,
    WeightedBackend,
    read_rules,
    rejected_conditions,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
)
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize


@dataclass(frozen=True, slots=True)
class RevisionState:
    """The second revision of a serving."""

    side: Side
    spec: ServingSpec
    differences: tuple[FieldDifference, ...]
    """Its settings that the first serving does not have, and takes over."""
    base: RevisionBase | None = None
    """What it began from; None if that is not known."""


class OtherSide(NamedTuple):
    """Which other the requests are divided with. Names are as the API server has them."""

    service: str
    """In the routes."""
    name: str
    """Of the serving behind it, else of the Service."""


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """A rule that sends requests of the serving's endpoint."""

    route: JsonObject
    rule: TrafficRule


@dataclass(frozen=True, slots=True)
class TrafficState:
    namespace: str
    serving: str
    live: LiveObjects
    """The serving's own objects; none without a Deployment."""
    main: Side
    other: Side | None
    """Which the requests are divided with, or which was asked for; None for none."""
    rules: tuple[EndpointRule, ...] = ()
    """Those of the endpoint of the serving."""
    kept: tuple[TrafficRule, ...] = ()
    """Those for certain headers only, beside others of the endpoint: they are left as they are."""
    received: tuple[TrafficRule, ...] = ()
    """Those of other endpoints, of which the serving gets a share."""
    has_ingress: bool = False
    pool_problem: str = ""
    """Why an InferencePool of the serving keeps the weights from being changed; "" without one."""
    revision: RevisionState | None = None
    """Of the serving: the one that the requests are divided with, else the one that was asked for,
    else the newest one. None for none, and where the other one is no revision of it."""
    is_asked_missing: bool = False
    """Whether there is neither a serving nor a Service of the name that was asked for."""
    has_openshift_route: bool = False

    @property
    def services(self) -> frozenset[str]:
        """Names of the Services that select the Pods of the serving."""
        return service_names(self.live)

    @property
    def others(self) -> list[str]:
        """Names of what the requests are divided with, as the API server has them."""
        return list(dict.fromkeys(_other_names(self.rules, self.services)))

    @property
    def other_side(self) -> OtherSide | None:
        """Which other the requests are divided with; None while they are not."""
        if not self.is_split or not self.others:
            return None
        service = self.others[0]
        return OtherSide(service, self.other.name if self.other is not None else service)

    @property
    def gone(self) -> str:
        """That the Service that requests are divided with does not exist any more, one sentence; ""
        if it does. Only of a state that `read_state` has read."""
        if self.problem or self.is_asked_missing or self.other is not None:
            return ""
        if (side := self.other_side) is None:
            return ""
        return one_line(
            f"Service {sanitize(side.service)}, which the requests are divided with, is not in "
            f"namespace {self.namespace} any more; abort, so that all go to {self.main.label} "
            "again."
        )

    def main_service(self, rule: EndpointRule) -> str:
        """The Service of the serving that a rule of its endpoint sends to."""
        return next(one.name for one in rule.rule.backends if one.name in self.services)

    @property
    def weights(self) -> list[float]:
        """The percentages that others than the serving get, each once, of the rules that divide
        requests."""
        divided = [one.rule for one in self.rules if len(one.rule.backends) > 1]
        return sorted({100 - one.percentage(self.services) if one.total else 0 for one in divided})

    @property
    def is_split(self) -> bool:
        return any(len(one.rule.backends) > 1 for one in self.rules)

    @property
    def is_promoted(self) -> bool:
        """Whether another serving gets all requests."""
        rules = [one.rule for one in self.rules]
        return bool(rules) and all(
            len(one.backends) > 1 and one.total and not one.percentage(self.services)
            for one in rules
        )

    @property
    def problem(self) -> str:
        """Why servedeck does not change the weights, one sentence; "" if it does. Different weights
        of the same two are no such problem."""
        if self.pool_problem:
            return self.pool_problem
        if not self.rules:
            return self._no_route
        for one in self.rules:
            if text := rule_problem(one.rule, self.namespace, self.services):
                return text
        if len(self.others) > 1:
            names = ", ".join(one_line(sanitize(name)) for name in self.others)
            return (
                f"Its rules divide requests with different Services ({names}), which servedeck "
                "does not change; give them the same one, or edit the routes."
            )
        return ""

    @property
    def _no_route(self) -> str:
        name = self.main.label
        if self.has_openshift_route:
            return (
                f"A Route of OpenShift leads to {name}, whose weights servedeck does not "
                "change; change its alternateBackends, or create an HTTPRoute or a VirtualService "
                "to split its traffic."
            )
        if self.has_ingress:
            return (
                f"Only an Ingress leads to {name}, and the Ingress API has no weights; create an "
                "HTTPRoute or a VirtualService to split its traffic."
            )
        if unlisted := [
            kind for kind in WEIGHTED_KINDS if kind in self.live.related.unlisted_kinds
        ]:
            return (
                f"{unlisted[0]}s of namespace {self.namespace} may not be listed, so it is not "
                "known how requests are divided; ask for the permission to list them."
            )
        if self.received:
            shared = self.received[0]
            return (
                f"{name} has no endpoint of its own: it gets a share of {shared.label} "
                f"({shared.shares}); change that of the serving whose endpoint it is."
            )
        if first := self.main.revision_of:
            return (
                f"{name} is a revision of {first} and has no endpoint of its own; send it a share "
                f"in the traffic of {first}."
            )
        return one_line(
            f"No HTTPRoute or VirtualService of namespace {self.namespace} sends to a Service of "
            f"{name}, so it has no endpoint whose traffic could be split; create such a route "
            "first: those of other namespaces, and those to an InferencePool, are not changed."
        )

    @property
    def conditions(self) -> list[str]:
        """What Gateways say against its HTTPRoutes, in sentences."""
        leading = [*(one.route for one in self.rules), *pool_routes(self.live)]
        found = (text for route in leading for text in rejected_conditions(route))
        return list(dict.fromkeys(found))

    @property
    def has_async_queue(self) -> bool:
        """Whether asynchronous requests go to the gateway of the serving."""
        return any(has_async_rules(one.route, self.serving) for one in self.rules)


def service_names(live: LiveObjects) -> frozenset[str]:
    """Of the Services that select the Pods; with none, of one of the serving's name."""
    found = frozenset(
        as_str(as_mapping(one, "metadata").get("name"))
        for one in live.objects
        if one.get("kind") == SERVICE.kind
    )
    name = as_str(as_mapping(live.objects[0], "metadata").get("name")) if live.objects else ""
    return found or (frozenset({name}) if name else frozenset())


def _other_names(rules: Sequence[EndpointRule], services: Collection[str]) -> Iterator[str]:
    for one in rules:
        for backend in one.rule.backends:
            if backend.kind != SERVICE_KIND or backend.name not in services:
                yield backend.name


# -- reading --------------------------------------------------------------------------------------


async def read_state(
    connection: Connection, namespace: str, serving: str, other: str = ""
) -> TrafficState:
    """The state now. `other` is a serving or a Service that is asked for; without it, the other is
    the one that requests are divided with. Raises ClusterError."""
    state = await _read_split(connection, namespace, serving, other)
    return replace(state, revision=await _read_revision(connection, state))


async def _read_split(
    connection: Connection, namespace: str, serving: str, other: str
) -> TrafficState:
    if other:
        live, asked = await asyncio.gather(
            fetch_live_objects(connection, namespace, serving),
            read_side(connection, namespace, other),
        )
        state = find_rules(namespace, serving, live, asked)
        return replace(state, is_asked_missing=asked is None)
    live = await fetch_live_objects(connection, namespace, serving)
    state = find_rules(namespace, serving, live, None)
    if len(state.others) != 1 or state.problem:
        return state
    found = await read_side(connection, namespace, state.others[0], is_service=True)
    return find_rules(namespace, serving, live, found)


async def _read_revision(connection: Connection, state: TrafficState) -> RevisionState | None:
    if not state.live.objects or state.main.revision_of:
        return None
    side = state.other
    if not state.is_split and side is None:
        found = await list_revisions(connection, state.namespace, state.serving)
        side = found[0] if found else None
    if side is None or side.revision_of != state.main.label:
        return None
    live = await fetch_live_objects(connection, state.namespace, side.name)
    if not live.objects:  # deleted meanwhile
        return None
    return compare_revision(state, Side(side.name, find_target(live), live.objects[0]), live)


def compare_revision(state: TrafficState, side: Side, live: LiveObjects) -> RevisionState:
    """The second revision of a serving, which has the objects `live`."""
    main, spec = state.live.import_serving(), live.import_serving().spec
    base = read_revision_base(live.objects[0])
    wanted = take_over(main, spec, state.main.model, base, MergeSide.MINE).spec
    return RevisionState(side, spec, find_field_differences(main.spec, wanted), base)


def find_rules(namespace: str, serving: str, live: LiveObjects, other: Side | None) -> TrafficState:
    """The state of a serving with these objects."""
    services = service_names(live)
    own: list[EndpointRule] = []
    received: list[TrafficRule] = []
    routes = [one for one in live.objects if one.get("kind") in WEIGHTED_KINDS]
    for route in routes:
        for rule in read_rules(route):
            if not any(_is_here(one, namespace, services) for one in rule.backends):
                continue
            if _is_endpoint(route, rule, serving, services):
                own.append(EndpointRule(route, rule))
            else:
                received.append(rule)
    # A rule for certain headers is a choice of its own, unless there is no other one.
    plain = [one for one in own if not one.rule.is_conditional]
    kept = [one.rule for one in own if one.rule.is_conditional] if plain else []
    return TrafficState(
        namespace,
        serving,
        live,
        Side(serving, find_target(live), live.objects[0] if live.objects else {}),
        other,
        tuple(plain or own),
        tuple(kept),
        tuple(received),
        any(one.get("kind") == "Ingress" for one in live.objects),
        pool_problem(live),
        has_openshift_route=any(one.get("kind") == OPENSHIFT_ROUTE.kind for one in live.objects),
    )


def _is_here(backend: WeightedBackend, namespace: str, services: Collection[str]) -> bool:
    is_service = backend.kind == SERVICE_KIND and backend.namespace == namespace
    return is_service and backend.name in services


def _is_endpoint(
    route: JsonObject, rule: TrafficRule, serving: str, services: Collection[str]
) -> bool:
    """Whether the rule is one of the serving's endpoint, not one of another serving that sends it a
    share, or its requests with certain headers: the label of the route says whose it is, else its
    name, else its first backend."""
    is_alone = len(rule.backends) == 1
    if is_alone and not rule.is_conditional:
        return True
    metadata = as_mapping(route, "metadata")
    if label := as_str(as_mapping(metadata, "labels").get(SERVING_LABEL)):
        return label == serving
    # A single backend says nothing of whose rule it is; those of the other rules do.
    rules = read_rules(route) if is_alone else [rule]
    names = [one.name for each in rules for one in each.backends if one.kind == SERVICE_KIND]
    name = as_str(metadata.get("name"))
    if name in names:
        return name in services
    return is_alone or (bool(names) and names[0] in services)
