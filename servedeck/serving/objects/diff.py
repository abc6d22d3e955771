"""What differs between two states of an object, field by field, in words fit for a line.

Keys and values of stored objects are anybody's words: all that is returned here is sanitised, and
values that look secret are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.text import one_line, sanitise
from servedeck.serving.units import quantity

Manifest = Mapping[str, Any]

MASK = "••••••••"
_ABSENT: Final = object()


class Difference(NamedTuple):
    """A value that admission changed or added on its way in."""

    path: str
    sent: str
    """"" where it was added."""
    stored: str


class Change(NamedTuple):
    """A field of a stored object that a write would change."""

    path: str
    old: str
    """"none" where there is no such field."""
    new: str


class Conflict(NamedTuple):
    """A field that somebody else set and a write would set otherwise."""

    path: str
    manager: str
    """The field manager, as the server names it: "kubectl-set"."""
    theirs: str
    """"none" where it is not known."""
    ours: str


# -- what a write changes -----------------------------------------------------------------------


def changed(before: Manifest, after: Manifest) -> list[Change]:
    """Fields that differ between two answers of the server, in the order they stand in."""
    found: list[Change] = []
    _walk("", before, after, found)
    return found


def _walk(path: str, old: Any, new: Any, found: list[Change]) -> None:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        secret = _is_secret_variable(old) or _is_secret_variable(new)
        for key in dict.fromkeys((*old, *new)):
            one, other = old.get(key, _ABSENT), new.get(key, _ABSENT)
            if secret and key == "value" and one != other:
                one, other = (_ABSENT if v is _ABSENT else MASK for v in (one, other))
                found.append(_change(f"{path}.{key}", one, other))
            else:
                _walk(f"{path}.{key}", one, other, found)
    elif isinstance(old, list) and isinstance(new, list):
        _walk_lists(path, old, new, found)
    else:
        found.append(_change(path, old, new))


def _walk_lists(path: str, old: list[Any], new: list[Any], found: list[Change]) -> None:
    key = _KEYED_LISTS.get(path.rpartition(".")[2])
    if key is not None and all(isinstance(item, Mapping) for item in (*old, *new)):
        olds, news = ({str(item.get(key)): item for item in one} for one in (old, new))
        if len(olds) == len(old) and len(news) == len(new):
            for name in dict.fromkeys((*olds, *news)):
                one, other = olds.get(name, _ABSENT), news.get(name, _ABSENT)
                _walk(f"{path}[{name}]", one, other, found)
            if olds.keys() == news.keys() and list(olds) != list(news):
                found.append(_change(path, list(olds), list(news)))
            return
    if any(isinstance(item, (Mapping, list)) for item in (*old, *new)):
        for at in range(max(len(old), len(new))):
            one, other = (side[at] if at < len(side) else _ABSENT for side in (old, new))
            _walk(f"{path}[{at}]", one, other, found)
        return
    # Words of a command line: only those that differ, or one more at the front would show all.
    a_words, b_words = ([json.dumps(word) for word in side] for side in (old, new))
    shown_old, shown_new = _masked_words(old), _masked_words(new)
    steps = SequenceMatcher(None, a_words, b_words, autojunk=False).get_opcodes()
    for step, a, a_end, b, b_end in steps:
        if step == "equal":
            continue
        for offset in range(max(a_end - a, b_end - b)):
            one = shown_old[a + offset] if a + offset < a_end else _ABSENT
            other = shown_new[b + offset] if b + offset < b_end else _ABSENT
            at = a + offset if a + offset < a_end else b + offset
            found.append(_change(f"{path}[{at}]", one, other))


def _change(path: str, old: Any, new: Any) -> Change:
    return Change(_short(path), _shown(old), _shown(new))


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "none"
    return '""' if value == "" else _short(_masked(value))


# -- masking ------------------------------------------------------------------------------------


def _is_secret_variable(value: Mapping[str, Any]) -> bool:
    """Whether an entry of `env` holds a value that looks secret."""
    name, text = value.get("name"), value.get("value")
    return isinstance(name, str) and isinstance(text, str) and looks_secret(name, text)


def _masked(value: Any) -> Any:
    """The value with MASK in place of what looks secret."""
    if isinstance(value, Mapping):
        hidden = {"value": MASK} if _is_secret_variable(value) else {}
        return {key: _masked(one) for key, one in value.items()} | hidden
    if isinstance(value, list):
        plain = all(not isinstance(one, (Mapping, list)) for one in value)
        return _masked_words(value) if plain else [_masked(one) for one in value]
    return MASK if isinstance(value, str) and looks_secret("", value) else value


def _masked_words(words: Sequence[Any]) -> list[Any]:
    """Words of a command line; `--api-key=X` and `--api-key X` hide what follows the flag."""
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

_MANAGER = re.compile(r'conflict with "([^"]*)"')
_KEYS = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,\]"]+)')


def conflicts(
    causes: Iterable[Mapping[str, Any]], sent: Manifest, existing: Manifest
) -> tuple[Conflict, ...]:
    """Conflicts that the server's refusal names (apimachinery FieldManagerConflict), each with the
    value that stands there and the one that was sent."""
    found = []
    for cause in causes:
        path, match = cause.get("field"), _MANAGER.search(str(cause.get("message")))
        if isinstance(path, str) and path and match:
            theirs, ours = value_at(existing, path), value_at(sent, path)
            found.append(Conflict(_short(path), _short(match[1]), theirs, ours))
    return tuple(found)


def value_at(value: Any, path: str) -> str:
    """What stands at a path as the server writes it, `.spec.containers[name="c"].image`, in words;
    "none" where nothing does (structured-merge-diff fieldpath/element.go)."""
    parent: Any = None
    while path:
        if path[0] == "." and isinstance(value, Mapping):
            rest = path[1:]
            # a key may hold dots itself: the longest that fits
            fits = (k for k in value if rest == k or rest.startswith((f"{k}.", f"{k}[")))
            key = max(fits, key=len, default=None)
            if key is None:
                return "none"
            parent, value, path = value, value[key], rest[len(key) :]
        elif path[0] == "[" and isinstance(value, list):
            inside, _, path = path[1:].partition("]")
            value = next((one for one in value if _is_keyed(one, inside)), _ABSENT)
        else:
            return "none"
    if isinstance(parent, Mapping) and _is_secret_variable(parent) and value == parent["value"]:
        return MASK
    return _shown(value)


def _is_keyed(item: Any, inside: str) -> bool:
    keys = _KEYS.findall(inside)
    return (
        isinstance(item, Mapping)
        and bool(keys)
        and all(json.dumps(item.get(key)) == text for key, text in keys)
    )


# -- what admission does ------------------------------------------------------------------------


def admitted(sent: Manifest, stored: Manifest) -> list[Difference]:
    """What admission made of `sent`: values of ours that changed, and additions to the lists and
    maps that webhooks write to (containers, volumes, labels, annotations). Defaults that the API
    server fills in elsewhere are not differences."""
    found: list[Difference] = []
    _compare("", sent, stored, found)
    return found


_MAPS_OF_WEBHOOKS = ("labels", "annotations", "nodeSelector")
_KEYED_LISTS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "tolerations": "key",
}


def _compare(path: str, sent: Any, stored: Any, found: list[Difference]) -> None:
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        name = path.rpartition(".")[2]
        for key, value in sent.items():
            _compare(f"{path}.{key}", value, stored.get(key), found)
        for key in stored.keys() - sent.keys():
            if name in _MAPS_OF_WEBHOOKS or (name == "spec" and key in _KEYED_LISTS):
                found.append(_difference(f"{path}.{key}", "", stored[key]))
    elif isinstance(sent, Sequence) and not isinstance(sent, str) and isinstance(stored, Sequence):
        _compare_lists(path, sent, stored, found)
    elif not _equal(sent, stored):
        found.append(_difference(path, sent, stored))


def _compare_lists(
    path: str, sent: Sequence[Any], stored: Sequence[Any], found: list[Difference]
) -> None:
    key = _KEYED_LISTS.get(path.rpartition(".")[2])
    if key is None or not all(isinstance(item, Mapping) for item in (*sent, *stored)):
        if len(sent) != len(stored):
            found.append(_difference(path, sent, stored))
            return
        for index, (ours, theirs) in enumerate(zip(sent, stored, strict=True)):
            _compare(f"{path}[{index}]", ours, theirs, found)
        return
    theirs_by_key = {str(item.get(key)): item for item in stored}
    for item in sent:
        name = str(item.get(key))
        _compare(f"{path}[{name}]", item, theirs_by_key.pop(name, None), found)
    for name, item in theirs_by_key.items():
        found.append(_difference(f"{path}[{name}]", "", item))


def _equal(sent: Any, stored: Any) -> bool:
    """Equal as the API server stores it: an empty value is left out, a quantity is rewritten."""
    if sent == stored or (not sent and stored is None):
        return True
    try:
        return quantity(str(sent)) == quantity(str(stored))
    except ValueError:
        return False


def _difference(path: str, sent: Any, stored: Any) -> Difference:
    """Keys and values of a stored object are anybody's words."""
    return Difference(_short(path), _short(sent), _short(stored))


def _short(value: Any) -> str:
    if value is None:
        return "removed"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(sanitise(text))[:200]
