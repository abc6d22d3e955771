"""Differences between two states of an object, value by value.

A list whose entries the API identifies by a key is compared by that key, every other list by
position, or as a whole where its values are plain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from servedeck.serving.quantity import parse_quantity

MISSING: Final = object()
"""In place of a value that is not there."""

LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port", "protocol"),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "resourceClaims": ("name",),
    "claims": ("name",),
    "schedulingGates": ("name",),
    "conditions": ("type",),
}
"""Keys of the associative lists (x-kubernetes-list-map-keys in the API's OpenAPI schema), by the
name of the list. Of several, those that the entries have."""
_KEY_DEFAULTS = {"protocol": "TCP"}


ATOMIC_MAPS = frozenset(
    {
        "secretKeyRef",
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "selector",
        "labelSelector",
        "nodeSelector",
    }
)
"""Maps that have one owner as a whole (x-kubernetes-map-type: atomic), by their name."""


class ListKey(NamedTuple):
    """Identifies an entry of an associative list."""

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return str(self.values[0][1])


PathStep = str | int | ListKey
FieldPath = tuple[PathStep, ...]


class Difference(NamedTuple):
    path: FieldPath
    old: Any
    """MISSING if it was added."""
    new: Any
    """MISSING if it was removed."""


def find_differences(old: Any, new: Any, path: FieldPath = ()) -> Iterator[Difference]:
    """What differs, in the order of the objects. An added or removed part is one difference, and so
    is another order of an associative list (the keys)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            one, other = old.get(key, MISSING), new.get(key, MISSING)
            yield from find_differences(one, other, (*path, str(key)))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_differences(old, new, path)
    elif old is not new and not same_value(old, new):
        yield Difference(path, old, new)


def _list_differences(old: list[Any], new: list[Any], path: FieldPath) -> Iterator[Difference]:
    keys = list_keys(path, (*old, *new))
    if keys:
        olds, news = _by_key(old, keys), _by_key(new, keys)
        if len(olds) == len(old) and len(news) == len(new):
            for key in dict.fromkeys((*olds, *news)):
                one, other = olds.get(key, MISSING), news.get(key, MISSING)
                yield from find_differences(one, other, (*path, key))
            if olds.keys() == news.keys() and list(olds) != list(news):
                yield Difference(path, [str(key) for key in olds], [str(key) for key in news])
            return
    if any(isinstance(one, (Mapping, list)) for one in (*old, *new)):
        for at in range(max(len(old), len(new))):
            one, other = (side[at] if at < len(side) else MISSING for side in (old, new))
            yield from find_differences(one, other, (*path, at))
    elif not same_value(old, new):
        yield Difference(path, old, new)


def find_moved_lists(old: Any, new: Any, path: FieldPath = ()) -> Iterator[FieldPath]:
    """Associative lists of `new` whose order is not that of `old` with the added entries at the
    end."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old.keys() & new.keys():
            yield from find_moved_lists(old[key], new[key], (*path, str(key)))
    elif isinstance(old, list) and isinstance(new, list):
        if not (keys := list_keys(path, (*old, *new))):
            return
        olds, news = _by_key(old, keys), _by_key(new, keys)
        common = [key for key in olds if key in news]
        if list(news) != [*common, *(key for key in news if key not in olds)]:
            yield path
        for key in common:
            yield from find_moved_lists(olds[key], news[key], (*path, key))


def list_keys(path: FieldPath, entries: Sequence[Any]) -> tuple[str, ...]:
    """The keys that identify the entries of the list at a path; () if its entries have none."""
    name = path[-1] if path else ""
    known = LIST_KEYS.get(name, ()) if isinstance(name, str) else ()
    if not known or not all(isinstance(one, Mapping) for one in entries):
        return ()
    found = tuple(
        key
        for key in known
        if all(isinstance(one.get(key, _KEY_DEFAULTS.get(key)), (str, int)) for one in entries)
    )
    return found if set(found) - set(_KEY_DEFAULTS) else ()


def list_key(entry: Mapping[str, Any], keys: tuple[str, ...]) -> ListKey:
    return ListKey(tuple((key, entry.get(key, _KEY_DEFAULTS.get(key))) for key in keys))


def _by_key(entries: Sequence[Any], keys: tuple[str, ...]) -> dict[ListKey, Any]:
    return {list_key(one, keys): one for one in entries}


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are the same as JSON, in which `true` is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same_value(*pair) for pair in pairs)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def same_quantity(one: Any, other: Any) -> bool:
    """Whether two values are the same quantity in two forms ("1Gi" and "1024Mi")."""
    try:
        return parse_quantity(str(one)) == parse_quantity(str(other))
    except ValueError:
        return False


def format_path(path: FieldPath) -> str:
    """A path as text: "spec.template.spec.containers[server].image"."""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]"
    return text
