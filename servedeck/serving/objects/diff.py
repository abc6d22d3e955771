"""Differences between two states of an object by field, as single-line text.

Keys and values of stored objects are untrusted: all returned text is sanitized, and values that
look secret are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from servedeck.serving.quantity import parse_quantity
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.text import one_line, sanitize

Manifest = Mapping[str, Any]

MASK = "••••••••"
_MISSING: Final = object()


class AdmissionChange(NamedTuple):
    """A value that admission changed or added."""

    path: str
    sent: str
    """"" if it was added."""
    admitted: str


class FieldChange(NamedTuple):
    """A field of a stored object that a write would change."""

    path: str
    old: str
    """"none" if there is no such field."""
    new: str


class FieldConflict(NamedTuple):
    """A field that another manager set and a write would change."""

    path: str
    manager: str
    """The field manager, as the API server reports it: "kubectl-set"."""
    current: str
    """"none" if unknown."""
    desired: str


# -- what a write changes -----------------------------------------------------------------------


def diff_objects(before: Manifest, after: Manifest) -> list[FieldChange]:
    """Fields that differ between two responses of the API server, in the order of the object."""
    found: list[FieldChange] = []
    _diff_values("", before, after, found)
    return found


def _diff_values(path: str, old: Any, new: Any, found: list[FieldChange]) -> None:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        secret = _is_secret_env_var(old) or _is_secret_env_var(new)
        for key in dict.fromkeys((*old, *new)):
            one, other = old.get(key, _MISSING), new.get(key, _MISSING)
            if secret and key == "value" and one != other:
                one, other = (_MISSING if v is _MISSING else MASK for v in (one, other))
                found.append(_field_change(f"{path}.{key}", one, other))
            else:
                _diff_values(f"{path}.{key}", one, other, found)
    elif isinstance(old, list) and isinstance(new, list):
        _diff_lists(path, old, new, found)
    else:
        found.append(_field_change(path, old, new))


def _diff_lists(path: str, old: list[Any], new: list[Any], found: list[FieldChange]) -> None:
    key = _LIST_MAP_KEYS.get(path.rpartition(".")[2])
    if key is not None and all(isinstance(item, Mapping) for item in (*old, *new)):
        olds, news = ({str(item.get(key)): item for item in one} for one in (old, new))
        if len(olds) == len(old) and len(news) == len(new):
            for name in dict.fromkeys((*olds, *news)):
                one, other = olds.get(name, _MISSING), news.get(name, _MISSING)
                _diff_values(f"{path}[{name}]", one, other, found)
            if olds.keys() == news.keys() and list(olds) != list(news):
                found.append(_field_change(path, list(olds), list(news)))
            return
    if any(isinstance(item, (Mapping, list)) for item in (*old, *new)):
        for at in range(max(len(old), len(new))):
            one, other = (side[at] if at < len(side) else _MISSING for side in (old, new))
            _diff_values(f"{path}[{at}]", one, other, found)
        return
    # Words of a command line: show only those that differ; otherwise one inserted at the start
    # would show all.
    a_words, b_words = ([json.dumps(word) for word in side] for side in (old, new))
    shown_old, shown_new = _mask_arguments(old), _mask_arguments(new)
    steps = SequenceMatcher(None, a_words, b_words, autojunk=False).get_opcodes()
    for step, a, a_end, b, b_end in steps:
        if step == "equal":
            continue
        for offset in range(max(a_end - a, b_end - b)):
            one = shown_old[a + offset] if a + offset < a_end else _MISSING
            other = shown_new[b + offset] if b + offset < b_end else _MISSING
            at = a + offset if a + offset < a_end else b + offset
            found.append(_field_change(f"{path}[{at}]", one, other))


def _field_change(path: str, old: Any, new: Any) -> FieldChange:
    return FieldChange(_one_line_text(path), _format_value(old), _format_value(new))


def _format_value(value: Any) -> str:
    if value is _MISSING:
        return "none"
    return '""' if value == "" else _one_line_text(_mask_secrets(value))


# -- masking ------------------------------------------------------------------------------------


def _is_secret_env_var(value: Mapping[str, Any]) -> bool:
    """Whether an entry of `env` contains a value that looks secret."""
    name, text = value.get("name"), value.get("value")
    return isinstance(name, str) and isinstance(text, str) and looks_secret(name, text)


def _mask_secrets(value: Any) -> Any:
    """The value, with MASK instead of the parts that look secret."""
    if isinstance(value, Mapping):
        hidden = {"value": MASK} if _is_secret_env_var(value) else {}
        return {key: _mask_secrets(one) for key, one in value.items()} | hidden
    if isinstance(value, list):
        plain = all(not isinstance(one, (Mapping, list)) for one in value)
        return _mask_arguments(value) if plain else [_mask_secrets(one) for one in value]
    return MASK if isinstance(value, str) and looks_secret("", value) else value


def _mask_arguments(words: Sequence[Any]) -> list[Any]:
    """Words of a command line; `--api-key=X` and `--api-key X` mask the value after the flag."""
    found: list[Any] = []
    before = ""
    for word in words:
        if not isinstance(word, str):
            found.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = before if before.startswith("-") and "=" not in before else ""
        if equals and looks_secret(name.lstrip("-"), value):
            found.append(f"{name}={MASK}")
        elif looks_secret("", word) or (
            flag and not word.startswith("-") and looks_secret(flag.lstrip("-"), word)
        ):
            found.append(MASK)
        else:
            found.append(word)
        before = word
    return found


# -- conflicts ----------------------------------------------------------------------------------

_CONFLICT_MANAGER_PATTERN = re.compile(r'conflict with "([^"]*)"')
_LIST_KEY_PATTERN = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,\]"]+)')


def parse_conflicts(
    causes: Iterable[Mapping[str, Any]], sent: Manifest, existing: Manifest
) -> tuple[FieldConflict, ...]:
    """Conflicts in the API server's error response (apimachinery FieldManagerConflict), each with
    the current value and the one that was sent."""
    found = []
    for cause in causes:
        path, match = (
            cause.get("field"),
            _CONFLICT_MANAGER_PATTERN.search(str(cause.get("message"))),
        )
        if isinstance(path, str) and path and match:
            theirs, ours = format_value_at(existing, path), format_value_at(sent, path)
            found.append(
                FieldConflict(_one_line_text(path), _one_line_text(match[1]), theirs, ours)
            )
    return tuple(found)


def format_value_at(value: Any, path: str) -> str:
    """Text of the value at a path in the API server's notation, `.spec.containers[name="c"].image`;
    "none" if it does not exist (structured-merge-diff fieldpath/element.go)."""
    parent: Any = None
    while path:
        if path[0] == "." and isinstance(value, Mapping):
            rest = path[1:]
            # a key may contain dots: the longest match
            fits = (k for k in value if rest == k or rest.startswith((f"{k}.", f"{k}[")))
            key = max(fits, key=len, default=None)
            if key is None:
                return "none"
            parent, value, path = value, value[key], rest[len(key) :]
        elif path[0] == "[" and isinstance(value, list):
            inside, _, path = path[1:].partition("]")
            value = next((one for one in value if _matches_list_key(one, inside)), _MISSING)
        else:
            return "none"
    if isinstance(parent, Mapping) and _is_secret_env_var(parent) and value == parent["value"]:
        return MASK
    return _format_value(value)


def _matches_list_key(item: Any, selector: str) -> bool:
    keys = _LIST_KEY_PATTERN.findall(selector)
    return (
        isinstance(item, Mapping)
        and bool(keys)
        and all(json.dumps(item.get(key)) == text for key, text in keys)
    )


# -- what admission does ------------------------------------------------------------------------


def admission_changes(sent: Manifest, stored: Manifest) -> list[AdmissionChange]:
    """What admission changed in `sent`: changed values, and additions to the lists and maps that
    webhooks write to (containers, volumes, labels, annotations). Defaults that the API server sets
    elsewhere are ignored."""
    found: list[AdmissionChange] = []
    _compare_values("", sent, stored, found)
    return found


_WEBHOOK_MAPS = ("labels", "annotations", "nodeSelector")
_LIST_MAP_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "tolerations": "key",
}


def _compare_values(path: str, sent: Any, stored: Any, found: list[AdmissionChange]) -> None:
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        name = path.rpartition(".")[2]
        for key, value in sent.items():
            _compare_values(f"{path}.{key}", value, stored.get(key), found)
        for key in stored.keys() - sent.keys():
            if name in _WEBHOOK_MAPS or (name == "spec" and key in _LIST_MAP_KEYS):
                found.append(_admission_change(f"{path}.{key}", "", stored[key]))
    elif isinstance(sent, Sequence) and not isinstance(sent, str) and isinstance(stored, Sequence):
        _compare_lists(path, sent, stored, found)
    elif not _equal_when_stored(sent, stored):
        found.append(_admission_change(path, sent, stored))


def _compare_lists(
    path: str, sent: Sequence[Any], stored: Sequence[Any], found: list[AdmissionChange]
) -> None:
    key = _LIST_MAP_KEYS.get(path.rpartition(".")[2])
    if key is None or not all(isinstance(item, Mapping) for item in (*sent, *stored)):
        if len(sent) != len(stored):
            found.append(_admission_change(path, sent, stored))
            return
        for index, (ours, theirs) in enumerate(zip(sent, stored, strict=True)):
            _compare_values(f"{path}[{index}]", ours, theirs, found)
        return
    theirs_by_key = {str(item.get(key)): item for item in stored}
    for item in sent:
        name = str(item.get(key))
        _compare_values(f"{path}[{name}]", item, theirs_by_key.pop(name, None), found)
    for name, item in theirs_by_key.items():
        found.append(_admission_change(f"{path}[{name}]", "", item))


def _equal_when_stored(sent: Any, stored: Any) -> bool:
    """Equal as stored by the API server: an empty value is omitted, a quantity is rewritten."""
    if sent == stored or (not sent and stored is None):
        return True
    try:
        return parse_quantity(str(sent)) == parse_quantity(str(stored))
    except ValueError:
        return False


def _admission_change(path: str, sent: Any, stored: Any) -> AdmissionChange:
    """Sanitize: keys and values of a stored object are untrusted."""
    return AdmissionChange(_one_line_text(path), _one_line_text(sent), _one_line_text(stored))


def _one_line_text(value: Any) -> str:
    if value is None:
        return "removed"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(sanitize(text))[:200]
