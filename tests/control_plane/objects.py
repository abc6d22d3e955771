"""Objects that tests create on the control plane: nodes, servings, routes, and Pod statuses for
each failure mode, with the messages of the component that writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

JsonObject = dict[str, Any]

SERVING_LABEL = "servedeck.dev/serving"
TEMPLATE_LABEL = "servedeck.dev/template"
KWOK_ANNOTATION = "kwok.x-k8s.io/node"
HOLD_ANNOTATION = "tests.servedeck.dev/hold"
"""Annotation of Pods that kwok does not manage after scheduling: tests write their status."""


def timestamp(seconds_ago: float = 0) -> str:
    """A time in the API's format."""
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- kwok: a Pod that is not held becomes ready, a deleted one ends -------------------------------

_RUNNING_STATUS_TEMPLATE = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
"""


KWOK_OPTIONS: JsonObject = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {"podPlayStageParallelism": 16},
}
"""With the default of four Pods at a time, 5,000 Pods take minutes on a busy machine."""


def _make_stage(name: str, matches: list[JsonObject], then: JsonObject) -> JsonObject:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": matches},
            "next": then,
        },
    }


POD_STAGES = (
    _make_stage(
        "pod-ready",
        [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": ".status.podIP", "operator": "DoesNotExist"},
            {"key": f'.metadata.annotations["{HOLD_ANNOTATION}"]', "operator": "DoesNotExist"},
        ],
        {"statusTemplate": _RUNNING_STATUS_TEMPLATE},
    ),
    _make_stage(
        "pod-delete",
        [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}],
        {"finalizers": {"empty": True}, "delete": True},
    ),
)


# -- nodes and servings ---------------------------------------------------------------------------


def node(name: str, accelerator: str = "nvidia.com/gpu", *, managed: bool = True) -> JsonObject:
    """A node with 8 accelerators; with `managed=False` kwok does not simulate it."""
    room = {"cpu": "256", "memory": "2Ti", "pods": "250"}
    if accelerator:
        room[accelerator] = "8"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
            "annotations": {KWOK_ANNOTATION: "fake"} if managed else {},
        },
        "status": {"capacity": room, "allocatable": room},
    }


def deployment(
    name: str,
    *,
    replicas: int = 1,
    hold: bool = False,
    managed: bool = True,
    accelerator: str = "",
    count: int = 1,
    image: str = "vllm/vllm-openai:v0.10.0",
    init: bool = False,
    pod_spec: JsonObject | None = None,
    **spec: Any,
) -> JsonObject:
    """A serving's Deployment. `hold` keeps kwok from making its Pods ready; `managed=False` omits
    servedeck's labels; `pod_spec` and `spec` override fields of the Pods' and the Deployment's
    spec."""
    labels = {"app": name}
    if managed:
        labels |= {
            SERVING_LABEL: name,
            TEMPLATE_LABEL: "vllm",
            "app.kubernetes.io/managed-by": "servedeck",
        }
    requests: dict[str, str] = {"cpu": "10m", "memory": "16Mi"}
    limits = {accelerator: str(count)} if accelerator else {}
    container = {
        "name": "inference-server",
        "image": image,
        "args": ["--model", "meta-llama/Llama-3.1-8B-Instruct", "--port", "8000"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": requests | limits, "limits": limits},
    }
    pod: JsonObject = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if init:
        pod["initContainers"] = [{"name": "download", "image": "curlimages/curl:8.10.1"}]
    pod |= pod_spec or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {HOLD_ANNOTATION: "true"} if hold else {},
                },
                "spec": pod,
            },
        }
        | spec,
    }


def service(name: str, *, port: int = 80) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "selector": {SERVING_LABEL: name},
            "ports": [{"name": "http", "port": port, "targetPort": 8000}],
        },
    }


def http_route(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "hostnames": [host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": f"/{namespace}/{name}"}}],
                    "backendRefs": [{"name": name, "port": 80}],
                }
            ],
        },
    }


def virtual_service(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "hosts": [host],
            "gateways": ["istio-system/public"],
            "http": [
                {
                    "match": [{"uri": {"prefix": f"/{namespace}/{name}/"}}],
                    "route": [{"destination": {"host": name, "port": {"number": 80}}}],
                }
            ],
        },
    }


def ingress(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": f"/{namespace}/{name}", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def scaled_object(name: str, min_replicas: int = 1, max_replicas: int = 10) -> JsonObject:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": min_replicas,
            "maxReplicaCount": max_replicas,
            "triggers": [{"type": "prometheus", "metadata": {"query": "p95"}}],
        },
    }


# -- custom resources: published group, version and kind, and the fields that servedeck uses ------


def _string_properties() -> JsonObject:
    return {"type": "array", "items": {"type": "string"}}


def _object_schema(**properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list_schema(**properties: JsonObject) -> JsonObject:
    return {"type": "array", "items": _object_schema(**properties)}


_STRING_SCHEMA: JsonObject = {"type": "string"}
_INTEGER_SCHEMA: JsonObject = {"type": "integer"}
_CONDITIONS_SCHEMA = _list_schema(
    type=_STRING_SCHEMA, status=_STRING_SCHEMA, reason=_STRING_SCHEMA, message=_STRING_SCHEMA
)


def _make_crd(
    group: str, version: str, kind: str, spec: JsonObject, status: JsonObject
) -> JsonObject:
    plural = f"{kind.lower()}s"
    annotations = {}
    if group.endswith(".k8s.io"):
        annotations["api-approved.kubernetes.io"] = "unapproved, a stand-in for tests"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": _object_schema(spec=spec, status=status)},
                }
            ],
        },
    }


CUSTOM_RESOURCE_DEFINITIONS = (
    _make_crd(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        _object_schema(
            hostnames=_string_properties(),
            parentRefs=_list_schema(name=_STRING_SCHEMA, namespace=_STRING_SCHEMA),
            rules=_list_schema(
                matches=_list_schema(
                    path=_object_schema(type=_STRING_SCHEMA, value=_STRING_SCHEMA)
                ),
                backendRefs=_list_schema(
                    name=_STRING_SCHEMA, namespace=_STRING_SCHEMA, port=_INTEGER_SCHEMA
                ),
            ),
        ),
        _object_schema(parents=_list_schema(conditions=_CONDITIONS_SCHEMA)),
    ),
    _make_crd(
        "networking.istio.io",
        "v1",
        "VirtualService",
        _object_schema(
            hosts=_string_properties(),
            gateways=_string_properties(),
            http=_list_schema(
                match=_list_schema(
                    uri=_object_schema(
                        exact=_STRING_SCHEMA, prefix=_STRING_SCHEMA, regex=_STRING_SCHEMA
                    )
                ),
                route=_list_schema(
                    destination=_object_schema(
                        host=_STRING_SCHEMA, port=_object_schema(number=_INTEGER_SCHEMA)
                    ),
                ),
            ),
        ),
        _object_schema(),
    ),
    _make_crd(
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        _object_schema(
            scaleTargetRef=_object_schema(kind=_STRING_SCHEMA, name=_STRING_SCHEMA),
            minReplicaCount=_INTEGER_SCHEMA,
            maxReplicaCount=_INTEGER_SCHEMA,
            triggers=_list_schema(type=_STRING_SCHEMA),
        ),
        _object_schema(conditions=_CONDITIONS_SCHEMA),
    ),
)


# -- Pod statuses --------------------------------------------------------------------------------


def conditions(ready: bool, *, initialized: bool = True) -> list[JsonObject]:
    states = {"Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": name, "status": str(value), "lastTransitionTime": timestamp()}
        for name, value in states.items()
    ]


def container_status(
    state: JsonObject,
    *,
    ready: bool = False,
    restarts: int = 0,
    last: JsonObject | None = None,
    name: str = "inference-server",
    started: bool | None = None,
) -> JsonObject:
    result = {
        "name": name,
        "image": "vllm/vllm-openai:v0.10.0",
        "imageID": "",
        "ready": ready,
        "started": ready if started is None else started,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }
    if restarts or "running" in state:
        result["containerID"] = f"containerd://{name}-{restarts}"
    return result


def waiting_state(reason: str, message: str = "") -> JsonObject:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated_state(
    code: int, reason: str = "Error", message: str = "", ago: float = 20
) -> JsonObject:
    body = {
        "exitCode": code,
        "reason": reason,
        "startedAt": timestamp(ago + 30),
        "finishedAt": timestamp(ago),
        "containerID": "containerd://previous",
    }
    return {"terminated": body | ({"message": message} if message else {})}


def running_state(ago: float = 0) -> JsonObject:
    return {"running": {"startedAt": timestamp(ago)}}


def pod_status(
    phase: str, *containers: JsonObject, ready: bool = False, init: JsonObject | None = None
) -> JsonObject:
    """Status of a Pod that its node has accepted; with `init`, still initializing."""
    body: JsonObject = {
        "phase": phase,
        "conditions": conditions(ready, initialized=init is None),
        "containerStatuses": list(containers),
        "startTime": timestamp(60),
    }
    if init is not None:
        body["initContainerStatuses"] = [init]
    return body


BACK_OFF_MESSAGE = "back-off 5m0s restarting failed container=inference-server"
POD_INITIALIZING = "PodInitializing"


def ready_status() -> JsonObject:
    return pod_status("Running", container_status(running_state(), ready=True), ready=True)


def model_loading() -> JsonObject:
    """Running, with the model still loading."""
    return pod_status("Running", container_status(running_state(5), started=False))


def crash_loop_oom() -> JsonObject:
    last = terminated_state(137, "OOMKilled")
    state = waiting_state("CrashLoopBackOff", BACK_OFF_MESSAGE)
    return pod_status("Running", container_status(state, restarts=4, last=last))


def crash_loop(code: int = 1, message: str = "") -> JsonObject:
    last = terminated_state(code, "Error", message)
    state = waiting_state("CrashLoopBackOff", BACK_OFF_MESSAGE)
    return pod_status("Running", container_status(state, restarts=7, last=last))


def oom_killed() -> JsonObject:
    return pod_status(
        "Running", container_status(terminated_state(137, "OOMKilled", ago=1), restarts=1)
    )


def image_pull_error(reason: str = "ImagePullBackOff") -> JsonObject:
    message = {
        "ErrImagePull": "failed to pull and unpack image: not found",
        "ImagePullBackOff": 'Back-off pulling image "vllm/vllm-openai:nope"',
        "InvalidImageName": 'Failed to apply default image tag "VLLM:": invalid reference format',
    }[reason]
    return pod_status("Pending", container_status(waiting_state(reason, message)))


def config_error() -> JsonObject:
    message = 'secret "hf-token" not found'
    return pod_status(
        "Pending", container_status(waiting_state("CreateContainerConfigError", message))
    )


def run_error() -> JsonObject:
    message = "failed to create containerd task: exec: vllm: executable file not found in $PATH"
    last = terminated_state(128, "StartError", message)
    state = waiting_state("RunContainerError", message)
    return pod_status("Running", container_status(state, restarts=2, last=last))


def init_error() -> JsonObject:
    last = terminated_state(1, "Error")
    state = waiting_state("CrashLoopBackOff", "back-off 40s restarting failed container=download")
    init = container_status(state, name="download", restarts=3, last=last)
    return pod_status("Pending", container_status(waiting_state(POD_INITIALIZING)), init=init)


def init_failed() -> JsonObject:
    init = container_status(terminated_state(2, "Error"), name="download")
    return pod_status("Pending", container_status(waiting_state(POD_INITIALIZING)), init=init)


def evicted() -> JsonObject:
    message = "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi."
    return {"phase": "Failed", "reason": "Evicted", "message": message, "startTime": timestamp(90)}


def admission_error() -> JsonObject:
    message = (
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected"
    )
    return {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": message,
        "startTime": timestamp(90),
    }


def container_creating() -> JsonObject:
    return pod_status("Pending", container_status(waiting_state("ContainerCreating")))


def event(
    pod: JsonObject, reason: str, message: str, *, type: str = "Warning", count: int = 1
) -> JsonObject:
    """An Event about a Pod or another object, as written by the kubelet and the controllers."""
    meta = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}."},
        "involvedObject": {
            "apiVersion": pod.get("apiVersion", "v1"),
            "kind": pod.get("kind", "Pod"),
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": type,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": timestamp(30),
        "lastTimestamp": timestamp(),
        "source": {"component": "kubelet"},
        "reportingComponent": "kubelet",
    }
