"""Workloads of other kinds than Deployment as decoded JSON."""

from __future__ import annotations

from typing import Any

NAMESPACE = "team-a"
SERVER: dict[str, Any] = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v0.11.0",
    "command": ["vllm", "serve", "org/m"],
    "resources": {"limits": {"nvidia.com/gpu": "2"}},
    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
}


def metadata(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", **fields}


def template(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{**SERVER, **container}]}
    return {"metadata": {"labels": {"app": "llama"}}, "spec": spec}


def stateful_set(name: str = "llama") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(name),
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": template(),
            "volumeClaimTemplates": [{"metadata": {"name": "cache"}, "spec": {}}],
        },
    }


def leader_worker_set(name: str = "big") -> dict[str, Any]:
    templates = {
        "size": 4,
        "leaderTemplate": template(name="leader"),
        "workerTemplate": template(name="worker", command=["ray", "start"]),
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": metadata(name),
        "spec": {"replicas": 2, "leaderWorkerTemplate": templates},
    }


def inference_service(name: str = "bert") -> dict[str, Any]:
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "gs://models/iris",
        "runtime": "sklearnserver",
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
    }
    ready = {"type": "PredictorReady", "status": "False", "message": "no runtime"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(name),
        "spec": {"predictor": {"minReplicas": 0, "model": model}},
        "status": {"deploymentMode": "Serverless", "conditions": [ready]},
    }


def plain_pod(name: str = "solo") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, labels={"app": "llama"}),
        "spec": template()["spec"],
    }


def daemon_set(name: str = "each") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(name),
        "spec": {"selector": {"matchLabels": {"app": "llama"}}, "template": template()},
        "status": {"desiredNumberScheduled": 3, "numberReady": 3},
    }


def rollout(name: str = "canary") -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": metadata(name),
        "spec": {"replicas": 2, "template": template(), "strategy": {"canary": {"steps": []}}},
        "status": {
            "phase": "Paused",
            "currentStepIndex": 1,
            "conditions": [{"type": "Paused", "status": "True", "message": "Rollout is paused"}],
        },
    }


def _ray_cluster_spec() -> dict[str, Any]:
    head = template(name="ray-head", command=["ray", "start", "--head"], resources={})
    worker = template(name="ray-worker", command=["ray", "start"])
    groups = [{"groupName": "gpu", "replicas": 2, "numOfHosts": 2, "template": worker}]
    return {"headGroupSpec": {"template": head}, "workerGroupSpecs": groups}


def ray_cluster(name: str = "pool") -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": metadata(name),
        "spec": _ray_cluster_spec(),
        "status": {"state": "ready", "desiredWorkerReplicas": 4, "readyWorkerReplicas": 4},
    }


def ray_service(name: str = "llms") -> dict[str, Any]:
    applications = {"llms": {"status": "UNHEALTHY", "message": "replica died"}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata(name),
        "spec": {"serveConfigV2": "applications: []", "rayClusterConfig": _ray_cluster_spec()},
        "status": {
            "activeServiceStatus": {
                "rayClusterName": "llms-7x2kq",
                "applicationStatuses": applications,
            }
        },
    }
