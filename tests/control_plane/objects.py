"""Objects that tests put on the control plane: nodes, servings, routes, and Pod statuses in each of
the ways in which a Pod fails, in the words of the component that writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

SERVING_LABEL = "servedeck.dev/serving"
TEMPLATE_LABEL = "servedeck.dev/template"
KWOK_ANNOTATION = "kwok.x-k8s.io/node"
HOLD = "tests.servedeck.dev/hold"
"""Annotation of Pods that kwok leaves alone after they were scheduled: tests write their status."""


def stamp(seconds_ago: float = 0) -> str:
    """A time as the API writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- kwok: a Pod that is not held becomes ready, a deleted one ends -------------------------------

_RUNNING = """
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


KWOK_OPTIONS: Json = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {"podPlayStageParallelism": 16},
}
"""Four Pods at a time, the default, take minutes for 5,000 of them on a busy machine."""


def _stage(name: str, matches: list[Json], then: Json) -> Json:
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
    _stage(
        "pod-ready",
        [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": ".status.podIP", "operator": "DoesNotExist"},
            {"key": f'.metadata.annotations["{HOLD}"]', "operator": "DoesNotExist"},
        ],
        {"statusTemplate": _RUNNING},
    ),
    _stage(
        "pod-delete",
        [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}],
        {"finalizers": {"empty": True}, "delete": True},
    ),
)


# -- nodes and servings ---------------------------------------------------------------------------


def node(name: str, accelerator: str = "nvidia.com/gpu", *, managed: bool = True) -> Json:
    """A node with 8 accelerators; with `managed=False` kwok does not play it."""
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
    pod_spec: Json | None = None,
    **spec: Any,
) -> Json:
    """A serving's Deployment. `hold` keeps kwok from making its Pods ready; `managed=False` leaves
    servedeck's labels out; `pod_spec` and `spec` go over the Pods' and the Deployment's spec."""
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
    pod: Json = {"containers": [container], "terminationGracePeriodSeconds": 1}
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
                "metadata": {"labels": labels, "annotations": {HOLD: "true"} if hold else {}},
                "spec": pod,
            },
        }
        | spec,
    }


def service(name: str, *, port: int = 80) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "selector": {SERVING_LABEL: name},
            "ports": [{"name": "http", "port": port, "targetPort": 8000}],
        },
    }


def http_route(namespace: str, name: str, host: str = "ai.example.com") -> Json:
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


def virtual_service(namespace: str, name: str, host: str = "ai.example.com") -> Json:
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


def ingress(namespace: str, name: str, host: str = "ai.example.com") -> Json:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": f"/{namespace}/{name}", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def scaled_object(name: str, low: int = 1, high: int = 10) -> Json:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": low,
            "maxReplicaCount": high,
            "triggers": [{"type": "prometheus", "metadata": {"query": "p95"}}],
        },
    }


# -- custom resources: published group, version and kind, and the fields that servedeck uses ------


def _strings() -> Json:
    return {"type": "array", "items": {"type": "string"}}


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list(**properties: Json) -> Json:
    return {"type": "array", "items": _object(**properties)}


_STRING: Json = {"type": "string"}
_NUMBER: Json = {"type": "integer"}
_CONDITIONS = _list(type=_STRING, status=_STRING, reason=_STRING, message=_STRING)


def _definition(group: str, version: str, kind: str, spec: Json, status: Json) -> Json:
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
                    "schema": {"openAPIV3Schema": _object(spec=spec, status=status)},
                }
            ],
        },
    }


DEFINITIONS = (
    _definition(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        _object(
            hostnames=_strings(),
            parentRefs=_list(name=_STRING, namespace=_STRING),
            rules=_list(
                matches=_list(path=_object(type=_STRING, value=_STRING)),
                backendRefs=_list(name=_STRING, namespace=_STRING, port=_NUMBER),
            ),
        ),
        _object(parents=_list(conditions=_CONDITIONS)),
    ),
    _definition(
        "networking.istio.io",
        "v1",
        "VirtualService",
        _object(
            hosts=_strings(),
            gateways=_strings(),
            http=_list(
                match=_list(uri=_object(exact=_STRING, prefix=_STRING, regex=_STRING)),
                route=_list(
                    destination=_object(host=_STRING, port=_object(number=_NUMBER)),
                ),
            ),
        ),
        _object(),
    ),
    _definition(
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        _object(
            scaleTargetRef=_object(kind=_STRING, name=_STRING),
            minReplicaCount=_NUMBER,
            maxReplicaCount=_NUMBER,
            triggers=_list(type=_STRING),
        ),
        _object(conditions=_CONDITIONS),
    ),
)


# -- Pod statuses --------------------------------------------------------------------------------


def conditions(ready: bool, *, initialized: bool = True) -> list[Json]:
    states = {"Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": name, "status": str(value), "lastTransitionTime": stamp()}
        for name, value in states.items()
    ]


def container(
    state: Json,
    *,
    ready: bool = False,
    restarts: int = 0,
    last: Json | None = None,
    name: str = "inference-server",
    started: bool | None = None,
) -> Json:
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


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated(code: int, reason: str = "Error", message: str = "", ago: float = 20) -> Json:
    body = {
        "exitCode": code,
        "reason": reason,
        "startedAt": stamp(ago + 30),
        "finishedAt": stamp(ago),
        "containerID": "containerd://previous",
    }
    return {"terminated": body | ({"message": message} if message else {})}


def running(ago: float = 0) -> Json:
    return {"running": {"startedAt": stamp(ago)}}


def status(phase: str, *containers: Json, ready: bool = False, init: Json | None = None) -> Json:
    """A status of a Pod that its node has taken up; with `init` still initialising."""
    body: Json = {
        "phase": phase,
        "conditions": conditions(ready, initialized=init is None),
        "containerStatuses": list(containers),
        "startTime": stamp(60),
    }
    if init is not None:
        body["initContainerStatuses"] = [init]
    return body


BACK_OFF = "back-off 5m0s restarting failed container=inference-server"
CREATING = "PodInitializing"


def serving_status() -> Json:
    return status("Running", container(running(), ready=True), ready=True)


def loading() -> Json:
    """Running, the model is still being loaded."""
    return status("Running", container(running(5), started=False))


def crash_loop_oom() -> Json:
    last = terminated(137, "OOMKilled")
    state = waiting("CrashLoopBackOff", BACK_OFF)
    return status("Running", container(state, restarts=4, last=last))


def crash_loop(code: int = 1, message: str = "") -> Json:
    last = terminated(code, "Error", message)
    state = waiting("CrashLoopBackOff", BACK_OFF)
    return status("Running", container(state, restarts=7, last=last))


def oom_killed() -> Json:
    return status("Running", container(terminated(137, "OOMKilled", ago=1), restarts=1))


def image_pull(reason: str = "ImagePullBackOff") -> Json:
    message = {
        "ErrImagePull": "failed to pull and unpack image: not found",
        "ImagePullBackOff": 'Back-off pulling image "vllm/vllm-openai:nope"',
        "InvalidImageName": 'Failed to apply default image tag "VLLM:": invalid reference format',
    }[reason]
    return status("Pending", container(waiting(reason, message)))


def config_error() -> Json:
    message = 'secret "hf-token" not found'
    return status("Pending", container(waiting("CreateContainerConfigError", message)))


def run_error() -> Json:
    message = "failed to create containerd task: exec: vllm: executable file not found in $PATH"
    last = terminated(128, "StartError", message)
    state = waiting("RunContainerError", message)
    return status("Running", container(state, restarts=2, last=last))


def init_error() -> Json:
    last = terminated(1, "Error")
    state = waiting("CrashLoopBackOff", "back-off 40s restarting failed container=download")
    init = container(state, name="download", restarts=3, last=last)
    return status("Pending", container(waiting(CREATING)), init=init)


def init_failed() -> Json:
    init = container(terminated(2, "Error"), name="download")
    return status("Pending", container(waiting(CREATING)), init=init)


def evicted() -> Json:
    message = "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi."
    return {"phase": "Failed", "reason": "Evicted", "message": message, "startTime": stamp(90)}


def admission_error() -> Json:
    message = (
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected"
    )
    return {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": message,
        "startTime": stamp(90),
    }


def creating() -> Json:
    return status("Pending", container(waiting("ContainerCreating")))


def event(pod: Json, reason: str, message: str, *, type: str = "Warning", count: int = 1) -> Json:
    """An Event about a Pod or another object, as the kubelet and the controllers write them."""
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
        "firstTimestamp": stamp(30),
        "lastTimestamp": stamp(),
        "source": {"component": "kubelet"},
        "reportingComponent": "kubelet",
    }
