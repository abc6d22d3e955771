"""PVCs that are mounted in the inference server, and the volumes of every serving."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.conventions import (
    MODEL_CACHE_VOLUME,
    SHARED_MEMORY_PATH,
    SHARED_MEMORY_VOLUME,
)
from servedeck.serving.spec.mapping.json_values import (
    as_list,
    as_mapping,
    as_str,
    child_list,
    mappings,
    merge_entries,
    set_or_remove,
)
from servedeck.serving.spec.mapping.resources import as_quantity
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.mapping.system_volumes import (
    cache_path,
    find_cache_mount,
    has_own_cache,
)
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.names import validate_label
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import Volume


def pvc_volume_name(pvc: str) -> str:
    """Name of the Pod's volume for a PVC: stable, so that adding another row does not restart Pods.
    A PVC name may be longer than a volume name, contain dots, or equal a system volume's."""
    if pvc not in (MODEL_CACHE_VOLUME, SHARED_MEMORY_VOLUME) and not validate_label(pvc):
        return pvc
    return _hashed_volume_name(pvc)


def _hashed_volume_name(pvc: str) -> str:
    return "claim-" + hashlib.sha256(pvc.encode()).hexdigest()[:16]


def _pvcs_by_volume(objects: ServingObjects) -> dict[str, str]:
    return {
        as_str(volume.get("name")): as_str(claim)
        for volume in mappings(objects.pod_spec.get("volumes"))
        if (claim := as_mapping(volume, "persistentVolumeClaim").get("claimName"))
    }


def _is_pvc_mount(mount: Any, pvcs: Mapping[str, str], cache: str) -> bool:
    """Whether a mount is a field: a whole PVC (a part of one, subPath, is not), at a path that is
    no system volume's; `cache` is that of the model cache."""
    return (
        isinstance(mount, Mapping)
        and as_str(mount.get("name")) in pvcs
        and normalize_path(as_str(mount.get("mountPath"))) not in (cache, SHARED_MEMORY_PATH)
        and not mount.get("subPath")
        and not mount.get("subPathExpr")
    )


def _read(objects: ServingObjects) -> list[Volume]:
    pvcs, cache = _pvcs_by_volume(objects), cache_path(objects)
    return [
        _volume(mount, pvcs)
        for mount in as_list(objects.container.get("volumeMounts"))
        if _is_pvc_mount(mount, pvcs, cache)
    ]


def _volume(mount: Mapping[str, Any], pvcs: Mapping[str, str]) -> Volume:
    return Volume(
        pvc=pvcs[as_str(mount.get("name"))],
        mount_path=as_str(mount.get("mountPath")),
        read_only=mount.get("readOnly") is True,
    )


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    container, pod = objects.writable_container, objects.writable_pod_spec
    pvcs, cache = _pvcs_by_volume(objects), cache_path(objects)
    mounts = as_list(container.get("volumeMounts"))
    is_replaced = [_is_pvc_mount(mount, pvcs, cache) for mount in mounts]
    present: dict[str, list[int]] = {}
    for index, mount in enumerate(mounts):
        if is_replaced[index]:
            present.setdefault(mount["mountPath"], []).append(index)
    new: list[tuple[int | None, Any]] = []
    for one in wanted.volumes:
        old = present.get(one.mount_path, [])
        at = old.pop(0) if old else None
        mount = {"mountPath": one.mount_path} if at is None else mounts[at]
        if pvcs.get(as_str(mount.get("name"))) != one.pvc:
            mount = {**mount, "name": _volume_name(objects, one.pvc)}
        if current is None or (mount.get("readOnly") is True) != one.read_only:
            mount["readOnly"] = one.read_only
            if not one.read_only:
                mount.pop("recursiveReadOnly", None)  # only valid in a read-only mount
        new.append((at, mount))
    set_or_remove(container, "volumeMounts", merge_entries(mounts, is_replaced, new))
    if current is not None:
        _remove_unused(objects, {one.pvc for one in current.volumes})
    set_or_remove(pod, "volumes", as_list(pod.get("volumes")))


def _volume_name(objects: ServingObjects, pvc: str) -> str:
    """Name of the Pod's volume for a PVC, which is added if there is none."""
    for name, claim in _pvcs_by_volume(objects).items():
        if claim == pvc:
            return name
    volumes = child_list(objects.writable_pod_spec, "volumes")
    name = pvc_volume_name(pvc)
    if any(one.get("name") == name for one in mappings(volumes)):
        name = _hashed_volume_name(pvc)
    volumes.append({"name": name, "persistentVolumeClaim": {"claimName": pvc}})
    return name


def _remove_unused(objects: ServingObjects, pvcs: set[str]) -> None:
    """Remove the volumes of these PVCs that no container mounts any more."""
    pod = objects.writable_pod_spec
    containers = (
        *objects.containers,
        *mappings(pod.get("initContainers")),
        *mappings(pod.get("ephemeralContainers")),
    )
    used = {
        as_str(mount.get("name"))
        for container in containers
        for mount in (
            *mappings(container.get("volumeMounts")),
            *mappings(container.get("volumeDevices")),
        )
    }
    pod["volumes"] = [
        one
        for one in as_list(pod.get("volumes"))
        if as_str(as_mapping(one).get("name")) in used
        or as_mapping(one, "persistentVolumeClaim").get("claimName") not in pvcs
    ]


VOLUMES = FieldAccess(_read, _write)


# -- system volumes -----------------------------------------------------------------------------


def read_model_cache(objects: ServingObjects) -> str:
    """PVC that is mounted at the model cache's path; "" for none."""
    name = as_str(find_cache_mount(objects).get("name"))
    return _pvcs_by_volume(objects).get(name, "")


@dataclass(frozen=True, slots=True)
class OtherMounts:
    """What the inference server mounts beside the volumes of the form."""

    names: Mapping[str, str] = field(
        default_factory=lambda: {SHARED_MEMORY_PATH: SHARED_MEMORY_VOLUME}
    )
    """Names of the volumes by their paths. The default is that of a new serving."""
    has_model_cache: bool = True
    """Whether the volume of the model cache is servedeck's; its path is a field."""
    has_shared_memory: bool = True
    """Whether the volume of the shared memory is servedeck's, with the size of the template."""


def read_other_mounts(objects: ServingObjects, spec: SpecLike) -> OtherMounts:
    """What an existing serving mounts. A volume that others chose is none of servedeck's."""
    pvcs, cache = _pvcs_by_volume(objects), cache_path(objects)
    names = {
        normalize_path(as_str(mount.get("mountPath"))): as_str(mount.get("name"))
        for mount in mappings(objects.container.get("volumeMounts"))
        if not _is_pvc_mount(mount, pvcs, cache)
    }
    sizes = {
        as_str(volume.get("name")): as_quantity(as_mapping(volume, "emptyDir").get("sizeLimit"))
        for volume in mappings(objects.pod_spec.get("volumes"))
    }
    shared = names.get(SHARED_MEMORY_PATH) == SHARED_MEMORY_VOLUME
    has_model_cache = has_own_cache(objects)
    if has_model_cache:
        names.pop(cache, None)
    return OtherMounts(
        names,
        has_model_cache,
        objects.is_managed
        and shared
        and sizes.get(SHARED_MEMORY_VOLUME) == spec.shared_memory_limit,
    )


def resize_shared_memory(objects: ServingObjects, current: SpecLike, wanted: SpecLike) -> None:
    """Change the size of /dev/shm with the settings that it depends on, if it has the size that the
    template gives it: another one was chosen by somebody."""
    old, new = current.shared_memory_limit, wanted.shared_memory_limit
    names = {
        as_str(mount.get("name"))
        for mount in mappings(objects.container.get("volumeMounts"))
        if mount.get("mountPath") == SHARED_MEMORY_PATH
    }
    for volume in mappings(objects.pod_spec.get("volumes")):
        memory = as_mapping(volume, "emptyDir")
        if volume.get("name") in names and as_quantity(memory.get("sizeLimit")) == old != new:
            memory["sizeLimit"] = str(new)  # type: ignore[index]
