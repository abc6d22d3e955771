"""Fields of Deployments that the document of a serving does not have, one of each kind."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

Json = dict[str, Any]


class UnmanagedCase(NamedTuple):
    """What is added to a Deployment, and what an export says about it."""

    comment: str = ""
    """A line of the comments."""
    pod: Json = {}
    container: Json = {}
    spec: Json = {}
    annotations: Json = {}
    sidecars: tuple[Json, ...] = ()


def _mounted(name: str, path: str, comment: str, **source: Any) -> UnmanagedCase:
    mount = {"name": name, "mountPath": path}
    sub_path = source.pop("subPath", None)
    mount |= {"subPath": sub_path} if sub_path else {}
    return UnmanagedCase(
        comment,
        pod={"volumes": [{"name": name, **source}]},
        container={"volumeMounts": [mount]},
    )


POD = "spec.template.spec"
SERVER = f"{POD}.containers[vllm]"
_LABELS = {"matchLabels": {"app": "llm"}}
_NODE_TERM = {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
_PROBE_CONNECTION: Json = {"tcpSocket": {"port": 8000}}

CASES: dict[str, UnmanagedCase] = {
    "init container": UnmanagedCase(
        f"{POD}.initContainers:",
        pod={"initContainers": [{"name": "download", "image": "busybox"}]},
    ),
    "native sidecar": UnmanagedCase(
        "name: routing-proxy",
        pod={
            "initContainers": [{"name": "routing-proxy", "image": "p", "restartPolicy": "Always"}]
        },
    ),
    "sidecar": UnmanagedCase(
        f"{POD}.containers[fluent-bit]:",
        sidecars=({"name": "fluent-bit", "image": "fluent/fluent-bit:3"},),
    ),
    "envFrom": UnmanagedCase(
        f"{SERVER}.envFrom:", container={"envFrom": [{"secretRef": {"name": "tokens"}}]}
    ),
    "fieldRef": UnmanagedCase(
        f"{SERVER}.env[POD_IP]:",
        container={
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
        },
    ),
    "resourceFieldRef": UnmanagedCase(
        f"{SERVER}.env[CPUS]:",
        container={
            "env": [
                {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}
            ]
        },
    ),
    "affinity": UnmanagedCase(
        f"{POD}.affinity:",
        pod={
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [_NODE_TERM]
                    }
                }
            }
        },
    ),
    "topology spread": UnmanagedCase(
        f"{POD}.topologySpreadConstraints:",
        pod={
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": _LABELS,
                }
            ]
        },
    ),
    "toleration for negative seconds": UnmanagedCase(
        f"{POD}.tolerations[sla]:",
        pod={
            "tolerations": [
                {
                    "key": "sla",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": -1,
                }
            ]
        },
    ),
    "security context of the Pod": UnmanagedCase(
        f"{POD}.securityContext:", pod={"securityContext": {"runAsUser": 1000}}
    ),
    "security context of the container": UnmanagedCase(
        f"{SERVER}.securityContext:",
        container={"securityContext": {"capabilities": {"add": ["IPC_LOCK"]}}},
    ),
    "hook": UnmanagedCase(
        f"{SERVER}.lifecycle:",
        container={"lifecycle": {"preStop": {"exec": {"command": ["sleep", "30"]}}}},
    ),
    "hostPath": _mounted(
        "cache",
        "/root/.cache/huggingface",
        f"{SERVER}.volumeMounts[/root/.cache/huggingface].name: cache",
        hostPath={"path": "/mnt/models"},
    ),
    "PVC at the path of the cache": _mounted(
        "model-cache",
        "/root/.cache/huggingface",
        f"{POD}.volumes[model-cache].persistentVolumeClaim:",
        persistentVolumeClaim={"claimName": "models"},
    ),
    "ConfigMap": _mounted(
        "templates", "/templates", f"{POD}.volumes[templates]:", configMap={"name": "templates"}
    ),
    "Secret as a volume": _mounted(
        "tls", "/tls", f"{POD}.volumes[tls]:", secret={"secretName": "tls", "optional": True}
    ),
    "emptyDir": _mounted(
        "shm",
        "/dev/shm",
        f"{POD}.volumes[shm]:",
        emptyDir={"medium": "Memory", "sizeLimit": "64Gi"},
    ),
    "projected volume": _mounted(
        "info",
        "/info",
        f"{POD}.volumes[info]:",
        projected={"sources": [{"configMap": {"name": "a"}}]},
    ),
    "NFS": _mounted("nfs", "/nfs", f"{POD}.volumes[nfs]:", nfs={"server": "nas", "path": "/m"}),
    "subPath": _mounted(
        "models",
        "/models",
        f"{SERVER}.volumeMounts[/models]:",
        persistentVolumeClaim={"claimName": "models"},
        subPath="llama",
    ),
    "hostIPC": UnmanagedCase(f"{POD}.hostIPC: true", pod={"hostIPC": True}),
    "hostNetwork": UnmanagedCase(f"{POD}.hostNetwork: true", pod={"hostNetwork": True}),
    "shared processes": UnmanagedCase(
        f"{POD}.shareProcessNamespace: true", pod={"shareProcessNamespace": True}
    ),
    "priority class": UnmanagedCase(
        f"{POD}.priorityClassName: high", pod={"priorityClassName": "high"}
    ),
    "scheduler": UnmanagedCase(f"{POD}.schedulerName: volcano", pod={"schedulerName": "volcano"}),
    "one request of a resource claim": UnmanagedCase(
        f"{SERVER}.resources.claims:",
        pod={"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"}]},
        container={
            "resources": {
                "claims": [{"name": "gpu", "request": "first"}],
                "limits": {"memory": "1Gi"},
            }
        },
    ),
    "resource claim of a sidecar": UnmanagedCase(
        f"{POD}.resourceClaims:",
        pod={"resourceClaims": [{"name": "nic", "resourceClaimTemplateName": "nics"}]},
        sidecars=({"name": "proxy", "image": "p", "resources": {"claims": [{"name": "nic"}]}},),
    ),
    "ephemeral storage": UnmanagedCase(
        f"{SERVER}.resources.limits.ephemeral-storage: 50Gi",
        container={"resources": {"limits": {"ephemeral-storage": "50Gi", "memory": "1Gi"}}},
    ),
    "huge pages": UnmanagedCase(
        f"{SERVER}.resources.limits.hugepages-2Mi: 1Gi",
        container={"resources": {"limits": {"hugepages-2Mi": "1Gi", "memory": "1Gi"}}},
    ),
    "network device": UnmanagedCase(
        f"{SERVER}.resources.limits.rdma/ib: '1'",
        container={"resources": {"limits": {"rdma/ib": "1", "memory": "1Gi"}}},
    ),
    "annotation": UnmanagedCase("metadata.annotations:", annotations={"team": "search"}),
    "annotation of the Pods": UnmanagedCase("prometheus.io/scrape: 'true'"),
    "pull policy": UnmanagedCase(
        f"{SERVER}.imagePullPolicy: Always", container={"imagePullPolicy": "Always"}
    ),
    "pull policy of an image without a tag": UnmanagedCase(
        f"{SERVER}.imagePullPolicy: IfNotPresent",
        container={"image": "vllm/vllm-openai", "imagePullPolicy": "IfNotPresent"},
    ),
    "grace period": UnmanagedCase(
        f"{POD}.terminationGracePeriodSeconds: 600", pod={"terminationGracePeriodSeconds": 600}
    ),
    "TCP probe": UnmanagedCase(
        f"{SERVER}.readinessProbe.tcpSocket:", container={"readinessProbe": _PROBE_CONNECTION}
    ),
    "HTTPS probe": UnmanagedCase(
        f"{SERVER}.readinessProbe.httpGet.scheme: HTTPS",
        container={
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTPS"}}
        },
    ),
    "startup probe": UnmanagedCase(
        f"{SERVER}.startupProbe", container={"startupProbe": _PROBE_CONNECTION}
    ),
    "HTTPS startup probe": UnmanagedCase(
        f"{SERVER}.startupProbe.httpGet.scheme: HTTPS",
        container={
            "startupProbe": {"httpGet": {"path": "/startup", "port": 8000, "scheme": "HTTPS"}}
        },
    ),
    "further port": UnmanagedCase(
        f"{SERVER}.ports[9090]:",
        container={"ports": [{"containerPort": 8000}, {"containerPort": 9090, "name": "metrics"}]},
    ),
    "working directory": UnmanagedCase(
        f"{SERVER}.workingDir: /models", container={"workingDir": "/models"}
    ),
    "DNS": UnmanagedCase(f"{POD}.dnsConfig:", pod={"dnsConfig": {"searches": ["corp"]}}),
    "host aliases": UnmanagedCase(
        f"{POD}.hostAliases:", pod={"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub"]}]}
    ),
    "token of the service account": UnmanagedCase(
        f"{POD}.automountServiceAccountToken: false", pod={"automountServiceAccountToken": False}
    ),
    "progress deadline": UnmanagedCase(
        "spec.progressDeadlineSeconds: 7200", spec={"progressDeadlineSeconds": 7200}
    ),
    "minimum time of a ready Pod": UnmanagedCase(
        "spec.minReadySeconds: 30", spec={"minReadySeconds": 30}
    ),
    "history limit": UnmanagedCase(
        "spec.revisionHistoryLimit: 2", spec={"revisionHistoryLimit": 2}
    ),
}


def make_deployment(case: UnmanagedCase, name: str = "llm") -> Json:
    """A Deployment of vLLM with the fields of the case."""
    labels = {"app": name}
    server: Json = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.9.2",
        "args": ["org/m", "--port=8000"],
        "ports": [{"containerPort": 8000}],
        **copy.deepcopy(case.container),
    }
    containers = [*copy.deepcopy(case.sidecars), server]
    annotations = {"prometheus.io/scrape": "true"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": dict(case.annotations)},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": containers, **copy.deepcopy(case.pod)},
            },
            **copy.deepcopy(case.spec),
        },
    }
