"""Which objects are a serving's."""

from __future__ import annotations

import json
from typing import Any

from servedeck.cluster import resources
from servedeck.cluster.resources import RESOURCES_BY_KIND, Resource
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.object_watch import LiveObject
from servedeck.detail.serving_object_refs import (
    list_object_refs,
    object_queries,
)
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import WholeObject
from tests.tui import fakes

KEY = NamespacedName("team-a", "llama")
LABELS = {"app": "llama", "tier": "gpu"}


def make(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> LiveObject:
    value = {"metadata": {"name": name, "namespace": "team-a", "uid": name, **metadata}}
    record, _ = RecordDecoder(WholeObject).decode(json.dumps({**value, "spec": spec}).encode())
    return LiveObject(RESOURCES_BY_KIND[kind], record)


def make_deployment(**pod_spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": LABELS}, "spec": pod_spec}
    spec = {"selector": {"matchLabels": {"app": "llama"}}, "template": template}
    return {"metadata": {"name": "llama", "uid": "uid-llama"}, "spec": spec}


def group(*objects: LiveObject) -> dict[Resource, list[LiveObject]]:
    found: dict[Resource, list[LiveObject]] = {}
    for one in objects:
        found.setdefault(one.resource, []).append(one)
    return found


def titles(*objects: LiveObject, deployment: dict[str, Any] | None = None) -> list[str]:
    return [ref.title for ref in list_object_refs(KEY, None, deployment, group(*objects))]


def test_services_that_select_the_pods_or_have_the_name():
    found = (
        make("Service", "by-label", {"selector": {"tier": "gpu"}}),
        make("Service", "other", {"selector": {"tier": "cpu"}}),
        make("Service", "no-selector", {}),
        make("Service", "external", {"selector": {"tier": "gpu"}, "type": "ExternalName"}),
        make("Service", "llama", {"type": "ClusterIP"}),
    )
    assert titles(*found, deployment=make_deployment()) == [
        "Deployment/llama",
        "Service/by-label",
        "Service/llama",
    ]
    assert titles(*found) == ["Deployment/llama", "Service/llama"]


def test_routes_to_the_services_in_their_four_kinds():
    service = make("Service", "front", {"selector": {"app": "llama"}})

    def http_route(name: str, backend: str, **ref: str) -> LiveObject:
        return make("HTTPRoute", name, {"rules": [{"backendRefs": [{"name": backend, **ref}]}]})

    destination = {"destination": {"host": "front.team-a.svc.cluster.local"}}
    backend = {"service": {"name": "front", "port": {"number": 80}}}
    found = (
        service,
        http_route("own", "front"),
        http_route("foreign", "front", namespace="team-b"),
        http_route("to-missing-service", "llama"),
        make("VirtualService", "virtual", {"http": [{"route": [destination]}]}),
        make("Route", "openshift", {"to": {"name": "x"}, "alternateBackends": [{"name": "front"}]}),
        make("Route", "other-openshift", {"to": {"name": "front", "kind": "Other"}}),
        make("Ingress", "ingress", {"rules": [{"http": {"paths": [{"backend": backend}]}}]}),
        make("Ingress", "other-ingress", {"defaultBackend": {"service": {"name": "x"}}}),
    )
    assert titles(*found, deployment=make_deployment())[2:] == [
        "HTTPRoute/own",
        "HTTPRoute/to-missing-service",
        "VirtualService/virtual",
        "Route/openshift",
        "Ingress/ingress",
    ]


def test_autoscalers_of_the_deployment():
    def target(kind: str, name: str) -> dict[str, Any]:
        return {"scaleTargetRef": {"kind": kind, "name": name}}

    found = (
        make("ScaledObject", "keda", {"scaleTargetRef": {"name": "llama"}}),
        make("HorizontalPodAutoscaler", "keda-hpa", target("Deployment", "llama")),
        make("HorizontalPodAutoscaler", "set", target("StatefulSet", "llama")),
        make("HorizontalPodAutoscaler", "other", target("Deployment", "other")),
    )
    assert titles(*found) == [
        "Deployment/llama",
        "ScaledObject/keda",
        "HorizontalPodAutoscaler/keda-hpa",
    ]


def test_replica_sets_of_the_deployment_newest_first():
    def replica_set(name: str, revision: str, owner: str) -> LiveObject:
        annotations = {"deployment.kubernetes.io/revision": revision}
        owners = [{"kind": "Deployment", "uid": owner}]
        spec = {"replicas": 1}
        return make("ReplicaSet", name, spec, annotations=annotations, ownerReferences=owners)

    found = group(
        replica_set("old", "9", "uid-llama"),
        replica_set("new", "10", "uid-llama"),
        replica_set("foreign", "11", "uid-other"),
    )
    refs = list_object_refs(KEY, None, make_deployment(), found)
    assert [(ref.title, ref.detail) for ref in refs[1:]] == [
        ("ReplicaSet/new", "revision 10, 1 replica"),
        ("ReplicaSet/old", "revision 9, 1 replica"),
    ]


def test_pods_and_what_they_name():
    deployment = make_deployment(
        volumes=[
            {"name": "a", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "b", "configMap": {"name": "files"}},
            {"name": "c", "secret": {"secretName": "certificate"}},
            {"name": "s", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "storage"}}},
            {"name": "z", "azureFile": {"secretName": "share", "shareName": "s"}},
            {
                "name": "d",
                "projected": {"sources": [{"configMap": {"name": "ca"}}, {"secret": {}}]},
            },
            {"name": "e", "persistentVolumeClaim": {"claimName": "models"}},
            "not a volume",
        ],
        initContainers=[{"envFrom": [{"secretRef": {"name": "keys"}}]}],
        containers=[
            {
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
            }
        ],
        imagePullSecrets=[{"name": "registry"}],
    )
    view = fakes.serving("llama", pods=(fakes.pod("llama-1"), fakes.crashing_pod("llama-2")))
    refs = list_object_refs(KEY, view, deployment, {})
    assert [(ref.title, ref.detail) for ref in refs] == [
        ("Deployment/llama", ""),
        ("Pod/llama-1", "Running"),
        ("Pod/llama-2", "CrashLoopBackOff"),
        ("PersistentVolumeClaim/models", ""),
        ("ConfigMap/files", ""),
        ("ConfigMap/ca", ""),
        ("ConfigMap/settings", ""),
        ("Secret/certificate", ""),
        ("Secret/storage", ""),
        ("Secret/share", ""),
        ("Secret/keys", ""),
        ("Secret/hf", ""),
        ("Secret/registry", ""),
    ]


def test_no_secret_is_watched():
    queries = object_queries(KEY, make_deployment())
    assert resources.SECRET not in {query.resource for query in queries}
    assert {query.namespace for query in queries} == {"team-a"}
    assert queries[-1].resource == resources.REPLICA_SET
    assert queries[-1].label_selector == "app=llama"
    assert resources.REPLICA_SET not in {query.resource for query in object_queries(KEY, None)}


def test_objects_of_other_servings_are_not_parsed():
    """There are thousands of them in a namespace."""
    own, others = (
        [
            make("Service", name, {"selector": {"app": name, "tier": "gpu"}}),
            make("HTTPRoute", name, {"rules": [{"backendRefs": [{"name": name}]}]}),
            make("ScaledObject", name, {"scaleTargetRef": {"name": name}}),
        ]
        for name in ("llama", "qwen")
    )
    assert titles(*own, *others, deployment=make_deployment()) == [
        "Deployment/llama",
        "Service/llama",
        "HTTPRoute/llama",
        "ScaledObject/llama",
    ]
    assert [one.metadata.name for one in (*own, *others) if "value" in vars(one)] == ["llama"] * 3


def test_a_service_of_another_shape_selects_nothing():
    found = (
        make("Service", "odd", {"selector": ["llama"]}),
        make("Service", "null", {"selector": None}),
        make("Service", "number", {"selector": {"app": 1}}),
    )
    assert titles(*found, deployment=make_deployment()) == ["Deployment/llama"]


def test_the_pool_that_selects_the_pods_and_the_routes_to_it():
    def pool(name: str, labels: dict[str, str]) -> LiveObject:
        picker = {"name": f"{name}-epp"}
        return make(
            "InferencePool",
            name,
            {"selector": {"matchLabels": labels}, "endpointPickerRef": picker},
        )

    def route(name: str, to: str) -> LiveObject:
        ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": to}
        return make("HTTPRoute", name, {"rules": [{"backendRefs": [ref]}]})

    deployment = make_deployment()
    deployment["metadata"]["namespace"] = "team-a"
    found = (
        pool("own", {"app": "llama"}),
        pool("other", {"app": "other"}),
        route("to-own", "own"),
        route("to-other", "other"),
    )
    refs = list_object_refs(KEY, None, deployment, group(*found))
    assert [(one.title, one.detail) for one in refs[1:]] == [
        ("InferencePool/own", "endpoint picker own-epp"),
        ("HTTPRoute/to-own", ""),
    ]
    watched = [one.resource for one in object_queries(KEY, deployment)]
    assert resources.INFERENCE_POOL in watched


def test_a_route_to_a_pool_of_the_older_group_is_found():
    """The pool itself has the kind of the newer group, by which it cannot be opened."""
    pool = make("InferencePool", "own", {"selector": {"app": "llama"}})
    pool = LiveObject(resources.ALPHA_INFERENCE_POOL, pool.record)
    ref = {"group": "inference.networking.x-k8s.io", "kind": "InferencePool", "name": "own"}
    route = make("HTTPRoute", "to-own", {"rules": [{"backendRefs": [ref]}]})
    deployment = make_deployment()
    deployment["metadata"]["namespace"] = "team-a"
    refs = list_object_refs(KEY, None, deployment, group(pool, route))
    assert [one.title for one in refs[1:]] == ["HTTPRoute/to-own"]
    watched = [one.resource for one in object_queries(KEY, deployment)]
    assert resources.ALPHA_INFERENCE_POOL in watched
