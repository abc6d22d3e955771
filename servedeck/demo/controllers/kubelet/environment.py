"""The environment and volumes of a container from ConfigMaps, Secrets and PVCs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple

from servedeck.demo import event_messages
from servedeck.demo.controllers.kubelet.pod_info import PodInfo
from servedeck.demo.resources import CONFIGMAPS, PERSISTENTVOLUMECLAIMS, SECRETS, Resource
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore


class MissingConfigError(Exception):
    """A reference of the container does not exist; `str()` is the kubelet's message."""


class MissingVolume(NamedTuple):
    volume: str
    kind: str
    name: str


def resolve_environment(store: ObjectStore, pod: PodInfo, container: Json) -> dict[str, str]:
    """The container's environment with resolved references. Raises MissingConfigError. Source:
    kubelet_pods.go, makeEnvironmentVariables."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        for field, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
            reference = source.get(field)
            if reference:
                data = _read_data(store, resource, pod.namespace, reference)
                prefix = source.get("prefix", "")
                env.update({prefix + name: value for name, value in (data or {}).items()})
    for entry in container.get("env") or ():
        name, source = entry["name"], entry.get("valueFrom") or {}
        if not source:
            env[name] = str(entry.get("value") or "")
            continue
        value = _value_from(store, pod, source)
        if value is not None:
            env[name] = value
    return env


def missing_volumes(store: ObjectStore, pod: PodInfo) -> Iterator[MissingVolume]:
    """Volumes whose ConfigMap, Secret or PVC does not exist."""
    for volume in pod.spec.get("volumes") or ():
        for field, key, resource in (
            ("configMap", "name", CONFIGMAPS),
            ("secret", "secretName", SECRETS),
            ("persistentVolumeClaim", "claimName", PERSISTENTVOLUMECLAIMS),
        ):
            source = volume.get(field)
            if not source or source.get("optional"):
                continue
            name = source.get(key, "")
            if store.find(resource, pod.namespace, name) is None:
                yield MissingVolume(volume["name"], resource.singular, name)


def _value_from(store: ObjectStore, pod: PodInfo, source: Json) -> str | None:
    for field, resource, text in (
        ("configMapKeyRef", CONFIGMAPS, event_messages.CONFIGMAP_KEY_MISSING),
        ("secretKeyRef", SECRETS, event_messages.SECRET_KEY_MISSING),
    ):
        reference = source.get(field)
        if not reference:
            continue
        data = _read_data(store, resource, pod.namespace, reference)
        key = reference.get("key", "")
        if data is not None and key not in data and not reference.get("optional"):
            raise MissingConfigError(
                text.format(key=key, namespace=pod.namespace, name=reference["name"])
            )
        return (data or {}).get(key)
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    fields: dict[str, str] = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": pod.node,
    }
    return fields.get(path, "")


def _read_data(
    store: ObjectStore, resource: Resource, namespace: str, reference: Json
) -> dict[str, str] | None:
    """Keys and values; None for a missing object whose reference is optional."""
    name = reference.get("name", "")
    found = store.find(resource, namespace, name)
    if found is None:
        if reference.get("optional"):
            return None
        text = (
            event_messages.SECRET_MISSING
            if resource is SECRETS
            else event_messages.CONFIGMAP_MISSING
        )
        raise MissingConfigError(text.format(name=name))
    data = found.get("data") or {}
    if resource is not SECRETS:
        return {key: str(value) for key, value in data.items()}
    return {key: _decode_base64(str(value)) for key, value in data.items()}


def _decode_base64(value: str) -> str:
    try:
        return base64.b64decode(value).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""
