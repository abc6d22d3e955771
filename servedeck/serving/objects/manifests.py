"""The Kubernetes objects of a new serving: Deployment, Service, the route if there is a host, and
those of auto scaling and load balancing.

They hold only the fields that servedeck manages: server-side apply does not change the others.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.conventions import (
    FIELD_MANAGER,
    HTTP_PORT_NAME,
    INFERENCE_CONTAINER,
    MANAGED_BY_LABEL,
    MODEL_CACHE_VOLUME,
    SERVICE_PORT,
    SERVING_LABEL,
    SHARED_MEMORY_PATH,
    SHARED_MEMORY_VOLUME,
    TEMPLATE_LABEL,
)
from servedeck.serving.objects import routes
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.mapping.probes import progress_deadline_seconds, startup_probe_path
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import FIELDS, ServingSpec

_SURROGATE_PAIR_PATTERN = re.compile(r"\\\\|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})")
"""An escaped backslash, or the surrogate pair of one character."""

_CONTAINER_KEYS = (
    "name",
    "image",
    "command",
    "args",
    "ports",
    "env",
    "resources",
    "volumeMounts",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "securityContext",
    "terminationMessagePolicy",
)
"""Order in which a container is shown."""
_POD_KEYS = (
    "enableServiceLinks",
    "serviceAccountName",
    "runtimeClassName",
    "imagePullSecrets",
    "securityContext",
    "containers",
    "volumes",
    "resourceClaims",
    "nodeSelector",
    "tolerations",
)


@dataclass(frozen=True, slots=True)
class SystemVolume:
    """A volume of every serving; of the form's fields, only those for its path and its size change
    it."""

    name: str
    mount_path: str
    description: str
    """What it is, in words."""
    volume: JsonObject = field(hash=False)


def build_manifests(
    spec: ServingSpec, platform: PlatformSettings | None = None
) -> list[JsonObject]:
    """Objects of a new serving, in the order to apply them. Each has a namespace if the spec has
    one. The route is omitted if the platform has no host, and of a revision of another serving."""
    platform = platform or PlatformSettings()
    route = None if spec.revision_of else build_route(spec, platform)
    objects = ServingObjects(
        _build_deployment(spec, platform),
        [build_service(spec)],
        [route] if route else [],
        engines=platform.engines,
    )
    for one in FIELDS.values():
        one.access.write(objects, None, spec)
    pod = objects.writable_pod_spec
    pod["containers"][0] = _ordered(pod["containers"][0], _CONTAINER_KEYS)
    body = objects.deployment["spec"]
    body["template"]["spec"] = _ordered(pod, _POD_KEYS)
    if startup_probe_path(spec):
        body["progressDeadlineSeconds"] = progress_deadline_seconds(spec)
    return objects.all


def build_route(
    spec: ServingSpec, platform: PlatformSettings, *, service: str = "", port: int = SERVICE_PORT
) -> JsonObject | None:
    """The route of a serving to its Service, that of its name if none is given; None if the
    platform has no host."""
    return routes.build_route(
        spec.name, spec.namespace, serving_labels(spec), platform, port, service
    )


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


def _build_deployment(spec: ServingSpec, platform: PlatformSettings) -> JsonObject:
    """What every Deployment of servedeck has, whatever its fields."""
    labels = serving_labels(spec)
    system = system_volumes(spec, platform)
    container: JsonObject = {
        "name": INFERENCE_CONTAINER,
        "volumeMounts": [{"name": one.name, "mountPath": one.mount_path} for one in system],
        # The last lines of a crash are then in the Pod's status, which outlives the log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if security_context := spec.template_definition.security_context:
        container["securityContext"] = copy.deepcopy(dict(security_context))
    pod: JsonObject = {
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [one.volume for one in system],
    }
    # Only the name: a selector is immutable, the template may change.
    selector = {SERVING_LABEL: spec.name}
    body: JsonObject = {
        "replicas": spec.replicas,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    metadata = _build_metadata(spec)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def build_service(spec: ServingSpec) -> JsonObject:
    port = {
        "name": "http",
        "port": SERVICE_PORT,
        "targetPort": HTTP_PORT_NAME,
        "protocol": "TCP",
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _build_metadata(spec),
        "spec": {"selector": {SERVING_LABEL: spec.name}, "ports": [port]},
    }


def system_volumes(
    spec: ServingSpec, platform: PlatformSettings
) -> tuple[SystemVolume, SystemVolume]:
    """The model cache and the shared memory, shown read-only in every form."""
    pvc = platform.model_cache
    cache: JsonObject = {"persistentVolumeClaim": {"claimName": pvc}} if pvc else {"emptyDir": {}}
    shared = str(spec.shared_memory_limit)
    return (
        SystemVolume(
            MODEL_CACHE_VOLUME,
            spec.effective_model_cache_path,
            f"PVC {pvc}" if pvc else "emptyDir, deleted with the Pod",
            {"name": MODEL_CACHE_VOLUME, **cache},
        ),
        SystemVolume(
            SHARED_MEMORY_VOLUME,
            SHARED_MEMORY_PATH,
            f"memory, at most {shared}, counted against Memory",
            {"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": shared}},
        ),
    )


def _build_metadata(spec: ServingSpec) -> JsonObject:
    metadata: JsonObject = {"name": spec.name}
    if spec.namespace:
        metadata["namespace"] = spec.namespace
    metadata["labels"] = serving_labels(spec)
    return metadata


def _ordered(value: JsonObject, keys: tuple[str, ...]) -> JsonObject:
    return {key: value[key] for key in (*keys, *value) if key in value}
