"""Which policies of a proxy are those of a serving."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.load_balancing import DESTINATION_RULE_KIND


def is_policy_of(
    policy: Mapping[str, Any],
    namespace: str,
    services: Collection[object],
    routes: Iterable[Mapping[str, Any]],
) -> bool:
    """Whether a DestinationRule is that of one of the Services of the namespace, or a
    BackendTrafficPolicy that of one of the HTTPRoutes. One of a whole Gateway, or of Services by a
    wildcard, is that of all its servings and is not meant."""
    if policy.get("kind") == DESTINATION_RULE_KIND:
        host = as_str(as_mapping(policy, "spec").get("host"))
        where, service = parse_istio_host(host, namespace)
        return where == namespace and service in services
    names = {as_mapping(one, "metadata").get("name") for one in routes if _is_http_route(one)}
    spec = as_mapping(policy, "spec")
    targets = [*mappings(spec.get("targetRefs")), as_mapping(spec, "targetRef")]
    return any(one.get("kind") == "HTTPRoute" and one.get("name") in names for one in targets)


def wildcard_rules(rules: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """The DestinationRules whose host is a wildcard, without those that are being deleted."""
    return tuple(
        one
        for one in rules
        if as_str(as_mapping(one, "spec").get("host")).startswith("*")
        and not as_mapping(one, "metadata").get("deletionTimestamp")
    )


def _is_http_route(route: Mapping[str, Any]) -> bool:
    return route.get("kind") == "HTTPRoute"
