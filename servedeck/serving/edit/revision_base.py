"""What a second revision of a serving began from, kept in an annotation of its Deployment: a digest
of each value that the first serving had then, but no value. It tells what was changed in the second
revision since, and what in the first one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from servedeck.serving.conventions import REVISION_BASE_ANNOTATION, REVISION_LABEL
from servedeck.serving.edit.entries import (
    ABSENT,
    FIELD_GROUPS,
    UNKNOWN,
    Path,
    join_list,
    join_values,
    list_entries,
    list_keys,
    split_spec,
)
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import ServingSpec

KEPT_FIELDS = frozenset(
    {
        "name",
        "namespace",
        "description",
        "revision_of",
        "replicas",  # see `take_over` of `takeover`
        *SCALING_FIELDS,
        *LOAD_BALANCING_FIELDS,
    }
)
"""What says which serving it is, and how its endpoint is operated: the first serving keeps it."""
_DIGEST_LENGTH = 16

Digests = Mapping[str, str | Mapping[str, str]]
"""By the path of a value, its parts joined with ".", the digest of it; of a list whose entries have
different keys, that of each entry, in order."""


@dataclass(frozen=True, slots=True)
class RevisionBase:
    """What a second revision began from."""

    serving: str
    """Name of the first serving."""
    model: str
    """The served model name that the second revision was given as an argument; "" for none."""
    digests: Digests

    def encode(self) -> str:
        """The value of the annotation."""
        values = {"of": self.serving, "model": self.model, "digests": self.digests}
        return json.dumps(values, separators=(",", ":"))


def read_revision_base(deployment: JsonObject) -> RevisionBase | None:
    """What a second revision began from; None if its Deployment does not say it, or says it of
    another serving than the one whose revision it is."""
    metadata = as_mapping(deployment, "metadata")
    text = as_str(as_mapping(metadata, "annotations").get(REVISION_BASE_ANNOTATION))
    serving = as_str(as_mapping(metadata, "labels").get(REVISION_LABEL))
    found = decode_revision_base(text)
    return found if found is not None and found.serving == serving else None


def decode_revision_base(text: str) -> RevisionBase | None:
    """The inverse of `RevisionBase.encode`; None for another text."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    digests = as_mapping(data).get("digests")
    if not isinstance(digests, Mapping) or not digests:
        return None
    known: dict[str, str | Mapping[str, str]] = {}
    for key, one in digests.items():
        if isinstance(one, Mapping):
            known[key] = {name: as_str(digest) for name, digest in one.items()}
        else:
            known[key] = as_str(one)
    return RevisionBase(as_str(data.get("of")), as_str(data.get("model")), known)


def find_digests(spec: ServingSpec) -> Digests:
    """Those of the values that a first serving may take over."""
    found: dict[str, str | Mapping[str, str]] = {}
    for path, value in split_spec(spec).items():
        if path[0] in KEPT_FIELDS:
            continue
        entries = _entries(spec, path, value)
        found[_key(path)] = (
            _digest(value)
            if entries is None
            else {key: _digest(entry) for key, entry in entries.items()}
        )
    return found | {"transformer": _digest(spec.transformer)}  # also of none


def _key(path: Path) -> str:
    return ".".join(path)


def _entries(spec: ServingSpec, path: Path, value: Any) -> dict[str, Any] | None:
    """The entries of a list whose keys differ; None for anything else."""
    if list_keys(spec, path, value) is None:
        return None
    return dict(list_entries(spec, path, value) or ())


def _digest(value: Any) -> str:
    text = json.dumps(_plain(value), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return _plain(value.model_dump(exclude_defaults=True))
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case tuple() | list():
            return [_plain(one) for one in value]
        case None | bool() | int() | str():
            return value
    return str(value)


# -- merging --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RevisionMerge:
    spec: ServingSpec
    conflicts: tuple[MergeConflict, ...]
    """Values that both changed since, each to another one; `base` is UNKNOWN where nothing has the
    value any more."""


def merge_revision(
    base: RevisionBase, first: ServingSpec, revision: ServingSpec, side: Side
) -> RevisionMerge:
    """What either changed since the second revision began, on top of `first`, the first serving as
    a new second revision would have its settings. A conflict gets the value of `side`: MINE is the
    second revision. The fields of `KEPT_FIELDS` mean nothing in the result."""
    reconstruction = _Reconstruction(base, first, revision, side)
    began = reconstruction.run()
    merge = merge_fields(began, revision, first)
    conflicts = (*reconstruction.conflicts, *merge.conflicts)
    if merge.conflicts and side is Side.MINE:
        merge = merge_fields(began, revision, first, dict.fromkeys(merge.conflicts, side))
    found = tuple(one for one in conflicts if one.path[0] not in KEPT_FIELDS)
    return RevisionMerge(merge.spec, found)


class _Reconstruction:
    """The first serving as it was when the second revision began, as far as one of the two has its
    values still. Elsewhere it has the value of that side which is not to be chosen."""

    def __init__(
        self, base: RevisionBase, first: ServingSpec, revision: ServingSpec, side: Side
    ) -> None:
        self._digests = base.digests
        self._first, self._revision = first, revision
        self._first_digests, self._revision_digests = map(find_digests, (first, revision))
        self._side = side
        self.conflicts: list[MergeConflict] = []

    def run(self) -> ServingSpec:
        theirs, mine = (
            split_spec(one, self._first, self._revision) for one in (self._first, self._revision)
        )
        known = {key.partition(".")[0] for key in self._digests}
        values: dict[Path, Any] = {}
        for path in dict.fromkeys((*theirs, *mine)):
            # A field that the servedeck which began it did not have is as it is now.
            if path[0] in KEPT_FIELDS or path[0] not in known:
                continue
            value = self._value(path, *(one.get(path, ABSENT) for one in (theirs, mine)))
            if value is not ABSENT:
                values[path] = value
        return join_values(self._first, values)

    def _value(self, path: Path, theirs: Any, mine: Any) -> Any:
        if theirs == mine:
            return theirs
        began = self._select(self._digests, path)
        for digests, value in ((self._first_digests, theirs), (self._revision_digests, mine)):
            if _is_same(self._select(digests, path), began):
                return value
        entries = self._digests.get(_key(path))
        first = _entries(self._first, path, theirs)
        second = _entries(self._revision, path, mine)
        if isinstance(entries, Mapping) and first is not None and second is not None:
            return self._list(path, entries, first, second)
        return self._unknown(path, theirs, mine)

    def _select(self, digests: Digests, path: Path) -> Digests:
        """The digests of a value; of one with all that depends on it, those of the parts."""
        group = FIELD_GROUPS.get(path[0], ()) if len(path) == 1 else ()
        if group and getattr(self._first, path[0]) != getattr(self._revision, path[0]):
            return {key: one for key, one in digests.items() if key.partition(".")[0] in group}
        key = _key(path)
        return {key: digests[key]} if key in digests else {}

    def _list(
        self,
        path: Path,
        began: Mapping[str, str],
        theirs: Mapping[str, Any],
        mine: Mapping[str, Any],
    ) -> tuple[Any, ...]:
        found: list[tuple[str, Any]] = []
        for key in dict.fromkeys((*began, *theirs, *mine)):
            first, second = (one.get(key, ABSENT) for one in (theirs, mine))
            digest = began.get(key, "")
            if first == second or _entry_digest(first) == digest:
                value = first
            elif _entry_digest(second) == digest:
                value = second
            else:
                value = self._unknown((*path, key), first, second)
            if value is not ABSENT:
                found.append((key, value))
        return join_list(path, found)

    def _unknown(self, path: Path, theirs: Any, mine: Any) -> Any:
        self.conflicts.append(MergeConflict(path, UNKNOWN, theirs, mine))
        return mine if self._side is Side.THEIRS else theirs


def _is_same(one: Digests, other: Digests) -> bool:
    """Whether they are of the same value; of a list, in the same order."""
    return one == other and all(list(one[key]) == list(other[key]) for key in one)


def _entry_digest(value: Any) -> str:
    return "" if value is ABSENT else _digest(value)
