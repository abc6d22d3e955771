"""Every field of the draft by section, as the third step shows them."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.changes.draft import Draft
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue
from servedeck.serving.text import MASK
from tui.screens.create.field_options import display_value, is_choice_field
from tui.screens.create.steps import fields_by_path, review_sections
from widgets.field_input import to_display
from widgets.form_rows import SOURCE_KIND_NAMES
from widgets.review_list import ReviewEntry
from widgets.styled_line import Line

LABEL_WIDTH = 23
"""Cells of a field's label."""


def section_entries(
    draft: Draft,
    system_volumes: Sequence[SystemVolume],
    issues: Sequence[Issue],
    *,
    reveal: bool,
    width: int,
) -> list[ReviewEntry]:
    """Every field with its value; digits jump to the sections."""
    found: list[ReviewEntry] = []
    by_field = {one.field: one for one in sorted(issues, key=lambda one: one.is_error)}
    for number, section in enumerate(review_sections(draft), 1):
        rule = "─" * max(0, width - len(section.title) - 15)
        head: Line = ((f" {number} ", "key"), (f"{section.title} ", "title"), (rule, "muted"))
        found += [
            ReviewEntry(),
            ReviewEntry((*head, (" [ Edit ]", "key")), section=str(number)),
        ]
        for path in section.paths:
            if path == "volumes":
                found += _volume_entries(draft, system_volumes, by_field)
            elif path in draft.rows:
                found += _variable_entries(draft, path, by_field, reveal)
            else:
                found.append(_field_entry(draft, path, by_field.get(path)))
    return found


def _field_entry(draft: Draft, path: str, issue: Issue | None) -> ReviewEntry:
    field = fields_by_path(draft)[path]
    text = draft.texts[path]
    default = text == format_value(field.default)
    if path == "rollout":
        text = draft.rollout
    value = (
        " ".join(filter(None, display_value(path, text)))
        if is_choice_field(path, draft)
        else to_display(text)
    )
    if path in ("accelerator", "rollout"):
        value = "  ".join(filter(None, display_value(path, text)))
    if path == "template":
        value = display_value(path, text)[0]
    style_name = "muted" if default or not text else ""
    return _value_entry(field.label, value or "–", style_name, path, issue)


def _value_entry(
    label: str, value: str, style_name: str, path: str, issue: Issue | None
) -> ReviewEntry:
    mark: Line = ()
    if issue is not None:
        mark = (("  ✗", "error"),) if issue.is_error else (("  !", "warning"),)
    line = ((f"   {label:<{LABEL_WIDTH}} ", "muted"), (value, style_name), *mark)
    return ReviewEntry(line, LABEL_WIDTH + 4, path)


def _volume_entries(
    draft: Draft, system_volumes: Sequence[SystemVolume], issues_by_field: dict[str, Issue]
) -> list[ReviewEntry]:
    found = [
        ReviewEntry(
            (
                (f"   {one.name:<{LABEL_WIDTH}} ", "muted"),
                (f"{one.mount_path}  system default: {one.description}", "muted"),
            ),
            LABEL_WIDTH + 4,
        )
        for one in system_volumes
    ]
    for at, row in enumerate(draft.rows["volumes"]):
        path = f"volumes.{at}"
        how = "read-only" if row["read_only"] == "true" else "read and write"
        problem = next(
            (one for key, one in issues_by_field.items() if key.startswith(path + ".")), None
        )
        value = f"{to_display(row['mount_path']) or '–'}  {how}"
        found.append(_value_entry(row["pvc"] or "–", value, "", f"{path}.pvc", problem))
    return found


def _variable_entries(
    draft: Draft, path: str, issues_by_field: dict[str, Issue], reveal: bool
) -> list[ReviewEntry]:
    found = []
    for at, row in enumerate(draft.rows[path]):
        here = f"{path}.{at}"
        problem = next(
            (one for key, one in issues_by_field.items() if f"{key}.".startswith(here + ".")), None
        )
        if row["source"] in SOURCE_KIND_NAMES:
            value = f"from {SOURCE_KIND_NAMES[row['source']]} {row['ref']}, key {row['key']}"
        else:
            hidden = is_masked(row) and not reveal
            value = MASK if hidden else to_display(row["value"])
        found.append(_value_entry(row["name"] or "–", value, "", f"{here}.name", problem))
    return found or [ReviewEntry(((f"   {'none':<{LABEL_WIDTH}}", "muted"),), path=f"add.{path}")]


def is_masked(row: dict[str, str]) -> bool:
    """Whether the value of a variable is masked until it is revealed."""
    if row["source"] == "line":
        name, _, value = row["value"].partition("=")
        return looks_secret(name.removeprefix("export ").strip(), value.strip(" \t'\""))
    return looks_secret(row["name"], row["value"])


def has_masked_values(draft: Draft) -> bool:
    return any(
        is_masked(row) and row["value"]
        for path in ("env", "transformer.env")
        for row in draft.rows[path]
    )
