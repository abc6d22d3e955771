"""The InferencePool of a serving, as the chart of the Gateway API Inference Extension makes it: its
route does not send to it yet.

Source: config/charts/inferencepool of kubernetes-sigs/gateway-api-inference-extension.
"""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.demo.resources import INFERENCE_POOLS, SERVICES
from servedeck.demo.scenario.cluster_objects import ResourceObject
from servedeck.demo.store.objects import Json, Key
from servedeck.serving.conventions import SERVING_LABEL

POOLED_SERVING: Key = ("chat", "llama-33-70b")
"""The serving that has a pool."""
_PICKER_PORT = 9002
_SERVER_PORT = 8000


def pool_objects() -> Iterator[ResourceObject]:
    """The InferencePool, and the Service of its endpoint picker."""
    namespace, name = POOLED_SERVING
    picker = f"{name}-epp"
    labels = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": picker}
    spec: Json = {
        "selector": {"matchLabels": {SERVING_LABEL: name}},
        "targetPorts": [{"number": _SERVER_PORT}],
        "endpointPickerRef": {
            "group": "",
            "kind": "Service",
            "name": picker,
            "port": {"number": _PICKER_PORT},
            "failureMode": "FailOpen",
        },
    }
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    yield INFERENCE_POOLS, {"metadata": metadata, "spec": spec}
    port = {
        "name": "grpc-ext-proc",
        "port": _PICKER_PORT,
        "protocol": "TCP",
        "appProtocol": "http2",
    }
    service = {"selector": {"inferencepool": picker}, "ports": [port], "type": "ClusterIP"}
    yield SERVICES, {"metadata": {**metadata, "name": picker}, "spec": service}
