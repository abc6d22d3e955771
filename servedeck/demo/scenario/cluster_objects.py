"""The objects that exist before any serving: namespaces, nodes, the gateway, quotas, tokens."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

from servedeck import __version__
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE
from servedeck.demo.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    GATEWAYS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)
from servedeck.demo.scenario.servings import A100, GPU, H100, L40S, NPU
from servedeck.demo.store.objects import Json

ResourceObject = tuple[Resource, Json]

HOST = "serving.acme.example"
GATEWAY = ("platform", "serving-gateway")
ASYNC_IMAGE = f"registry.acme.example/platform/servedeck-gateway:{__version__}"
ASYNC_STORE = "valkey://valkey.platform:6379"
ASYNC_STORE_SECRET = ("platform", "valkey")
MONITORING_NAMESPACE = "monitoring"
PROMETHEUS_SERVICE = f"{MONITORING_NAMESPACE}/prometheus:9090"
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
TOKEN_SECRET = "hf-token"  # noqa: S105 - the name of a Secret


def base_objects() -> Iterator[ResourceObject]:
    """Namespaces, nodes, the gateway, quotas, a PVC, ConfigMaps and token Secrets."""
    for namespace in (
        "default",
        "kube-system",
        "platform",
        PLATFORM_NAMESPACE,
        MONITORING_NAMESPACE,
        "chat",
        "search",
        "vision",
        "agents",
        "npu-lab",
        "research",
    ):
        yield NAMESPACES, {"metadata": {"name": namespace}}
    yield _node("control-1", {"cpu": "8", "memory": "32Gi"}, control_plane=True)
    yield _node("h100-1", {"cpu": "192", "memory": "2000Gi", GPU: "8"}, product=H100, number=11)
    yield _node("h100-2", {"cpu": "192", "memory": "2000Gi", GPU: "8"}, product=H100, number=12)
    yield _node("a100-1", {"cpu": "128", "memory": "1000Gi", GPU: "4"}, product=A100, number=21)
    yield _node("l40s-1", {"cpu": "96", "memory": "768Gi", GPU: "8"}, product=L40S, number=31)
    yield _node("rngd-1", {"cpu": "96", "memory": "1000Gi", NPU: "4"}, product="rngd", number=41)
    yield (
        GATEWAYS,
        {
            "metadata": {"namespace": GATEWAY[0], "name": GATEWAY[1]},
            "spec": {
                "gatewayClassName": "envoy",
                "listeners": [
                    {
                        "name": "https",
                        "hostname": HOST,
                        "port": 443,
                        "protocol": "HTTPS",
                        "tls": {"mode": "Terminate", "certificateRefs": [{"name": "serving-tls"}]},
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
            "status": {"addresses": [{"type": "Hostname", "value": HOST}]},
        },
    )
    for namespace in ("chat", "research"):
        yield token_secret(namespace)
    yield (
        RESOURCEQUOTAS,
        {
            "metadata": {"namespace": "research", "name": "accelerators"},
            "spec": {"hard": {"requests.nvidia.com/gpu": "3"}},
        },
    )
    yield (
        PERSISTENTVOLUMECLAIMS,
        {
            "metadata": {"namespace": "chat", "name": "prompts"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "50Gi"}},
                "storageClassName": "shared",
                "volumeMode": "Filesystem",
                "volumeName": "pvc-5f1c0d7e",
            },
            "status": {
                "phase": "Bound",
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "50Gi"},
            },
        },
    )
    yield (
        CONFIGMAPS,
        {
            "metadata": {"namespace": "chat", "name": "chat-templates"},
            "data": {"default.jinja": "{{ messages }}"},
        },
    )
    yield (
        CONFIGMAPS,
        {
            "metadata": {"namespace": PLATFORM_NAMESPACE, "name": PLATFORM_CONFIGMAP},
            "data": {
                "endpoint_host": HOST,
                "gateway": "/".join(GATEWAY),
                "async_image": ASYNC_IMAGE,
                "async_store": ASYNC_STORE,
                "async_store_secret": "/".join(ASYNC_STORE_SECRET),
            },
        },
    )
    yield _store_secret()


def _store_secret() -> ResourceObject:
    """The password of the Valkey that async gateways would use."""
    namespace, name = ASYNC_STORE_SECRET
    password = base64.b64encode(secrets.token_hex(16).encode()).decode()
    return SECRETS, {
        "metadata": {"namespace": namespace, "name": name},
        "type": "Opaque",
        "data": {"password": password},
    }


def prometheus_objects() -> Iterator[ResourceObject]:
    """A Prometheus that scrapes the cluster, as a chart installs one."""
    labels = {
        "app.kubernetes.io/name": "prometheus",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/managed-by": "Helm",
    }
    selector = {"app.kubernetes.io/name": "prometheus"}
    meta: Json = {"namespace": MONITORING_NAMESPACE, "name": "prometheus", "labels": labels}
    probe: Json = {"periodSeconds": 15, "timeoutSeconds": 10}
    container: Json = {
        "name": "prometheus",
        "image": "quay.io/prometheus/prometheus:v3.9.1",
        "args": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=26h",
        ],
        "ports": [{"name": "web", "containerPort": 9090, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
        "readinessProbe": {**probe, "httpGet": {"path": "/-/ready", "port": "web"}},
        "livenessProbe": {**probe, "httpGet": {"path": "/-/healthy", "port": "web"}},
        "volumeMounts": [{"name": "data", "mountPath": "/prometheus"}],
    }
    pod: Json = {
        "containers": [container],
        "nodeSelector": {CONTROL_PLANE_LABEL: ""},
        "tolerations": [{"key": CONTROL_PLANE_LABEL, "operator": "Exists"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    yield (
        DEPLOYMENTS,
        {
            "metadata": meta,
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    )
    ports = [{"name": "web", "port": 9090, "targetPort": "web", "protocol": "TCP"}]
    yield SERVICES, {"metadata": meta, "spec": {"selector": selector, "ports": ports}}


def token_secret(namespace: str) -> ResourceObject:
    """The Secret of a namespace with the token for gated models."""
    value = base64.b64encode(b"hf_demo_not_a_real_token").decode()
    return SECRETS, {
        "metadata": {"namespace": namespace, "name": TOKEN_SECRET},
        "type": "Opaque",
        "data": {"token": value},
    }


def _node(
    name: str,
    resources: dict[str, str],
    *,
    product: str = "",
    number: int = 1,
    control_plane: bool = False,
) -> ResourceObject:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    spec: Json = {}
    if control_plane:
        labels[CONTROL_PLANE_LABEL] = ""
        spec["taints"] = [{"key": CONTROL_PLANE_LABEL, "effect": "NoSchedule"}]
    if GPU in resources:
        labels |= {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": product,
            "nvidia.com/gpu.count": resources[GPU],
            "nvidia.com/gpu.memory": "46068" if product == L40S else "81559",
            "nvidia.com/mig.strategy": "none",
        }
        spec["taints"] = [{"key": GPU, "effect": "NoSchedule", "value": "present"}]
    if NPU in resources:
        labels |= {
            "furiosa.ai/npu.count": resources[NPU],
            "furiosa.ai/npu.family": "rngd",
            "furiosa.ai/npu.product": product,
            "furiosa.ai/npu.driver.version": "2026.2.0",
        }
    amounts = {**resources, "pods": "110", "ephemeral-storage": "3500Gi"}
    conditions = [
        _node_condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        _node_condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        _node_condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        _node_condition("Ready", "True", "KubeletReady"),
    ]
    return NODES, {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": amounts,
            "allocatable": dict(amounts),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": f"10.20.0.{number}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://2.1.4",
                "osImage": "Ubuntu 24.04.3 LTS",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "6.8.0-71-generic",
            },
        },
    }


def _node_condition(type_: str, value: str, reason: str) -> Json:
    messages = {
        "KubeletHasSufficientMemory": "kubelet has sufficient memory available",
        "KubeletHasNoDiskPressure": "kubelet has no disk pressure",
        "KubeletHasSufficientPID": "kubelet has sufficient PID available",
        "KubeletReady": "kubelet is posting ready status",
    }
    return {"type": type_, "status": value, "reason": reason, "message": messages[reason]}
