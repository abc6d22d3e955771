"""Random Deployments and Services in the shapes that other projects publish: the documentation of
vLLM, SGLang, TGI and Triton, the charts of production-stack and Ollama, the output of KServe."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

VLLM_ARGS: list[Json] = [
    {"command": ["vllm", "serve", "org/m", "--port", "8000", "--tensor-parallel-size", "8"]},
    {"command": ["vllm", "serve"], "args": ["org/m", "--dtype=bfloat16", "--max-model-len", "8k"]},
    {"args": ["--model", "org/m", "--tensor_parallel_size", "2", "-q=awq", "--trust-remote-code"]},
    {"command": ["vllm"], "args": ["serve", "org/m", "--gpu-memory-utilization=0.95"]},
    {
        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
        "args": ["--model=org/m", "--host=0.0.0.0", "--port=8000"],
    },
    {"command": ["/opt/venv/bin/vllm", "serve", "org/m"]},
    {"command": ["/bin/sh", "-c"], "args": ["pip list; exec vllm serve org/m --port 8080"]},
    {"command": ["bash", "-c", "source x && vllm serve $MODEL --port $PORT"]},
    {"args": ["sh", "-c", "vllm serve org/m"]},
    {"args": ["org/m", "--dtype", "int3", "--port", "http", "--", "--tensor-parallel-size=4"]},
    {"command": ["vllm", "serve", "org/m"], "args": ["-tp", "2", "-tp=4"]},
    {"command": ["tini", "--"], "args": ["vllm", "serve", "org/m", "--port=8000"]},
    {"command": ["/usr/bin/env", "vllm"], "args": ["serve", "org/m"]},
    {"command": ["python3"], "args": ["/app/server.py", "--model", "org/m"]},
    {"command": ["ray"], "args": ["start", "--head", "--port=6379"]},
    {"args": ["python3", "-u", "-m", "vllm.entrypoints.openai.api_server", "--model", "org/m"]},
    {"command": ["sh", "-c", 'exec "$@"', "--"], "args": ["vllm", "serve", "org/m"]},
]
OTHER_ARGS: list[Json] = [
    {
        "image": "lmsysorg/sglang:latest",
        "command": ["python3", "-m", "sglang.launch_server", "--model-path", "a/b", "--tp", "8"],
        "args": ["--port", "30000"],
    },
    {"image": "ghcr.io/huggingface/text-generation-inference:3", "args": ["--model-id", "a/b"]},
    {"image": "nvcr.io/nvidia/tritonserver:24.08-py3", "args": ["tritonserver", "--http-port=80"]},
    {"image": "ollama/ollama:latest"},
    {"image": "furiosaai/furiosa-llm:2026.3.0", "args": ["serve", "org/m", "-dp", "2", "--x"]},
    {"image": "registry.example.com/ml/llm:1", "command": ["/start.sh"]},
    {"image": "furiosaai/furiosa-llm", "command": ["furiosa-llm"], "args": ["serve", "org/m"]},
]
RESOURCES: list[Json | None] = [
    None,
    {},
    {"limits": {"nvidia.com/gpu": "8"}},
    {"limits": {"nvidia.com/gpu": 1, "cpu": "10", "memory": "20G"}},
    {
        "requests": {"memory": "16Gi", "cpu": "6", "nvidia.com/gpu": "1"},
        "limits": {"memory": "32Gi", "cpu": "8", "nvidia.com/gpu": "1"},
    },
    {"requests": {"cpu": "500m", "memory": "1024Mi"}},
    {"requests": {"memory": "1Gi"}, "limits": {"memory": "1024Mi", "rdma/hca": 1}},
    {"requests": {"cpu": "2"}, "limits": {"cpu": 2, "memory": "8Gi"}},
    {"limits": {"nvidia.com/mig-1g.10gb": "2"}, "claims": [{"name": "gpu"}]},
]
PORTS: list[Any] = [
    None,
    [{"containerPort": 8000}],
    [{"containerPort": 9000, "name": "metrics"}, {"containerPort": 8000, "name": "http"}],
    [{"containerPort": 30000, "name": "container-port", "protocol": "TCP"}],
    [{"containerPort": 9000, "name": "metrics"}, {"containerPort": 8000, "name": "api"}],
]
PROBES: list[Any] = [
    None,
    {"httpGet": {"path": "/health", "port": 8000}, "initialDelaySeconds": 60},
    {"httpGet": {"path": "/v1/models", "port": "http", "scheme": "HTTPS"}, "periodSeconds": 2},
    {"tcpSocket": {"port": 8000}, "failureThreshold": 90},
    {"exec": {"command": ["cat", "/tmp/ready"]}},
    {"grpc": {"port": 8001}},
]
VOLUMES: list[tuple[list[Json], list[Json]]] = [
    ([], []),
    (
        [{"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}],
        [{"name": "cache", "mountPath": "/root/.cache/huggingface"}],
    ),
    (
        [{"name": "model-cache", "hostPath": {"path": "/models"}}],
        [{"name": "model-cache", "mountPath": "/root/.cache/huggingface"}],
    ),
    (
        [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "128Gi"}},
            {"name": "pv", "persistentVolumeClaim": {"claimName": "pv", "readOnly": True}},
        ],
        [
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "pv", "mountPath": "/data", "subPath": "llm"},
            {"name": "pv", "mountPath": "/models", "readOnly": True},
        ],
    ),
    (
        [
            {"name": "a", "persistentVolumeClaim": {"claimName": "a"}},
            {"name": "new", "emptyDir": {}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "b"}},
        ],
        [
            {"name": "a", "mountPath": "/a", "readOnly": True, "recursiveReadOnly": "IfPossible"},
            {"name": "new", "mountPath": "/scratch"},
            {"name": "b", "mountPath": "/b"},
        ],
    ),
    (
        [{"name": "dshm", "emptyDir": {"medium": "Memory"}}, {"name": "cm", "configMap": {}}],
        [
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "cm", "mountPath": "/etc/cfg"},
        ],
    ),
]
ENV: list[Any] = [
    None,
    [{"name": "HF_HOME", "value": "/models"}, {"name": "PORT", "value": "8080"}],
    [
        {"name": "A", "value": "1"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {
            "name": "HF_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token", "optional": True}},
        },
        {"name": "EMPTY"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ],
    [
        {"name": "A", "value": "1"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "B", "value": "$(NODE)"},
        {"name": "C", "value": "3"},
    ],
]
POD_FIELDS: list[Json] = [
    {},
    {
        "nodeSelector": {"nvidia.com/gpu.product": "H100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "runtimeClassName": "nvidia",
        "hostIPC": True,
    },
    {
        "initContainers": [{"name": "wait", "image": "busybox", "command": ["true"]}],
        "serviceAccountName": "vllm",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsUser": 1000},
        "terminationGracePeriodSeconds": 120,
        "tolerations": [{"operator": "Exists"}],
    },
]
SERVICES: list[list[Json]] = [
    [],
    [{"name": "llm", "ports": [{"port": 80, "targetPort": 8000}]}],
    [
        {"name": "llm-engine", "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]},
        {"name": "llm", "ports": [{"port": 80, "targetPort": 8000, "protocol": "TCP"}]},
    ],
    [{"name": "llm-headless", "clusterIP": "None", "ports": [{"port": 8000}]}],
    [{"name": "llm", "ports": [{"port": 80, "targetPort": 8080}]}],
    [{"name": "llm", "ports": [{"port": 80, "targetPort": "api"}]}],
]
TRANSFORMER = {
    "name": "transformer",
    "image": "transformer:1",
    "ports": [{"containerPort": 8080, "name": "in"}],
}
SIDECAR = {"name": "fluent-bit", "image": "fluent/fluent-bit:3", "ports": [{"containerPort": 2020}]}


@st.composite
def foreign_objects(draw: st.DrawFn) -> list[Json]:
    """Deployment, Services and maybe an Ingress of one serving."""
    command = draw(st.sampled_from([*VLLM_ARGS, *OTHER_ARGS]))
    volumes, mounts = draw(st.sampled_from(VOLUMES))
    server: Json = {
        "name": draw(st.sampled_from(["vllm", "server", "inference-server"])),
        "image": "vllm/vllm-openai:v0.9.2",
        **command,
    }
    for key, value in (
        ("resources", draw(st.sampled_from(RESOURCES))),
        ("ports", draw(st.sampled_from(PORTS))),
        ("env", draw(st.sampled_from(ENV))),
        ("readinessProbe", draw(st.sampled_from(PROBES))),
        ("livenessProbe", draw(st.sampled_from(PROBES))),
        ("startupProbe", draw(st.sampled_from(PROBES))),
        ("volumeMounts", mounts or None),
        ("envFrom", draw(st.sampled_from([None, [{"secretRef": {"name": "all"}}]]))),
    ):
        if value is not None:
            server[key] = value
    pod: Json = {"containers": [server], **draw(st.sampled_from(POD_FIELDS))}
    if volumes:
        pod["volumes"] = volumes
    sidecar = draw(st.sampled_from(["", "first", "last"]))
    if sidecar:
        pod["containers"].insert(0 if sidecar == "first" else 1, SIDECAR)
    transformer = draw(st.sampled_from(["", "", "first", "last"]))
    if transformer:
        at = 0 if transformer == "first" else len(pod["containers"])
        pod["containers"].insert(at, TRANSFORMER)
    labels = {"app": "llm"}
    body: Json = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "strategy": draw(st.sampled_from([{"type": "Recreate"}, {"type": "RollingUpdate"}])),
    }
    if (replicas := draw(st.sampled_from([None, 0, 3]))) is not None:
        body["replicas"] = replicas
    metadata = {"name": "llm", "namespace": "team-a", "labels": {"helm.sh/chart": "vllm-1"}}
    objects: list[Json] = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}
    ]
    for service in draw(st.sampled_from(SERVICES)):
        spec = {key: value for key, value in service.items() if key != "name"}
        meta = {"name": service["name"], "namespace": "team-a"}
        spec["selector"] = labels
        objects.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    if draw(st.booleans()):
        backend = {"service": {"name": "llm", "port": {"number": 80}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        rule = {"host": "llm.example.com", "http": {"paths": [path]}}
        objects.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": "llm", "namespace": "team-a"},
                "spec": {"rules": [rule]},
            }
        )
    decoded: list[Json] = json.loads(json.dumps(objects))  # no part is shared
    return decoded
