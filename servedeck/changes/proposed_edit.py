"""Changes that are proposed in the form of an existing serving, as if they had been typed."""

from __future__ import annotations

import copy

from servedeck.changes.draft import LIST_FIELDS, Draft
from servedeck.changes.edit_draft import READ_ONLY_FIELDS, EditDraft
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.spec import ServingSpec


def propose_edit(
    current: ServingSpec, wanted: ServingSpec, mounts: OtherMounts | None = None
) -> EditDraft:
    """The edit of a serving in which all fields that a form can change have the wanted values."""
    edit = EditDraft(current, mounts)
    typed, base = Draft.from_serving(wanted), edit.base_draft
    for path in dict.fromkeys((*base.texts, *typed.texts)):
        text = typed.texts.get(path, "")
        if path not in READ_ONLY_FIELDS and text != base.texts.get(path, ""):
            edit.draft.texts[path] = text
    for path in LIST_FIELDS:
        edit.draft.rows[path] = copy.deepcopy(typed.rows[path])
    return edit
