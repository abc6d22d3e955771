"""The values of a serving one by one, as they are compared and merged: each field, setting and part
of the transformer; in lists each variable, volume and argument.

A path names a value: ("image",), ("settings", "max_model_len"), ("env", "HF_HOME"),
("volumes", "/data"), ("transformer", "env", "A"), ("command", "--port").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from servedeck.serving.spec.fields import InputKind
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS
from servedeck.serving.spec.templates.arguments import is_flag, normalize_flag
from servedeck.serving.spec.types import Transformer

Path = tuple[str, ...]
T = TypeVar("T")


class _Absent:
    """Type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Value of a path that a serving does not have."""


class _Unknown:
    """Type of UNKNOWN."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""An earlier value of which nothing is known, but that it was another one."""

_TRANSFORMER_PARTS = ("image", "port", "cpu", "memory", "command", "env")
TEMPLATE_FIELDS = ("template", "settings", "command", "readiness_path", "liveness_path")
"""Fields whose meaning depends on the template."""
ACCELERATOR_FIELDS = ("accelerator", "accelerator_count")
"""Without an accelerator there is no count."""
SWITCH_GROUPS = {
    "auto_scaling": SCALING_FIELDS,
    "load_balancing": LOAD_BALANCING_FIELDS,
    "temperature_policy": TEMPERATURE_FIELDS,
}
"""By the field that is on or off, it and those that apply while it is on."""
FIELD_GROUPS = {
    "template": TEMPLATE_FIELDS,
    "accelerator": ACCELERATOR_FIELDS,
    **SWITCH_GROUPS,
}
"""By the first of them, fields whose meaning depends on it."""
KEYED_WORDS = ("node_selector", "resource_claims", "readiness_times", "liveness_times")
"""Fields that are words, each with a key before "="."""
WORDS = ("tolerations", "image_pull_secrets")
"""Fields that are words, each of which is its own key."""


def split_spec(spec: ServingSpec, *beside: ServingSpec) -> dict[Path, Any]:
    """The values of a spec by path, lists as a whole. What depends on a value that differs in one
    of the specs `beside` is one value with it: the fields of a template, of a kind of accelerator,
    of a setting that is on or off, the parts of a transformer."""
    together: dict[str, tuple[str, ...]] = {}
    for first, group in FIELD_GROUPS.items():
        if any(getattr(one, first) != getattr(spec, first) for one in beside):
            together[first] = group
    members = {name for names in together.values() for name in names}
    found: dict[Path, Any] = {}
    for name in FIELDS:
        value = getattr(spec, name)
        if name in together:
            found[(name,)] = tuple((one, _frozen(getattr(spec, one))) for one in together[name])
        elif name in members:
            continue
        elif name == "settings":
            found.update({(name, key): one for key, one in value.items()})
        elif name == "transformer" and not any(
            (one.transformer is None) != (value is None) for one in beside
        ):
            if value is not None:
                found.update({(name, key): getattr(value, key) for key in _TRANSFORMER_PARTS})
        else:
            found[(name,)] = value
    return found


def _frozen(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def join_values(base: ServingSpec, values: Mapping[Path, Any]) -> ServingSpec:
    """The spec with these values, as `split_spec` returns them; `base` has those that are not
    among them."""
    changes: dict[str, Any] = {}
    settings = dict(base.settings)
    transformer: dict[str, Any] = {}
    for path, value in values.items():
        match path:
            case ("settings", key):
                settings[key] = value
                changes["settings"] = settings
            case ("transformer", key):
                transformer[key] = value
            case (name,) if name in FIELD_GROUPS and isinstance(value, tuple):
                for one, part in value:
                    changes[one] = dict(part) if one == "settings" else part
            case (name,):
                changes[name] = value
    if transformer:
        changes["transformer"] = Transformer.model_validate(transformer)
    # What is as in the base is not given.
    return base.replace(
        **{name: one for name, one in changes.items() if one != getattr(base, name)}
    )


def list_keys(spec: ServingSpec, path: Path, value: Any) -> tuple[str, ...] | None:
    """The keys of the entries of a list; None if the value is no list, or two entries have the same
    key."""
    entries = list_entries(spec, path, value)
    if entries is None:
        return None
    keys = tuple(key for key, _ in entries)
    return keys if len(set(keys)) == len(keys) else None


def list_entries(spec: ServingSpec, path: Path, value: Any) -> list[tuple[str, Any]] | None:
    """The entries of a list in order, each with its key: the name of a variable, the path of a
    mount, the key of a label, the flag of arguments ("" for the words before the first one). None
    if it is no list."""
    if not isinstance(value, tuple):
        return None
    if path[-1] == "env":
        return _by_key(value, lambda one: one.name)
    if path == ("volumes",):
        return _by_key(value, lambda one: normalize_path(one.mount_path))
    if path[0] in KEYED_WORDS:
        return _by_key(value, lambda word: word.partition("=")[0])
    if path[0] in WORDS:
        return _by_key(value, lambda word: word)
    if path[-1] == "command" or _is_arguments_setting(spec, path):
        return _group_arguments(value)
    return None


def join_list(path: Path, entries: Iterable[tuple[str, Any]]) -> tuple[Any, ...]:
    """The list of these entries. Of arguments, the words before the first flag come first, and
    those after `--` last: elsewhere they would mean something else."""
    found = list(entries)
    if path[-1] == "env" or path[0] in ("volumes", *KEYED_WORDS, *WORDS):
        return tuple(value for _, value in found)
    found.sort(key=lambda one: (one[0] != "", one[0] == "--"))
    return tuple(word for _, words in found for word in words)


def _by_key(values: Sequence[T], key: Callable[[T], str]) -> list[tuple[str, T]]:
    return [(key(one), one) for one in values]


def _is_arguments_setting(spec: ServingSpec, path: Path) -> bool:
    return path[0] == "settings" and any(
        one.name == path[-1] and one.kind is InputKind.ARGUMENTS
        for one in spec.template_definition.fields
    )


def _group_arguments(words: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Each flag with the words that follow it; what follows `--` is one group."""
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        is_last = bool(groups) and groups[-1][0] == "--"
        if not is_last and (word == "--" or is_flag(word)):
            groups.append((normalize_flag(word.partition("=")[0]), [word]))
        elif groups:
            groups[-1][1].append(word)
        else:
            groups.append(("", [word]))
    return [(key, tuple(group)) for key, group in groups]
