"""The temperature policy in the objects: the annotation of the Deployment and the readiness gate of
its Pods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.validation import validate
from servedeck.serving.temperature import (
    TEMPERATURE_ANNOTATION,
    TEMPERATURE_GATE,
    parse_policy,
)
from tests.serving.objects.setting_objects import (
    Json,
    any_json,
    edit,
    make_serving,
    make_spec,
    read_again,
)

GATE = {"conditionType": TEMPERATURE_GATE}
OTHER_GATE = {"conditionType": "target-health.elbv2.k8s.aws/llama"}
TEXT = "threshold=85,recovery=75,seconds=60"


def parts(deployment: Json) -> tuple[str | None, list[Json]]:
    """The annotation, and the readiness gates."""
    annotations = deployment["metadata"].get("annotations", {})
    gates = deployment["spec"]["template"]["spec"].get("readinessGates", [])
    return annotations.get(TEMPERATURE_ANNOTATION), gates


def with_parts(annotation: object, gates: object) -> Any:
    """A serving with these two as they are."""
    current = make_serving()
    deployment = current.objects.deployment
    if annotation is not None:
        deployment["metadata"]["annotations"] = {TEMPERATURE_ANNOTATION: annotation}
    deployment["spec"]["template"]["spec"]["readinessGates"] = gates
    return import_objects(current.objects.all)


def test_on_writes_both_and_off_removes_both() -> None:
    current = make_serving()
    on = edit(current, temperature_policy="on")
    assert parts(on.changed[0]) == (TEXT, [GATE])
    assert on.changed[1:] == on.live[1:]
    assert on.restarts_pods
    off = edit(import_objects(on.changed), temperature_policy="off")
    assert off.changed[0] == current.objects.deployment


def test_what_is_written_is_what_the_controller_reads() -> None:
    fields = {
        "temperature_policy": "on",
        "temperature_threshold": 90,
        "temperature_recovery": 70,
        "temperature_seconds": 0,
    }
    change = edit(make_serving(), **fields)
    policy = parse_policy(str(parts(change.changed[0])[0]))
    assert policy is not None
    assert (policy.threshold, policy.recovery, policy.seconds) == (90, 70, 0)
    found = read_again(change)
    assert {name: getattr(found, name) for name in fields} == fields


def test_tuning_changes_the_annotation_alone_and_restarts_nothing() -> None:
    current = make_serving(temperature_policy="on")
    change = edit(current, temperature_threshold=90)
    live, changed = change.live[0], change.changed[0]
    assert live["spec"] == changed["spec"]
    assert parts(changed)[0] == "threshold=90,recovery=75,seconds=60"
    assert not change.restarts_pods
    wanted = current.spec.replace(temperature_threshold=90)
    assert [(one.name, one.restarts) for one in find_edited_fields(current, wanted)] == [
        ("temperatureThreshold", False)
    ]


def test_turning_on_says_that_pods_restart() -> None:
    current = make_serving()
    wanted = current.spec.replace(temperature_policy="on")
    found = [(one.name, one.new, one.restarts) for one in find_edited_fields(current, wanted)]
    assert found == [
        ("temperaturePolicy", "on", True),
        ("temperatureThreshold", "85", False),
        ("temperatureRecovery", "75", False),
        ("temperatureSeconds", "60", False),
    ]


def test_an_invalid_number_brings_no_error_besides_its_own() -> None:
    wrong = {"temperature_policy": "on", "temperature_threshold": 200}
    [issue] = errors(validate(make_spec(**wrong)))
    assert issue.field == "temperature_threshold"
    current = make_serving()
    change = change_objects(current, current.spec.replace(**wrong))
    assert not errors(list(change.issues))


def test_gates_of_others_stay() -> None:
    current = with_parts(None, [OTHER_GATE])
    on = edit(current, temperature_policy="on")
    assert parts(on.changed[0])[1] == [OTHER_GATE, GATE]
    off = edit(import_objects(on.changed), temperature_policy="off")
    assert parts(off.changed[0]) == (None, [OTHER_GATE])


@pytest.mark.parametrize(
    ("annotation", "gates"),
    [
        (TEXT, []),  # nobody asks for the condition
        (None, [GATE]),  # the controller lets every Pod pass
        ("", [GATE]),
        ("off", [GATE]),
        ("threshold=hot", [GATE]),
        ("threshold=50,recovery=60", [GATE]),
        (TEXT, [OTHER_GATE]),
    ],
)
def test_half_a_policy_is_off_and_can_be_turned_on(annotation: Any, gates: Any) -> None:
    current = with_parts(annotation, gates)
    spec = current.spec
    assert (spec.temperature_policy, spec.temperature_threshold) == ("off", None)
    found, written = parts(edit(current, temperature_policy="on").changed[0])
    assert found == TEXT
    assert written == [*(one for one in gates if one != GATE), GATE]


def test_what_the_annotation_leaves_out_has_its_default() -> None:
    spec = with_parts("threshold=80", [GATE]).spec
    found = (spec.temperature_threshold, spec.temperature_recovery, spec.temperature_seconds)
    assert found == (80, 75, 60)


def test_a_spec_without_the_fields_leaves_the_policy_alone() -> None:
    current = make_serving(temperature_policy="on", temperature_threshold=90)
    change = change_objects(current, make_spec(replicas=3), create_missing=False)
    assert change.changed_fields == ("replicas",)
    assert parts(change.changed[0]) == parts(change.live[0])


WORDS = ["conditionType", TEMPERATURE_GATE, TEXT, "threshold", "off", "="]


@given(any_json(WORDS), any_json(WORDS))
def test_a_policy_of_any_shape_is_read(annotation: object, gates: object) -> None:
    assert with_parts(annotation, gates).spec.temperature_policy in ("on", "off")
