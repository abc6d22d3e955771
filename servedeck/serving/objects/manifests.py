"""The Kubernetes objects of a serving: Deployment, Service and, if there is a host, the route.

`build` writes only the fields that servedeck manages: server-side apply does not change the others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.objects import routes
from servedeck.serving.objects.records import (
    DESCRIPTION_ANNOTATION,
    FIELD_MANAGER,
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.names import validate_label
from servedeck.serving.spec.spec import (
    MODEL_CACHE_PATH,
    MODEL_CACHE_VOLUME,
    PREDICTOR_URL_ENV,
    SHARED_MEMORY_PATH,
    SHARED_MEMORY_VOLUME,
    SYSTEM_ENV,
    ServingSpec,
)
from servedeck.serving.spec.types import EnvVar, Transformer

JsonObject = dict[str, Any]

HTTP_PORT_NAME = "http"
TRANSFORMER_PORT_NAME = "transformer"
SERVICE_PORT = 80
STARTUP_PERIOD_SECONDS = 10
STARTUP_FAILURE_THRESHOLD = 180
"""30 minutes to load the model, for large ones; the liveness probe starts after that."""
PROGRESS_DEADLINE_SECONDS = 3600
"""Startup and a long image pull; with the Deployment's default of 10 minutes the rollout of a model
that is still loading would fail."""
_SURROGATE_PAIR_PATTERN = re.compile(r"\\\\|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})")
"""An escaped backslash, or the surrogate pair of one character."""
_TRANSFORMER_REQUESTS = {"cpu": "100m", "memory": "256Mi"}


@dataclass(frozen=True, slots=True)
class ImmutableFields:
    """Fields that cannot change in an existing Deployment: copied from it."""

    container_name: str = INFERENCE_CONTAINER
    selector: Mapping[str, str] | None = None
    """The immutable selector; None for the default."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations set by others; the list is atomic, so every apply must repeat them."""


@dataclass(frozen=True, slots=True)
class SystemVolume:
    """A volume of every serving that the form cannot change."""

    name: str
    mount_path: str
    description: str
    """What it is, in words."""
    volume: JsonObject = field(hash=False)


def build_manifests(
    spec: ServingSpec,
    platform: Platform | None = None,
    immutable_fields: ImmutableFields | None = None,
) -> list[JsonObject]:
    """Objects of a serving, in the order to apply them. Each has a namespace if the spec has one.
    The route is omitted if the platform has no host."""
    platform, immutable_fields = platform or Platform(), immutable_fields or ImmutableFields()
    labels = serving_labels(spec)
    built = [
        build_deployment(spec, platform, immutable_fields),
        build_service(spec, immutable_fields),
    ]
    if route := routes.build_route(spec.name, spec.namespace, labels, platform, SERVICE_PORT):
        built.append(route)
    return built


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Body for server-side apply: JSON that is also valid YAML, as the API server parses it. YAML's
    parser rejects surrogate pair escapes (characters outside the BMP) and raw control characters:
    the former are written raw, the latter escaped."""

    def unescape(match: re.Match[str]) -> str:
        return str(json.loads(f'"{match[0]}"')) if match[1] else match[0]

    return _SURROGATE_PAIR_PATTERN.sub(
        unescape, json.dumps(manifest, separators=(",", ":"))
    ).encode()


def serving_labels(spec: ServingSpec) -> dict[str, str]:
    return {
        SERVING_LABEL: spec.name,
        TEMPLATE_LABEL: spec.template,
        MANAGED_BY_LABEL: FIELD_MANAGER,
    }


def pod_selector(spec: ServingSpec, immutable_fields: ImmutableFields) -> dict[str, str]:
    """Only the name: a selector is immutable, the template may change."""
    return (
        {SERVING_LABEL: spec.name}
        if immutable_fields.selector is None
        else dict(immutable_fields.selector)
    )


def build_deployment(
    spec: ServingSpec, platform: Platform, immutable_fields: ImmutableFields
) -> JsonObject:
    selector = pod_selector(spec, immutable_fields)
    containers = [_build_inference_container(spec, immutable_fields)]
    if spec.transformer is not None:
        containers.append(_build_transformer_container(spec, spec.transformer))
    pod: JsonObject = {
        # A Service named vllm would otherwise set VLLM_PORT=tcp://..., which vLLM rejects.
        "enableServiceLinks": False,
        "containers": containers,
        "volumes": _build_volumes(spec, platform),
    }
    if tolerations := _build_tolerations(spec, immutable_fields):
        pod["tolerations"] = tolerations
    body: JsonObject = {
        "replicas": spec.replicas,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": {**selector, **serving_labels(spec)}}, "spec": pod},
    }
    if _startup_probe_path(spec):
        body["progressDeadlineSeconds"] = PROGRESS_DEADLINE_SECONDS
    metadata = _build_metadata(spec)
    if spec.description:
        metadata["annotations"] = {DESCRIPTION_ANNOTATION: spec.description}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def build_service(spec: ServingSpec, immutable_fields: ImmutableFields) -> JsonObject:
    target = HTTP_PORT_NAME if spec.transformer is None else TRANSFORMER_PORT_NAME
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _build_metadata(spec),
        "spec": {
            "selector": pod_selector(spec, immutable_fields),
            "ports": [
                {"name": "http", "port": SERVICE_PORT, "targetPort": target, "protocol": "TCP"}
            ],
        },
    }


def system_volumes(spec: ServingSpec, platform: Platform) -> tuple[SystemVolume, SystemVolume]:
    """The model cache and the shared memory, shown read-only in every form."""
    pvc = platform.model_cache
    cache: JsonObject = {"persistentVolumeClaim": {"claimName": pvc}} if pvc else {"emptyDir": {}}
    shared = str(spec.shared_memory_limit)
    return (
        SystemVolume(
            MODEL_CACHE_VOLUME,
            MODEL_CACHE_PATH,
            f"PVC {pvc}" if pvc else "empty directory of the node, lost with the Pod",
            {"name": MODEL_CACHE_VOLUME, **cache},
        ),
        SystemVolume(
            SHARED_MEMORY_VOLUME,
            SHARED_MEMORY_PATH,
            f"memory, at most {shared}, counted against Memory",
            {"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": shared}},
        ),
    )


def pvc_volume_name(pvc: str) -> str:
    """Name of the Pod's volume for a PVC: stable, so that adding another row does not restart Pods.
    A PVC name may be longer than a volume name, contain dots, or equal a system volume's."""
    if pvc not in (MODEL_CACHE_VOLUME, SHARED_MEMORY_VOLUME) and not validate_label(pvc):
        return pvc
    return "claim-" + hashlib.sha256(pvc.encode()).hexdigest()[:16]


def _build_metadata(spec: ServingSpec) -> JsonObject:
    metadata: JsonObject = {"name": spec.name}
    if spec.namespace:
        metadata["namespace"] = spec.namespace
    metadata["labels"] = serving_labels(spec)
    return metadata


def _build_inference_container(spec: ServingSpec, immutable_fields: ImmutableFields) -> JsonObject:
    container: JsonObject = {"name": immutable_fields.container_name, "image": spec.image}
    if command := spec.command or spec.template_definition.command:
        container["command"] = list(command)
    if args := spec.template_definition.build_args(spec):
        container["args"] = args
    container["ports"] = [_build_container_port(HTTP_PORT_NAME, spec.inference_port)]
    named = {one.name for one in spec.env}
    system = [EnvVar(name=n, value=v) for n, v in SYSTEM_ENV.items() if n not in named]
    container["env"] = [_build_env_var(one) for one in (*system, *spec.env)]
    container["resources"] = _build_inference_resources(spec)
    container["volumeMounts"] = [
        {"name": MODEL_CACHE_VOLUME, "mountPath": MODEL_CACHE_PATH},
        {"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH},
        *(
            {
                "name": pvc_volume_name(volume.pvc),
                "mountPath": volume.mount_path,
                "readOnly": volume.read_only,
            }
            for volume in spec.volumes
        ),
    ]
    if path := _startup_probe_path(spec):
        container["startupProbe"] = _build_http_probe(
            path, STARTUP_PERIOD_SECONDS, STARTUP_FAILURE_THRESHOLD
        )
    if spec.effective_readiness_path:
        container["readinessProbe"] = _build_http_probe(spec.effective_readiness_path, 5, 3)
    if spec.effective_liveness_path:
        container["livenessProbe"] = _build_http_probe(spec.effective_liveness_path, 10, 6)
    if spec.template_definition.security_context:
        container["securityContext"] = copy.deepcopy(
            dict(spec.template_definition.security_context)
        )
    # The last lines of a crash are then in the Pod's status, which outlives the log.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return container


def _build_inference_resources(spec: ServingSpec) -> JsonObject:
    """Memory and accelerators as request and limit; CPU as request only, because a limit would
    throttle token generation and the long startup."""
    fixed = {"memory": str(spec.memory)}
    if spec.accelerator:
        fixed[spec.accelerator] = str(spec.accelerator_count)
    return {"requests": {"cpu": str(spec.cpu), **fixed}, "limits": fixed}


def _startup_probe_path(spec: ServingSpec) -> str:
    return spec.effective_liveness_path or spec.effective_readiness_path


def _build_http_probe(path: str, period: int, failures: int) -> JsonObject:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT_NAME, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _build_transformer_container(spec: ServingSpec, transformer: Transformer) -> JsonObject:
    container: JsonObject = {"name": TRANSFORMER_CONTAINER, "image": transformer.image}
    if transformer.command:
        container["command"] = list(transformer.command)
    container["ports"] = [_build_container_port(TRANSFORMER_PORT_NAME, transformer.port)]
    address = EnvVar(name=PREDICTOR_URL_ENV, value=predictor_url(spec))
    container["env"] = [_build_env_var(one) for one in (address, *transformer.env)]
    container["resources"] = {"requests": dict(_TRANSFORMER_REQUESTS)}
    container["readinessProbe"] = {
        "tcpSocket": {"port": TRANSFORMER_PORT_NAME},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    return container


def predictor_url(spec: ServingSpec) -> str:
    return f"http://127.0.0.1:{spec.inference_port}"


def _build_container_port(name: str, number: int) -> JsonObject:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _build_env_var(one: EnvVar) -> JsonObject:
    if one.secret is not None:
        ref = {"secretKeyRef": {"name": one.secret.name, "key": one.secret.key}}
        return {"name": one.name, "valueFrom": ref}
    if one.config_map is not None:
        ref = {"configMapKeyRef": {"name": one.config_map.name, "key": one.config_map.key}}
        return {"name": one.name, "valueFrom": ref}
    return {"name": one.name, "value": one.value}


def _build_volumes(spec: ServingSpec, platform: Platform) -> list[JsonObject]:
    pvcs = dict.fromkeys(volume.pvc for volume in spec.volumes)
    return [
        *(system.volume for system in system_volumes(spec, platform)),
        *(
            {"name": pvc_volume_name(claim), "persistentVolumeClaim": {"claimName": claim}}
            for claim in pvcs
        ),
    ]


def _build_tolerations(spec: ServingSpec, immutable_fields: ImmutableFields) -> list[JsonObject]:
    """Nodes with accelerators are often tainted with the resource's key, and few clusters add the
    toleration automatically (admission plugin ExtendedResourceToleration)."""
    own = [accelerator_toleration(spec.accelerator)] if spec.accelerator else []
    return [*own, *(dict(one) for one in immutable_fields.tolerations if dict(one) not in own)]


def accelerator_toleration(accelerator: str) -> JsonObject:
    key = "nvidia.com/gpu" if accelerator.startswith("nvidia.com/") else accelerator
    return {"key": key, "operator": "Exists", "effect": "NoSchedule"}
