"""JSON merge patches, by their definition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.changes.operations.merge_patch import (
    apply_merge_patch,
    make_merge_patch,
)

LEAVES = st.none() | st.text(max_size=3) | st.integers(-3, 3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def without_null(value: Any) -> Any:
    """A field with null is the same as none; entries of a list are replaced whole."""
    if isinstance(value, dict):
        return {key: without_null(one) for key, one in value.items() if one is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_the_patch_turns_one_object_into_the_other(
    live: dict[str, Any], wanted: dict[str, Any]
) -> None:
    patch = make_merge_patch(live, wanted)
    patched = apply_merge_patch(live, patch)
    assert without_null(patched) == without_null(wanted)


@given(OBJECTS)
def test_an_equal_object_needs_no_patch(value: dict[str, Any]) -> None:
    assert make_merge_patch(value, value) == {}


@given(OBJECTS, OBJECTS)
def test_neither_object_is_changed(live: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = repr((live, wanted))
    apply_merge_patch(live, make_merge_patch(live, wanted))
    assert repr((live, wanted)) == before


@pytest.mark.parametrize(
    ("live", "wanted"), [(1, True), ([0], [False]), ([{"a": 1}], [{"a": True}])]
)
def test_true_and_1_are_different_values(live: Any, wanted: Any) -> None:
    patch = make_merge_patch({"a": live}, {"a": wanted})
    assert repr(patch) == repr({"a": wanted})


def test_only_what_differs_is_in_the_patch() -> None:
    live = {"spec": {"replicas": 1, "paused": True, "template": {"a": [1]}}, "status": {}}
    wanted = {"spec": {"replicas": 2, "template": {"a": [1]}}, "status": {}}
    assert make_merge_patch(live, wanted) == {"spec": {"replicas": 2, "paused": None}}
