"""The row of each item of a step, and the path of the field that an issue belongs to."""

from __future__ import annotations

from rich.cells import cell_len

from servedeck.changes.draft import Draft
from servedeck.changes.form_fields import COMMON_FIELDS, FIELDS_BY_SECTION
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.fields import InputKind
from tui.screens.create import field_options, steps
from tui.screens.create.draft_values import get_row, get_text
from tui.screens.create.review_text import is_masked
from widgets.form_rows import (
    LABEL_WIDTH,
    MAX_INPUT_WIDTH,
    ButtonRow,
    ChoiceField,
    FieldRow,
    FormRow,
    HeadingRow,
    ReadOnlyRow,
    TextField,
    VariableRow,
)

INPUT_WIDTHS = {
    InputKind.INTEGER: 12,
    InputKind.FLOAT: 12,
    InputKind.QUANTITY: 16,
    InputKind.ARGUMENTS: 100,
}
"""Maximum width of an input in cells, by the kind of its field."""

_LONG_LABEL_WIDTH = max(cell_len(one.label) for one in COMMON_FIELDS) + 2
LABEL_WIDTHS = {
    field.name: _LONG_LABEL_WIDTH
    for fields in FIELDS_BY_SECTION.values()
    for field in fields
    if max(cell_len(one.label) for one in fields) + 2 > LABEL_WIDTH
}
"""Cells of the label of a field, by its name, in a section where one label does not fit."""


def build_row(
    item: steps.FormItem, draft: Draft, *, reveal: bool, masks_texts: bool = False
) -> FormRow:
    """The row that shows the item's value in the draft; `reveal` shows secret values, of variables
    and, with `masks_texts`, in other texts."""
    if isinstance(item, steps.TitleItem):
        return HeadingRow(item.text, item.detail)
    if isinstance(item, steps.InfoItem):
        return ReadOnlyRow(*item.lines)
    if isinstance(item, steps.ButtonItem):
        return ButtonRow(item.path, item.label, item.help_text)
    if isinstance(item, steps.VariableItem):
        row = get_row(draft, item.path)
        return VariableRow(item.path, row, masked=is_masked(row) and not reveal)
    field, text = item.field, get_text(draft, item.path)
    label_width = LABEL_WIDTHS.get(item.path, LABEL_WIDTH)
    if field_options.is_choice_field(item.path, draft):
        drawn = field_options.display_value(item.path, text)
        choice = ChoiceField(item.path, *drawn)
        return FieldRow(field.label, choice, required=field.required, label_width=label_width)
    masked = masks_texts and not reveal and contains_secret(text)
    return FieldRow(
        field.label,
        TextField(item.path, text, masked=masked),
        required=field.required,
        label_width=label_width,
        max_input_width=INPUT_WIDTHS.get(field.kind, MAX_INPUT_WIDTH),
    )


def matches_path(own: str, path: str) -> bool:
    """Whether the field `own` has the value at `path`, or a part of it: "env.0.ref" has
    "env.0.secret.name" and is a part of "env.0"."""
    named = path.replace(".secret.name", ".ref").replace(".config_map.name", ".ref")
    named = named.replace(".secret.key", ".key").replace(".config_map.key", ".key")
    return own == named or own.startswith(f"{path}.")
