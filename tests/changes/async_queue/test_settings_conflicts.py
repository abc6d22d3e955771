"""A conflict about the settings of a gateway is shown setting by setting."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.changes.async_queue.settings_conflicts import with_settings_conflicts
from servedeck.changes.object_writes import ObjectWrite
from servedeck.cluster.apply import ObjectRef, Preview
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.async_limits import LIMITS
from servedeck.serving.objects.field_changes import FieldConflict
from servedeck.serving.text import MASK, one_line, sanitize
from tests.serving.test_settings_text import hostile_texts

REF = ObjectRef("v1", "ConfigMap", "chat", "llama-async")
WHOLE = FieldConflict(".data.gateway.yaml", "kubectl-edit", "serving: …", "serving: …")
OTHER = FieldConflict(".metadata.labels.app", "helm", "a", "b")


def config_map(text: Any) -> dict[str, Any]:
    shown = text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False)
    return {"kind": "ConfigMap", "data": {"gateway.yaml": shown}}


def conflicts(live: Any, wanted: Any, *more: FieldConflict) -> list[FieldConflict]:
    rejection = Rejection(RejectionReason.CONFLICT, "It conflicts.", (), (*more, WHOLE))
    write = ObjectWrite(REF, config_map(wanted), live=config_map(live))
    found = with_settings_conflicts(Preview(REF, None, rejection), write).rejection
    assert found is not None
    return list(found.conflicts)


def test_only_what_differs_is_shown_in_its_units() -> None:
    live = {"serving": "chat/llama", "max_depth": 9, "lifetime": 3600, "max_wait": 30}
    wanted = {"serving": "chat/llama", "max_depth": 50, "lifetime": 7200.0, "max_wait": 30}
    assert conflicts(live, wanted, OTHER) == [
        OTHER,
        FieldConflict("Max Queue Depth", "kubectl-edit", "9", "50"),
        FieldConflict("Task Lifetime", "kubectl-edit", "1h", "2h"),
    ]


def test_values_of_others_are_untrusted() -> None:
    live = {"max_depth": "\x1b[31m\nmany", "\x1b[31mx": 1, "store": "valkey://:hunter2@v:1"}
    wanted = {"max_depth": 50, "store": "valkey://v:1"}
    found = conflicts(live, wanted)
    assert [(one.path, one.current, one.desired) for one in found[1:]] == [
        ("store", MASK, "valkey://v:1"),
        ("x", "1", "none"),
    ]
    assert found[0].path == "Max Queue Depth" and found[0].current.isprintable()


@pytest.mark.parametrize("live", ["", "- a", "{", {"max_depth": 50}])
def test_what_cannot_be_compared_stays_as_it_is(live: Any) -> None:
    assert conflicts(live, {"max_depth": 50}) == [WHOLE]


@given(text=hostile_texts, name=st.sampled_from(list(LIMITS)))
@example(text="|", name="pod_concurrency")
def test_a_conflict_of_any_text_is_shown(text: str, name: str) -> None:
    for one in (text, f"{name}: {text}", f"? {text}\n: {name}"):
        for found in conflicts(one, {"max_depth": 50}):
            assert found.path and len(found.current) <= 200
            assert found.current == one_line(sanitize(found.current))


def test_what_is_no_number_of_a_limit_is_shown_as_it_is() -> None:
    found = conflicts("max_depth: .inf\n1: 2\nlifetime: " + "9" * 5000, {"max_depth": 50})
    assert [(one.path, one.current, one.desired) for one in found] == [
        ("Max Queue Depth", "inf", "50"),
        ("1", "2", "none"),
        ("Task Lifetime", "9" * 200, "none"),
    ]


def test_other_objects_are_left_alone() -> None:
    rejection = Rejection(RejectionReason.CONFLICT, "It conflicts.", (), (WHOLE,))
    service = Preview(ObjectRef("v1", "Service", "chat", "llama-async"), None, rejection)
    write = ObjectWrite(service.ref, config_map({}), live=config_map({"a": 1}))
    assert with_settings_conflicts(service, write) is service
    accepted = Preview(REF, None)
    assert with_settings_conflicts(accepted, ObjectWrite(REF, {})) is accepted
