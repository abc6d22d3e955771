"""Environment variables of a container."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_list,
    as_mapping,
    as_str,
    mappings,
    merge_entries,
    set_or_remove,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.mapping.system_volumes import cache_env, has_own_cache
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import EnvVar, KeyRef


def read_env(container: Mapping[str, Any]) -> list[EnvVar]:
    """Variables with a value, or with a key of a Secret or a ConfigMap."""
    return [found for one in mappings(container.get("env")) if (found := _env_var(one)) is not None]


def _env_var(entry: Mapping[str, Any]) -> EnvVar | None:
    if not isinstance(entry.get("name"), str):
        return None
    name = as_str(entry["name"])
    if not entry.get("valueFrom"):
        return EnvVar(name=name, value=as_str(entry.get("value")))
    if ref := as_mapping(entry, "valueFrom", "secretKeyRef"):
        return EnvVar(name=name, secret=_key_ref(ref))
    if ref := as_mapping(entry, "valueFrom", "configMapKeyRef"):
        return EnvVar(name=name, config_map=_key_ref(ref))
    return None


def _key_ref(ref: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        name=as_str(ref.get("name")),
        key=as_str(ref.get("key")),
        optional=ref.get("optional") is True,
    )


def write_env(container: JsonObject, wanted: Sequence[EnvVar], own: Sequence[str] = ()) -> None:
    """Replace the variables that a spec can express by `wanted`: an equal one stays as it is
    written, the others (field references, and those named in `own`) stay where they are. The order
    counts: a variable can refer to those before it."""
    entries = as_list(container.get("env"))
    known: dict[str, list[tuple[int, EnvVar]]] = {}
    is_replaced = [False] * len(entries)
    for index, entry in enumerate(entries):
        found = _env_var(entry) if isinstance(entry, Mapping) else None
        if found is not None and found.name not in own:
            known.setdefault(found.name, []).append((index, found))
            is_replaced[index] = True
    new: list[tuple[int | None, Any]] = []
    for one in wanted:
        if not (old := known.get(one.name)):
            new.append((None, build_env_var(one)))
            continue
        index, present = old.pop(0)
        same = present == one
        new.append((index, entries[index] if same else build_env_var(one, entries[index])))
    set_or_remove(container, "env", merge_entries(entries, is_replaced, new))


def build_env_var(one: EnvVar, present: Mapping[str, Any] | None = None) -> JsonObject:
    """Entry of a variable. `present` is the one that it replaces: what else its reference says
    stays."""
    for key, ref in (("secretKeyRef", one.secret), ("configMapKeyRef", one.config_map)):
        if ref is not None:
            reference = {**as_mapping(present, "valueFrom", key), "name": ref.name, "key": ref.key}
            set_or_remove(reference, "optional", ref.optional or None)
            return {"name": one.name, "valueFrom": {key: reference}}
    return {"name": one.name, "value": one.value}


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    container = objects.writable_container
    named = {one.name for one in wanted.env}
    replaced = {one.name for one in current.env} if current is not None else set()
    variables = cache_env(wanted.effective_model_cache_path)
    has_cache = has_own_cache(objects) or _has_others(container, variables, replaced)
    system = [
        EnvVar(name=name, value=value)
        for name, value in variables.items()
        if has_cache and name not in named and (current is None or name in replaced)
    ]
    own = [
        one.name
        for one in read_env(container)
        if one.name in variables and one.name not in named and one.name not in replaced
    ]
    write_env(container, [*system, *wanted.env], own)


def _has_others(
    container: Mapping[str, Any], variables: Mapping[str, str], replaced: Collection[str]
) -> bool:
    """Whether the container has the variables of the model cache beside the replaced ones, with
    servedeck's values."""
    present = {one.name: one.value for one in read_env(container)}
    others = [name for name in variables if name not in replaced]
    return bool(others) and all(present.get(name) == variables[name] for name in others)


ENV = FieldAccess(lambda objects: read_env(objects.container), _write)
