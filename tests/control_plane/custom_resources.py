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
_CONDITIONS_SCHEMA = _list_schema(
    type=_STRING_SCHEMA, status=_STRING_SCHEMA, reason=_STRING_SCHEMA, message=_STRING_SCHEMA
)


def _make_crd(
    group: str, version: str, kind: str, spec: JsonObject, status: JsonObject
) -> JsonObject:
    plural = f"{kind.lower()}s"
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


CUSTOM_RESOURCE_DEFINITIONS = (
    _make_crd(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        _object_schema(
            hostnames=_string_properties(),
            parentRefs=_list_schema(name=_STRING_SCHEMA, namespace=_STRING_SCHEMA),
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
                    uri=_object_schema(
                        exact=_STRING_SCHEMA, prefix=_STRING_SCHEMA, regex=_STRING_SCHEMA
                    )
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
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        _object_schema(
            scaleTargetRef=_object_schema(kind=_STRING_SCHEMA, name=_STRING_SCHEMA),
            minReplicaCount=_INTEGER_SCHEMA,
            maxReplicaCount=_INTEGER_SCHEMA,
            triggers=_list_schema(type=_STRING_SCHEMA),
        ),
        _object_schema(conditions=_CONDITIONS_SCHEMA),
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
)
