"""Workloads of other kinds than Deployment in the shape of one, for the cards and the references of
a serving's page, which read a Deployment. Only for reading: nothing of it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.cluster.resources import DEPLOYMENT, RESOURCES_BY_KIND, Resource
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.reported_records import CLUSTER_LABEL, SERVE_LABEL
from servedeck.serving.objects.workload_records import GROUP_LABEL
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)

ORDINAL = "<ordinal>"
"""In the name of a claim: the number of the Pod in its StatefulSet."""

_MODEL_FIELDS = frozenset(
    {"modelFormat", "storageUri", "storage", "runtime", "protocolVersion", "runtimeVersion"}
)
"""Fields of an InferenceService's model that its container does not have."""


def workload_resource(key: NamespacedName) -> Resource:
    """The API resource of a serving's workload."""
    return RESOURCES_BY_KIND.get(key.kind, DEPLOYMENT)


def as_deployment(obj: JsonObject) -> JsonObject:
    """A workload in the shape of a Deployment, with the Pod template that runs the inference
    server. A Deployment is returned as it is."""
    kind = obj.get("kind")
    if kind == "Deployment":
        return obj
    spec = as_mapping(obj, "spec")
    match kind:
        case "StatefulSet":
            shaped = {**spec, "template": _with_claims(spec, _name(obj))}
        case "LeaderWorkerSet":
            labels = {GROUP_LABEL: _name(obj)}
            shaped = {
                "replicas": spec.get("replicas", 1),
                "template": _with_labels(leader_template(obj), labels),
            }
        case "InferenceService":
            predictor = as_mapping(spec, "predictor")
            shaped = {
                "replicas": predictor.get("minReplicas", 1),
                "template": {"spec": _predictor_pod_spec(predictor)},
            }
        case "DaemonSet" | "Rollout":
            shaped = dict(spec)
        case "RayCluster" | "RayService":
            template = _with_labels(head_template(obj), _ray_labels(obj))
            shaped = {"replicas": 1, "template": template}
        case _:
            labels = dict(as_mapping(obj, "metadata", "labels"))
            shaped = {"replicas": 1, "template": {"metadata": {"labels": labels}, "spec": spec}}
    return {**obj, "apiVersion": "apps/v1", "kind": "Deployment", "spec": shaped}


def leader_template(obj: JsonObject) -> Mapping[str, Any]:
    """Pod template of the leaders of a LeaderWorkerSet."""
    templates = as_mapping(obj, "spec", "leaderWorkerTemplate")
    return as_mapping(templates, "leaderTemplate") or as_mapping(templates, "workerTemplate")


def worker_template(obj: JsonObject) -> Mapping[str, Any]:
    """Pod template of the workers of a LeaderWorkerSet, {} if it is that of the leaders."""
    templates = as_mapping(obj, "spec", "leaderWorkerTemplate")
    return as_mapping(templates, "workerTemplate") if "leaderTemplate" in templates else {}


def head_template(obj: JsonObject) -> Mapping[str, Any]:
    """Pod template of the head of a RayCluster, or of that of a RayService."""
    return as_mapping(_ray_spec(obj), "headGroupSpec", "template")


def ray_worker_groups(obj: JsonObject) -> list[JsonObject]:
    """The groups of workers of a RayCluster, or of that of a RayService."""
    return mappings(_ray_spec(obj).get("workerGroupSpecs"))


def _ray_labels(obj: JsonObject) -> dict[str, str]:
    """Labels of the Pods that requests go to."""
    if obj.get("kind") == "RayCluster":
        return {CLUSTER_LABEL: _name(obj)}
    active = as_mapping(obj, "status", "activeServiceStatus")
    return {CLUSTER_LABEL: as_str(active.get("rayClusterName")), SERVE_LABEL: "true"}


def _ray_spec(obj: JsonObject) -> Mapping[str, Any]:
    spec = as_mapping(obj, "spec")
    return as_mapping(spec, "rayClusterConfig") if obj.get("kind") == "RayService" else spec


def group_size(obj: JsonObject) -> int:
    """Pods of each group of a LeaderWorkerSet."""
    return as_int(as_mapping(obj, "spec", "leaderWorkerTemplate").get("size")) or 1


def _name(obj: JsonObject) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


def _with_labels(template: Mapping[str, Any], labels: Mapping[str, str]) -> JsonObject:
    metadata = as_mapping(template, "metadata")
    own = as_mapping(metadata, "labels")
    return {**template, "metadata": {**metadata, "labels": {**own, **labels}}}


def _with_claims(spec: Mapping[str, Any], name: str) -> JsonObject:
    """The Pod template of a StatefulSet with a volume for each of its claim templates: each Pod has
    a claim of its own, whose name ends with its ordinal."""
    template = as_mapping(spec, "template")
    pod_spec = as_mapping(template, "spec")
    claims = [
        as_str(as_mapping(one, "metadata").get("name"))
        for one in mappings(spec.get("volumeClaimTemplates"))
    ]
    volumes = [
        {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}-{ORDINAL}"}}
        for claim in claims
    ]
    volumes += mappings(pod_spec.get("volumes"))
    return {**template, "spec": {**pod_spec, "volumes": volumes} if volumes else pod_spec}


def _predictor_pod_spec(predictor: Mapping[str, Any]) -> JsonObject:
    """The Pods' spec of an InferenceService as far as it has one: KServe adds the rest."""
    containers = mappings(predictor.get("containers"))
    if model := as_mapping(predictor, "model"):
        fields = {key: value for key, value in model.items() if key not in _MODEL_FIELDS}
        containers = [{"name": "kserve-container", **fields}, *containers]
    pod_spec = {key: value for key, value in predictor.items() if key != "model"}
    return {**pod_spec, "containers": containers}
