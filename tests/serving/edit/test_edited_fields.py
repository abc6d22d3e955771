"""What an edit of a foreign serving changes, and which of it restarts Pods."""

from __future__ import annotations

from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.entries import split_spec
from servedeck.serving.objects.change import change_objects, resolve_open_fields
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import to_yaml
from servedeck.serving.spec.spec import FIELDS, ServingSpec
from tests.serving.foreign_manifests import Json, foreign_objects
from tests.serving.objects.test_foreign_edits import EDITS
from tests.serving.strategies import specs


def template_changes(objects: list[Json], wanted: ServingSpec) -> bool:
    change = change_objects(import_objects(objects), wanted, create_missing=False)
    live, changed = (one[0]["spec"]["template"] for one in (change.live, change.changed))
    return bool(live != changed)


@given(foreign_objects(), st.lists(st.sampled_from(EDITS), max_size=3))
def test_the_fields_of_a_foreign_serving_that_restart_are_those_of_the_pod_template(
    objects: list[Json], edits: list[Any]
) -> None:
    current = import_objects(objects)
    wanted = current.spec
    for name, edit in edits:
        wanted = wanted.replace(**{name: edit(current.spec)})
    note(to_yaml(wanted))
    found = find_edited_fields(current, wanted)
    assert any(one.restarts for one in found) == template_changes(objects, wanted)
    for one in found:
        assert one.restarts <= FIELDS[one.field].restarts, one


@given(specs(), specs())
def test_the_fields_of_our_servings_that_restart_are_those_of_the_pod_template(
    before: ServingSpec, after: ServingSpec
) -> None:
    objects = build_manifests(before, PlatformSettings())
    wanted = after.replace(name=before.name, namespace=before.namespace)
    found = find_edited_fields(import_objects(objects), wanted)
    assert any(one.restarts for one in found) == template_changes(objects, wanted)


@given(foreign_objects())
def test_an_unchanged_serving_has_no_edited_fields(objects: list[Json]) -> None:
    current = import_objects(objects)
    assert find_edited_fields(current, current.spec) == ()


@given(foreign_objects(), st.sampled_from(EDITS))
def test_an_edit_of_one_field_is_one_of_its_values(objects: list[Json], edit: Any) -> None:
    current = import_objects(objects)
    name, change = edit
    wanted = current.spec.replace(**{name: change(current.spec)})
    found = {one.field for one in find_edited_fields(current, wanted)}
    # no accelerator has no number, another one its own toleration; no probe has a path or times
    follows = {
        "accelerator": {"accelerator_count", "tolerations"},
        "startup_seconds": {"startup_path"},
        "readiness_path": {"readiness_times"},
        "liveness_path": {"liveness_times"},
    }
    assert found <= {name} | follows.get(name, set())
    # the start-up time of a serving without an endpoint is open, and 0 leaves it so
    resolved = resolve_open_fields(current, wanted)
    assert bool(found) == (split_spec(resolved) != split_spec(current.spec))


def test_a_probe_path_of_the_template_is_named() -> None:
    spec = ServingSpec.model_validate({"name": "llama", "namespace": "chat", "template": "vllm"})
    [changed] = find_field_differences(spec, spec.replace(readiness_path="/ready"))
    assert (changed.old, changed.new) == ("/health", "/ready")
    [removed] = find_field_differences(spec, spec.replace(liveness_path=""))
    assert (removed.old, removed.new) == ("/health", "none")


def test_values_that_belong_together_have_their_labels() -> None:
    spec = ServingSpec.model_validate(
        {"name": "llama", "namespace": "chat", "template": "vllm", "accelerator": "nvidia.com/gpu"}
    )
    [changed] = find_field_differences(spec, spec.replace(accelerator=""))
    assert (changed.old, changed.new) == ("nvidia.com/gpu, Accelerator Count 1", "none")
    [added] = find_field_differences(spec, spec.replace(transformer={"image": "", "command": "x"}))
    assert (added.old, added.new) == ("none", "no image")
