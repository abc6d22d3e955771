"""The Kubernetes objects of a serving: Deployment, Service and, where there is a host, the route.

`build` writes only fields that servedeck means to own: what it does not write is left alone by
server-side apply.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.objects import routes
from servedeck.serving.objects.records import (
    DESCRIPTION_ANNOTATION,
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    MANAGER,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.names import label_problem
from servedeck.serving.spec.spec import (
    MODEL_CACHE,
    MODEL_CACHE_PATH,
    PREDICTOR_ENV,
    SHARED_MEMORY,
    SHARED_MEMORY_PATH,
    SYSTEM_ENV,
    EnvVar,
    ServingSpec,
    Transformer,
)

Object = dict[str, Any]

HTTP_PORT = "http"
TRANSFORMER_PORT = "transformer"
SERVICE_PORT = 80
STARTUP_PERIOD = 10
STARTUP_FAILURES = 180
"""30 minutes to load the model, as big ones need; only then the liveness probe begins."""
PROGRESS_DEADLINE = 3600
"""The start-up and a long image pull; the Deployment's own default of 10 minutes would call a
model that is still loading failed."""
_PAIR = re.compile(r"\\\\|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})")
"""An escaped backslash, or the two escapes of one character."""
_TRANSFORMER_REQUESTS = {"cpu": "100m", "memory": "256Mi"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What cannot be chosen anew for a Deployment that exists: taken over from it."""

    container: str = INFERENCE_CONTAINER
    selector: Mapping[str, str] | None = None
    """The immutable selector; None for ours."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations of others; the list has no keys, so whoever applies it must repeat them."""


@dataclass(frozen=True, slots=True)
class SystemVolume:
    """A volume that every serving has and no form changes."""

    name: str
    mount_path: str
    source: str
    """What it is, in words."""
    volume: Object = field(hash=False)


def build(
    spec: ServingSpec, platform: Platform | None = None, shape: Shape | None = None
) -> list[Object]:
    """Objects of a serving, in the order to apply them. Each has its namespace where the spec
    names a project. The route is left out where the platform names no host."""
    platform, shape = platform or Platform(), shape or Shape()
    labels = labels_of(spec)
    built = [deployment(spec, platform, shape), service(spec, shape)]
    if route := routes.build(spec.name, spec.project, labels, platform, SERVICE_PORT):
        built.append(route)
    return built


def encode(manifest: Mapping[str, Any]) -> bytes:
    """Body for server-side apply: JSON that the API server can read as YAML, which it does.

    YAML's parser refuses JSON's two-part escapes of characters outside the basic plane, and raw
    control characters: the former are written raw, the latter escaped."""

    def raw(match: re.Match[str]) -> str:
        return str(json.loads(f'"{match[0]}"')) if match[1] else match[0]

    return _PAIR.sub(raw, json.dumps(manifest, separators=(",", ":"))).encode()


def labels_of(spec: ServingSpec) -> dict[str, str]:
    return {
        SERVING_LABEL: spec.name,
        TEMPLATE_LABEL: spec.template,
        MANAGED_BY_LABEL: MANAGER,
    }


def selector_of(spec: ServingSpec, shape: Shape) -> dict[str, str]:
    """The name alone: a selector cannot change, the template may."""
    return {SERVING_LABEL: spec.name} if shape.selector is None else dict(shape.selector)


def deployment(spec: ServingSpec, platform: Platform, shape: Shape) -> Object:
    selector = selector_of(spec, shape)
    containers = [_inference_server(spec, shape)]
    if spec.transformer is not None:
        containers.append(_transformer(spec, spec.transformer))
    pod: Object = {
        # A Service named vllm would otherwise set VLLM_PORT=tcp://..., which vLLM refuses.
        "enableServiceLinks": False,
        "containers": containers,
        "volumes": _volumes(spec, platform),
    }
    if tolerations := _tolerations(spec, shape):
        pod["tolerations"] = tolerations
    body: Object = {
        "replicas": spec.replicas,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": {**selector, **labels_of(spec)}}, "spec": pod},
    }
    if _startup_path(spec):
        body["progressDeadlineSeconds"] = PROGRESS_DEADLINE
    metadata = _metadata(spec)
    if spec.description:
        metadata["annotations"] = {DESCRIPTION_ANNOTATION: spec.description}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def service(spec: ServingSpec, shape: Shape) -> Object:
    target = HTTP_PORT if spec.transformer is None else TRANSFORMER_PORT
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(spec),
        "spec": {
            "selector": selector_of(spec, shape),
            "ports": [
                {"name": "http", "port": SERVICE_PORT, "targetPort": target, "protocol": "TCP"}
            ],
        },
    }


def system_volumes(spec: ServingSpec, platform: Platform) -> tuple[SystemVolume, SystemVolume]:
    """The model cache and the shared memory, as shown read-only in every form."""
    claim = platform.model_cache
    cache: Object = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    shared = str(spec.shared_memory)
    return (
        SystemVolume(
            MODEL_CACHE,
            MODEL_CACHE_PATH,
            f"PVC {claim}" if claim else "empty directory of the node, lost with the Pod",
            {"name": MODEL_CACHE, **cache},
        ),
        SystemVolume(
            SHARED_MEMORY,
            SHARED_MEMORY_PATH,
            f"memory, at most {shared}, counted against Memory",
            {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": shared}},
        ),
    )


def volume_name(claim: str) -> str:
    """Name of the Pod's volume for a claim: stable, so that another row does not restart Pods. A
    claim's name may be longer than a volume's, hold dots, or be a system volume's."""
    if claim not in (MODEL_CACHE, SHARED_MEMORY) and not label_problem(claim):
        return claim
    return "claim-" + hashlib.sha256(claim.encode()).hexdigest()[:16]


def _metadata(spec: ServingSpec) -> Object:
    metadata: Object = {"name": spec.name}
    if spec.project:
        metadata["namespace"] = spec.project
    metadata["labels"] = labels_of(spec)
    return metadata


def _inference_server(spec: ServingSpec, shape: Shape) -> Object:
    container: Object = {"name": shape.container, "image": spec.image}
    if command := spec.command or spec.server.command:
        container["command"] = list(command)
    if args := spec.server.args(spec):
        container["args"] = args
    container["ports"] = [_port(HTTP_PORT, spec.inference_port)]
    named = {one.name for one in spec.env}
    system = [EnvVar(name=n, value=v) for n, v in SYSTEM_ENV.items() if n not in named]
    container["env"] = [_variable(one) for one in (*system, *spec.env)]
    container["resources"] = _inference_resources(spec)
    container["volumeMounts"] = [
        {"name": MODEL_CACHE, "mountPath": MODEL_CACHE_PATH},
        {"name": SHARED_MEMORY, "mountPath": SHARED_MEMORY_PATH},
        *(
            {
                "name": volume_name(volume.claim),
                "mountPath": volume.mount_path,
                "readOnly": volume.read_only,
            }
            for volume in spec.volumes
        ),
    ]
    if path := _startup_path(spec):
        container["startupProbe"] = _probe(path, STARTUP_PERIOD, STARTUP_FAILURES)
    if spec.readiness:
        container["readinessProbe"] = _probe(spec.readiness, 5, 3)
    if spec.liveness:
        container["livenessProbe"] = _probe(spec.liveness, 10, 6)
    if spec.server.security_context:
        container["securityContext"] = dict(spec.server.security_context)
    # A crash's last lines then stand in the Pod's status, where they outlive the log.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return container


def _inference_resources(spec: ServingSpec) -> Object:
    """Memory and accelerators as request and limit; CPU as request alone, because a limit would
    throttle token generation and the long start."""
    fixed = {"memory": str(spec.memory)}
    if spec.accelerator:
        fixed[spec.accelerator] = str(spec.accelerator_count)
    return {"requests": {"cpu": str(spec.cpu), **fixed}, "limits": fixed}


def _startup_path(spec: ServingSpec) -> str:
    return spec.liveness or spec.readiness


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _transformer(spec: ServingSpec, transformer: Transformer) -> Object:
    container: Object = {"name": TRANSFORMER_CONTAINER, "image": transformer.image}
    if transformer.command:
        container["command"] = list(transformer.command)
    container["ports"] = [_port(TRANSFORMER_PORT, transformer.port)]
    address = EnvVar(name=PREDICTOR_ENV, value=predictor_url(spec))
    container["env"] = [_variable(one) for one in (address, *transformer.env)]
    container["resources"] = {"requests": dict(_TRANSFORMER_REQUESTS)}
    container["readinessProbe"] = {
        "tcpSocket": {"port": TRANSFORMER_PORT},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    return container


def predictor_url(spec: ServingSpec) -> str:
    return f"http://127.0.0.1:{spec.inference_port}"


def _port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _variable(one: EnvVar) -> Object:
    if one.secret is not None:
        ref = {"secretKeyRef": {"name": one.secret.name, "key": one.secret.key}}
        return {"name": one.name, "valueFrom": ref}
    if one.config_map is not None:
        ref = {"configMapKeyRef": {"name": one.config_map.name, "key": one.config_map.key}}
        return {"name": one.name, "valueFrom": ref}
    return {"name": one.name, "value": one.value}


def _volumes(spec: ServingSpec, platform: Platform) -> list[Object]:
    claims = dict.fromkeys(volume.claim for volume in spec.volumes)
    return [
        *(system.volume for system in system_volumes(spec, platform)),
        *(
            {"name": volume_name(claim), "persistentVolumeClaim": {"claimName": claim}}
            for claim in claims
        ),
    ]


def _tolerations(spec: ServingSpec, shape: Shape) -> list[Object]:
    """Nodes with accelerators are often tainted with the resource's key, and few clusters add the
    toleration by themselves (the admission plugin ExtendedResourceToleration)."""
    own = [own_toleration(spec.accelerator)] if spec.accelerator else []
    return [*own, *(dict(one) for one in shape.tolerations if dict(one) not in own)]


def own_toleration(accelerator: str) -> Object:
    key = "nvidia.com/gpu" if accelerator.startswith("nvidia.com/") else accelerator
    return {"key": key, "operator": "Exists", "effect": "NoSchedule"}
