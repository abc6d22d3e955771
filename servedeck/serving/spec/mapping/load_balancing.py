"""Load balancing: Istio's DestinationRule of the Service, Envoy Gateway's BackendTrafficPolicy of
the HTTPRoute, or an InferencePool that the HTTPRoute sends to.

Sources: istio.io, DestinationRule, LoadBalancerSettings; gateway.envoyproxy.io, API extensions,
LoadBalancer and ConsistentHash. A proxy applies one DestinationRule to a host, that of the most
specific host in the first namespace that has one: its own, that of the Service, the root namespace
(istio pilot/pkg/model/push_context.go, destinationRule). So a rule of one serving takes the place
of one with a wildcard, whose settings it must have itself.
"""

from __future__ import annotations

from typing import NamedTuple

from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL, SERVING_LABEL
from servedeck.serving.json_copy import copy_json
from servedeck.serving.spec.load_balancing import (
    CUSTOM,
    HEADER,
    LEAST_REQUESTS,
    OFF,
    PREFIX_AWARE,
    RANDOM,
    ROUND_ROBIN,
)
from servedeck.serving.spec.mapping.engines import ENVOY_GATEWAY_GROUP
from servedeck.serving.spec.mapping.inference_pools import (
    own_pools,
    send_to_pool,
    send_to_service,
    sends_to_pool,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_list,
    as_mapping,
    as_str,
    child_mapping,
    mappings,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike

DESTINATION_RULE_KIND = "DestinationRule"
BACKEND_TRAFFIC_POLICY_KIND = "BackendTrafficPolicy"

_ISTIO_NAMES = {
    ROUND_ROBIN: "ROUND_ROBIN",
    LEAST_REQUESTS: "LEAST_REQUEST",
    RANDOM: "RANDOM",
}
_ISTIO_VALUES = {name: value for value, name in _ISTIO_NAMES.items()} | {
    "LEAST_CONN": LEAST_REQUESTS,  # the deprecated name
    "UNSPECIFIED": OFF,
}
_ISTIO_ALGORITHMS = ("simple", "consistentHash")
"""The settings of a loadBalancer of which it has one; it may have others beside it."""
_ISTIO_CONTROLLERS = {"istio.io"}
"""controllerName of its Gateways (istio pkg/config/constants), before the slash."""
_ENVOY_NAMES = {
    ROUND_ROBIN: "RoundRobin",
    LEAST_REQUESTS: "LeastRequest",
    RANDOM: "Random",
    HEADER: "ConsistentHash",
}
_ENVOY_VALUES = {name: value for value, name in _ENVOY_NAMES.items()}


def policy_kind(objects: ServingObjects) -> str:
    """The kind that sets the load balancing of a serving in this cluster; "" if there is none. The
    controller that has accepted an HTTPRoute counts before what is installed."""
    routes = {one.get("kind") for one in objects.routes}
    controllers = {
        as_str(parent.get("controllerName")).partition("/")[0]
        for one in objects.routes
        if one.get("kind") == "HTTPRoute"
        for parent in mappings(as_mapping(one, "status").get("parents"))
    }
    has_envoy, has_istio = objects.engines.has_envoy_gateway, objects.engines.has_istio
    if controllers:
        has_envoy = has_envoy and ENVOY_GATEWAY_GROUP in controllers
        has_istio = has_istio and bool(
            controllers & _ISTIO_CONTROLLERS or "VirtualService" in routes
        )
    if has_envoy and "HTTPRoute" in routes:
        return BACKEND_TRAFFIC_POLICY_KIND
    # An Ingress and a Route of OpenShift are another proxy's.
    has_other_proxy = bool(routes) and routes <= {"Ingress", "Route"}
    return DESTINATION_RULE_KIND if has_istio and not has_other_proxy else ""


def find_policy(objects: ServingObjects) -> JsonObject | None:
    """The object that sets the load balancing, else the first one that could."""
    found = sorted(objects.policies, key=lambda one: not _settings(one))
    return found[0] if found else None


def _settings(policy: object) -> object:
    if as_mapping(policy).get("kind") == DESTINATION_RULE_KIND:
        return as_mapping(policy, "spec", "trafficPolicy").get("loadBalancer")
    return as_mapping(policy, "spec").get("loadBalancer")


def _read(objects: ServingObjects) -> str:
    return PREFIX_AWARE if sends_to_pool(objects) else read_algorithm(objects)


def read_algorithm(objects: ServingObjects) -> str:
    """The load balancing that its policies set; `OFF` for none."""
    policy = find_policy(objects)
    found = as_mapping(_settings(policy)) if policy is not None else {}
    if policy is None or not found:
        return OFF
    if policy.get("kind") == DESTINATION_RULE_KIND:
        if "simple" in found:
            return _ISTIO_VALUES.get(as_str(found["simple"]), CUSTOM)
    elif (value := _ENVOY_VALUES.get(as_str(found.get("type")), CUSTOM)) != HEADER:
        return value
    if "consistentHash" not in found:
        # of Istio's settings, those beside the algorithm, such as the warm-up
        return OFF if policy.get("kind") == DESTINATION_RULE_KIND else CUSTOM
    hashed = as_mapping(found, "consistentHash")
    # Also without a name, as the field says what is missing then.
    is_header = "httpHeaderName" in hashed or hashed.get("type") == "Header"
    return HEADER if is_header or _read_header(objects) else CUSTOM


def _read_header(objects: ServingObjects) -> str:
    policy = find_policy(objects)
    found = as_mapping(_settings(policy), "consistentHash") if policy is not None else {}
    if policy is None:
        return ""
    if policy.get("kind") == DESTINATION_RULE_KIND:
        return as_str(found.get("httpHeaderName"))
    names = [as_str(one.get("name")) for one in mappings(found.get("headers"))]
    names += [as_str(as_mapping(found, "header").get("name"))]
    is_header = found.get("type") in ("Header", "Headers")
    return next(filter(None, names), "") if is_header and len(names) <= 2 else ""


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    if wanted.load_balancing == CUSTOM:
        return
    if wanted.load_balancing == PREFIX_AWARE:
        send_to_pool(objects, wanted)
    elif wanted.load_balancing != OFF or (
        current is not None and current.load_balancing == PREFIX_AWARE
    ):
        # Where only some rules send to a pool, that is none of what is turned off.
        send_to_service(objects, wanted, own_pools(objects))
    policy = find_policy(objects)
    if wanted.load_balancing in (OFF, PREFIX_AWARE):
        # A policy beside the endpoint picker would take over when that is turned off.
        if policy is not None:
            _remove(objects, policy, wanted)
        return
    if read_algorithm(objects) == wanted.load_balancing and (
        wanted.load_balancing != HEADER or _read_header(objects) == wanted.load_balancing_header
    ):
        return  # what it has besides stays, such as the size of the table of hashes
    if policy is None:
        policy = _new_policy(objects, wanted)
        objects.policies.append(policy)
    spec = child_mapping(policy, "spec")
    if policy.get("kind") == DESTINATION_RULE_KIND:
        balancer = child_mapping(child_mapping(spec, "trafficPolicy"), "loadBalancer")
        for key in _ISTIO_ALGORITHMS:
            balancer.pop(key, None)
        if wanted.load_balancing == HEADER:
            balancer["consistentHash"] = {"httpHeaderName": wanted.load_balancing_header}
        else:
            balancer["simple"] = _ISTIO_NAMES[wanted.load_balancing]
        return
    balancer = child_mapping(spec, "loadBalancer")
    balancer["type"] = _ENVOY_NAMES[wanted.load_balancing]
    balancer.pop("consistentHash", None)
    if wanted.load_balancing == HEADER:
        header = {"name": wanted.load_balancing_header}
        balancer["consistentHash"] = {"type": "Header", "header": header}


def _remove(objects: ServingObjects, policy: JsonObject, wanted: SpecLike) -> None:
    """Remove what sets the algorithm; the whole object if servedeck made it for that alone, and
    what it has besides is that of the rule with a wildcard, which applies again then."""
    spec = child_mapping(policy, "spec")
    parent = spec
    if policy.get("kind") == DESTINATION_RULE_KIND:
        parent = child_mapping(spec, "trafficPolicy")
        balancer = child_mapping(parent, "loadBalancer")
        for key in _ISTIO_ALGORITHMS:
            balancer.pop(key, None)
        if not balancer:
            parent.pop("loadBalancer")
        if not parent:
            spec.pop("trafficPolicy")
    else:
        parent.pop("loadBalancer", None)
    labels = as_mapping(policy, "metadata", "labels")
    is_ours = labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER
    replaced = find_replaced_rule(objects, wanted.namespace, wanted.name)
    own = {"host", "targetRefs", "mergeType"}
    if replaced is not None and spec.get("trafficPolicy") == replaced.copied:
        own |= {"trafficPolicy"}
    if is_ours and set(spec) <= own:
        objects.policies[:] = [one for one in objects.policies if one is not policy]


class ReplacedRule(NamedTuple):
    """A DestinationRule of a wildcard whose place a rule of the serving takes."""

    rule: JsonObject
    host: str
    copied: JsonObject
    """The part of its trafficPolicy that the rule of the serving gets."""
    lost: tuple[str, ...]
    """Names of its settings that the rule of the serving does not get."""


def find_replaced_rule(objects: ServingObjects, namespace: str, name: str) -> ReplacedRule | None:
    """The DestinationRule of a wildcard in the namespace that applies to the Service of a serving
    of that name now; None if there is none with settings. Not copied are what is for a part of the
    clients (exportTo, workloadSelector) or of the Pods (subsets), and portLevelSettings, which
    would replace the algorithm."""
    host = _service_host(objects, namespace, name)
    found = [
        (wildcard, one)
        for one in objects.engines.wildcard_rules
        if (wildcard := as_str(as_mapping(one, "spec").get("host"))).startswith("*")
        and host.endswith(wildcard[1:])
    ]
    if not found:
        return None
    # Of several of the same host, the first one's trafficPolicy is that of all.
    wildcard, rule = min(found, key=lambda one: (-len(one[0]), _created(one[1])))
    spec = as_mapping(rule, "spec")
    policy = dict(as_mapping(spec, "trafficPolicy"))
    balancer = as_mapping(policy.pop("loadBalancer", None))
    # Such as the locality and the warm-up of new Pods, which are no algorithm.
    if rest := {key: one for key, one in balancer.items() if key not in _ISTIO_ALGORITHMS}:
        policy["loadBalancer"] = rest
    exports = as_list(spec.get("exportTo"))
    is_for_all = not spec.get("workloadSelector") and (not exports or "*" in exports)
    lost = [one for one in ("subsets",) if spec.get(one)]
    lost += [one for one in policy if one == "portLevelSettings" or not is_for_all]
    copied = {key: value for key, value in policy.items() if key not in lost}
    return ReplacedRule(rule, wildcard, copied, tuple(lost)) if copied or lost else None


def _created(obj: JsonObject) -> str:
    return as_str(as_mapping(obj, "metadata").get("creationTimestamp"))


def service_name(objects: ServingObjects, name: str) -> str:
    """Of the Service of a serving of that name."""
    if not objects.services:
        return name
    return as_str(as_mapping(objects.services[0], "metadata").get("name"))


def _service_host(objects: ServingObjects, namespace: str, name: str) -> str:
    return f"{service_name(objects, name)}.{namespace}.svc.cluster.local"


def _new_policy(objects: ServingObjects, wanted: SpecLike) -> JsonObject:
    metadata: JsonObject = {"name": wanted.name}
    if wanted.namespace:
        metadata["namespace"] = wanted.namespace
    metadata["labels"] = {SERVING_LABEL: wanted.name, MANAGED_BY_LABEL: FIELD_MANAGER}
    if policy_kind(objects) == BACKEND_TRAFFIC_POLICY_KIND:
        route = next(one for one in objects.routes if one.get("kind") == "HTTPRoute")
        target = {
            "group": "gateway.networking.k8s.io",
            "kind": "HTTPRoute",
            "name": as_str(as_mapping(route, "metadata").get("name")),
        }
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": BACKEND_TRAFFIC_POLICY_KIND,
            "metadata": metadata,
            # Without it, the policy of the Gateway would not apply to this route any more
            # (gateway.envoyproxy.io, BackendTrafficPolicy, mergeType).
            "spec": {"targetRefs": [target], "mergeType": "StrategicMerge"},
        }
    spec: JsonObject = {"host": _service_host(objects, wanted.namespace, wanted.name)}
    replaced = find_replaced_rule(objects, wanted.namespace, wanted.name)
    if replaced is not None and replaced.copied:
        spec["trafficPolicy"] = copy_json(replaced.copied)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": DESTINATION_RULE_KIND,
        "metadata": metadata,
        "spec": spec,
    }


LOAD_BALANCING = FieldAccess(_read, _write)
LOAD_BALANCING_HEADER = FieldAccess(
    lambda objects: _read_header(objects) if _read(objects) == HEADER else "", _write
)
