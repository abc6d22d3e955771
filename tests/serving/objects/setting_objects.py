"""Servings with the objects of settings, for tests of auto scaling, load balancing and the
temperature policy."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.spec import ServingSpec

Json = dict[str, Any]

ENGINES = Engines(
    frozenset({"keda.sh", "networking.istio.io", "gateway.networking.k8s.io"}),
    "http://prometheus.monitoring:9090",
)
ENVOY = Engines(frozenset({"gateway.envoyproxy.io", "gateway.networking.k8s.io"}))


def make_spec(**fields: Any) -> ServingSpec:
    base: Json = {
        "name": "llama",
        "namespace": "chat",
        "template": "vllm",
        "image": "vllm/vllm-openai:v0.33.0",
        "cpu": "1",
        "memory": "16Gi",
        "accelerator": "nvidia.com/gpu",
        "settings": {"model": "org/m"},
        "inference_port": 8000,
        "replicas": 2,
    }
    return ServingSpec.model_validate({**base, **fields})


def make_serving(*others: Json, engines: Engines = ENGINES, **fields: Any) -> ImportedServing:
    """A serving of servedeck with these fields, and objects that others made for it."""
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", engines=engines)
    return import_objects([*build_manifests(make_spec(**fields), platform), *others], engines)


def edit(current: ImportedServing, **fields: Any) -> ObjectChange:
    return change_objects(current, current.spec.replace(**fields), create_missing=False)


def only(change: ObjectChange, kind: str) -> Json:
    """The one object of a kind after the change, without removed ones."""
    [found] = [one for one in after(change) if one["kind"] == kind]
    return found


def after(change: ObjectChange) -> list[Json]:
    removed = {(one.kind, one.name) for one in change.removed}
    return [one for one in change.changed if (one["kind"], one["metadata"]["name"]) not in removed]


def read_again(change: ObjectChange, engines: Engines = ENGINES) -> ServingSpec:
    """The spec of the objects after the change."""
    return import_objects(after(change), engines).spec


def autoscaler(**spec: Any) -> Json:
    """A HorizontalPodAutoscaler that somebody made with kubectl autoscale."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama-hpa", "namespace": "chat"},
        "spec": {
            "scaleTargetRef": target,
            "maxReplicas": 6,
            "metrics": [{"type": "Resource", "resource": cpu}],
            **spec,
        },
    }


def scaled_object(*triggers: Json, **spec: Any) -> Json:
    """A ScaledObject of others."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "theirs", "namespace": "chat"},
        "spec": {"scaleTargetRef": {"name": "llama"}, "triggers": list(triggers), **spec},
    }


CRON: Json = {"type": "cron", "metadata": {"start": "0 8 * * *", "desiredReplicas": "4"}}
NAMED: Json = {"type": "kafka", "name": "lag", "metadata": {"lagThreshold": "5"}}


def any_json(words: list[str]) -> st.SearchStrategy[Any]:
    """Decoded JSON in which keys and texts are often these words."""
    texts = st.one_of(st.sampled_from(words), st.text(max_size=4))
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=4)
        ),
        max_leaves=12,
    )
