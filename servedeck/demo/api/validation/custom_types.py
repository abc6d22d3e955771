"""The types of the custom resources that the demo serves, as far as its controllers and servedeck
read them; other fields may hold anything.

Sources: the CustomResourceDefinitions of Gateway API v1.4 (HTTPRoute, Gateway), its Inference
Extension (InferencePool, config/crd/bases), Envoy Gateway (BackendTrafficPolicy, api/v1alpha1) and
KEDA (ScaledObject, config/crd/bases).
"""

from __future__ import annotations

from typing import Any

from servedeck.demo.api.validation.field_errors import Causes, required
from servedeck.demo.api.validation.structural_schema import check_structure
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    SCALED_OBJECTS,
    Resource,
)

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TIME: Json = {"type": "string", "format": "date-time"}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 253}
_FLAG: Json = {"type": "boolean"}
_COUNT: Json = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_NOT_NEGATIVE: Json = {**_COUNT, "minimum": 0}
_PORT: Json = {"type": "integer", "minimum": 1, "maximum": 65535}
_ANY_OBJECT: Json = {"type": "object"}
_ANY_LIST: Json = {"type": "array", "items": _ANY_OBJECT}


def _object(*required_: str, **properties: Json) -> Json:
    return {"type": "object", "required": required_, "properties": properties}


def _list(items: Json, **limits: int) -> Json:
    return {"type": "array", "items": items, **limits}


_CONDITIONS = _list(
    _object(
        "lastTransitionTime",
        "message",
        "reason",
        "status",
        "type",
        lastTransitionTime=_TIME,
        message=_TEXT,
        observedGeneration={"type": "integer", "minimum": 0},
        reason={"type": "string", "minLength": 1},
        status={"type": "string", "enum": ("True", "False", "Unknown")},
        type=_TEXT,
    ),
    maxItems=8,
)
_PARENT = _object(
    "name",
    group=_TEXT,
    kind=_TEXT,
    namespace=_NAME,
    name=_NAME,
    sectionName=_NAME,
    port=_PORT,
)
_BACKEND = _object(
    "name",
    group=_TEXT,
    kind=_TEXT,
    namespace=_NAME,
    name=_NAME,
    port=_PORT,
    weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
    filters=_ANY_LIST,
)
_NAMED_VALUE = _object("name", "value", name=_NAME, value=_TEXT, type=_TEXT)
_MATCH = _object(
    path=_object(type=_TEXT, value={"type": "string", "maxLength": 1024}),
    headers=_list(_NAMED_VALUE, maxItems=16),
    queryParams=_list(_NAMED_VALUE, maxItems=16),
    method=_TEXT,
)
_ROUTE = _object(
    parentRefs=_list(_PARENT, maxItems=32),
    hostnames=_list({"type": "string", "minLength": 1, "maxLength": 253}, maxItems=16),
    rules=_list(
        _object(
            name=_NAME,
            matches=_list(_MATCH, maxItems=64),
            filters=_list(_object("type", type=_TEXT), maxItems=16),
            backendRefs=_list(_BACKEND, maxItems=16),
            timeouts=_object(request=_TEXT, backendRequest=_TEXT),
        ),
        minItems=1,
        maxItems=16,
    ),
)
_ROUTE_STATUS = _object(
    "parents",
    parents=_list(
        _object(
            "conditions",
            "controllerName",
            "parentRef",
            parentRef=_PARENT,
            controllerName=_TEXT,
            conditions=_CONDITIONS,
        ),
        maxItems=32,
    ),
)
_GATEWAY = _object(
    "gatewayClassName",
    "listeners",
    gatewayClassName=_NAME,
    listeners=_list(
        _object(
            "name",
            "port",
            "protocol",
            name=_NAME,
            port=_PORT,
            protocol={"type": "string", "minLength": 1},
            hostname=_NAME,
            tls=_ANY_OBJECT,
            allowedRoutes=_ANY_OBJECT,
        ),
        minItems=1,
        maxItems=64,
    ),
    addresses=_ANY_LIST,
)
_GATEWAY_STATUS = _object(
    addresses=_list(_object("value", type=_TEXT, value=_TEXT)),
    conditions=_CONDITIONS,
    listeners=_ANY_LIST,
)
_TARGET = _object("group", "kind", "name", group=_TEXT, kind=_TEXT, name=_NAME, sectionName=_NAME)
_HEADER = _object("name", name=_TEXT)
_POLICY = _object(
    targetRef=_TARGET,
    targetRefs=_list(_TARGET, maxItems=16),
    targetSelectors=_ANY_LIST,
    loadBalancer=_object(
        "type",
        type={"type": "string", "enum": ("ConsistentHash", "LeastRequest", "Random", "RoundRobin")},
        consistentHash=_object(
            "type",
            type={"type": "string", "enum": ("SourceIP", "Header", "Headers", "Cookie")},
            header=_HEADER,
            headers=_list(_HEADER),
            cookie=_object("name", name=_TEXT),
            tableSize=_COUNT,
        ),
        slowStart=_ANY_OBJECT,
        zoneAware=_ANY_OBJECT,
    ),
)
_POLICY_STATUS = _object(
    "ancestors",
    ancestors=_list(
        _object(
            "ancestorRef",
            "conditions",
            "controllerName",
            ancestorRef=_PARENT,
            controllerName=_TEXT,
            conditions=_CONDITIONS,
        ),
        maxItems=16,
    ),
)
_LABELS: Json = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}
_POOL = _object(
    "endpointPickerRef",
    "selector",
    "targetPorts",
    selector=_object("matchLabels", matchLabels=_LABELS),
    targetPorts=_list(_object("number", number=_PORT), minItems=1, maxItems=8),
    endpointPickerRef=_object(
        "name",
        group=_TEXT,
        kind={"type": "string", "minLength": 1, "maxLength": 63},
        name=_NAME,
        port=_object("number", number=_PORT),
        failureMode={"type": "string", "enum": ("FailOpen", "FailClose")},
    ),
)
_POOL_STATUS = _object(
    parents=_list(
        _object("parentRef", parentRef=_PARENT, controllerName=_TEXT, conditions=_CONDITIONS),
        maxItems=32,
    ),
)
_SCALING_RULES = _object(
    stabilizationWindowSeconds=_COUNT,
    selectPolicy=_TEXT,
    tolerance={"type": "int-or-string"},
    policies=_list(
        _object("periodSeconds", "type", "value", periodSeconds=_COUNT, type=_TEXT, value=_COUNT)
    ),
)
_SCALED_OBJECT = _object(
    "scaleTargetRef",
    "triggers",
    scaleTargetRef=_object(
        "name", apiVersion=_TEXT, kind=_TEXT, name=_TEXT, envSourceContainerName=_TEXT
    ),
    pollingInterval=_COUNT,
    initialCooldownPeriod=_COUNT,
    cooldownPeriod=_COUNT,
    idleReplicaCount=_COUNT,
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    fallback=_object(
        "failureThreshold", "replicas", failureThreshold=_COUNT, replicas=_COUNT, behavior=_TEXT
    ),
    advanced=_object(
        restoreToOriginalReplicaCount=_FLAG,
        horizontalPodAutoscalerConfig=_object(
            name=_TEXT, behavior=_object(scaleUp=_SCALING_RULES, scaleDown=_SCALING_RULES)
        ),
        scalingModifiers=_object(
            formula=_TEXT, target=_TEXT, activationTarget=_TEXT, metricType=_TEXT
        ),
    ),
    triggers=_list(
        _object(
            "metadata",
            "type",
            type=_TEXT,
            name=_TEXT,
            metricType=_TEXT,
            useCachedMetrics=_FLAG,
            metadata={"type": "object", "additionalProperties": _TEXT},
            authenticationRef=_object("name", name=_TEXT, kind=_TEXT),
        )
    ),
)
_SCALED_OBJECT_STATUS = _object(
    conditions=_list(
        _object("status", "type", type=_TEXT, status=_TEXT, reason=_TEXT, message=_TEXT)
    ),
    externalMetricNames=_list(_TEXT),
    resourceMetricNames=_list(_TEXT),
    health={"type": "object", "additionalProperties": _ANY_OBJECT},
    hpaName=_TEXT,
    lastActiveTime=_TIME,
    originalReplicaCount=_COUNT,
    pausedReplicaCount=_COUNT,
    scaleTargetKind=_TEXT,
    triggersTypes=_TEXT,
)
_TYPES: dict[Resource, dict[str, Json]] = {
    HTTP_ROUTES: {"spec": _ROUTE, "status": _ROUTE_STATUS},
    GATEWAYS: {"spec": _GATEWAY, "status": _GATEWAY_STATUS},
    BACKEND_TRAFFIC_POLICIES: {"spec": _POLICY, "status": _POLICY_STATUS},
    INFERENCE_POOLS: {"spec": _POOL, "status": _POOL_STATUS},
    SCALED_OBJECTS: {"spec": _SCALED_OBJECT, "status": _SCALED_OBJECT_STATUS},
}


def schema_of_part(resource: Resource, part: str) -> Json | None:
    """The schema of the spec or the status of a custom resource; None for others."""
    return _TYPES.get(resource, {}).get(part)


def check_custom_types(resource: Resource, obj: Json, *, part: str = "spec") -> Causes:
    """The errors of the spec or the status of a custom resource; none for other resources."""
    schema = schema_of_part(resource, part)
    if schema is None:
        return
    if part in obj:
        yield from check_structure(schema, obj[part], part)
    elif part == "spec":
        yield required("spec")
