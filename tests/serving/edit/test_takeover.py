"""What the first serving takes over of its second revision, if it was changed since that began."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.conventions import REVISION_BASE_ANNOTATION, REVISION_LABEL
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.edit.entries import UNKNOWN
from servedeck.serving.edit.merge import Side
from servedeck.serving.edit.revision_base import (
    RevisionBase,
    decode_revision_base,
    read_revision_base,
)
from servedeck.serving.edit.second_revision import begin_revision
from servedeck.serving.edit.takeover import TakenOver, make_revision_base, take_over
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.edit.test_second_revision import (
    ARGUMENT,
    ENGINES,
    MODEL,
    PLATFORM,
    begin,
    deploy,
    make_spec,
)
from tests.serving.strategies import specs


def base_of(main: ImportedServing) -> RevisionBase:
    """What a second revision of `main` begins from, as it is read back."""
    found = decode_revision_base(make_revision_base(main, "llama-canary", MODEL).encode())
    assert found is not None
    return found


def changed(main: ImportedServing, taken: TakenOver) -> dict[str, str]:
    """The changed fields of the first serving, each with its new value."""
    return {one.name: one.new for one in find_field_differences(main.spec, taken.spec)}


def env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"image": "vllm/vllm-openai:v2-security"}),
        ({}, {"env": env(A="1")}),
        ({"env": env(A="1", B="2")}, {"env": env(B="2")}),
        ({}, {"settings": {"model": MODEL, "max_model_len": 4096}}),
        ({}, {"settings": {"model": MODEL, "additional_arguments": "--x 1"}}),
        ({}, {"settings": {"model": "org/other"}}),
        ({}, {"accelerator": "", "replicas": 1}),
        ({}, {"template": "custom", "command": "serve", "settings": {"arguments": "--x"}}),
        ({}, {"transformer": {"image": "t:1", "port": 9000}}),
    ],
)
def test_what_others_changed_in_the_first_serving_since_stays(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    began, main = (deploy(make_spec(**one)) for one in (before, {**before, **now}))
    revision = begin(began, objectives="p95=2s")
    taken = take_over(main, revision, MODEL, base_of(began))
    assert changed(main, taken) == {"objectives": "p95=2s"}
    assert taken.conflicts == ()
    without = changed(main, take_over(main, revision, MODEL))
    assert len(without) > 1, "without a base it is reverted"


@given(specs(), specs())
def test_an_unchanged_revision_changes_nothing(spec: ServingSpec, now: ServingSpec) -> None:
    began, main = (
        import_objects(build_manifests(one.replace(name="a", revision_of=""), PLATFORM), ENGINES)
        for one in (spec, now)
    )
    revision = deploy(begin_revision(began, "canary", MODEL)).spec
    taken = take_over(main, revision, MODEL, base_of(began))
    assert set(changed(main, taken)) <= {"replicas"} and taken.conflicts == ()


def test_what_both_changed_is_a_conflict() -> None:
    began = deploy(make_spec(env=env(A="1", B="1", C="1")))
    main = deploy(make_spec(image="a:security", env=env(A="2", B="1", C="1", D="1")))
    revision = begin(began, image="a:new", env=env(A="3", B="2", C="1", E="1"))
    taken = take_over(main, revision, MODEL, base_of(began))
    assert [one.path for one in taken.conflicts] == [("image",), ("env", "A")]
    [image, variable] = taken.conflicts
    assert (image.base, image.theirs, image.mine) == (UNKNOWN, "a:security", "a:new")
    assert (variable.theirs.value, variable.mine.value) == ("2", "3")
    assert changed(main, taken) == {"env.B": "2", "env.E": "1"}
    forced = take_over(main, revision, MODEL, base_of(began), Side.MINE)
    assert changed(main, forced) == {"image": "a:new", "env.A": "3", "env.B": "2", "env.E": "1"}


def test_the_same_change_of_both_is_no_conflict() -> None:
    began, main = deploy(make_spec()), deploy(make_spec(image="a:2", env=env(A="1")))
    revision = begin(began, image="a:2", env=env(A="1"), cpu="2")
    taken = take_over(main, revision, MODEL, base_of(began))
    assert (changed(main, taken), taken.conflicts) == ({"cpu": "2"}, ())


def test_a_template_that_one_changed_and_a_setting_that_the_other_did_are_a_conflict() -> None:
    began = deploy(make_spec())
    custom = make_spec(template="custom", command="serve", settings={"arguments": "--x"})
    revision = begin(began, settings={"max_model_len": "8192"})
    main = deploy(custom)
    taken = take_over(main, revision, MODEL, base_of(began))
    assert [one.path for one in taken.conflicts] == [("template",)]
    assert changed(main, taken) == {}
    forced = take_over(main, revision, MODEL, base_of(began), Side.MINE).spec
    assert (forced.template, forced.settings["max_model_len"]) == ("vllm", "8192")


def test_the_served_model_name_follows_the_model_it_was_given_for() -> None:
    began = deploy(make_spec())
    assert base_of(began).model == MODEL
    revision = begin(began, settings={"model": "org/new"})
    taken = take_over(deploy(make_spec(image="b:2")), revision, MODEL, base_of(began))
    assert taken.spec.settings["additional_arguments"] == (ARGUMENT,)
    own = deploy(make_spec(settings={"model": MODEL, "additional_arguments": ARGUMENT}))
    assert base_of(own).model == ""


def test_the_annotation_has_no_value() -> None:
    main = deploy(
        make_spec(
            image="registry/private:1",
            env=env(HF_TOKEN="hf_abcdefghijklmnop", PLAIN="plain-value"),
            settings={"model": MODEL, "additional_arguments": "--api-key=sk-secret"},
        )
    )
    text = make_revision_base(main, "llama-canary", MODEL).encode()
    for value in ("hf_abc", "plain-value", "sk-secret", "private"):
        assert value not in text
    assert "HF_TOKEN" in text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"digests": 1}', '{"digests": {}}', "[" * 100_000]
)
def test_another_text_is_no_base(text: str) -> None:
    assert decode_revision_base(text) is None


def test_it_counts_for_the_serving_that_it_was_made_for_only() -> None:
    text = make_revision_base(deploy(make_spec()), "llama-canary", MODEL).encode()
    assert json.loads(text)["of"] == "llama"
    for first in ("llama", "other"):
        metadata = {
            "labels": {REVISION_LABEL: first},
            "annotations": {REVISION_BASE_ANNOTATION: text},
        }
        assert (read_revision_base({"metadata": metadata}) is not None) == (first == "llama")


def test_a_copy_does_not_miss_the_annotation() -> None:
    objects = build_manifests(begin_revision(deploy(make_spec()), "llama-canary", MODEL), PLATFORM)
    before = import_objects(objects, ENGINES).unmanaged_fields
    objects[0]["metadata"]["annotations"] = {REVISION_BASE_ANNOTATION: "{}"}
    assert import_objects(objects, ENGINES).unmanaged_fields == before
