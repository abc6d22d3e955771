"""The rules of an HTTPRoute that send to an InferencePool, whose endpoint picker chooses the Pod of
each request, or to the Service of a serving.

Sources: Gateway API Inference Extension, api/v1/inferencepool_types.go and
apix/v1alpha2/inferencepool_types.go; Gateway API v1, BackendObjectReference (only a Service needs a
port). Objects are decoded JSON of any shape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from servedeck.serving.conventions import ALPHA_POOL_GROUP, POOL_GROUP
from servedeck.serving.json_copy import copy_json
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.spec.mapping.request_ports import (
    entry_port,
    ports_to,
    read_entry_port,
    service_target,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.text import one_line, sanitize

INFERENCE_POOL_KIND = "InferencePool"
HTTP_ROUTE_KIND = "HTTPRoute"
HTTP_CONDITIONS = ("headers", "queryParams")
"""What a match of an HTTPRoute may ask of a request besides its path."""


class PoolKey(NamedTuple):
    """Which InferencePool a backend of a route is."""

    namespace: str
    group: str
    name: str


class RuleBackend(NamedTuple):
    """The backend of a rule of an HTTPRoute."""

    route: JsonObject
    rule: JsonObject
    ref: JsonObject

    @property
    def is_alone(self) -> bool:
        """Whether the rule sends to nothing else."""
        return len(mappings(self.rule.get("backendRefs"))) == 1


# -- pools --------------------------------------------------------------------------------------


def pool_key(pool: Mapping[str, Any]) -> PoolKey:
    """Of an InferencePool."""
    metadata = as_mapping(pool, "metadata")
    return PoolKey(
        as_str(metadata.get("namespace")),
        as_str(pool.get("apiVersion")).partition("/")[0],
        as_str(metadata.get("name")),
    )


def pool_selector(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The labels of the Pods that an InferencePool selects: of v1 `selector.matchLabels`, of
    v1alpha2 `selector`; {} for none."""
    selector = as_mapping(pool, "spec", "selector")
    return selector if _is_alpha(pool) else as_mapping(selector, "matchLabels")


def pool_ports(pool: Mapping[str, Any]) -> list[int]:
    """The ports of the Pods that its requests go to: of v1 `targetPorts`, of v1alpha2
    `targetPortNumber`."""
    spec = as_mapping(pool, "spec")
    numbers = [spec.get("targetPortNumber")]
    if not _is_alpha(pool):
        numbers = [one.get("number") for one in mappings(spec.get("targetPorts"))]
    return [number for one in numbers if (number := as_int(one))]


def picker_text(pool: Mapping[str, Any]) -> str:
    """Which Service chooses the Pod for each request of an InferencePool, "endpoint picker
    llama-epp", sanitized; "" if it names none."""
    spec = as_mapping(pool, "spec")
    ref = as_mapping(spec, "extensionRef" if _is_alpha(pool) else "endpointPickerRef")
    name = one_line(sanitize(as_str(ref.get("name"))))
    return f"endpoint picker {name}" if name else ""


def selects_pods(pool: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether an InferencePool selects the Pods with these labels."""
    return selects_labels(pool_selector(pool), labels)


def own_pools(objects: ServingObjects) -> list[Mapping[str, Any]]:
    """The InferencePools that select the Pods of a serving: that of its name first, those of v1
    before older ones, then by name."""
    return pools_of(objects.deployment, objects.engines.pools)


def pools_of(
    deployment: Mapping[str, Any], pools: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The same among the pools for the Deployment of a serving."""
    metadata = as_mapping(deployment, "metadata")
    namespace, name = (as_str(metadata.get(one)) for one in ("namespace", "name"))
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    found = [
        one for one in pools if pool_key(one).namespace == namespace and selects_pods(one, labels)
    ]

    def rank(pool: Mapping[str, Any]) -> tuple[bool, bool, str]:
        key = pool_key(pool)
        return key.name != name, key.group != POOL_GROUP, key.name

    return sorted(found, key=rank)


def fitting_pools(objects: ServingObjects, spec: SpecLike) -> list[Mapping[str, Any]]:
    """Those of `own_pools` that send to the port of the Pods that requests of `spec` go to."""
    entry = entry_port(spec)
    return [one for one in own_pools(objects) if entry is None or entry in pool_ports(one)]


def _is_alpha(pool: Mapping[str, Any]) -> bool:
    return pool_key(pool).group == ALPHA_POOL_GROUP


# -- backends -----------------------------------------------------------------------------------


def http_route_backends(routes: Iterable[JsonObject]) -> Iterator[RuleBackend]:
    """The backends of all rules of the HTTPRoutes among the routes."""
    for route in routes:
        if route.get("kind") != HTTP_ROUTE_KIND:
            continue
        for rule in mappings(as_mapping(route, "spec").get("rules")):
            for ref in mappings(rule.get("backendRefs")):
                yield RuleBackend(route, rule, ref)


def referenced_pool(route: Mapping[str, Any], ref: Mapping[str, Any]) -> PoolKey | None:
    """The InferencePool that a backend of a route is; None if it is none."""
    kind, group, namespace, name = (
        as_str(ref.get(one)) for one in ("kind", "group", "namespace", "name")
    )
    namespace = namespace or as_str(as_mapping(route, "metadata").get("namespace"))
    return referenced_key(kind, PoolKey(namespace, group, name))


def referenced_key(kind: str, key: PoolKey) -> PoolKey | None:
    """The key of what a backend of this kind is, if that is an InferencePool; None if not."""
    is_pool = kind == INFERENCE_POOL_KIND and key.group in (POOL_GROUP, ALPHA_POOL_GROUP)
    return key if is_pool else None


def pool_backends(
    routes: Iterable[JsonObject], pools: Iterable[Mapping[str, Any]]
) -> list[RuleBackend]:
    """The backends that are one of the pools."""
    keys = {pool_key(one) for one in pools}
    return [
        one for one in http_route_backends(routes) if referenced_pool(one.route, one.ref) in keys
    ]


def read_as_service(
    route: JsonObject, pools: Iterable[Mapping[str, Any]], service: str
) -> JsonObject:
    """The route as it reads with Service `service` in the place of each of the pools."""
    found: JsonObject = copy_json(route)
    for one in pool_backends([found], pools):
        one.ref.update(group="", kind="Service", name=service)
    return found


def service_backends(objects: ServingObjects, spec: SpecLike) -> list[RuleBackend]:
    """The backends that are a Service of the serving, at a port for requests to the model."""
    return _service_backends(objects, entry_port(spec))


def _service_backends(objects: ServingObjects, entry: int | None) -> list[RuleBackend]:
    ports = {
        (one.service_name, as_int(one.port.get("port")))
        for service in objects.services
        for one in ports_to(objects, entry, service)
    }
    namespace = as_str(objects.metadata.get("namespace"))
    return [
        one
        for one in http_route_backends(objects.routes)
        if _service_of(one, namespace) in {name for name, _ in ports}
        and (_service_of(one, namespace), as_int(one.ref.get("port"))) in ports
    ]


def _service_of(backend: RuleBackend, namespace: str) -> str:
    """The Service of the namespace that a backend is; "" for any other."""
    ref = backend.ref
    where = as_str(ref.get("namespace")) or as_str(
        as_mapping(backend.route, "metadata").get("namespace")
    )
    is_service = (as_str(ref.get("kind")) or "Service") == "Service" and not ref.get("group")
    return as_str(ref.get("name")) if is_service and where == namespace else ""


def are_conditional(matches: Sequence[Mapping[str, Any]], conditions: Collection[str]) -> bool:
    """Whether the matches of a rule let only requests through that meet one of the conditions."""
    return bool(matches) and all(any(one.get(key) for key in conditions) for one in matches)


class RuleCount(NamedTuple):
    """How many rules for requests to a serving send to an InferencePool."""

    to_pool: int
    total: int


def count_rules(objects: ServingObjects, pools: Iterable[Mapping[str, Any]]) -> RuleCount:
    """The rules that send to one of the pools, among those that send to any pool of the serving or
    to its Service at a port for requests."""
    found = {id(one.rule) for one in pool_backends(objects.routes, pools)}
    return RuleCount(len(found), len(_request_rules(objects))) if found else RuleCount(0, 0)


def sends_to_pool(objects: ServingObjects) -> bool:
    """Whether all rules for requests to the serving send to InferencePools that select its Pods.
    Rules for requests with certain headers or query parameters count only where there are no
    others."""
    to_own = {id(one.rule) for one in pool_backends(objects.routes, own_pools(objects))}
    if not to_own:
        return False
    rules = _request_rules(objects)
    plain = {
        key
        for key, rule in rules.items()
        if not are_conditional(mappings(rule.get("matches")), HTTP_CONDITIONS)
    }
    return to_own >= (plain or rules.keys())


def _request_rules(objects: ServingObjects) -> dict[int, JsonObject]:
    """The rules for requests to the serving, by their identity: others may be equal."""
    to_own = pool_backends(objects.routes, own_pools(objects))
    backends = [*to_own, *_service_backends(objects, read_entry_port(objects))]
    return {id(one.rule): one.rule for one in backends}


# -- changing -----------------------------------------------------------------------------------


def send_to_pool(objects: ServingObjects, spec: SpecLike) -> None:
    """Each rule that sends to a Service of the serving alone sends to the first pool that fits;
    what else the backend has (weight, filters) stays."""
    pools = fitting_pools(objects, spec)
    if not pools:
        return
    key = pool_key(pools[0])
    for one in service_backends(objects, spec):
        if one.is_alone:
            one.ref.pop("port", None)  # it is of Services; the pool has ports of its own
            one.ref.update(group=key.group, kind=INFERENCE_POOL_KIND, name=key.name)


def send_to_service(
    objects: ServingObjects, spec: SpecLike, pools: Collection[Mapping[str, Any]]
) -> None:
    """Each rule that sends to one of the pools alone sends to the Service of the serving again."""
    target = service_target(objects, spec)
    if target is None:
        return
    name, port = target
    for one in pool_backends(objects.routes, pools):
        if one.is_alone:
            # Written as the API server completes it, so that no field is removed by it.
            one.ref.update(group="", kind="Service", name=name, port=port)
