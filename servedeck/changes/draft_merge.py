"""Merging texts and rows of drafts, where they cannot be merged as values of a serving: what was
typed may not be readable yet."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from servedeck.changes.draft import LIST_FIELDS, TRANSFORMER_TEXTS, Draft, DraftRow
from servedeck.serving.edit.entries import FIELD_GROUPS, TEMPLATE_FIELDS, Path
from servedeck.serving.spec.mount_paths import normalize_path

_INCOMPLETE_WITHOUT = ("source", "read_only")
"""Parts of a row that it has before anything is typed."""


def is_blank(row: DraftRow) -> bool:
    return not any(text for name, text in row.items() if name not in _INCOMPLETE_WITHOUT)


def typed_rows(draft: Draft, path: str) -> list[DraftRow]:
    """The rows of a list without empty ones."""
    return [row for row in draft.rows[path] if not is_blank(row)]


def row_key(path: str, row: DraftRow) -> str:
    """What identifies a row of a list: the name of a variable, where a volume is mounted."""
    return normalize_path(row["mount_path"]) if path == "volumes" else row["name"]


def find_row(draft: Draft, path: str, key: str) -> DraftRow | None:
    """The first row of a list with this key."""
    return next((row for row in draft.rows[path] if row_key(path, row) == key), None)


def entry_path(path: str, *key: str) -> Path:
    """The path in `servedeck.serving.edit.entries` of a text or a row of a draft."""
    return (*path.split("."), *key)


# -- values -------------------------------------------------------------------------------------


def copy_value(source: Draft, target: Draft, path: Path) -> None:
    """Give `target` the texts or rows that `source` has of a value of
    `servedeck.serving.edit.entries`; of a single argument, the whole command line."""
    match path:
        case ("env" | "volumes" as name, key):
            _copy_row(source, target, name, key)
        case ("transformer", "env", key):
            _copy_row(source, target, "transformer.env", key)
        case ("env" | "volumes" as name,):
            target.rows[name] = copy.deepcopy(source.rows[name])
        case ("transformer", "env"):
            target.rows["transformer.env"] = copy.deepcopy(source.rows["transformer.env"])
        case ("transformer",):
            for part in TRANSFORMER_TEXTS:
                _copy_text(source, target, f"transformer.{part}")
            target.rows["transformer.env"] = copy.deepcopy(source.rows["transformer.env"])
        case ("template", *_):
            for text in {**source.texts, **target.texts}:
                if text.partition(".")[0] in TEMPLATE_FIELDS:
                    _copy_text(source, target, text)
        case (name,) if name in FIELD_GROUPS:
            for one in FIELD_GROUPS[name]:
                _copy_text(source, target, one)
        case ("settings" | "transformer" as name, part, *_):
            _copy_text(source, target, f"{name}.{part}")
        case (name, *_):
            _copy_text(source, target, name)


def _copy_text(source: Draft, target: Draft, path: str) -> None:
    if path in source.texts:
        target.texts[path] = source.texts[path]
    else:
        target.texts.pop(path, None)


def _copy_row(source: Draft, target: Draft, name: str, key: str) -> None:
    before = source.rows[name]
    at = next((at for at, row in enumerate(before) if row_key(name, row) == key), None)
    rows = [row for row in target.rows[name] if row_key(name, row) != key]
    if at is not None:
        rows.insert(at, dict(before[at]))
    target.rows[name] = rows


# -- versions -----------------------------------------------------------------------------------


def merge_rows(
    path: str, typed: Sequence[DraftRow], before: Draft, now: Draft
) -> tuple[list[DraftRow], list[str]]:
    """The rows `typed` on top of `before`, moved on top of `now`: a row that was not changed is as
    it is now; and the keys of those that were changed on both sides, which stay as typed."""
    found: list[DraftRow] = []
    conflicts: list[str] = []
    keys = {row_key(path, row) for row in typed}
    for row in typed:
        key = row_key(path, row)
        old, new = (find_row(one, path, key) for one in (before, now))
        if is_blank(row) or old == new:
            found.append(dict(row))
        elif row == old:
            found += [dict(new)] if new is not None else []
        else:
            found.append(dict(row))
            conflicts += [key] if row != new else []
    for row in now.rows[path]:
        key = row_key(path, row)
        old = find_row(before, path, key)
        if key not in keys and old is None:
            found.append(dict(row))
        elif key not in keys and old != row:
            conflicts.append(key)
    return found, conflicts


def rebase_version(version: dict[str, Any], before: Draft, now: Draft) -> dict[str, Any]:
    """A version of a draft of `before`, as `Draft.to_dict` returns it, as one of `now`."""
    texts = {
        path: now.texts.get(path, "") if text == before.texts.get(path, "") else text
        for path, text in version["texts"].items()
    }
    rows = {path: merge_rows(path, version["rows"][path], before, now)[0] for path in LIST_FIELDS}
    return {"texts": {**{path: now.texts[path] for path in now.texts}, **texts}, "rows": rows}


def moved_path(
    path: str, before: Mapping[str, Sequence[DraftRow]], now: Mapping[str, Sequence[DraftRow]]
) -> str:
    """The path of a field after the rows of its list have changed: that of the same row."""
    head, _, part = path.rpartition(".")
    name, _, index = head.rpartition(".")
    if name not in before or not index.isdigit() or int(index) >= len(before[name]):
        return path
    row = before[name][int(index)]
    keys = [row_key(name, one) for one in now[name]]
    same = [at for at, key in enumerate(keys) if key == row_key(name, row)]
    return f"{name}.{same[0]}.{part}" if same else path
