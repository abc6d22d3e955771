"""The form of an existing serving: what was typed, compared with the serving as it was read."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from servedeck.changes.draft import (
    LIST_FIELDS,
    TRANSFORMER_TEXTS,
    Draft,
    DraftRow,
    env_var_document,
)
from servedeck.changes.draft_merge import (
    copy_value,
    entry_path,
    find_row,
    is_blank,
    merge_rows,
    row_key,
    typed_rows,
)
from servedeck.changes.form_fields import applies
from servedeck.changes.plan import new_issues
from servedeck.changes.saved_edit import changed_texts, mark_omitted_values, with_secrets
from servedeck.serving.edit.assignments import Assignment, assign
from servedeck.serving.edit.differences import FieldDifference, find_edit_differences
from servedeck.serving.edit.entries import ABSENT, Path, list_entries, split_spec
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.issues import Issue, errors, warning
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.spec import ServingSpec, issues_from_error
from servedeck.serving.spec.types import EnvVar, Transformer, Volume

_ADD = "add."
"""Prefix of the path of the button that adds a row to a list."""

READ_ONLY_FIELDS = ("name", "namespace", "template")
"""Fields that an existing serving keeps."""


class EditDraft:
    """A draft, and the serving that it changes. A field whose texts are as they were read keeps its
    value exactly, whatever the form can show of it: an unchanged form changes nothing."""

    def __init__(self, base: ServingSpec, mounts: OtherMounts | None = None) -> None:
        self.base = base
        """The serving as it was read."""
        self.mounts = mounts or OtherMounts()
        """What it mounts beside its volumes."""
        self.base_draft = Draft.from_serving(base)
        self.draft = Draft.from_serving(base)
        self.draft.base = self.base_draft
        self.began = base
        """The serving as it was read when the edit began."""
        self._undecided: dict[Path, MergeConflict] = {}
        self._first_bases: dict[Path, Any] = {}
        """What the values of decided conflicts were before others changed them the first time."""
        self._unread_base: frozenset[str] = frozenset()
        """Texts that were read when the edit began, and are not in the draft's file."""

    @property
    def changed_paths(self) -> tuple[str, ...]:
        """Paths of the changed texts, and of the lists with changed rows."""
        before, after = self.base_draft, self.draft
        texts = dict.fromkeys((*before.texts, *after.texts))
        found = [path for path in texts if before.texts.get(path, "") != after.texts.get(path, "")]
        found += [
            path for path in LIST_FIELDS if typed_rows(before, path) != typed_rows(after, path)
        ]
        return tuple(
            path for path in found if self._can_change(path) and applies(path, after.texts)
        )

    def _can_change(self, path: str) -> bool:
        """Whether the serving has the field; a draft may have settings of another template."""
        name, _, setting = path.partition(".")
        if name == "settings":
            return any(one.name == setting for one in self.base.template_definition.fields)
        return path not in READ_ONLY_FIELDS

    @staticmethod
    def has_changes(saved: Draft) -> bool:
        """Whether a saved draft of an edit differs from what was read then."""
        base = saved.base
        if base is None:
            return False
        return (
            bool(saved.omitted_secrets)
            or any(changed_texts(saved, base))
            or any(typed_rows(saved, path) != typed_rows(base, path) for path in LIST_FIELDS)
        )

    @classmethod
    def resume(
        cls, current: ServingSpec, saved: Draft, mounts: OtherMounts | None = None
    ) -> tuple[EditDraft, list[MergeConflict]]:
        """A saved draft on top of the serving as it is now, and the values that others have changed
        since, too: those stay as they were typed."""
        edit = cls(current, mounts)
        base = saved.base
        if base is None:
            return edit, []
        before, mine = cls(current), cls(current)
        unread = base.omitted_secrets
        for path in changed_texts(saved, base):
            if path not in READ_ONLY_FIELDS:
                mine.draft.texts[path] = saved.texts[path]
                if path not in unread:  # what was read is not known; as it is now
                    before.draft.texts[path] = base.texts.get(path, "")
        for path in LIST_FIELDS:
            if typed_rows(saved, path) != typed_rows(base, path):
                mine.draft.rows[path] = with_secrets(saved.rows[path], edit.draft.rows[path])
                before.draft.rows[path] = with_secrets(base.rows[path], edit.draft.rows[path])
        edit.draft.omitted_secrets = saved.omitted_secrets
        edit.draft.focused_field = saved.focused_field
        old, _ = before._read()
        if old is None:  # what was read then is damaged
            edit.draft.texts, edit.draft.rows = mine.draft.texts, mine.draft.rows
            return edit, []
        began = cls(old, mounts)
        began.draft = edit.draft
        began.draft.base = began.base_draft
        began.draft.texts, began.draft.rows = mine.draft.texts, mine.draft.rows
        conflicts = began.rebase(current)
        began._unread_base = unread
        mark_omitted_values(began.draft, mine.draft)
        return began, conflicts

    # -- the wanted serving ---------------------------------------------------------------------

    def validate(self) -> tuple[ServingSpec | None, list[Issue]]:
        """The wanted serving, None if a field cannot be parsed, and the errors and warnings that
        the change brings."""
        spec, found = self._read()
        unread = [
            *self.draft.unread_issues(),
            *self._omitted_changes(),
            *self._unknown_changes(),
        ]
        if spec is None:
            return None, [*found, *unread]
        return spec, [*new_issues(self.base, spec, self.mounts), *unread]

    def _omitted_changes(self) -> Iterator[Issue]:
        """What was changed and looked like a secret, so that the draft's file does not have it."""
        for path in sorted(self.draft.omitted_secrets):
            text = self.draft.texts.get(path, "")
            if text and text == self.base_draft.texts.get(path):
                yield warning(
                    path,
                    "Its change looked like a secret, so it was not saved in the draft: enter it "
                    "again.",
                )

    def _unknown_changes(self) -> Iterator[Issue]:
        """What others may have changed since the edit began."""
        for path in self.changed_paths:
            if path in self._unread_base:
                yield warning(
                    path,
                    "What it was when the edit began looked like a secret, so it is not in the "
                    "draft: it is not known whether others have changed it since.",
                )

    def differences(self, spec: ServingSpec) -> tuple[FieldDifference, ...]:
        """What the wanted serving changes, value by value."""
        return find_edit_differences(self.base, spec)

    def _read(self, without: Sequence[str] = ()) -> tuple[ServingSpec | None, list[Issue]]:
        """The wanted serving with its changed texts and lists, except those in `without`."""
        changed = tuple(path for path in self.changed_paths if path not in without)
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
        for row in typed_rows(self.draft, path):
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
            name: self.draft.texts.get(f"transformer.{name}", "") for name in TRANSFORMER_TEXTS
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
        has it. At the button that adds a row ("add.env"), the first removed row comes back."""
        if removed := self.removed_rows(path):
            self._put_back(path.removeprefix(_ADD), removed[0])
            return True
        row, index = self.find_row(path)
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

    def removed_rows(self, path: str) -> list[DraftRow]:
        """The rows that were read and removed, of the list of a button that adds a row."""
        name = path.removeprefix(_ADD)
        if not path.startswith(_ADD) or name not in LIST_FIELDS:
            return []
        keys = [row_key(name, one) for one in self.draft.rows[name]]
        return [one for one in self.base_draft.rows[name] if row_key(name, one) not in keys]

    def _put_back(self, name: str, row: DraftRow) -> None:
        """Insert a removed row after those that were read before it."""
        read = self.base_draft.rows[name]
        before = [row_key(name, one) for one in read[: read.index(row)]]
        rows = self.draft.rows[name]
        places = [at + 1 for at, one in enumerate(rows) if row_key(name, one) in before]
        rows.insert(max(places, default=0), dict(row))

    def reset_value(self, path: Path) -> None:
        """Give a value of `servedeck.serving.edit.entries` what was read; of a single argument, the
        whole command line."""
        copy_value(self.base_draft, self.draft, path)

    def is_changed(self, path: str) -> bool:
        """Whether a field, or the row of a list that contains it, differs from what was read, a
        field by more than how it is written; at the button that adds a row, whether one was
        removed."""
        if path.startswith(_ADD):
            return bool(self.removed_rows(path))
        row, index = self.find_row(path)
        if not row:
            return self._differs(path) and not self._means_the_same(path)
        return self.draft.rows[row][index] not in self.base_draft.rows[row]

    def _differs(self, path: str) -> bool:
        return self.draft.texts.get(path, "") != self.base_draft.texts.get(path, "")

    def _means_the_same(self, path: str) -> bool:
        """Whether the wanted serving is the same with the text that was read."""
        if path not in self.changed_paths or path in (unread := self._unread_paths()):
            return False
        wanted, _ = self._read(without=unread)
        typed = self.draft.texts[path]
        self.draft.texts[path] = self.base_draft.texts.get(path, "")
        try:
            before, _ = self._read(without=unread)
        finally:
            self.draft.texts[path] = typed
        return (
            wanted is not None
            and wanted == before
            and path not in find_asked_defaults(self.base, wanted)
        )

    @property
    def unsaved_count(self) -> int:
        """Number of the texts that mean another value, or would with others, as those of a
        transformer without an image yet, and of the lists with changed rows."""
        return sum(
            one in LIST_FIELDS or self.is_changed(one) or self._waits_for_image(one)
            for one in self.changed_paths
        )

    def _waits_for_image(self, path: str) -> bool:
        is_alone = path.startswith("transformer.") and not self.draft.has_transformer
        return is_alone and bool(self.draft.texts[path].strip())

    def base_text(self, path: str) -> str:
        """The text of a single field that was read."""
        return self.base_draft.texts.get(path, "")

    def base_row(self, path: str) -> DraftRow | None:
        """The row that was read of a path in a list, {} for a new one; None for a single field."""
        name, index = self.find_row(path)
        if not name:
            return None
        return next(self._rows_of(name, self.draft.rows[name][index]), {})

    def find_row(self, path: str) -> tuple[str, int]:
        """List and index of the row of a path; ("", 0) for a single field."""
        for name in LIST_FIELDS:
            index = path.removeprefix(f"{name}.").partition(".")[0]
            is_row = path.startswith(f"{name}.") and index.isdigit()
            if is_row and int(index) < len(self.draft.rows[name]):
                return name, int(index)
        return "", 0

    def _rows_of(self, path: str, row: DraftRow) -> Iterator[DraftRow]:
        """The rows that were read with the key of a row."""
        key = row_key(path, row)
        return (one for one in self.base_draft.rows[path] if row_key(path, one) == key)

    # -- what others change ---------------------------------------------------------------------

    def rebase(
        self, current: ServingSpec, admitted: Collection[MergeConflict] = ()
    ) -> list[MergeConflict]:
        """Others have changed the serving to `current`: what they alone changed is taken over, what
        was typed stays as typed. Returns the values that both changed; they stay as typed, and
        `undecided` until `decide`. Those `admitted` are what admission made of values that were
        typed and sent: they are taken over."""
        typed, before, before_draft = copy.deepcopy(self.draft), self.base, self.base_draft
        unread = self._unread_paths()
        mine, _ = self._read(without=unread)
        assert mine is not None  # what cannot be read was left out
        conflicts = list(merge_fields(before, mine, current).conflicts)
        keep = {
            # A setting of another template has no place: the template is theirs.
            one: Side.THEIRS if one.path == ("template",) or one in admitted else Side.MINE
            for one in conflicts
        }
        conflicts = [one for one in conflicts if one not in admitted]
        merged = Draft.from_serving(merge_fields(before, mine, current, keep).spec)
        own = Draft.from_serving(mine)
        self.base, self.base_draft = current, Draft.from_serving(current)
        for path, text in typed.texts.items():
            is_typed = text != before_draft.texts.get(path, "") and path not in unread
            if is_typed and merged.texts.get(path) == own.texts.get(path, ""):
                merged.texts[path] = text  # "07" stays "07"
        for path in LIST_FIELDS:
            if merged.rows[path] == own.rows[path]:
                merged.rows[path] = typed.rows[path]
            else:
                merged.rows[path] += [row for row in typed.rows[path] if is_blank(row)]
        conflicts += self._merge_unread(unread, merged, typed, before_draft)
        self.draft.texts, self.draft.rows = merged.texts, merged.rows
        self._note_undecided(conflicts)
        return conflicts

    def read_parts(self) -> tuple[ServingSpec, int]:
        """The wanted serving without what cannot be parsed, and the number of changed texts and
        lists that cannot be."""
        unread = self._unread_paths()
        spec, _ = self._read(without=unread)
        assert spec is not None  # what cannot be read was left out
        return spec, len(unread)

    def _unread_paths(self) -> list[str]:
        """The changed texts and lists that cannot be parsed."""
        unread: list[str] = []
        while True:
            spec, issues = self._read(without=unread)
            if spec is not None:
                return unread
            wrong = [
                path
                for path in self.changed_paths
                if path not in unread
                and any(f"{one.field}.".startswith(f"{path}.") for one in errors(issues))
            ]
            rest = [path for path in self.changed_paths if path not in unread]
            unread += wrong or rest

    def _merge_unread(
        self, unread: Iterable[str], merged: Draft, typed: Draft, before: Draft
    ) -> Iterator[MergeConflict]:
        """Texts and lists that cannot be parsed are merged as they are typed."""
        for path in unread:
            if path in LIST_FIELDS:
                rows, keys = merge_rows(path, typed.rows[path], before, self.base_draft)
                merged.rows[path] = rows
                for key in keys:
                    values = (find_row(one, path, key) for one in (before, self.base_draft, typed))
                    yield MergeConflict(entry_path(path, key), *map(_row_value, values))
                continue
            text = typed.texts.get(path, "")
            old, new = (one.texts.get(path, "") for one in (before, self.base_draft))
            merged.texts[path] = text
            if new not in (old, text):
                yield MergeConflict(entry_path(path), old, new, text)

    def _note_undecided(self, conflicts: Iterable[MergeConflict]) -> None:
        for one in conflicts:
            known = self._undecided.get(one.path)
            self._undecided[one.path] = one if known is None else replace(one, base=known.base)
        # The draft's file has what was read before others changed it: a form that is opened with it
        # asks again.
        base, began = copy.deepcopy(self.base_draft), self.draft.base or self.base_draft
        for path in self._undecided:
            copy_value(began, base, path)
        self.draft.base = base

    def ask_about(self, conflicts: Iterable[MergeConflict]) -> None:
        """Values that the edit began with and that others had changed, too: they stay as they are
        in the form, and `undecided` until `decide`."""
        self._note_undecided(conflicts)

    @property
    def has_undecided(self) -> bool:
        return bool(self._undecided)

    def decide(self, conflict: MergeConflict, side: Side) -> None:
        """Keep one side of a conflict."""
        if side is Side.THEIRS:
            self.reset_value(conflict.path)
        self._undecided.pop(conflict.path, None)
        self._first_bases.setdefault(conflict.path, conflict.base)
        self._note_undecided(())

    def first_base(self, conflict: MergeConflict) -> Any:
        """The value of a conflict when the edit began, also after an earlier conflict about it was
        decided."""
        return self._first_bases.get(conflict.path, conflict.base)

    def undecided(self, wanted: ServingSpec | None) -> list[MergeConflict]:
        """The conflicts that are not decided, with what is wanted now; None if that cannot be
        parsed."""
        changed = None if wanted is None else {one.path for one in self.differences(wanted)}
        found: list[MergeConflict] = []
        for path, one in self._undecided.items():
            if one.theirs == one.base or path == ("template",):
                continue  # they changed it back; or the template, which the form cannot change
            if changed is None or wanted is None:
                found.append(one)
            elif any(
                other[: len(path)] == path or path[: len(other)] == other for other in changed
            ):
                found.append(replace(one, mine=_value_at(wanted, path, self.base)))
        return found


def _value_at(spec: ServingSpec, path: Path, beside: ServingSpec) -> Any:
    """A value of a serving, ABSENT if it has none."""
    values = split_spec(spec, beside)
    whole = next((one for one in values if one == path[: len(one)]), ())
    if whole == path or not whole:
        return values.get(path, ABSENT)
    entries = list_entries(spec, whole, values[whole])
    return ABSENT if entries is None else dict(entries).get(path[-1], ABSENT)


def _row_value(row: DraftRow | None) -> Any:
    """The value of a row that may not be readable."""
    return ABSENT if row is None else row.get("value") or row.get("ref") or row.get("pvc") or ""


def _row_document(path: str, row: DraftRow) -> dict[str, Any]:
    if path == "volumes":
        return {key: row[key] for key in ("pvc", "mount_path", "read_only")}
    return env_var_document(row)
