"""A common field is one entry of the table: everything else derives from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import servedeck
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.spec.spec import FIELDS, Section, ServingSpec
from servedeck.serving.spec.temperature_policy import TEMPERATURE_FIELDS

ENTRY = """
    priority_class: Annotated[
        Str,
        CommonField(
            section=Section.ADVANCED,
            label="Priority Class",
            help="PriorityClass of the Pods",
            access=pod_field("priorityClassName", "priority_class"),
        ),
    ] = ""
"""
CHECK = """
from servedeck.changes.draft import Draft
from servedeck.changes.form_fields import FIELDS_BY_SECTION
from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.field_changes import find_field_changes
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.spec import Section

assert "priority_class" in [one.name for one in FIELDS_BY_SECTION[Section.ADVANCED]]
draft = Draft("custom", "p")
draft.texts |= {"name": "a", "image": "i", "priority_class": "high"}
spec, _ = draft.validate()
assert "priorityClass: high" in to_yaml(spec)
objects = manifests.build_manifests(spec)
assert objects[0]["spec"]["template"]["spec"]["priorityClassName"] == "high"
current = import_objects(objects)
assert current.spec == spec
wanted = from_yaml(to_yaml(spec).replace("high", "low"))
change = change_objects(current, wanted)
found = [one for pair in zip(change.live, change.changed) for one in find_field_changes(*pair)]
assert [(one.path, one.old, one.new) for one in found] == [
    (".spec.template.spec.priorityClassName", "high", "low")
]
none = change_objects(import_objects(list(change.changed)), wanted.replace(priority_class=""))
assert "priorityClassName" not in none.changed[0]["spec"]["template"]["spec"]
"""


def test_a_new_common_field_is_one_entry(tmp_path: Path) -> None:
    package = tmp_path / "servedeck"
    shutil.copytree(Path(servedeck.__file__).parent, package)
    file = package / "serving/spec/spec.py"
    text = file.read_text(encoding="utf-8")
    text = text.replace("    env: Annotated[", f"{ENTRY}    env: Annotated[", 1)
    text = text.replace("    read_only_field,\n", "    pod_field,\n    read_only_field,\n", 1)
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_every_attribute_of_a_serving_is_a_field_with_what_a_form_needs() -> None:
    assert list(FIELDS) == list(ServingSpec.model_fields)
    for name, field in FIELDS.items():
        has_input = bool(field.label and field.help) or bool(field.inputs)
        assert has_input or name in ("settings", "env"), name
    assert {one.section for one in FIELDS.values()} == set(Section)


def test_only_what_leaves_the_pods_alone_does_not_restart_them() -> None:
    assert {name for name, one in FIELDS.items() if not one.restarts} == {
        "name",
        "namespace",
        "description",
        "objectives",
        "revision_of",
        "replicas",
        "rollout",
        *SCALING_FIELDS,
        *LOAD_BALANCING_FIELDS,
        *TEMPERATURE_FIELDS[1:],
    }
