"""The saved draft of an edit: which of its texts are changes, and what its file lacks because it
looks like a secret."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.changes.draft import VALUE_NOT_SAVED, VALUE_UNCHANGED, Draft, DraftRow


def changed_texts(saved: Draft, base: Draft) -> Iterator[str]:
    """Paths of the texts that a saved draft changes, and that are in its file."""
    for path, text in saved.texts.items():
        if path in saved.unchanged_secrets or (path in saved.omitted_secrets and not text):
            continue
        if path in base.omitted_secrets or text != base.texts.get(path, ""):
            yield path


def with_secrets(rows: list[DraftRow], current: list[DraftRow]) -> list[DraftRow]:
    """The rows with the values that are not in the draft's file because they were not changed, from
    the serving."""
    by_name = {row["name"]: row for row in current if "value" in row}
    return [
        dict(by_name[row["name"]])
        if row.get("key") == VALUE_UNCHANGED and row["name"] in by_name
        else dict(row)
        for row in rows
    ]


def mark_omitted_values(draft: Draft, typed: Draft) -> None:
    """Mark the variables of `draft` whose values are not in the draft's file `typed`."""
    for path in ("env", "transformer.env"):
        omitted = {row["name"] for row in typed.rows[path] if row["key"] == VALUE_NOT_SAVED}
        for row in draft.rows[path]:
            if row["name"] in omitted and not (row["value"] or row["source"]):
                row["key"] = VALUE_NOT_SAVED
