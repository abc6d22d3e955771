"""The lines of edit mode around the form: what others changed, the save bar, what a field was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from servedeck.changes.edit_draft import EditDraft
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.edit.changed_by import find_changed_by
from servedeck.serving.edit.differences import (
    FieldDifference,
    entry_label,
    find_field_differences,
    format_shown,
)
from servedeck.serving.edit.merge import MergeConflict
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.status.revisions import FieldManager
from servedeck.serving.text import MASK, format_count, one_line, sanitize, truncate
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create.review_text import is_masked
from widgets.form_rows import SOURCE_KIND_NAMES
from widgets.styled_line import Line, line_width

MAX_VALUE_LENGTH = 120
"""Cells of one value in a line beside others."""

CHANGE_LENGTHS = (MAX_VALUE_LENGTH, 48, 32, 24, 16, 8)
"""Cells of one value of a change in the save bar; the first with which all changes fit."""


def banner_line(
    draft: EditDraft,
    conflicts: Sequence[MergeConflict],
    others: Sequence[str],
    notice: str,
    *,
    is_deleted: bool,
) -> Line:
    """What others have changed, and what is to be decided; `notice` if there is neither."""
    if is_deleted:
        return (
            (" ✗ ", "error"),
            ("The serving was deleted; the draft is kept until you discard it.", "error"),
        )
    if conflicts:
        what = format_count(len(conflicts), "field")
        return (
            (" ! ", "warning"),
            (f"Others changed {what} that you changed, too: ", "warning"),
            ("; ".join(_describe_conflict(draft, one) for one in conflicts), ""),
        )
    if others:
        return ((" · ", "accent"), ("; ".join(others), ""))
    return ((" ! ", "warning"), (notice, "warning")) if notice else ()


def _describe_conflict(draft: EditDraft, conflict: MergeConflict) -> str:
    label = entry_label(draft.base, conflict.path)
    before, now = (
        truncate(format_shown(draft.base, conflict.path, one), MAX_VALUE_LENGTH)
        for one in (draft.first_base(conflict), conflict.theirs)
    )
    return f"{label} was {before}, is {now} now"


def save_bar_lines(
    count: int,
    differences: Sequence[FieldDifference],
    issues: Sequence[Issue],
    width: int,
    *,
    is_partly_saved: bool = False,
    save_key: str,
    close_key: str,
) -> list[Line]:
    """The number of changes and of errors, and what can be done with them; then each change, on a
    line of its own where it does not fit beside them. `is_partly_saved` if an object is left that
    the last save did not write."""
    if not count and is_partly_saved:
        state: Line = ((" Saved in part", "warning"), ("  ", ""))
        return [(*state, (save_key, "key"), (" Save the rest", ""))]
    if not count:
        return [((" No changes", "muted"),)]
    wrong = len(errors(issues))
    head: Line = ((f" {format_count(count, 'change')}", "accent"), ("  ", ""))
    if wrong:
        head = (*head, (format_count(wrong, "error"), "error"), ("  ", ""))
    head = (*head, (save_key, "key"), (" Save", ""), ("  ", ""), (close_key, "key"))
    leave = " Discard or keep as a draft"
    if line_width((*head, (leave, ""))) >= width:  # a blank before the button
        leave = " Leave"
    head = (*head, (leave, ""))
    if not differences:
        return [head]
    for length in CHANGE_LENGTHS:
        changes = _changes_line(differences, length)
        if line_width(head) + line_width(changes) + 3 < width:
            return [(*head, ("   ", ""), *changes)]
        if line_width(changes) + 1 < width:
            break
    return [head, ((" ", ""), *changes)]


def _changes_line(differences: Sequence[FieldDifference], length: int) -> Line:
    """Each change, its values in at most `length` cells; its label alone if what differs is cut."""
    line: Line = ()
    for one in differences:
        old, new = (truncate(text, length) for text in (one.old, one.new))
        line = (*line, ("  " if line else "", ""), (one.label, "muted"))
        if old != new:
            line = (*line, (" ", ""), (old, ""), (" → ", "muted"), (new, "strong"))
    return line


def note_line(draft: EditDraft, path: str, reset_key: str, *, reveal: bool) -> Line:
    """What a changed field was before; () for an unchanged one."""
    if not draft.is_changed(path):
        return ()
    if removed := draft.removed_rows(path):
        names = ", ".join(one_line(sanitize(row.get("name") or row["pvc"])) for row in removed)
        text = f"removed {truncate(names, MAX_VALUE_LENGTH)}"
        return ((text, "accent"), (f"  {reset_key} brings it back", "muted"))
    before = _base_text(draft, path, reveal=reveal)
    text = f"was {truncate(before, MAX_VALUE_LENGTH)}" if before else "new"
    return ((text, "accent"), (f"  {reset_key} resets", "muted"))


def unchanged_reason(draft: EditDraft, path: str) -> str:
    """Why the field under the cursor cannot be reset, in a sentence; what was removed from its list
    can be, at the button that adds a row."""
    reason = "The field under the cursor is unchanged"
    name, _ = draft.find_row(path)
    if not draft.removed_rows(f"add.{name}"):
        return f"{reason}."
    button = "+ Add Volume" if name == "volumes" else "+ Add Variable"
    return f"{reason}; a removed row comes back at {button}."


def _base_text(draft: EditDraft, path: str, *, reveal: bool) -> str:
    """What a field, or the row of a list, was; "" for a new row."""
    row = draft.base_row(path)
    if row is None:
        text = draft.base_text(path)
        return MASK if contains_secret(text) and not reveal else one_line(sanitize(text)) or "empty"
    if not row:
        return ""
    if "pvc" in row:
        how = ", read-only" if row["read_only"] == "true" else ""
        return one_line(sanitize(f"{row['pvc']} at {row['mount_path']}{how}"))
    if row["source"]:
        kind = SOURCE_KIND_NAMES.get(row["source"], "")
        return one_line(sanitize(f"{kind} {row['ref']} key {row['key']}"))
    return MASK if is_masked(row) and not reveal else one_line(sanitize(row["value"])) or '""'


# -- who changed it -----------------------------------------------------------------------------


def find_others_changes(before: ImportedServing, now: ImportedServing) -> list[str]:
    """What others have changed and who they are, each in a few words."""
    found: list[str] = []
    for one in find_field_differences(before.spec, now.spec):
        managers = find_changed_by(before, now, one.path)
        who = managers[0].name if managers else "Somebody else"
        old, new = (truncate(text, MAX_VALUE_LENGTH) for text in (one.old, one.new))
        found.append(f"{who} changed {one.label}: {old} → {new}")
    return found


def conflict_dialog(
    draft: EditDraft, conflict: MergeConflict, managers: Sequence[FieldManager], now: datetime
) -> ConfirmDialog:
    """The question about a value that both changed: base, theirs with who changed it, and mine. Its
    answer is "m" for mine or "t" for theirs."""
    base, theirs, mine = (
        format_shown(draft.base, conflict.path, one)
        for one in (draft.first_base(conflict), conflict.theirs, conflict.mine)
    )
    who = f", changed by {describe_manager(managers[0], now)}" if managers else ""
    texts = [f"When you began: {base}", f"Now: {theirs}{who}", f"Yours: {mine}"]
    if theirs == mine:
        texts.append("Both values look secret, so they are masked; they differ.")
    return ConfirmDialog(
        f"Others changed {entry_label(draft.base, conflict.path)}, too",
        texts,
        [
            DialogOption("m", "Keep yours", "it is saved over theirs"),
            DialogOption("t", "Take theirs", "your change of this field is dropped"),
        ],
    )


def describe_manager(manager: FieldManager, now: datetime) -> str:
    """The field manager and when it wrote: "kubectl-edit 12s ago"."""
    if manager.time is None:
        return manager.name
    return f"{manager.name} {format_signed_duration((now - manager.time).total_seconds())} ago"
