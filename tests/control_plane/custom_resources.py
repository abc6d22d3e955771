"""CustomResourceDefinitions with the fields that servedeck uses."""

from __future__ import annotations

from tests.control_plane.objects import JsonObject


def _string_properties() -> JsonObject:
    return {"type": "array", "items": {"type": "string"}}


def _object_schema(**properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list_schema(**properties: JsonObject) -> JsonObject:
    return {"type": "array", "items": _object_schema(**properties)}


_STRING_SCHEMA: JsonObject = {"type": "string"}
_INTEGER_SCHEMA: JsonObject = {"type": "integer"}
_COUNT_SCHEMA: JsonObject = {"type": "integer", "format": "int32"}
_BOOLEAN_SCHEMA: JsonObject = {"type": "boolean"}
_CONDITIONS_SCHEMA = _list_schema(
    type=_STRING_SCHEMA, status=_STRING_SCHEMA, reason=_STRING_SCHEMA, message=_STRING_SCHEMA
)


def _closed_schema(*required: str, **properties: JsonObject) -> JsonObject:
    """Of an object whose other fields the API server rejects."""
    found: JsonObject = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


def _closed_list(*required: str, **properties: JsonObject) -> JsonObject:
    return {"type": "array", "items": _closed_schema(*required, **properties)}


def _choice(*values: str) -> JsonObject:
    return {"type": "string", "enum": list(values)}


def _if_and_only_if(field: str, value: str, beside: str) -> JsonObject:
    """A rule of CEL: the field beside it is set exactly with this value."""
    rule = f"self.{field} == '{value}' ? has(self.{beside}) : !has(self.{beside})"
    message = f"If {field} is {value}, {beside} field needs to be set."
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}


_SCALING_RULES = _closed_schema(
    stabilizationWindowSeconds=_COUNT_SCHEMA,
    selectPolicy=_STRING_SCHEMA,
    policies=_closed_list(
        "periodSeconds",
        "type",
        "value",
        type=_STRING_SCHEMA,
        value=_COUNT_SCHEMA,
        periodSeconds=_COUNT_SCHEMA,
    ),
)
_AUTOSCALER_CONFIG = _closed_schema(
    name=_STRING_SCHEMA,
    behavior=_closed_schema(scaleUp=_SCALING_RULES, scaleDown=_SCALING_RULES),
)
_SCALED_OBJECT_SPEC = _closed_schema(
    "scaleTargetRef",
    "triggers",
    scaleTargetRef=_closed_schema(
        "name",
        apiVersion=_STRING_SCHEMA,
        kind=_STRING_SCHEMA,
        name=_STRING_SCHEMA,
        envSourceContainerName=_STRING_SCHEMA,
    ),
    pollingInterval=_COUNT_SCHEMA,
    initialCooldownPeriod=_COUNT_SCHEMA,
    cooldownPeriod=_COUNT_SCHEMA,
    idleReplicaCount=_COUNT_SCHEMA,
    minReplicaCount=_COUNT_SCHEMA,
    maxReplicaCount=_COUNT_SCHEMA,
    advanced=_closed_schema(
        restoreToOriginalReplicaCount=_BOOLEAN_SCHEMA,
        horizontalPodAutoscalerConfig=_AUTOSCALER_CONFIG,
    ),
    fallback=_closed_schema(
        "failureThreshold",
        "replicas",
        failureThreshold=_COUNT_SCHEMA,
        replicas=_COUNT_SCHEMA,
        behavior=_STRING_SCHEMA,
    ),
    triggers=_closed_list(
        "metadata",
        "type",
        type=_STRING_SCHEMA,
        name=_STRING_SCHEMA,
        useCachedMetrics=_BOOLEAN_SCHEMA,
        metricType=_STRING_SCHEMA,
        metadata={"type": "object", "additionalProperties": _STRING_SCHEMA},
        authenticationRef=_closed_schema("name", name=_STRING_SCHEMA, kind=_STRING_SCHEMA),
    ),
)
"""config/crd/bases/keda.sh_scaledobjects.yaml of KEDA 2.21."""

_ISTIO_BALANCER: JsonObject = {
    **_object_schema(
        simple=_choice(
            "UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"
        ),
        consistentHash=_object_schema(
            httpHeaderName=_STRING_SCHEMA,
            useSourceIp=_BOOLEAN_SCHEMA,
            httpQueryParameterName=_STRING_SCHEMA,
        ),
    ),
    "oneOf": [
        {"not": {"anyOf": [{"required": ["simple"]}, {"required": ["consistentHash"]}]}},
        {"required": ["simple"]},
        {"required": ["consistentHash"]},
    ],
}
"""manifests/charts/base/files/crd-all.gen.yaml of Istio 1.27."""

_ENVOY_HASH: JsonObject = {
    **_closed_schema(
        "type",
        type=_choice("SourceIP", "Header", "Headers", "Cookie", "QueryParams"),
        header=_closed_schema("name", name=_STRING_SCHEMA),
        headers=_closed_list("name", name=_STRING_SCHEMA),
        cookie=_object_schema(name=_STRING_SCHEMA),
        tableSize=_INTEGER_SCHEMA,
    ),
    **_if_and_only_if("type", "Header", "header"),
}
_ENVOY_BALANCER: JsonObject = {
    **_closed_schema(
        "type",
        type=_choice("ConsistentHash", "LeastRequest", "Random", "RoundRobin"),
        consistentHash=_ENVOY_HASH,
        slowStart=_object_schema(window=_STRING_SCHEMA),
    ),
    **_if_and_only_if("type", "ConsistentHash", "consistentHash"),
}
_POLICY_TARGET = {
    "group": _STRING_SCHEMA,
    "kind": _STRING_SCHEMA,
    "name": _STRING_SCHEMA,
    "sectionName": _STRING_SCHEMA,
}
"""charts/gateway-crds-helm, gateway.envoyproxy.io_backendtrafficpolicies.yaml of Envoy Gateway."""


_PORT_SCHEMA: JsonObject = {**_COUNT_SCHEMA, "minimum": 1, "maximum": 65535}
_ROUTES_FROM: JsonObject = {**_choice("All", "Selector", "Same"), "default": "Same"}
_LISTENERS_SCHEMA = _closed_list(
    "name",
    "port",
    "protocol",
    name=_STRING_SCHEMA,
    port=_PORT_SCHEMA,
    protocol=_STRING_SCHEMA,
    hostname=_STRING_SCHEMA,
    tls=_object_schema(mode={"type": "string", "default": "Terminate"}),
    allowedRoutes={
        **_closed_schema(
            namespaces={
                **_object_schema(
                    **{"from": {**_choice("All", "Selector", "Same"), "default": "Same"}}
                ),
                "default": {"from": "Same"},
            },
            kinds=_closed_list("kind", group=_STRING_SCHEMA, kind=_STRING_SCHEMA),
        ),
        "default": {"namespaces": {"from": "Same"}},
    },
)
"""config/crd/standard/gateway.networking.k8s.io_gateways.yaml of Gateway API 1.4."""

_LABELS_SCHEMA = {"type": "object", "additionalProperties": _STRING_SCHEMA}
_POOL_PORT = _closed_schema("number", number={**_INTEGER_SCHEMA, "minimum": 1, "maximum": 65535})
_POOL_SPEC = _closed_schema(
    "endpointPickerRef",
    "selector",
    "targetPorts",
    selector=_closed_schema("matchLabels", matchLabels=_LABELS_SCHEMA),
    targetPorts={"type": "array", "minItems": 1, "maxItems": 8, "items": _POOL_PORT},
    endpointPickerRef=_closed_schema(
        "name",
        group={"type": "string", "default": ""},
        kind={"type": "string", "default": "Service"},
        name=_STRING_SCHEMA,
        port=_POOL_PORT,
        failureMode={**_choice("FailOpen", "FailClose"), "default": "FailClose"},
    ),
)
_ALPHA_POOL_SPEC = _closed_schema(
    "extensionRef",
    "selector",
    "targetPortNumber",
    selector=_LABELS_SCHEMA,
    targetPortNumber=_INTEGER_SCHEMA,
    extensionRef=_object_schema(name=_STRING_SCHEMA),
)
"""config/crd/bases of the Gateway API Inference Extension 1.0."""


def _make_crd(
    group: str, version: str, kind: str, spec: JsonObject, status: JsonObject, plural: str = ""
) -> JsonObject:
    plural = plural or f"{kind.lower()}s"
    annotations = {}
    if group.endswith(".k8s.io"):
        annotations["api-approved.kubernetes.io"] = "unapproved, a stand-in for tests"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": _object_schema(spec=spec, status=status)},
                }
            ],
        },
    }


_ROUTE_TARGET: JsonObject = {
    "kind": {**_choice("Service", ""), "default": "Service"},
    "name": _STRING_SCHEMA,
    "weight": {"type": "integer", "default": 100, "minimum": 0, "maximum": 256},
}
"""openshift/microshift, assets/crd/route.crd.yaml."""


CUSTOM_RESOURCE_DEFINITIONS = (
    _make_crd(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        _object_schema(
            hostnames=_string_properties(),
            parentRefs=_list_schema(
                group={"type": "string", "default": "gateway.networking.k8s.io"},
                kind={"type": "string", "default": "Gateway"},
                name=_STRING_SCHEMA,
                namespace=_STRING_SCHEMA,
                sectionName=_STRING_SCHEMA,
                port=_PORT_SCHEMA,
            ),
            rules=_list_schema(
                matches=_list_schema(
                    path=_object_schema(type=_STRING_SCHEMA, value=_STRING_SCHEMA)
                ),
                # The Gateway API's own defaults.
                backendRefs=_list_schema(
                    group={"type": "string", "default": ""},
                    kind={"type": "string", "default": "Service"},
                    name=_STRING_SCHEMA,
                    namespace=_STRING_SCHEMA,
                    port=_INTEGER_SCHEMA,
                    weight={"type": "integer", "default": 1, "minimum": 0, "maximum": 1_000_000},
                ),
            ),
        ),
        _object_schema(parents=_list_schema(conditions=_CONDITIONS_SCHEMA)),
    ),
    _make_crd(
        "networking.istio.io",
        "v1",
        "VirtualService",
        _object_schema(
            hosts=_string_properties(),
            gateways=_string_properties(),
            http=_list_schema(
                match=_list_schema(
                    gateways=_string_properties(),
                    port=_INTEGER_SCHEMA,
                    uri=_object_schema(
                        exact=_STRING_SCHEMA, prefix=_STRING_SCHEMA, regex=_STRING_SCHEMA
                    ),
                ),
                route=_list_schema(
                    destination=_object_schema(
                        host=_STRING_SCHEMA,
                        port=_object_schema(number=_INTEGER_SCHEMA),
                        subset=_STRING_SCHEMA,
                    ),
                    weight=_INTEGER_SCHEMA,
                ),
            ),
        ),
        _object_schema(),
    ),
    _make_crd(
        "gateway.networking.k8s.io",
        "v1",
        "Gateway",
        _closed_schema(
            "gatewayClassName",
            "listeners",
            gatewayClassName=_STRING_SCHEMA,
            listeners=_LISTENERS_SCHEMA,
        ),
        _object_schema(
            addresses=_closed_list(
                "value", type={"type": "string", "default": "IPAddress"}, value=_STRING_SCHEMA
            ),
            conditions=_CONDITIONS_SCHEMA,
        ),
    ),
    _make_crd(
        "gateway.networking.k8s.io",
        "v1",
        "ListenerSet",
        _closed_schema(
            "listeners",
            "parentRef",
            parentRef=_closed_schema(
                "name",
                group={"type": "string", "default": "gateway.networking.k8s.io"},
                kind={"type": "string", "default": "Gateway"},
                name=_STRING_SCHEMA,
                namespace=_STRING_SCHEMA,
            ),
            listeners=_LISTENERS_SCHEMA,
        ),
        _object_schema(conditions=_CONDITIONS_SCHEMA),
    ),
    _make_crd(
        "networking.istio.io",
        "v1",
        "Gateway",
        _closed_schema(
            selector=_LABELS_SCHEMA,
            servers=_closed_list(
                "port",
                "hosts",
                port=_closed_schema(
                    "number",
                    "protocol",
                    "name",
                    name=_STRING_SCHEMA,
                    number=_INTEGER_SCHEMA,
                    protocol=_STRING_SCHEMA,
                ),
                hosts=_string_properties(),
                tls=_object_schema(httpsRedirect=_BOOLEAN_SCHEMA, mode=_STRING_SCHEMA),
            ),
        ),
        _object_schema(),
    ),
    _make_crd(
        "route.openshift.io",
        "v1",
        "Route",
        {
            **_closed_schema(
                "to",
                host=_STRING_SCHEMA,
                subdomain=_STRING_SCHEMA,
                path={"type": "string", "pattern": "^/"},
                to=_closed_schema("kind", "name", **_ROUTE_TARGET),
                alternateBackends=_closed_list("kind", "name", **_ROUTE_TARGET),
                port=_closed_schema("targetPort", targetPort={"x-kubernetes-int-or-string": True}),
                tls=_closed_schema(
                    "termination",
                    termination=_choice("edge", "reencrypt", "passthrough"),
                    insecureEdgeTerminationPolicy=_choice("", "None", "Allow", "Redirect"),
                    certificate=_STRING_SCHEMA,
                    key=_STRING_SCHEMA,
                ),
                wildcardPolicy={**_choice("None", "Subdomain", ""), "default": "None"},
            ),
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.tls) || self.tls.termination != 'passthrough' || "
                    "!has(self.path)",
                    "message": "passthrough termination does not support paths",
                }
            ],
        },
        _object_schema(
            ingress=_list_schema(
                host=_STRING_SCHEMA,
                routerName=_STRING_SCHEMA,
                conditions=_CONDITIONS_SCHEMA,
            )
        ),
    ),
    _make_crd(
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        _SCALED_OBJECT_SPEC,
        _object_schema(conditions=_CONDITIONS_SCHEMA),
    ),
    _make_crd(
        "networking.istio.io",
        "v1",
        "DestinationRule",
        _object_schema(
            host=_STRING_SCHEMA,
            trafficPolicy=_object_schema(
                loadBalancer=_ISTIO_BALANCER, outlierDetection=_object_schema()
            ),
        ),
        _object_schema(),
    ),
    _make_crd(
        "gateway.envoyproxy.io",
        "v1alpha1",
        "BackendTrafficPolicy",
        _object_schema(
            targetRef=_closed_schema("group", "kind", "name", **_POLICY_TARGET),
            targetRefs=_closed_list("group", "kind", "name", **_POLICY_TARGET),
            loadBalancer=_ENVOY_BALANCER,
        ),
        _object_schema(conditions=_CONDITIONS_SCHEMA),
        "backendtrafficpolicies",
    ),
    _make_crd(
        "inference.networking.k8s.io",
        "v1",
        "InferencePool",
        _POOL_SPEC,
        _object_schema(parents=_list_schema(conditions=_CONDITIONS_SCHEMA)),
    ),
    _make_crd(
        "inference.networking.x-k8s.io",
        "v1alpha2",
        "InferencePool",
        _ALPHA_POOL_SPEC,
        _object_schema(),
    ),
    _make_crd(
        "leaderworkerset.x-k8s.io",
        "v1",
        "LeaderWorkerSet",
        _object_schema(replicas=_INTEGER_SCHEMA, leaderWorkerTemplate=_object_schema()),
        _object_schema(replicas=_INTEGER_SCHEMA, readyReplicas=_INTEGER_SCHEMA),
    ),
    _make_crd(
        "serving.kserve.io",
        "v1beta1",
        "InferenceService",
        _object_schema(predictor=_object_schema()),
        _object_schema(conditions=_CONDITIONS_SCHEMA, url=_STRING_SCHEMA),
    ),
    _make_crd(
        "argoproj.io",
        "v1alpha1",
        "Rollout",
        _object_schema(replicas=_INTEGER_SCHEMA, template=_object_schema()),
        _object_schema(
            observedGeneration=_STRING_SCHEMA,
            phase=_STRING_SCHEMA,
            message=_STRING_SCHEMA,
            readyReplicas=_INTEGER_SCHEMA,
            updatedReplicas=_INTEGER_SCHEMA,
            conditions=_CONDITIONS_SCHEMA,
        ),
    ),
    _make_crd(
        "ray.io",
        "v1",
        "RayService",
        _object_schema(serveConfigV2=_STRING_SCHEMA, rayClusterConfig=_object_schema()),
        _object_schema(
            serviceStatus=_STRING_SCHEMA,
            activeServiceStatus=_object_schema(),
            conditions=_CONDITIONS_SCHEMA,
        ),
    ),
    _make_crd(
        "ray.io",
        "v1",
        "RayCluster",
        _object_schema(headGroupSpec=_object_schema(), workerGroupSpecs=_list_schema()),
        _object_schema(
            state=_STRING_SCHEMA,
            desiredWorkerReplicas=_COUNT_SCHEMA,
            readyWorkerReplicas=_COUNT_SCHEMA,
            conditions=_CONDITIONS_SCHEMA,
        ),
    ),
)
