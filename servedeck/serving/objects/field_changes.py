"""Differences between two states of an object by field, as single-line text.

Keys and values of stored objects are untrusted: all returned text is sanitized, and values that
look secret are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from servedeck.serving.objects.diff import (
    LIST_KEYS,
    MISSING,
    Difference,
    FieldPath,
    ListKey,
    PathStep,
    find_differences,
    format_path,
    same_quantity,
    same_value,
)
from servedeck.serving.objects.managed_fields import ForeignField
from servedeck.serving.objects.secret_values import mask_arguments, mask_at
from servedeck.serving.text import MASK, one_line, sanitize

Manifest = Mapping[str, Any]

MAX_VALUE_LENGTH = 200
"""Characters of a value, unless a caller asks for more."""


REMOVED = "removed"
"""What admission made of a value that is not stored."""


class AdmissionChange(NamedTuple):
    """A value that admission changed or added."""

    path: str
    sent: str
    """"" if it was added."""
    admitted: str
    """REMOVED if it was removed."""


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


def find_field_changes(before: Manifest, after: Manifest) -> list[FieldChange]:
    """Fields that differ between two responses of the API server, in the order of the object."""
    return format_differences(find_differences(before, after))


def format_differences(
    differences: Iterable[Difference], max_length: int = MAX_VALUE_LENGTH
) -> list[FieldChange]:
    """The differences as text, at most `max_length` characters of each value."""
    return [change for one in differences for change in _field_changes(one, max_length)]


def _field_changes(difference: Difference, max_length: int) -> Iterator[FieldChange]:
    path, old, new = difference
    is_order = bool(path) and path[-1] in LIST_KEYS
    if isinstance(old, list) and isinstance(new, list) and not is_order:
        yield from _word_changes(path, old, new, max_length)
    else:
        yield _field_change(path, *_mask_both(path, old, new), max_length)


def _mask_both(path: FieldPath, old: Any, new: Any) -> tuple[Any, Any]:
    """Both values of a field; if one of them is a secret, so is the other."""
    old, new = (mask_at(path, one) for one in (old, new))
    if MASK not in (old, new):
        return old, new
    old, new = (one if one is MISSING or one in (None, "") else MASK for one in (old, new))
    return old, new


def _word_changes(
    path: FieldPath, old: list[Any], new: list[Any], max_length: int
) -> Iterator[FieldChange]:
    """Words of a command line: only those that differ; otherwise one inserted at the start would
    show all."""
    a_words, b_words = ([json.dumps(word) for word in side] for side in (old, new))
    shown_old, shown_new = mask_arguments(old), mask_arguments(new)
    steps = SequenceMatcher(None, a_words, b_words, autojunk=False).get_opcodes()
    for step, a, a_end, b, b_end in steps:
        if step == "equal":
            continue
        for offset in range(max(a_end - a, b_end - b)):
            one = shown_old[a + offset] if a + offset < a_end else MISSING
            other = shown_new[b + offset] if b + offset < b_end else MISSING
            at = a + offset if a + offset < a_end else b + offset
            yield _field_change((*path, at), one, other, max_length)


def _field_change(path: FieldPath, old: Any, new: Any, max_length: int) -> FieldChange:
    values = (_format_value(one, max_length) for one in (old, new))
    return FieldChange(_path_text(path), *values)


def _path_text(path: FieldPath) -> str:
    return _one_line_text(f".{format_path(path)}")


def _format_value(value: Any, max_length: int = MAX_VALUE_LENGTH) -> str:
    if value is MISSING:
        return "none"
    return '""' if value == "" else _one_line_text(value, max_length)


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


def foreign_conflict(field: ForeignField) -> FieldConflict:
    """A conflict about a field that others set and a write changes or removes."""
    old, new = (_format_value(one) for one in _mask_both(field.path, field.old, field.new))
    managers = _one_line_text(", ".join(field.managers) or "another manager")
    return FieldConflict(_path_text(field.path), managers, old, new)


def format_value_at(value: Any, path: str) -> str:
    """Text of the value at a path in the API server's notation, `.spec.containers[name="c"].image`;
    "none" if it does not exist (structured-merge-diff fieldpath/element.go)."""
    steps: list[PathStep] = []
    while path:
        if path[0] == "." and isinstance(value, Mapping):
            rest = path[1:]
            # a key may contain dots: the longest match
            fits = (k for k in value if rest == k or rest.startswith((f"{k}.", f"{k}[")))
            key = max(fits, key=len, default=None)
            if key is None:
                return "none"
            steps.append(key)
            value, path = value[key], rest[len(key) :]
        elif path[0] == "[" and isinstance(value, list):
            inside, _, path = path[1:].partition("]")
            value = next((one for one in value if _matches_list_key(one, inside)), MISSING)
            steps.append(ListKey(_list_key_values(inside)))
        else:
            return "none"
    return _format_value(mask_at(tuple(steps), value))


def _matches_list_key(item: Any, selector: str) -> bool:
    keys = _list_key_values(selector)
    return (
        isinstance(item, Mapping)
        and bool(keys)
        and all(same_value(item.get(key), value) for key, value in keys)
    )


def _list_key_values(selector: str) -> tuple[tuple[str, Any], ...]:
    """The keys in `name="server"`, with their values; None for one that is not JSON."""
    return tuple((key, _read_json(text)) for key, text in _LIST_KEY_PATTERN.findall(selector))


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


# -- what admission does ------------------------------------------------------------------------


def admission_changes(sent: Manifest, stored: Manifest) -> list[AdmissionChange]:
    """What admission changed in `sent`: changed values, and additions to the lists and maps that
    webhooks write to (containers, volumes, labels, annotations). Defaults that the API server sets
    elsewhere are ignored."""
    return [
        _admission_change(path, "" if old is MISSING else old, None if new is MISSING else new)
        for path, old, new in find_differences(sent, stored)
        if (_is_webhook_addition(path) if old is MISSING else not _is_stored_form(old, new))
    ]


def describe_admission(target: object, change: AdmissionChange) -> str:
    """A sentence about what admission changes in a write of `target`, "Deployment chat/llama"."""
    who = "An admission webhook or policy of the cluster"
    path = change.path.lstrip(".")
    if not change.sent:
        return f"{who} adds {path} to {target}."
    if change.admitted == REMOVED:
        return f"{who} removes {path} from {target}."
    return f"{who} sets {path} of {target} to {change.admitted}, not {change.sent}."


_WEBHOOK_MAPS = ("labels", "annotations", "nodeSelector")


def _is_webhook_addition(path: FieldPath) -> bool:
    last, parent = path[-1], path[-2] if len(path) > 1 else ""
    if not isinstance(last, str):
        return True  # an entry of a list
    return parent in _WEBHOOK_MAPS or (
        parent == "spec" and (last in LIST_KEYS or last == "tolerations")
    )


def _is_stored_form(sent: Any, stored: Any) -> bool:
    """Whether the API server stores `sent` in this form: it omits an empty value and rewrites a
    quantity."""
    if stored is MISSING:
        return not sent
    return same_quantity(sent, stored)


def _admission_change(path: FieldPath, sent: Any, stored: Any) -> AdmissionChange:
    """Sanitize: keys and values of a stored object are untrusted."""
    sent, stored = _mask_both(path, sent, stored)
    return AdmissionChange(_path_text(path), _one_line_text(sent), _one_line_text(stored))


def _one_line_text(value: Any, max_length: int = MAX_VALUE_LENGTH) -> str:
    if value is None:
        return REMOVED
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(sanitize(text))[:max_length]
