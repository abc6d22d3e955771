"""Edits of the manifests that other projects publish, field by field: the edit and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.object_writes import plan_writes
from servedeck.serving.edit.assignments import AssignmentError, assign, parse_assignment
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.entries import SWITCH_GROUPS
from servedeck.serving.objects.change import (
    change_objects,
    find_dropped_times,
    resolve_open_fields,
)
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import FIELDS
from tests.serving.corpus import SERVINGS
from tests.serving.edit.assignments_by_field import (
    ASSIGNMENTS,
    SETTING_ASSIGNMENTS,
    field_of,
)
from tests.serving.objects.test_server_corpus import manifest

NOT_ASSIGNED = {"name", "namespace", "template"}


def test_each_common_field_is_assigned() -> None:
    assigned = [one[0] for one in (*ASSIGNMENTS, *SETTING_ASSIGNMENTS)]
    assert {field_of(one) for one in assigned} == set(FIELDS) - NOT_ASSIGNED
    assert len(SERVINGS) >= 25


@pytest.mark.parametrize("name", SERVINGS)
def test_without_a_change_nothing_is_sent(name: str) -> None:
    current = import_objects([manifest(SERVINGS[name].workload)])
    change = change_objects(current, current.spec)
    assert change.changed == change.live
    assert change.issues == ()
    assert [one.body for one in plan_writes(change)] == [None]


@pytest.mark.parametrize("name", SERVINGS)
def test_a_change_of_one_field_changes_that_field_alone(name: str) -> None:
    for text, touched in ASSIGNMENTS:
        check_assignment(manifest(SERVINGS[name].workload), text, "", touched)
    for text, needed, touched in SETTING_ASSIGNMENTS:
        check_assignment(manifest(SERVINGS[name].workload), text, needed, touched)


def check_assignment(
    deployment: dict[str, Any], text: str, needed: str, touched: tuple[str, ...]
) -> None:
    current = import_objects([deployment])
    texts = [one for one in (text, needed) if one]
    try:
        wanted, issues = assign(current.spec, [parse_assignment(one) for one in texts])
    except AssignmentError as error:
        # Its template has no such setting.
        assert text.startswith("settings."), text
        assert "There is no field settings." in str(error)
        return
    assert issues == [], text
    assert wanted is not None
    change = change_objects(current, wanted)
    found = {one.field for one in find_edited_fields(current, wanted)}
    parts = [part for one in texts for part in SWITCH_GROUPS.get(field_of(one), ())]
    assert found <= {*map(field_of, texts), "accelerator_count", *parts}, texts
    differences = [
        format_path(one.path)
        for live, changed in zip(change.live, change.changed, strict=False)
        for one in find_differences(live, changed)
    ]
    for path in differences:
        assert any(part in path for part in touched), (text, path)
    created = change.changed[len(change.live) :]
    dropped = find_dropped_times(current.spec, wanted, resolve_open_fields(current, wanted))
    assert differences or created or errors(change.issues) or dropped or wanted == current.spec, (
        text
    )
