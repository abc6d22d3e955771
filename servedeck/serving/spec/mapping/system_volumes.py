"""The volumes of every serving: the model cache with its variables, and the shared memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from servedeck.serving.conventions import (
    MODEL_CACHE_PATH,
    MODEL_CACHE_VOLUME,
    ROOT_MODEL_CACHE_PATH,
    SHARED_MEMORY_PATH,
    SHARED_MEMORY_VOLUME,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    child_list,
    child_mapping,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.mapping.resources import as_quantity
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.spec_like import SpecLike
from servedeck.serving.spec.types import Quantity
from servedeck.serving.text import one_line, sanitize

_GROUP_CHANGE_POLICY = "OnRootMismatch"


def cache_env(path: str) -> dict[str, str]:
    """Variables of the inference server with a model cache at this path; the operator can override
    them. A user without an entry in the image's /etc/passwd has `/` as its home, where it cannot
    write, so that all that is written below a home goes to the cache: the models (HF_HOME), vLLM's
    compiled graphs (VLLM_CACHE_ROOT), Triton's kernels (HOME). TorchInductor's directory would
    otherwise be named after the user, whom Python cannot find (getpass.getuser)."""
    variables = {"HF_HOME": path}
    if path == ROOT_MODEL_CACHE_PATH:  # below the home of root, which stays as it is
        return variables
    return variables | {
        "HOME": path,
        "XDG_CACHE_HOME": f"{path}/.cache",
        "VLLM_CACHE_ROOT": f"{path}/.cache/vllm",
        "TORCHINDUCTOR_CACHE_DIR": f"{path}/.cache/torchinductor",
    }


# -- model cache --------------------------------------------------------------------------------


def find_cache_mount(objects: ServingObjects) -> Mapping[str, Any]:
    """The mount of the model cache: of a serving of servedeck that of its volume, else what is
    mounted at the path that servedeck uses; {} for none. Where the volume is mounted several times
    it is the mount of the whole volume, before one of a folder (subPath), and that at a path that
    servedeck uses or that HF_HOME says, before another one."""
    mounts = [
        one
        for one in mappings(objects.container.get("volumeMounts"))
        if normalize_path(as_str(one.get("mountPath"))) != SHARED_MEMORY_PATH
    ]
    own = [
        one
        for one in mounts
        if objects.is_managed
        and one.get("name") == MODEL_CACHE_VOLUME
        and as_str(one.get("mountPath"))
    ]
    if own:
        homes = (
            as_str(one.get("value"))
            for one in mappings(objects.container.get("env"))
            if one.get("name") == "HF_HOME"
        )
        usual = {MODEL_CACHE_PATH, ROOT_MODEL_CACHE_PATH, *map(normalize_path, homes)}
        return as_mapping(min(own, key=lambda one: _mount_rank(one, usual)))
    by_path = {normalize_path(as_str(one.get("mountPath"))): one for one in reversed(mounts)}
    found = (by_path.get(path) for path in (MODEL_CACHE_PATH, ROOT_MODEL_CACHE_PATH))
    return next((as_mapping(one) for one in found if one is not None), {})


def has_own_cache(objects: ServingObjects) -> bool:
    """Whether the model cache is servedeck's volume: that of others keeps its place."""
    return objects.is_managed and find_cache_mount(objects).get("name") == MODEL_CACHE_VOLUME


def _mount_rank(mount: Mapping[str, Any], usual: Collection[str]) -> tuple[bool, bool]:
    is_folder = bool(mount.get("subPath") or mount.get("subPathExpr"))
    return is_folder, normalize_path(as_str(mount.get("mountPath"))) not in usual


def cache_path(objects: ServingObjects) -> str:
    """Path of the model cache, normalized; "" without one."""
    mount = find_cache_mount(objects)
    return normalize_path(as_str(mount.get("mountPath"))) if mount else ""


def why_path_is_fixed(objects: ServingObjects, path: str) -> str:
    """Why the model cache of an existing serving cannot be at another path, in a sentence; "" if it
    can be. At a path that servedeck does not use it is found by its volume's name alone, in a
    serving of servedeck."""
    if has_own_cache(objects):
        return ""
    mount = find_cache_mount(objects)
    if mount:
        name = one_line(sanitize(as_str(mount.get("name"))))
        return (
            f"{cache_path(objects)} is where the serving's own volume {name} is mounted; change "
            "its mount, and HF_HOME, in the Deployment."
        )
    if objects.is_managed or path in (MODEL_CACHE_PATH, ROOT_MODEL_CACHE_PATH):
        return ""
    return (
        f"In a serving that servedeck did not make, the model cache is at {MODEL_CACHE_PATH} or "
        f"{ROOT_MODEL_CACHE_PATH}; enter one of these, or mount a volume in the Deployment."
    )


def _write_cache_path(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    path = wanted.effective_model_cache_path
    if current is None:
        return  # it is mounted already
    if why_path_is_fixed(objects, path):
        return  # `check_change` says so
    if mount := find_cache_mount(objects):
        mount["mountPath"] = path  # type: ignore[index]
    else:
        name = _add_volume(objects, MODEL_CACHE_VOLUME, {"emptyDir": {}})
        mounts = child_list(objects.writable_container, "volumeMounts")
        mounts.append({"name": name, "mountPath": path})
    _move_variables(objects.writable_container, current.effective_model_cache_path, path)


def _move_variables(container: JsonObject, old: str, new: str) -> None:
    """Variables with the value that servedeck gave them get the one of the new path."""
    before, after = cache_env(old), cache_env(new)
    kept: list[Any] = []
    for one in child_list(container, "env"):
        name = one.get("name") if isinstance(one, Mapping) else None
        if name in before and one.get("value") == before[name]:
            if name not in after:
                continue
            one["value"] = after[name]
        kept.append(one)
    names = {one.get("name") for one in mappings(kept)}
    added = [{"name": name, "value": value} for name, value in after.items() if name not in names]
    # Before the others, which may refer to them.
    set_or_remove(container, "env", [*added, *kept])


MODEL_CACHE = FieldAccess(lambda objects: cache_path(objects) or None, _write_cache_path)


# -- shared memory ------------------------------------------------------------------------------


def _shared_memory(objects: ServingObjects) -> Mapping[str, Any]:
    """The emptyDir in memory that is mounted at /dev/shm; {} for none."""
    names = {
        as_str(one.get("name"))
        for one in mappings(objects.container.get("volumeMounts"))
        if normalize_path(as_str(one.get("mountPath"))) == SHARED_MEMORY_PATH
    }
    for volume in mappings(objects.pod_spec.get("volumes")):
        memory = as_mapping(volume, "emptyDir")
        if volume.get("name") in names and memory.get("medium") == "Memory":
            return memory
    return {}


def read_shared_memory(objects: ServingObjects) -> Quantity | None:
    """Size limit of the shared memory; None without one."""
    return as_quantity(_shared_memory(objects).get("sizeLimit"))


def _write_shared_memory(
    objects: ServingObjects, current: SpecLike | None, wanted: SpecLike
) -> None:
    size = str(wanted.shared_memory_limit)
    if memory := _shared_memory(objects):
        memory["sizeLimit"] = size  # type: ignore[index]
        return
    paths = mappings(objects.container.get("volumeMounts"))
    if any(normalize_path(as_str(one.get("mountPath"))) == SHARED_MEMORY_PATH for one in paths):
        return  # another kind of volume, which somebody else chose
    volume = {"emptyDir": {"medium": "Memory", "sizeLimit": size}}
    name = _add_volume(objects, SHARED_MEMORY_VOLUME, volume)
    mounts = child_list(objects.writable_container, "volumeMounts")
    mounts.append({"name": name, "mountPath": SHARED_MEMORY_PATH})


SHARED_MEMORY = FieldAccess(read_shared_memory, _write_shared_memory)


def _add_volume(objects: ServingObjects, name: str, source: JsonObject) -> str:
    """Add a volume to the Pods; returns its name, which no other volume has."""
    volumes = child_list(objects.writable_pod_spec, "volumes")
    taken = {one.get("name") for one in mappings(volumes)}
    free = name
    while free in taken:
        free = f"{free}-2"
    volumes.append({"name": free, **source})
    return free


# -- group of the volumes -----------------------------------------------------------------------


def _read_group(objects: ServingObjects) -> int | None:
    return as_int(as_mapping(objects.pod_spec, "securityContext").get("fsGroup"))


def _write_group(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """The kubelet gives files of the volumes to the group; without the policy it would do so at
    each start, which takes minutes for a cache of many models."""
    pod = objects.writable_pod_spec
    context = child_mapping(pod, "securityContext")
    if wanted.fs_group is None:
        context.pop("fsGroup", None)
        if context.get("fsGroupChangePolicy") == _GROUP_CHANGE_POLICY:
            del context["fsGroupChangePolicy"]
    else:
        context["fsGroup"] = wanted.fs_group
        context.setdefault("fsGroupChangePolicy", _GROUP_CHANGE_POLICY)
    set_or_remove(pod, "securityContext", context)


FS_GROUP = FieldAccess(_read_group, _write_group)
