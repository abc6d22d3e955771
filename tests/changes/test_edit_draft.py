"""The form of an existing serving: an unchanged one changes nothing, a change is that field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.changes.edit.admitted import choose_admitted
from servedeck.changes.edit_draft import READ_ONLY_FIELDS, EditDraft
from servedeck.serving.edit.merge import Side, merge_fields
from servedeck.serving.objects import manifests
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.foreign_manifests import foreign_objects
from tests.serving.spec.test_validation import vllm_spec
from tests.serving.strategies import valid_specs

SPECS = st.one_of(valid_specs(), foreign_objects().map(lambda one: import_objects(one).spec))


def make_spec(**fields: Any) -> ServingSpec:
    values = {"name": "chat", "namespace": "team", "template": "vllm", "image": "vllm:1"}
    return ServingSpec.model_validate({**values, "settings": {"model": "org/model"}, **fields})


def wanted(edit: EditDraft) -> ServingSpec:
    spec, issues = edit.validate()
    assert spec is not None, issues
    return spec


def variable(name: str, value: str) -> dict[str, str]:
    return {**EMPTY_VARIABLE, "name": name, "value": value}


@given(SPECS)
def test_an_unchanged_form_changes_nothing(spec: ServingSpec) -> None:
    edit = EditDraft(spec)
    assert edit.changed_paths == ()
    found, issues = edit.validate()
    assert found == spec
    assert not [one for one in issues if one.is_error]


@given(SPECS, st.sampled_from(["description", "image", "replicas", "memory", "cpu"]))
def test_a_changed_text_changes_that_field_alone(spec: ServingSpec, field: str) -> None:
    edit = EditDraft(spec)
    value = {"replicas": "7", "memory": "77Gi", "cpu": "77"}.get(field, "new")
    edit.draft.texts[field] = value
    changed = wanted(edit)
    names = [name for name in type(spec).model_fields if name != field]
    assert {name: getattr(changed, name) for name in names} == {
        name: getattr(spec, name) for name in names
    }
    assert str(getattr(changed, field)) == value


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("readiness_path", "/ready", "/ready"),
        ("readiness_path", "", ""),  # no probe
        ("liveness_path", "/live", "/live"),
        ("cpu_limit", "4", "4"),
        ("memory_limit", "8Gi", "8Gi"),
    ],
)
def test_a_field_that_the_serving_has_no_value_of_can_be_set(
    field: str, text: str, value: str
) -> None:
    edit = EditDraft(make_spec(cpu="2", memory="4Gi"))
    edit.draft.texts[field] = text
    changed = wanted(edit)
    assert str(getattr(changed, field)) == value
    assert [one.path for one in edit.differences(changed)] == [(field,)]
    assert edit.reset(field)
    assert wanted(edit) == edit.base


def test_the_path_of_a_probe_of_the_template_is_shown_and_stays_absent() -> None:
    edit = EditDraft(make_spec())
    assert edit.draft.texts["readiness_path"] == edit.base.effective_readiness_path == "/health"
    edit.draft.texts["readiness_path"] = "/ready"
    edit.rebase(make_spec(replicas=2))
    assert edit.draft.texts["readiness_path"] == "/ready"
    edit.draft.texts["readiness_path"] = "/health"
    assert wanted(edit).readiness_path is None


@given(SPECS, st.data())
def test_a_changed_variable_keeps_the_others_as_they_are(spec: ServingSpec, data: Any) -> None:
    edit = EditDraft(spec)
    edit.draft.rows["env"].append(variable("ADDED_HERE", "1"))
    assert wanted(edit).env[:-1] == spec.env
    assert wanted(edit).env[-1].name == "ADDED_HERE"


@given(SPECS)
def test_a_reset_field_is_as_it_was(spec: ServingSpec) -> None:
    edit = EditDraft(spec)
    for path in edit.draft.texts:
        if path not in READ_ONLY_FIELDS:
            edit.draft.texts[path] = f"{edit.draft.texts[path]}x"
            # A port alone, as most other fields of it, is no transformer.
            assert edit.is_changed(path) or path.startswith("transformer.")
            assert edit.unsaved_count == len(edit.changed_paths)
            assert edit.reset(path)
    assert edit.changed_paths == ()


def test_a_reset_row_is_as_it_was_and_a_new_one_goes() -> None:
    edit = EditDraft(make_spec(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))
    edit.draft.rows["env"][0]["value"] = "changed"
    edit.draft.rows["env"].append(variable("C", "3"))
    assert edit.is_changed("env.0.value")
    assert not edit.is_changed("env.1.value")
    assert edit.reset("env.0.value")
    assert edit.reset("env.2.name")
    assert not edit.reset("env.1.value")
    assert edit.changed_paths == ()


def test_a_removed_row_comes_back_alone_in_its_place() -> None:
    edit = EditDraft(make_spec(env=[{"name": name, "value": "1"} for name in "ABC"]))
    edit.draft.rows["env"][2]["value"] = "changed"
    del edit.draft.rows["env"][0:2]
    for names in ("AC", "ABC"):
        assert edit.is_changed("add.env")
        assert edit.reset("add.env")
        assert "".join(row["name"] for row in edit.draft.rows["env"]) == names
    assert not edit.is_changed("add.env")
    assert not edit.reset("add.env")
    assert [one.value for one in wanted(edit).env] == ["1", "1", "changed"]


@pytest.mark.parametrize(
    ("path", "text", "is_change"),
    [
        ("transformer.image", " ", False),
        ("transformer.image", "t:1", True),
        ("image", " {} ", False),
        ("image", "{}x", True),
        ("replicas", "02", False),
        ("replicas", "3", True),
        ("replicas", "many", True),  # it cannot be read
        ("cpu", " 2", False),
        ("cpu", "3", True),
        ("readiness_path", "/health ", False),
    ],
)
def test_a_text_that_means_the_same_value_is_no_change(
    path: str, text: str, is_change: bool
) -> None:
    edit = EditDraft(make_spec(replicas=2, cpu="2"))
    typed = text.format(edit.draft.texts[path])
    edit.draft.texts[path] = typed
    for others in ({}, {"memory": "7Gi"}, {"memory": "much"}):
        edit.draft.texts |= others
        assert edit.is_changed(path) is is_change, others
        spec, unread = edit.read_parts()
        count = len(edit.differences(spec)) + unread
        assert edit.unsaved_count == count == is_change + len(others)
    assert edit.draft.texts[path] == typed


def test_a_field_of_the_transformer_that_means_the_same_is_no_change() -> None:
    edit = EditDraft(make_spec(transformer={"image": "t:1", "port": 9000}))
    edit.draft.texts["transformer.port"] = " 9000"
    assert not edit.is_changed("transformer.port") and edit.unsaved_count == 0
    edit.draft.texts["transformer.image"] = "t:2"
    assert not edit.is_changed("transformer.port")
    assert edit.is_changed("transformer.image") and edit.unsaved_count == 1


def test_an_empty_row_is_no_change() -> None:
    edit = EditDraft(make_spec())
    edit.draft.rows["env"].append(dict(EMPTY_VARIABLE))
    assert edit.changed_paths == ()


def test_a_text_that_cannot_be_parsed_is_an_error_at_its_field() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["replicas"] = "many"
    spec, issues = edit.validate()
    assert spec is None
    assert [one.field for one in issues] == ["replicas"]


def test_errors_in_a_text_and_in_a_list_are_both_found() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["replicas"] = "many"
    edit.draft.rows["volumes"].append({"pvc": "data", "mount_path": "", "read_only": "what"})
    spec, issues = edit.validate()
    assert spec is None
    assert {one.field.split(".")[0] for one in issues} == {"replicas", "volumes"}


def test_what_the_serving_lacks_already_does_not_prevent_another_change() -> None:
    edit = EditDraft(make_spec(image=""))
    edit.draft.texts["replicas"] = "3"
    spec, issues = edit.validate()
    assert spec is not None
    assert not [one for one in issues if one.is_error]


# -- others change the serving ------------------------------------------------------------------


def test_what_others_changed_is_shown_and_is_no_change_of_the_form() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "vllm:2"
    now = make_spec(replicas=5)
    assert edit.rebase(now) == []
    assert edit.changed_paths == ("image",)
    assert wanted(edit) == make_spec(image="vllm:2", replicas=5)


def test_what_admission_makes_of_a_value_that_was_sent_is_no_change_of_others() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "vllm:2"
    stored = make_spec(image="mirror.corp/vllm:2")
    admitted = choose_admitted(make_spec(), wanted(edit), stored, {})
    assert edit.rebase(stored, admitted) == []
    assert edit.changed_paths == () and wanted(edit) == stored
    other = EditDraft(make_spec())
    other.draft.texts["image"] = "vllm:2"
    assert len(other.rebase(make_spec(image="theirs"), admitted)) == 1


def test_a_text_that_cannot_be_parsed_stays_when_others_change_the_serving() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["memory"] = "16 GB"
    now = make_spec(replicas=5)
    assert edit.rebase(now) == []
    assert edit.draft.texts["memory"] == "16 GB"
    assert edit.draft.texts["replicas"] == "5"


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("image",), {"image": "vllm:3"}),
        (("settings", "max_model_len"), {"settings": {"model": "org/model", "max_model_len": 99}}),
        (("env", "A"), {"env": [{"name": "A", "value": "theirs"}]}),
        (("volumes", "/data"), {"volumes": [{"pvc": "theirs", "mount_path": "/data"}]}),
    ],
)
def test_a_value_of_others_can_be_taken(path: tuple[str, ...], change: dict[str, Any]) -> None:
    edit = EditDraft(make_spec(**change))
    edit.draft.texts["image"] = "mine"
    edit.draft.texts["settings.max_model_len"] = "11"
    edit.draft.rows["env"] = [variable("A", "mine"), variable("B", "mine")]
    edit.draft.rows["volumes"] = [{"pvc": "mine", "mount_path": "/data/", "read_only": "false"}]
    edit.reset_value(path)
    conflict = [one.path for one in edit.differences(wanted(edit))]
    assert path not in conflict
    assert len(conflict) == 4  # the other changes are kept


# -- drafts -------------------------------------------------------------------------------------


def saved(edit: EditDraft) -> Draft:
    """The draft after it was saved and read again."""
    return Draft.from_saved_dict(edit.draft.to_saved_dict())


def test_a_saved_draft_has_the_changes() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "vllm:2"
    resumed, conflicts = EditDraft.resume(make_spec(), saved(edit))
    assert (wanted(resumed), conflicts) == (make_spec(image="vllm:2"), [])


def test_a_saved_draft_keeps_what_others_changed_since() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "vllm:2"
    resumed, conflicts = EditDraft.resume(make_spec(replicas=5), saved(edit))
    assert conflicts == []
    assert wanted(resumed) == make_spec(image="vllm:2", replicas=5)


def test_a_saved_draft_reports_what_both_changed() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "vllm:2"
    resumed, conflicts = EditDraft.resume(make_spec(image="vllm:3"), saved(edit))
    assert [(one.path, one.base, one.theirs, one.mine) for one in conflicts] == [
        (("image",), "vllm:1", "vllm:3", "vllm:2")
    ]
    assert wanted(resumed).image == "vllm:2"


def test_a_secret_that_was_not_changed_comes_from_the_serving() -> None:
    """The draft's file has no values that look secret."""
    spec = make_spec(env=[{"name": "API_TOKEN", "value": "s3cr3t-value"}])
    edit = EditDraft(spec)
    edit.draft.rows["env"].append(variable("A", "1"))
    file = saved(edit)
    assert "s3cr3t-value" not in str(file.to_dict())
    resumed, conflicts = EditDraft.resume(spec, file)
    assert conflicts == []
    assert [(one.name, one.value) for one in wanted(resumed).env] == [
        ("API_TOKEN", "s3cr3t-value"),
        ("A", "1"),
    ]


def test_a_changed_secret_must_be_entered_again() -> None:
    edit = EditDraft(make_spec())
    edit.draft.rows["env"].append(variable("API_TOKEN", "s3cr3t-value"))
    resumed, _ = EditDraft.resume(make_spec(), saved(edit))
    _, issues = resumed.validate()
    assert any(one.is_error and "enter it again" in one.message for one in issues)


def test_a_draft_with_a_text_that_cannot_be_parsed_is_resumed_as_typed() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["replicas"] = "many"
    resumed, conflicts = EditDraft.resume(make_spec(image="vllm:3"), saved(edit))
    assert conflicts == []
    assert resumed.draft.texts["replicas"] == "many"
    assert resumed.draft.texts["image"] == "vllm:3"


def test_a_choice_for_mine_is_kept_in_the_merge() -> None:
    base, mine, now = make_spec(), make_spec(image="mine"), make_spec(image="theirs")
    [conflict] = merge_fields(base, mine, now).conflicts
    assert merge_fields(base, mine, now, {conflict: Side.MINE}).spec.image == "mine"


# -- merging what cannot be read yet ------------------------------------------------------------


def test_a_conflict_beside_a_text_with_an_error_is_found() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts |= {"memory": "16 GB", "image": "mine"}
    [conflict] = edit.rebase(make_spec(image="theirs"))
    assert (conflict.path, conflict.base, conflict.theirs) == (("image",), "vllm:1", "theirs")
    assert edit.draft.texts["image"] == "mine"


def test_a_text_with_an_error_that_others_changed_is_a_conflict() -> None:
    edit = EditDraft(make_spec(memory="8Gi"))
    edit.draft.texts["memory"] = "16 GB"
    [conflict] = edit.rebase(make_spec(memory="32Gi"))
    assert (conflict.base, conflict.theirs, conflict.mine) == ("8Gi", "32Gi", "16 GB")


def test_a_row_with_an_error_keeps_what_others_did_with_the_other_rows() -> None:
    edit = EditDraft(make_spec(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))
    edit.draft.rows["env"].append(variable("not a name", "3"))
    now = make_spec(env=[{"name": "A", "value": "theirs"}, {"name": "C", "value": "4"}])
    assert edit.rebase(now) == []
    names = {row["name"]: row["value"] for row in edit.draft.rows["env"]}
    assert names == {"A": "theirs", "not a name": "3", "C": "4"}


def test_an_empty_row_stays_when_others_change_the_list() -> None:
    edit = EditDraft(make_spec(env=[{"name": "A", "value": "1"}]))
    edit.draft.rows["env"].append(dict(EMPTY_VARIABLE))
    edit.rebase(make_spec(env=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]))
    assert [row["name"] for row in edit.draft.rows["env"]] == ["B", "A", ""]


def test_a_text_stays_as_it_is_typed() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["replicas"] = "07"
    edit.rebase(make_spec(image="theirs"))
    assert edit.draft.texts["replicas"] == "07"


def test_a_decided_conflict_is_not_asked_about_again() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "mine"
    [conflict] = edit.rebase(make_spec(image="theirs"))
    assert edit.undecided(wanted(edit)) == [conflict]
    edit.decide(conflict, Side.MINE)
    assert edit.undecided(wanted(edit)) == []
    assert wanted(edit).image == "mine"


def test_an_undecided_conflict_keeps_its_base_when_others_change_it_again() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "mine"
    edit.rebase(make_spec(image="theirs"))
    edit.rebase(make_spec(image="again"))
    [conflict] = edit.undecided(wanted(edit))
    assert (conflict.base, conflict.theirs, conflict.mine) == ("vllm:1", "again", "mine")


def test_a_draft_with_an_undecided_conflict_asks_again_when_it_is_resumed() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["image"] = "mine"
    now = make_spec(image="theirs")
    edit.rebase(now)
    resumed, _ = EditDraft.resume(now, saved(edit))
    [conflict] = resumed.undecided(wanted(resumed))
    assert (conflict.base, conflict.theirs, conflict.mine) == ("vllm:1", "theirs", "mine")


def test_settings_of_a_template_that_others_replaced_are_theirs() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["settings.max_model_len"] = "11"
    now = make_spec(template="custom", settings={})
    edit.rebase(now)
    assert wanted(edit) == now


def test_a_changed_secret_of_an_existing_variable_must_be_entered_again() -> None:
    spec = make_spec(env=[{"name": "API_TOKEN", "value": "s3cr3t-value"}])
    edit = EditDraft(spec)
    edit.draft.rows["env"][0]["value"] = "another-s3cr3t"
    file = saved(edit)
    assert "another-s3cr3t" not in str(file.to_dict())
    resumed, _ = EditDraft.resume(spec, file)
    _, issues = resumed.validate()
    assert any(one.is_error and "enter it again" in one.message for one in issues)


def test_a_change_that_was_not_saved_because_of_a_secret_in_it_is_told() -> None:
    edit = EditDraft(make_spec())
    edit.draft.texts["command"] = "serve --api-key sk-abcdefghijklmnopqrstuvwx"
    resumed, _ = EditDraft.resume(make_spec(command=["serve"]), saved(edit))
    _, issues = resumed.validate()
    assert [one.field for one in issues if "not saved in the draft" in one.message] == ["command"]


@pytest.mark.parametrize("secret", ["", "s3cr3t-value"])
def test_a_draft_without_changes_is_told_from_one_with_them(secret: str) -> None:
    edit = EditDraft(make_spec(env=[{"name": "API_TOKEN", "value": secret}]))
    assert not EditDraft.has_changes(saved(edit))
    edit.draft.texts["image"] = "mine"
    assert EditDraft.has_changes(saved(edit))


@given(SPECS, SPECS, st.data())
def test_a_rebased_form_changes_what_it_changed(
    base: ServingSpec, other: ServingSpec, data: Any
) -> None:
    """Whatever others did, an unchanged form is as the serving is now."""
    edit = EditDraft(base)
    now = other.replace(name=base.name, namespace=base.namespace)
    assert edit.rebase(now) == []
    assert wanted(edit) == now
    assert edit.changed_paths == ()


# -- texts of a saved draft ---------------------------------------------------------------------


def reopened(edit: EditDraft, current: ServingSpec | None = None) -> EditDraft:
    """The form closed, and opened again with its draft."""
    saved = Draft.from_saved_dict(json.loads(json.dumps(edit.draft.to_saved_dict())))
    assert EditDraft.has_changes(saved) is bool(edit.changed_paths)
    found, _ = EditDraft.resume(current or edit.base, saved)
    return found


@pytest.mark.parametrize(
    ("read", "path", "typed"),
    [
        ({"accelerator": "nvidia.com/gpu", "accelerator_count": "1"}, "accelerator", ""),
        ({"accelerator": ""}, "accelerator", "nvidia.com/gpu"),
        ({"accelerator": ""}, "accelerator", "amd.com/gpu"),
        ({}, "image", ""),
        ({"image": ""}, "image", "vllm:2"),
        ({"image": ""}, "replicas", "3"),
    ],
)
def test_a_reopened_draft_has_the_template_defaults_nowhere(
    read: dict[str, Any], path: str, typed: str
) -> None:
    edit = EditDraft(make_spec(**read))
    edit.draft.texts[path] = typed
    again = reopened(edit)
    assert again.changed_paths == (path,)
    assert again.draft.texts[path] == typed
    assert again.undecided(again.validate()[0]) == []


SECRET = "serve --api-key sk-abcdefghijklmnop1234 --port 8000"


@pytest.mark.parametrize("typed", ["serve --port 8000", "serve --port 9000", ""])
def test_a_change_of_a_text_with_a_secret_is_in_its_draft(typed: str) -> None:
    edit = EditDraft(make_spec(command=SECRET))
    edit.draft.texts["command"] = typed
    again = reopened(edit)
    assert again.changed_paths == ("command",)
    assert again.draft.texts["command"] == typed
    assert again.undecided(again.validate()[0]) == []
    warnings = [one.message for one in again.validate()[1] if one.field == "command"]
    assert any("it is not known whether others have changed it since" in one for one in warnings)
    assert again.reset("command")
    assert not [one for one in again.validate()[1] if one.field == "command"]


def test_an_unchanged_text_with_a_secret_stays_as_the_serving_has_it() -> None:
    edit = EditDraft(make_spec(command=SECRET))
    edit.draft.texts["replicas"] = "3"
    others = make_spec(command=SECRET.replace("8000", "9000"))
    again = reopened(edit, others)
    assert again.changed_paths == ("replicas",)
    assert wanted(again).command == others.command
    saved = edit.draft.to_saved_dict()
    assert "sk-abc" not in json.dumps(saved)
    del saved["unchanged"]  # as earlier versions saved it
    earlier, _ = EditDraft.resume(others, Draft.from_saved_dict(saved))
    assert earlier.changed_paths == ("replicas",)


def test_a_default_that_is_typed_where_there_is_none_is_a_change() -> None:
    deployment = manifests.build_manifests(vllm_spec())[0]
    pod = deployment["spec"]["template"]["spec"]
    pod["volumes"], pod["containers"][0]["volumeMounts"] = [], []
    current = import_objects([deployment])
    edit = EditDraft(current.spec, current.mounts)
    for path, text in (("model_cache_path", "/model-cache"), ("shared_memory", "512Mi")):
        assert edit.unsaved_count == 0
        edit.draft.texts[path] = text
        assert edit.unsaved_count == 1 and edit.is_changed(path)
        spec, _ = edit.validate()
        assert spec is not None
        [shown] = edit.differences(spec)
        assert (shown.field, shown.old, shown.new) == (path, "none", text)
        edit.reset(path)
    mounted = import_objects(manifests.build_manifests(vllm_spec()))
    edit = EditDraft(mounted.spec, mounted.mounts)
    edit.draft.texts["model_cache_path"] = "/model-cache"
    assert edit.unsaved_count == 0
