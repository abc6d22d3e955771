"""Differences between two states of an object by field, as single-line text.

Keys and values of stored objects are untrusted: all returned text is sanitized, and values that
look secret are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from servedeck.serving.objects.diff import (
    LIST_KEYS,
    MISSING,
    Difference,
    FieldPath,
    ListKey,
    find_differences,
    format_path,
    same_quantity,
)
from servedeck.serving.objects.managed_fields import ForeignField
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.text import MASK, one_line, sanitize

Manifest = Mapping[str, Any]

MAX_VALUE_LENGTH = 200
"""Characters of a value, unless a caller asks for more."""


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
    elif _is_secret_value(path, old) or _is_secret_value(path, new):
        masked_old, masked_new = (MISSING if one is MISSING else MASK for one in (old, new))
        yield _field_change(path, masked_old, masked_new, max_length)
    else:
        yield _field_change(path, old, new, max_length)


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
    return '""' if value == "" else _one_line_text(_mask_secrets(value), max_length)


# -- masking ------------------------------------------------------------------------------------


def _is_secret_env_var(value: Mapping[str, Any]) -> bool:
    """Whether an entry of `env` contains a value that looks secret."""
    name, text = value.get("name"), value.get("value")
    return isinstance(name, str) and isinstance(text, str) and looks_secret(name, text)


def _is_secret_value(path: FieldPath, value: Any) -> bool:
    """Whether the value of an entry of `env` looks secret, or it is that of a probe's HTTP header,
    whose path does not say which header it is."""
    entry = path[-2] if len(path) > 1 else ""
    if path[-1:] == ("value",) and "httpHeaders" in path:
        return True
    is_value = isinstance(entry, ListKey) and path[-1] == "value" and isinstance(value, str)
    return is_value and looks_secret(str(entry), value)


def _mask_secrets(value: Any) -> Any:
    """The value, with MASK instead of the parts that look secret."""
    if isinstance(value, Mapping):
        hidden = {"value": MASK} if _is_secret_env_var(value) else {}
        return {key: _mask_secrets(one) for key, one in value.items()} | hidden
    if isinstance(value, list):
        plain = all(not isinstance(one, (Mapping, list)) for one in value)
        return mask_arguments(value) if plain else [_mask_secrets(one) for one in value]
    return MASK if isinstance(value, str) and looks_secret("", value) else value


def mask_arguments(words: Sequence[Any]) -> list[Any]:
    """Words of a command line; `--api-key=X` and `--api-key X` mask the value after the flag, also
    within a word that is a shell script."""
    found: list[Any] = []
    before = ""
    for word in words:
        if not isinstance(word, str):
            found.append(word)
            continue
        if len(word.split()) > 1 and not _is_secret_word(word, before):
            found.append(_mask_script(word))
        else:
            found.append(_mask_word(word, before))
        before = word
    return found


def _mask_word(word: str, before: str) -> str:
    """A word of a command line, masked where the word before it, or its own name, say so."""
    if _is_secret_word(word, before):
        return MASK
    name, equals, value = word.partition("=")
    return f"{name}={MASK}" if equals and looks_secret(name.lstrip("-"), value) else word


def _is_secret_word(word: str, before: str) -> bool:
    """Whether the whole word looks secret by its shape, or as the value of the flag before it."""
    flag = before if before.startswith("-") and "=" not in before else ""
    is_value = bool(flag) and not word.startswith("-")
    return looks_secret("", word) or (is_value and looks_secret(flag.lstrip("-"), word))


_SCRIPT_WORD_PATTERN = re.compile(r"""'[^']*'|"[^"]*"|[^\s'",;]+""")


def _mask_script(script: str) -> str:
    """A shell script, or a value in quotes that may be one, word by word."""
    before = ""

    def mask(match: re.Match[str]) -> str:
        nonlocal before
        word, name = match[0], before.partition("=")
        before = word
        quote = word[0] if word[0] in "'\"" else ""
        inner = word[1:-1] if quote else word
        if name[1] and not name[2] and match.start() and script[match.start() - 1] == "=":
            if looks_secret(name[0].lstrip("-"), inner):
                return f"{quote}{MASK}{quote}"
        elif _is_secret_word(inner, "".join(name)):
            return f"{quote}{MASK}{quote}"
        return f"{quote}{_mask_script(inner)}{quote}" if quote else _mask_word(word, "")

    return _SCRIPT_WORD_PATTERN.sub(mask, script)


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
    old, new = (
        MASK if _is_secret_value(field.path, value) else _format_value(value)
        for value in (field.old, field.new)
    )
    managers = _one_line_text(", ".join(field.managers) or "another manager")
    return FieldConflict(_path_text(field.path), managers, old, new)


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
            value = next((one for one in value if _matches_list_key(one, inside)), MISSING)
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
    return [
        _admission_change(path, "" if old is MISSING else old, None if new is MISSING else new)
        for path, old, new in find_differences(sent, stored)
        if (_is_webhook_addition(path) if old is MISSING else not _is_stored_form(old, new))
    ]


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
    return AdmissionChange(_path_text(path), _one_line_text(sent), _one_line_text(stored))


def _one_line_text(value: Any, max_length: int = MAX_VALUE_LENGTH) -> str:
    if value is None:
        return "removed"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(sanitize(text))[:max_length]
