"""The widget of each item of a step."""

from __future__ import annotations

from textual.widget import Widget

from servedeck.changes.draft import Draft
from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.fields import InputKind
from tui.screens.create import field_options, steps
from tui.screens.create.draft_values import get_row, get_text
from tui.screens.create.review_text import is_masked
from widgets.form import MAX_INPUT_WIDTH, ChoiceRow, TextRow, VariableRow
from widgets.form_parts import FormButton, FormHeading, ReadOnlyLines

INPUT_WIDTHS = {
    InputKind.INTEGER: 12,
    InputKind.FLOAT: 12,
    InputKind.QUANTITY: 16,
    InputKind.ARGUMENTS: 100,
}
"""Maximum width of an input in cells, by the kind of its field."""


def build_widget(
    item: steps.FormItem, draft: Draft, *, reveal: bool, masks_texts: bool = False
) -> Widget:
    """The widget that shows the item's value in the draft; `reveal` shows secret values, of
    variables and, with `masks_texts`, in other texts."""
    if isinstance(item, steps.TitleItem):
        return FormHeading(item.text, item.detail)
    if isinstance(item, steps.InfoItem):
        return ReadOnlyLines(item.name, *item.lines)
    if isinstance(item, steps.ButtonItem):
        return FormButton(item.path, item.label, item.help_text)
    if isinstance(item, steps.VariableItem):
        row = get_row(draft, item.path)
        return VariableRow(item.path, row, masked=is_masked(row) and not reveal)
    field, text = item.field, get_text(draft, item.path)
    if field_options.is_choice_field(item.path, draft):
        drawn = field_options.display_value(item.path, text)
        return ChoiceRow(item.path, field.label, *drawn, required=field.required)
    return TextRow(
        item.path,
        field.label,
        text,
        required=field.required,
        masked=masks_texts and not reveal and contains_secret(text),
        max_input_width=INPUT_WIDTHS.get(field.kind, MAX_INPUT_WIDTH),
    )
