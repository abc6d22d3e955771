"""Objects of a serving as decoded JSON, for the tests of what the page shows."""

from __future__ import annotations

import json
from typing import Any

from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.object_watch import LiveObject
from servedeck.serving.objects.records import WholeObject

NAMESPACE = "team-a"
_decode = RecordDecoder(WholeObject).decode


def live(value: dict[str, Any]) -> LiveObject:
    """The object as a watch gives it."""
    record = _decode(json.dumps(value).encode()).record
    return LiveObject(RESOURCES_BY_KIND[value["kind"]], record)


def deployment(
    name: str = "llama-70b-chat", pod_spec: dict[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    """A Deployment with one container; `pod_spec` adds fields to the Pods' spec."""
    labels = {"servedeck.dev/serving": name, "servedeck.dev/template": "vllm"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-11T03:00:00Z",
            "labels": {**labels, "app.kubernetes.io/managed-by": "servedeck"},
            "annotations": {"servedeck.dev/description": "Chat of the help desk"},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": "inference-server",
                            "image": "vllm/vllm-openai:v0.11.0",
                            "args": ["--model", "meta-llama/Llama-3.3-70B", "--port", "8000"],
                            "ports": [{"name": "http", "containerPort": 8000}],
                            "resources": {
                                "requests": {"cpu": "8", "memory": "64Gi"},
                                "limits": {"memory": "80Gi", "nvidia.com/gpu": "4"},
                            },
                            **container,
                        }
                    ],
                    **(pod_spec or {}),
                },
            },
        },
    }


def pod(name: str, **fields: Any) -> dict[str, Any]:
    """A crashed Pod; `fields` replace parts of it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-23T02:00:00Z",
        },
        "spec": {
            "nodeName": "gpu-node-1",
            "serviceAccountName": "default",
            "containers": [
                {
                    "name": "inference-server",
                    "image": "vllm/vllm-openai:v0.11.0",
                    "resources": {"limits": {"memory": "80Gi", "nvidia.com/gpu": "4"}},
                    "startupProbe": {
                        "httpGet": {"path": "/health", "port": 8000},
                        "failureThreshold": 60,
                    },
                }
            ],
            "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.3.17",
            "qosClass": "Burstable",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "True",
                    "lastTransitionTime": "2026-11-23T02:00:01Z",
                }
            ],
            "containerStatuses": [
                {
                    "name": "inference-server",
                    "restartCount": 7,
                    "state": {
                        "waiting": {
                            "reason": "CrashLoopBackOff",
                            "message": "back-off 5m0s restarting failed container=x pod=y",
                        }
                    },
                    "lastState": {
                        "terminated": {
                            "exitCode": 137,
                            "reason": "OOMKilled",
                            "startedAt": "2026-11-23T02:57:22Z",
                            "finishedAt": "2026-11-23T02:58:00Z",
                        }
                    },
                }
            ],
        },
        **fields,
    }


def node(name: str = "gpu-node-1", **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "8", "x/y": "1"},
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z"},
                {
                    "type": "MemoryPressure",
                    "status": "True",
                    "message": "kubelet has insufficient memory available",
                    "lastTransitionTime": "2026-11-23T02:30:00Z",
                },
                {"type": "DiskPressure", "status": "False"},
            ],
        },
        **fields,
    }
