"""Values of a draft by the path of their field: "name", "settings.model", "env.2.value"."""

from __future__ import annotations

from collections.abc import Mapping

from servedeck.changes.draft import EMPTY_VARIABLE, Draft, DraftRow


def get_text(draft: Draft, path: str) -> str:
    if path in draft.texts:
        return draft.texts[path]
    row, _, name = path.rpartition(".")
    return get_row(draft, row).get(name, "")


def set_text(draft: Draft, path: str, text: str) -> None:
    if path == "template":
        draft.set_template(text)
    elif path in draft.texts:
        draft.texts[path] = text
    else:
        row, _, name = path.rpartition(".")
        get_row(draft, row)[name] = text


def get_row(draft: Draft, row: str) -> DraftRow:
    """The row of a list ("env.2"); an empty one if it does not exist."""
    path, _, index = row.rpartition(".")
    rows = draft.rows.get(path, ())
    return rows[int(index)] if index.isdigit() and int(index) < len(rows) else dict(EMPTY_VARIABLE)


def moved_path(path: str, moved: Mapping[str, str]) -> str:
    """Path of a field after rows of its list were removed, "" if it was removed. `moved` contains
    the new path of each row by its old one."""
    for row, now in moved.items():
        if path == row or path.startswith(f"{row}."):
            return now and now + path.removeprefix(row)
    return path
