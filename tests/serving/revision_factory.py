"""A Deployment and its ReplicaSets as decoded JSON, in the API server's format."""

from __future__ import annotations

from typing import Any

from tests.serving.factories import ago

JsonObject = dict[str, Any]
UID = "uid-llama"
SERVER = "inference-server"


def template(image: str = "vllm/vllm-openai:v1", /, **changes: Any) -> JsonObject:
    """A Pod template; `changes` are fields of the server's container, `annotations`, and
    `pod_spec`."""
    annotations = changes.pop("annotations", {})
    pod_spec = changes.pop("pod_spec", {})
    metadata: JsonObject = {"labels": {"app": "llama"}}
    if annotations:
        metadata["annotations"] = annotations
    container = {"name": SERVER, "image": image, "args": ["--model", "m"], **changes}
    return {"metadata": metadata, "spec": {"containers": [container], **pod_spec}}


def replicaset(
    number: int,
    pod_template: JsonObject,
    *,
    pods: int = 0,
    ready: int | None = None,
    history: str = "",
    cause: str = "",
    owner: str = UID,
    created: str = "",
) -> JsonObject:
    """The ReplicaSet of a revision, created `number` days after the first."""
    metadata = {**pod_template["metadata"]}
    metadata["labels"] = {**metadata["labels"], "pod-template-hash": f"hash{number}"}
    annotations = {
        "deployment.kubernetes.io/revision": str(number) if number else "",
        "deployment.kubernetes.io/revision-history": history,
        "kubernetes.io/change-cause": cause,
    }
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"llama-hash{number}",
            "namespace": "team-a",
            "uid": f"uid-{owner}-{number}",
            "labels": metadata["labels"],
            "creationTimestamp": created or ago(days=100 - number),
            "annotations": {key: value for key, value in annotations.items() if value},
            "ownerReferences": [{"kind": "Deployment", "uid": owner, "controller": True}],
        },
        "spec": {"replicas": pods, "template": {**pod_template, "metadata": metadata}},
        "status": {"replicas": pods, "readyReplicas": pods if ready is None else ready},
    }


def deployment(
    number: int,
    pod_template: JsonObject,
    *,
    replicas: int = 2,
    status: JsonObject | None = None,
    conditions: list[JsonObject] | None = None,
    managed_fields: list[JsonObject] | None = None,
    cause: str = "",
    generation: int = 5,
    **spec: Any,
) -> JsonObject:
    """A Deployment with that revision number, rolled out unless `status` says otherwise."""
    counts = dict.fromkeys(("replicas", "updatedReplicas"), replicas)
    counts |= dict.fromkeys(("readyReplicas", "availableReplicas"), replicas)
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    if cause:
        annotations["kubernetes.io/change-cause"] = cause
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "llama",
            "namespace": "team-a",
            "uid": UID,
            "generation": generation,
            "annotations": annotations,
            "managedFields": managed_fields or [],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "llama"}},
            "strategy": strategy,
            "template": pod_template,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
        "status": {
            "observedGeneration": 5,
            **counts,
            **(status or {}),
            "conditions": [progressing()] if conditions is None else conditions,
        },
    }


def progressing(reason: str = "NewReplicaSetAvailable", updated: str = "") -> JsonObject:
    status = "False" if reason == "ProgressDeadlineExceeded" else "True"
    updated = updated or ago(minutes=2)
    return {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": updated}


def manager(name: str, operation: str = "Update", time: str = "", **fields: Any) -> JsonObject:
    """An entry of managedFields that owns the image, or `fields`."""
    owned = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}
    return {
        "manager": name,
        "operation": operation,
        "time": time or ago(minutes=5),
        "fieldsV1": owned,
        **fields,
    }
