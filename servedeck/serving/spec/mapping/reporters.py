"""Which proxy reports the response times of a serving whose server has no metric of them.

Sources: istio.io, Istio standard metrics, Installing the sidecar, Add workloads to an ambient mesh,
Configure waypoint proxies. A gateway of Istio reports the requests that it sends (reporter
"source") whether or not the Pods have a proxy; beside the Pods a sidecar reports those that arrive
("destination"), and a waypoint those that pass it. An ambient mesh without a waypoint reports no
requests, only connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.load_balancing import (
    BACKEND_TRAFFIC_POLICY_KIND,
    DESTINATION_RULE_KIND,
    policy_kind,
    service_name,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects

_INJECT = "sidecar.istio.io/inject"
_INJECTION = "istio-injection"
_REVISION = "istio.io/rev"
_MODE = "istio.io/dataplane-mode"
_WAYPOINT = "istio.io/use-waypoint"
_SIDECAR = "istio-proxy"


class Proxy(StrEnum):
    NONE = ""
    ISTIO = "istio"
    ENVOY_GATEWAY = "envoy-gateway"


class Reporter(NamedTuple):
    """Who reports the response times, and of which Service."""

    proxy: Proxy = Proxy.NONE
    service: str = ""


def find_reporter(objects: ServingObjects, name: str) -> Reporter:
    """The proxy that reports the requests to the serving of that name; one of Istio beside the Pods
    also if it is not known whether there is one."""
    service = service_name(objects, name)
    kind = policy_kind(objects)
    if kind == BACKEND_TRAFFIC_POLICY_KIND:
        return Reporter(Proxy.ENVOY_GATEWAY, service)
    routes = {one.get("kind") for one in objects.routes}
    is_routed = kind == DESTINATION_RULE_KIND and bool(routes & {"VirtualService", "HTTPRoute"})
    if objects.engines.has_istio and (is_routed or is_in_mesh(objects) is not False):
        return Reporter(Proxy.ISTIO, service)
    return Reporter()


def is_in_mesh(objects: ServingObjects) -> bool | None:
    """Whether a proxy of Istio beside the Pods, or before them, sees their requests; None if the
    labels of the namespace, which decide it, are not known."""
    labels, namespace = objects.pod_labels, objects.engines.namespace_labels
    annotations = as_mapping(objects.deployment, "spec", "template", "metadata", "annotations")
    if any(one.get("name") == _SIDECAR for one in objects.long_running_containers):
        return True
    asked = as_str(labels.get(_INJECT)) or as_str(annotations.get(_INJECT))
    is_asked = asked == "true" or (bool(labels.get(_REVISION)) and asked != "false")
    if namespace is None:
        return True if is_asked else None
    injects = namespace.get(_INJECTION) or ("enabled" if namespace.get(_REVISION) else "")
    if injects != "disabled" and (is_asked or (injects == "enabled" and asked != "false")):
        return True
    mode = as_str(labels.get(_MODE)) or as_str(namespace.get(_MODE))
    is_ambient = mode == "ambient"
    return is_ambient and _has_waypoint(objects, namespace)


def _has_waypoint(objects: ServingObjects, namespace: Mapping[str, Any]) -> bool:
    services = [as_mapping(one, "metadata", "labels") for one in mappings(objects.services)]
    named = [as_str(one.get(_WAYPOINT)) for one in (*services, objects.pod_labels)]
    own = next(filter(None, named), "")
    return (own or as_str(namespace.get(_WAYPOINT)) or "none") != "none"
