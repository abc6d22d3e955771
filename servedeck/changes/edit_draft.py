"""The form of an existing serving: what was typed, compared with the serving as it was read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from servedeck.changes.draft import (
    LIST_FIELDS,
    VALUE_NOT_SAVED,
    Draft,
    DraftRow,
    env_var_document,
)
from servedeck.changes.plan import new_issues
from servedeck.serving.edit.assignments import Assignment, assign
from servedeck.serving.edit.differences import FieldDifference, find_field_differences
from servedeck.serving.edit.entries import Path
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.mapping.volumes import normalize_path
from servedeck.serving.spec.spec import ServingSpec, issues_from_error
from servedeck.serving.spec.types import EnvVar, Transformer, Volume

READ_ONLY_FIELDS = ("name", "namespace", "template")
"""Fields that an existing serving keeps."""


class EditDraft:
    """A draft, and the serving that it changes. A field whose texts are as they were read keeps its
    value exactly, whatever the form can show of it: an unchanged form changes nothing."""

    def __init__(self, base: ServingSpec) -> None:
        self.base = base
        """The serving as it was read."""
        self.base_draft = Draft.from_spec(base)
        self.draft = Draft.from_spec(base)

    @property
    def changed_paths(self) -> tuple[str, ...]:
        """Paths of the changed texts, and of the lists with changed rows."""
        before, after = self.base_draft, self.draft
        texts = dict.fromkeys((*before.texts, *after.texts))
        found = [path for path in texts if before.texts.get(path, "") != after.texts.get(path, "")]
        found += [
            path for path in LIST_FIELDS if _typed_rows(before, path) != _typed_rows(after, path)
        ]
        return tuple(path for path in found if path not in READ_ONLY_FIELDS)

    @classmethod
    def resume(cls, current: ServingSpec, saved: Draft) -> tuple[EditDraft, list[MergeConflict]]:
        """A saved draft on top of the serving as it is now, and the values that others have changed
        since, too: those stay as they were typed."""
        edit = cls(current)
        base = saved.base
        if base is None:
            return edit, []
        before, mine = cls(current), cls(current)
        for path, text in saved.texts.items():
            if text != base.texts.get(path, "") and path not in READ_ONLY_FIELDS:
                mine.draft.texts[path] = text
                before.draft.texts[path] = base.texts.get(path, "")
        for path in LIST_FIELDS:
            if _typed_rows(saved, path) != _typed_rows(base, path):
                mine.draft.rows[path] = _with_secrets(saved.rows[path], edit.draft.rows[path])
                before.draft.rows[path] = _with_secrets(base.rows[path], edit.draft.rows[path])
        edit.draft.omitted_secrets = saved.omitted_secrets & set(mine.changed_paths)
        edit.draft.focused_field = saved.focused_field
        (old, _), (wanted, _) = before._read(), mine._read()
        if old is None or wanted is None:  # it cannot be compared before it is corrected
            edit.draft.texts, edit.draft.rows = mine.draft.texts, mine.draft.rows
            return edit, []
        conflicts = merge_fields(old, wanted, current).conflicts
        keep = dict.fromkeys(conflicts, Side.MINE)
        merged = Draft.from_spec(merge_fields(old, wanted, current, keep).spec)
        edit.draft.texts, edit.draft.rows = merged.texts, merged.rows
        _mark_omitted_values(edit.draft, mine.draft)
        return edit, list(conflicts)

    # -- the wanted serving ---------------------------------------------------------------------

    def validate(self) -> tuple[ServingSpec | None, list[Issue]]:
        """The wanted serving, None if a field cannot be parsed, and the errors and warnings that
        the change brings."""
        spec, found = self._read()
        unread = self.draft.unread_issues()
        if spec is None:
            return None, [*found, *unread]
        return spec, [*new_issues(self.base, spec), *unread]

    def differences(self, spec: ServingSpec) -> tuple[FieldDifference, ...]:
        """What the wanted serving changes, value by value."""
        return find_field_differences(self.base, spec)

    def _read(self) -> tuple[ServingSpec | None, list[Issue]]:
        changed = self.changed_paths
        texts = [
            Assignment(path, self.draft.texts.get(path, ""))
            for path in changed
            if path in self.draft.texts and not path.startswith("transformer.")
        ]
        spec, found = assign(self.base, texts)
        problems = list(found)
        lists: dict[str, Any] = {}
        for name, path in (("volumes", "volumes"), ("env", "env")):
            if path in changed:
                lists[name] = self._entries(path)
        if any(path.startswith("transformer.") for path in changed):
            lists["transformer"] = self._transformer()
        try:
            spec = None if spec is None else spec.replace(**lists)
            if spec is None and lists:
                self.base.replace(**lists)  # for its errors
        except ValidationError as failure:
            problems += issues_from_error(failure)
            spec = None
        return (None if errors(problems) else spec), problems

    def _entries(self, path: str) -> list[Any]:
        """The rows of a list: those that were read as they are, the others as documents."""
        entries: Sequence[EnvVar | Volume]
        if path == "volumes":
            entries = self.base.volumes
        elif path == "env":
            entries = self.base.env
        else:
            entries = self.base.transformer.env if self.base.transformer is not None else ()
        unchanged = list(zip(self.base_draft.rows[path], entries, strict=True))
        found: list[Any] = []
        for row in _typed_rows(self.draft, path):
            same = next((one for one in unchanged if one[0] == row), None)
            if same is not None:
                unchanged.remove(same)
                found.append(same[1])
            else:
                found.append(_row_document(path, row))
        return found

    def _transformer(self) -> Any:
        if not self.draft.has_transformer:
            return None
        values: dict[str, Any] = {
            name: self.draft.texts[f"transformer.{name}"] for name in ("image", "port", "command")
        }
        if isinstance(before := self.base.transformer, Transformer):
            for name in values:
                path = f"transformer.{name}"
                if self.draft.texts[path] == self.base_draft.texts[path]:
                    values[name] = getattr(before, name)
        return {**values, "env": self._entries("transformer.env")}

    # -- changes of the form --------------------------------------------------------------------

    def reset(self, path: str) -> bool:
        """Give a field, or the row of a list that contains it, the value that was read; False if it
        has it."""
        row, index = self._find_row(path)
        if not row:
            before = self.base_draft.texts.get(path)
            if before is None or before == self.draft.texts.get(path):
                return False
            self.draft.texts[path] = before
            return True
        rows = self.draft.rows[row]
        same = next(self._rows_of(row, rows[index]), None)
        if same == rows[index]:
            return False
        if same is None:
            del rows[index]
        else:
            rows[index] = dict(same)
        return True

    def reset_value(self, path: Path) -> None:
        """Give a value of `servedeck.serving.edit.entries` what was read; of a single argument, the
        whole command line."""
        match path:
            case ("env" | "volumes" as name, key):
                self._reset_row(name, key)
            case ("transformer", "env", key):
                self._reset_row("transformer.env", key)
            case ("env" | "volumes" as name,):
                self.draft.rows[name] = copy.deepcopy(self.base_draft.rows[name])
            case ("transformer", "env"):
                rows = self.base_draft.rows["transformer.env"]
                self.draft.rows["transformer.env"] = copy.deepcopy(rows)
            case ("accelerator", *_):
                self.reset("accelerator")
                self.reset("accelerator_count")
            case ("settings" | "transformer" as name, part, *_):
                self.reset(f"{name}.{part}")
            case (name, *_):
                self.reset(name)

    def _reset_row(self, name: str, key: str) -> None:
        before = self.base_draft.rows[name]
        at = next((at for at, row in enumerate(before) if _row_key(name, row) == key), None)
        rows = [row for row in self.draft.rows[name] if _row_key(name, row) != key]
        if at is not None:
            rows.insert(at, dict(before[at]))
        self.draft.rows[name] = rows

    def is_changed(self, path: str) -> bool:
        """Whether a field, or the row of a list that contains it, differs from what was read."""
        row, index = self._find_row(path)
        if not row:
            return self.draft.texts.get(path, "") != self.base_draft.texts.get(path, "")
        return self.draft.rows[row][index] not in self.base_draft.rows[row]

    def base_text(self, path: str) -> str:
        """The text of a single field that was read."""
        return self.base_draft.texts.get(path, "")

    def base_row(self, path: str) -> DraftRow | None:
        """The row that was read of a path in a list, {} for a new one; None for a single field."""
        name, index = self._find_row(path)
        if not name:
            return None
        return next(self._rows_of(name, self.draft.rows[name][index]), {})

    def _find_row(self, path: str) -> tuple[str, int]:
        """List and index of the row of a path; ("", 0) for a single field."""
        for name in LIST_FIELDS:
            index = path.removeprefix(f"{name}.").partition(".")[0]
            is_row = path.startswith(f"{name}.") and index.isdigit()
            if is_row and int(index) < len(self.draft.rows[name]):
                return name, int(index)
        return "", 0

    def _rows_of(self, path: str, row: DraftRow) -> Iterator[DraftRow]:
        """The rows that were read with the key of a row."""
        key = _row_key(path, row)
        return (one for one in self.base_draft.rows[path] if _row_key(path, one) == key)

    def set_base(self, base: ServingSpec, merged: ServingSpec) -> None:
        """Others have changed the serving: `base` is what it is now, `merged` the form's changes on
        top of it. A text that cannot be parsed yet stays as it was typed."""
        changed = self.changed_paths
        old = copy.deepcopy(self.draft)
        spec, _ = self._read()
        self.base, self.base_draft = base, Draft.from_spec(base)
        shown = Draft.from_spec(merged)
        self.draft.texts, self.draft.rows = shown.texts, shown.rows
        if spec is None:
            for path in changed:
                if path in old.texts:
                    self.draft.texts[path] = old.texts[path]
                else:
                    self.draft.rows[path] = old.rows[path]


def _typed_rows(draft: Draft, path: str) -> list[DraftRow]:
    """The rows of a list without empty ones."""
    return [
        row
        for row in draft.rows[path]
        if any(text for name, text in row.items() if name not in ("source", "read_only"))
    ]


def _row_key(path: str, row: DraftRow) -> str:
    """What identifies a row of a list: the name of a variable, where a volume is mounted."""
    return normalize_path(row["mount_path"]) if path == "volumes" else row["name"]


def _with_secrets(rows: list[DraftRow], current: list[DraftRow]) -> list[DraftRow]:
    """The rows with the values that are not saved in the draft's file, from the serving."""
    by_name = {row["name"]: row for row in current if "value" in row}
    return [
        dict(by_name[row["name"]])
        if row.get("key") == VALUE_NOT_SAVED and row["name"] in by_name
        else dict(row)
        for row in rows
    ]


def _mark_omitted_values(draft: Draft, typed: Draft) -> None:
    """Mark the variables of `draft` whose values are not in the draft's file `typed`."""
    for path in ("env", "transformer.env"):
        omitted = {row["name"] for row in typed.rows[path] if row["key"] == VALUE_NOT_SAVED}
        for row in draft.rows[path]:
            if row["name"] in omitted and not (row["value"] or row["source"]):
                row["key"] = VALUE_NOT_SAVED


def _row_document(path: str, row: DraftRow) -> dict[str, Any]:
    if path == "volumes":
        return {key: row[key] for key in ("pvc", "mount_path", "read_only")}
    return env_var_document(row)
