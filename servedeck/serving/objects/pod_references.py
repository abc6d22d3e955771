"""The objects that a Pod names: PersistentVolumeClaims, ConfigMaps and Secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, mappings

_SECRET_REFERENCES = (
    ("csi", "nodePublishSecretRef"),
    ("cephfs", "secretRef"),
    ("flexVolume", "secretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
)
"""Volumes that name a Secret of their storage (kubernetes pkg/apis/core/types.go, VolumeSource)."""


class PodReferences(NamedTuple):
    """Names by kind, each once, in the order of the Pod's fields."""

    persistent_volume_claims: tuple[str, ...]
    config_maps: tuple[str, ...]
    secrets: tuple[str, ...]


def pod_references(pod_spec: Mapping[str, Any]) -> PodReferences:
    """What the volumes, variables and image pull secrets of a Pod's spec name. The spec is decoded
    JSON of any shape."""
    names: dict[str, dict[str, None]] = {"claim": {}, "configMap": {}, "secret": {}}
    for kind, name in (*_volume_names(pod_spec), *_variable_names(pod_spec)):
        if name:
            names[kind][name] = None
    for one in mappings(pod_spec.get("imagePullSecrets")):
        if name := as_str(one.get("name")):
            names["secret"][name] = None
    return PodReferences(*(tuple(found) for found in names.values()))


def _volume_names(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in mappings(pod_spec.get("volumes")):
        yield "claim", as_str(as_mapping(volume, "persistentVolumeClaim").get("claimName"))
        yield "configMap", as_str(as_mapping(volume, "configMap").get("name"))
        yield "secret", as_str(as_mapping(volume, "secret").get("secretName"))
        yield "secret", as_str(as_mapping(volume, "azureFile").get("secretName"))
        for kind, reference in _SECRET_REFERENCES:
            yield "secret", as_str(as_mapping(volume, kind, reference).get("name"))
        for source in mappings(as_mapping(volume, "projected").get("sources")):
            yield "configMap", as_str(as_mapping(source, "configMap").get("name"))
            yield "secret", as_str(as_mapping(source, "secret").get("name"))


def _variable_names(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    containers = [
        *mappings(pod_spec.get("initContainers")),
        *mappings(pod_spec.get("containers")),
    ]
    for container in containers:
        for one in mappings(container.get("env")):
            yield "configMap", as_str(as_mapping(one, "valueFrom", "configMapKeyRef").get("name"))
            yield "secret", as_str(as_mapping(one, "valueFrom", "secretKeyRef").get("name"))
        for one in mappings(container.get("envFrom")):
            yield "configMap", as_str(as_mapping(one, "configMapRef").get("name"))
            yield "secret", as_str(as_mapping(one, "secretRef").get("name"))
