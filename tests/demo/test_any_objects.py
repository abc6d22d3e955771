"""Whatever a client writes is stored or refused as by a real server, and the controllers go on."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servedeck.demo.api import access, admission, patch_handler, read_handlers, write_handlers
from servedeck.demo.api.request import ApiRequest
from servedeck.demo.api.status import StatusError
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.resources import (
    ALL_VERBS,
    DEPLOYMENTS,
    NAMESPACES,
    RESOURCES,
    SCALED_OBJECTS,
    Resource,
)
from servedeck.demo.store.objects import key_of
from servedeck.demo.store.store import ObjectStore
from tests.demo.any_objects import any_object, any_value, changed_object
from tests.demo.cluster_fixture import START, deployment

Json = dict[str, Any]
WRITABLE = [one for one in RESOURCES if set(ALL_VERBS) - {"deletecollection"} <= set(one.verbs)]
ADMIN = access.admin()
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"

_ANSWERS = {200, 201, 400, 403, 404, 409, 422, 500}
"""500: the real server's answer to an apply patch of the wrong types. An error that the demo does
not expect has no code; it ends the test."""


def _fuzz(examples: int) -> settings:
    """The same examples in each run. SERVEDECK_HYPOTHESIS=thorough tries more of them, and others
    for each --hypothesis-seed."""
    thorough = os.environ.get("SERVEDECK_HYPOTHESIS") == "thorough"
    return settings(
        deadline=None,
        max_examples=10 * examples if thorough else examples,
        derandomize=not thorough,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Client:
    """Writes to a cluster whose controllers' errors are errors of the test."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.store = ObjectStore(self.clock)
        self.store.admission.append(admission.admit)
        self.controllers = ControllerManager(self.store, self.clock)
        for name in ("chat", "default"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        nodes: Json = {"cpu": "96", "memory": "1000Gi", "nvidia.com/gpu": "8", "pods": "110"}
        node = {"metadata": {"name": "n"}, "status": {"allocatable": nodes, "capacity": nodes}}
        self.send("POST", next(r for r in RESOURCES if r.kind == "Node"), node)
        body = deployment("llm")
        body["metadata"]["namespace"] = "chat"
        assert self.send("POST", DEPLOYMENTS, body) == 201

    def send(
        self,
        method: str,
        resource: Resource,
        body: Any,
        *,
        name: str = "",
        subresource: str = "",
        content_type: str = "application/json",
    ) -> int:
        """The status code of a write."""
        call = ApiRequest(
            method=method,
            resource=resource,
            namespace="chat" if resource.namespaced else "",
            name=name,
            subresource=subresource,
            query={"fieldManager": "test"},
            headers={"Content-Type": content_type, "Accept": TABLE},
            user=ADMIN,
            body=json.dumps(body).encode(),
        )
        try:
            if method == "POST":
                return write_handlers.create_object(self.store, call).code
            if method == "PUT":
                return write_handlers.replace_object(self.store, call).code
            if method == "PATCH":
                return patch_handler.handle_patch(self.store, call).code
            read_handlers.list_objects(self.store, call)
        except StatusError as error:
            return error.code
        return 200


@pytest.mark.parametrize("resource", WRITABLE, ids=lambda one: one.plural)
@_fuzz(30)
@given(seed=st.integers(0, 2**32))
def test_whatever_is_written_the_controllers_go_on(resource: Resource, seed: int) -> None:
    rng, client = random.Random(seed), Client()
    name = rng.choice(("odd", "llm"))
    codes = [client.send("POST", resource, any_object(resource, rng, name, "chat"))]
    client.clock.advance(2)
    for _ in range(3):
        body = any_object(resource, rng, name, "chat")
        subresource = rng.choice(("", "status")) if resource.has_status else ""
        method, content_type = rng.choice((("PUT", ""), ("PATCH", MERGE), ("PATCH", APPLY)))
        if content_type == APPLY:
            body |= {"apiVersion": resource.api_version, "kind": resource.kind}
        codes.append(
            client.send(
                method,
                resource,
                body,
                name=name,
                subresource=subresource,
                content_type=content_type or "application/json",
            )
        )
        client.clock.advance(40)
        codes.append(client.send("GET", resource, None))
    assert set(codes) <= _ANSWERS
    client.controllers.resync()
    client.clock.advance(400)


def valid_objects() -> dict[Resource, Json]:
    """One for each kind with rules that random objects hardly ever obey."""
    meta: Json = {"name": "odd", "namespace": "chat", "labels": {"app": "llm"}}
    serving = deployment(
        "odd",
        env=[
            {"name": "A", "value": "b"},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
        ],
        volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}}],
        strategy={
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "5%"},
        },
        annotations={"demo.servedeck.dev/crash": "20s", "demo.servedeck.dev/load": "2"},
    )["spec"]
    template = serving["template"]
    template["spec"] |= {
        "readinessGates": [{"conditionType": "a.b/c"}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}
                    ]
                }
            }
        },
    }
    replicas = {"replicas": 2, "selector": serving["selector"], "template": template}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"}
    target = {"type": "Utilization", "averageUtilization": 50}
    found: dict[str, Json] = {
        "Deployment": serving,
        "ReplicaSet": replicas,
        "Pod": template["spec"],
        "Service": {"selector": {"app": "llm"}, "ports": ports, "type": "ClusterIP"},
        "PersistentVolumeClaim": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "ResourceQuota": {"hard": {"pods": "3", "requests.cpu": "9", "limits.memory": "1Ti"}},
        "HorizontalPodAutoscaler": {
            "scaleTargetRef": reference,
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"policies": [], "stabilizationWindowSeconds": 5}},
        },
        "ScaledObject": {
            "scaleTargetRef": {"name": "llm"},
            "minReplicaCount": 1,
            "maxReplicaCount": 3,
            "pollingInterval": 5,
            "fallback": {"failureThreshold": 1, "replicas": 2},
            "triggers": [
                {
                    "type": "prometheus",
                    "metadata": {
                        "serverAddress": "http://prometheus.monitoring:9090",
                        "query": "1",
                        "threshold": "2",
                    },
                },
                {
                    "type": "metrics-api",
                    "metadata": {"url": "http://llm.chat/x", "targetValue": "1"},
                },
            ],
        },
        "HTTPRoute": {
            "parentRefs": [{"name": "g", "namespace": "chat"}],
            "hostnames": ["a.example"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/chat/llm"}}],
                    "backendRefs": [
                        {"name": "llm", "port": 80, "weight": 5},
                        {"name": "odd", "kind": "InferencePool", "weight": 1},
                    ],
                }
            ],
        },
        "InferencePool": {
            "selector": {"matchLabels": {"app": "llm"}},
            "targetPorts": [{"number": 8000}],
            "endpointPickerRef": {
                "name": "picker",
                "port": {"number": 9002},
                "failureMode": "FailOpen",
            },
        },
        "BackendTrafficPolicy": {
            "targetRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "odd"}
            ],
            "loadBalancer": {
                "type": "ConsistentHash",
                "consistentHash": {"type": "Header", "header": {"name": "x"}},
            },
        },
    }
    return {
        one: {"metadata": meta, "spec": found[one.kind]} for one in WRITABLE if one.kind in found
    }


VALID = valid_objects()


@pytest.mark.parametrize("resource", VALID, ids=lambda one: one.plural)
def test_the_objects_that_are_changed_are_valid(resource: Resource) -> None:
    assert Client().send("POST", resource, VALID[resource]) == 201


@pytest.mark.parametrize("resource", VALID, ids=lambda one: one.plural)
@_fuzz(40)
@given(seed=st.integers(0, 2**32))
def test_valid_objects_with_odd_parts_keep_no_controller_from_its_work(
    resource: Resource, seed: int
) -> None:
    rng, client = random.Random(seed), Client()
    for other in VALID:
        if other is not resource and rng.random() < 0.3:
            client.send("POST", other, VALID[other])
    code = client.send("POST", resource, changed_object(VALID[resource], rng))
    assert code in _ANSWERS
    client.clock.advance(100)
    changed = changed_object(VALID[resource], rng)
    assert client.send("PATCH", resource, changed, name="odd", content_type=MERGE) in _ANSWERS
    client.clock.advance(100)
    assert client.send("GET", resource, None) == 200
    client.controllers.resync()
    client.clock.advance(400)


@_fuzz(30)
@given(seed=st.integers(0, 2**32))
def test_patches_of_any_type_are_refused_or_applied(seed: int) -> None:
    rng, client = random.Random(seed), Client()
    for content_type in (
        JSON_PATCH,
        MERGE,
        "application/strategic-merge-patch+json",
    ):
        body = any_value(rng)
        if content_type == JSON_PATCH and rng.random() < 0.8:
            body = [
                {
                    "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x", 5)),
                    "path": rng.choice(("", "/", "/spec", "/spec/replicas", "/x/0/-", "~", 5)),
                    "from": rng.choice(("", "/spec", "/metadata/name", "x", None)),
                    "value": any_value(rng),
                }
                for _ in range(rng.randrange(1, 3))
            ]
        code = client.send("PATCH", DEPLOYMENTS, body, name="llm", content_type=content_type)
        assert code in _ANSWERS, body
    client.clock.advance(30)


BARE_CONDITIONS: list[Json] = [
    {"status": "True"},
    {"type": "Progressing"},
    {"type": "Progressing", "status": "True"},
    {"type": "Available", "status": "True"},
    {"type": "Ready", "status": "True"},
    {"type": "PodScheduled", "status": "False"},
    {"type": "ReplicaFailure"},
    {"type": "a.b/c", "status": "True"},
]


@pytest.mark.parametrize("condition", BARE_CONDITIONS, ids=json.dumps)
@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "Pod", "Node", "ScaledObject"])
def test_conditions_with_missing_fields_stop_no_controller(kind: str, condition: Json) -> None:
    """As in a saved state of an older demo: the API server now completes what it stores."""
    client = Client()
    serving: Json = {"metadata": {"name": "odd", "namespace": "chat"}}
    serving["spec"] = VALID[DEPLOYMENTS]["spec"] | {"minReadySeconds": 5}
    assert client.send("POST", DEPLOYMENTS, serving) == 201
    client.send("POST", SCALED_OBJECTS, VALID[SCALED_OBJECTS])
    client.clock.advance(20)
    resource = next(one for one in RESOURCES if one.kind == kind)

    def write(obj: Json) -> None:
        obj["status"] = obj.get("status", {}) | {"conditions": [condition]}

    for _ in range(2):
        for obj in client.store.list(resource):
            client.store.mutate(resource, *key_of(obj), write, "status")
        assert client.send("GET", resource, None) == 200
        client.clock.advance(30)
        more = {"spec": {"replicas": 5}}
        client.send("PATCH", DEPLOYMENTS, more, name="odd", content_type=MERGE)
        client.controllers.resync()
        client.clock.advance(700)


def test_required_scalars_that_a_client_leaves_out_are_stored_as_gos_zero_values() -> None:
    client = Client()
    body = {"status": {"conditions": [{"status": "True"}]}}
    sent = client.send(
        "PATCH", DEPLOYMENTS, body, name="llm", subresource="status", content_type=MERGE
    )
    stored = client.store.get(DEPLOYMENTS, "chat", "llm")["status"]["conditions"]
    assert sent == 200
    assert {"type": "", "status": "True"} in stored


@pytest.mark.parametrize("field", ["apiVersion", "kind", "name", "uid"])
def test_an_owner_reference_is_complete(field: str) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}
    meta = {"name": "odd", "namespace": "chat", "ownerReferences": [owner]}
    body = {"metadata": meta, "spec": VALID[SCALED_OBJECTS]["spec"]}
    del owner[field]
    assert Client().send("POST", SCALED_OBJECTS, body) == 422


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_patches_nest_step_by_step_is_refused_like_a_body_that_is_too_deep() -> None:
    client = Client()

    def add(depth: int, *values: int) -> int:
        """Adds nested lists at that depth, each inside the one before."""
        operations = []
        for value in values:
            path = "/spec/deep" + "/0" * depth
            operations.append({"op": "add", "path": path, "value": nested(value)})
            depth += value
        return client.send("PATCH", SCALED_OBJECTS, operations, name="odd", content_type=JSON_PATCH)

    assert client.send("POST", SCALED_OBJECTS, VALID[SCALED_OBJECTS]) == 201
    body = {**VALID[SCALED_OBJECTS], "spec": {"deep": nested(250)}}
    assert client.send("POST", SCALED_OBJECTS, body) == 400
    assert add(0, 190) == 200
    assert add(190, 190) == 400
    assert add(0, *[190] * 8) == 400
    copies: Json = {"op": "copy", "from": "/spec/deep", "path": "/spec/deep" + "/0" * 190}
    again = [copies, {**copies, "path": "/spec/deep" + "/0" * 380}] * 3
    sent = client.send("PATCH", SCALED_OBJECTS, again, name="odd", content_type=JSON_PATCH)
    assert sent == 400
    label = {"metadata": {"labels": {"a": "b"}}}
    assert client.send("PATCH", SCALED_OBJECTS, label, name="odd", content_type=MERGE) == 200
