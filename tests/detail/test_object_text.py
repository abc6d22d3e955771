"""The YAML of a live object, as it is shown and as it is saved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster import resources
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.detail.object_text import (
    TextOptions,
    build_object_text,
    build_saved_text,
    last_change_time,
)
from servedeck.detail.object_watch import LiveObject
from servedeck.serving.objects.records import WholeObject
from servedeck.serving.text import MASK
from servedeck.serving.yaml_text import LAST_APPLIED

EVERYTHING = TextOptions(reveals_secrets=True, unfolds=True)


def live_pod(value: dict[str, Any]) -> LiveObject:
    record, _ = RecordDecoder(WholeObject).decode(json.dumps(value).encode())
    return LiveObject(resources.POD, record)


def make_pod() -> dict[str, Any]:
    env = [{"name": "HF_TOKEN", "value": "hunter2"}, {"name": "A", "value": "1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "llama",
            "annotations": {LAST_APPLIED: json.dumps({"env": env})},
            "managedFields": [{"manager": "kubectl", "time": "2026-11-23T02:59:30Z"}],
            "creationTimestamp": "2026-11-22T00:00:00Z",
        },
        "spec": {"containers": [{"name": "server", "env": env}]},
    }


def texts(live: LiveObject, options: TextOptions) -> list[str]:
    return [line.text for line in build_object_text(live, options, " (m)").text.lines]


def test_what_is_shown_is_masked_and_folded():
    live = live_pod(make_pod())
    shown = build_object_text(live, TextOptions(), " (m unfolds)")
    text = "\n".join(line.text for line in shown.text.lines)
    assert "hunter2" not in text
    assert (shown.masked_count, shown.folded_count) == (1, 2)
    assert "  managedFields: # 2 lines folded (m unfolds)" in text
    assert shown.changed_at == datetime(2026, 11, 23, 2, 59, 30, tzinfo=UTC)


def test_what_is_unfolded_is_masked_still():
    live = live_pod(make_pod())
    lines = texts(live, TextOptions(unfolds=True))
    assert build_object_text(live, TextOptions(unfolds=True), "").masked_count == 2
    assert f"    {LAST_APPLIED}: {MASK}" in lines
    assert not any("hunter2" in line for line in lines)


def test_a_saved_text_has_what_is_shown():
    live = live_pod(make_pod())
    whole = build_saved_text(live, EVERYTHING)
    assert yaml.safe_load(whole.text) == make_pod()
    assert whole[1:] == (whole.text.count("\n"), 0, False)
    saved = build_saved_text(live, TextOptions())
    assert saved.text.startswith("# 1 value is masked here: do not apply this file.\napiVersion")
    assert saved.omits_managed_fields
    expected = make_pod()
    del expected["metadata"]["managedFields"], expected["metadata"]["annotations"]
    expected["spec"]["containers"][0]["env"][0]["value"] = MASK
    assert yaml.safe_load(saved.text) == expected


def test_other_annotations_stay():
    pod = make_pod()
    pod["metadata"]["annotations"]["note"] = "x"
    saved = build_saved_text(live_pod(pod), TextOptions(reveals_secrets=True))
    assert yaml.safe_load(saved.text)["metadata"]["annotations"] == {"note": "x"}


def test_an_object_without_any_of_it_is_the_same():
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    saved = build_saved_text(live_pod(pod), TextOptions())
    assert yaml.safe_load(saved.text) == pod
    assert saved[1:] == (4, 0, False)


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_number_is_saved_as_it_is(text: str, number: float):
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"a": [text, number], text: text}}
    saved = build_saved_text(live_pod(pod), EVERYTHING)
    assert yaml.safe_load(saved.text) == pod


def test_entries_of_a_list_have_no_kind_of_their_own():
    saved = build_saved_text(live_pod({"metadata": {"name": "a"}}), TextOptions())
    assert saved.text == "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"


def test_an_object_that_is_nested_too_deeply():
    nested: Any = "x"
    for _ in range(900):
        nested = {"a": nested}
    with pytest.raises(RecursionError):
        build_object_text(live_pod({"spec": nested}), TextOptions(), "")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"creationTimestamp": "yesterday", "managedFields": [{"time": 5}, "x"]}, None),
        ({"creationTimestamp": "2026-01-01T00:00:00Z"}, datetime(2026, 1, 1, tzinfo=UTC)),
        (
            {
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"time": "2027-01-01"}, {"time": "2025-01-01T00:00:00Z"}],
            },
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_when_an_object_was_changed_last(metadata: dict[str, Any], expected: datetime | None):
    assert last_change_time({"metadata": metadata}) == expected
