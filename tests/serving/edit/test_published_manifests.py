"""Edits of the manifests that other projects publish, field by field: the edit and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.object_writes import plan_writes
from servedeck.serving.edit.assignments import AssignmentError, assign, parse_assignment
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.entries import SWITCH_GROUPS
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import FIELDS
from tests.serving.corpus import SERVINGS
from tests.serving.edit.assignments_by_field import ASSIGNMENTS, field_of
from tests.serving.objects.test_server_corpus import manifest

NOT_ASSIGNED = {"name", "namespace", "template"}


def test_each_common_field_is_assigned() -> None:
    assert {field_of(one) for one, _ in ASSIGNMENTS} == set(FIELDS) - NOT_ASSIGNED
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
        check_assignment(manifest(SERVINGS[name].workload), text, touched)


def check_assignment(deployment: dict[str, Any], text: str, touched: tuple[str, ...]) -> None:
    current = import_objects([deployment])
    try:
        wanted, issues = assign(current.spec, [parse_assignment(text)])
    except AssignmentError as error:
        # Its template has no such setting.
        assert text.startswith("settings."), text
        assert "There is no field settings." in str(error)
        return
    assert issues == [], text
    assert wanted is not None
    change = change_objects(current, wanted)
    found = {one.field for one in find_edited_fields(current, wanted)}
    parts = SWITCH_GROUPS.get(field_of(text), ())
    assert found <= {field_of(text), "accelerator_count", *parts}, text
    differences = [
        format_path(one.path)
        for live, changed in zip(change.live, change.changed, strict=False)
        for one in find_differences(live, changed)
    ]
    for path in differences:
        assert any(part in path for part in touched), (text, path)
    created = change.changed[len(change.live) :]
    assert differences or created or errors(change.issues) or wanted == current.spec, text
