"""Merging two edits of one serving: nothing is lost that was not chosen to be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.edit.entries import ABSENT, list_entries, list_keys, split_spec
from servedeck.serving.edit.merge import (
    FieldMerge,
    MergeConflict,
    Side,
    merge_fields,
    merge_order,
)
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.edit.edited_specs import edited_specs

Specs = tuple[ServingSpec, ...]


def make(**fields: Any) -> ServingSpec:
    settings = {"model": "org/m", **fields.pop("settings", {})}
    return ServingSpec.model_validate(
        {"name": "chat", "template": "vllm", "image": "a:1", "settings": settings, **fields}
    )


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def paths(merge: FieldMerge) -> list[tuple[str, ...]]:
    return [one.path for one in merge.conflicts]


# -- properties ---------------------------------------------------------------------------------


@given(edited_specs(sides=1))
def test_without_a_change_of_theirs_mine_is_the_result(specs: Specs) -> None:
    base, mine = specs
    assert merge_fields(base, mine, base) == FieldMerge(mine, ())


@given(edited_specs(sides=1))
def test_without_a_change_of_mine_theirs_is_the_result(specs: Specs) -> None:
    base, theirs = specs
    assert merge_fields(base, base, theirs) == FieldMerge(theirs, ())


@given(edited_specs(sides=1))
def test_the_same_change_of_both_is_no_conflict(specs: Specs) -> None:
    base, changed = specs
    assert merge_fields(base, changed, changed) == FieldMerge(changed, ())


@given(edited_specs())
def test_it_does_not_matter_whose_change_is_whose(specs: Specs) -> None:
    base, mine, theirs = specs
    one, other = merge_fields(base, mine, theirs), merge_fields(base, theirs, mine)
    assert set(paths(one)) == set(paths(other))
    decided = {
        conflict: side
        for conflicts, side in ((one.conflicts, Side.MINE), (other.conflicts, Side.THEIRS))
        for conflict in conflicts
    }
    first = merge_fields(base, mine, theirs, decided)
    second = merge_fields(base, theirs, mine, decided)
    assert first.conflicts == second.conflicts == ()
    assert first.spec == second.spec


def test_what_follows_two_dashes_stays_last_whoever_added_a_flag() -> None:
    base, mine, theirs = (
        make(settings={"additional_arguments": one})
        for one in (
            ("--",),
            ("--enforce-eager", "--seed", "1"),
            ("--enforce-eager", "--max-num-seqs", "8", "--", "x"),
        )
    )
    for merge in (merge_fields(base, mine, theirs), merge_fields(base, theirs, mine)):
        assert paths(merge) == [("settings", "additional_arguments", "--")]
        kept = merge.spec.settings["additional_arguments"]
        assert set(kept) >= {"--enforce-eager", "--seed", "--max-num-seqs"}
    [conflict] = merge_fields(base, mine, theirs).conflicts
    result = merge_fields(base, mine, theirs, {conflict: Side.THEIRS}).spec
    assert result.settings["additional_arguments"][-2:] == ("--", "x")


def values(specs: Specs) -> list[dict[tuple[str, ...], Any]]:
    """The values of each spec by path; a list by entry unless one of them has a key twice."""
    split = [split_spec(one, *specs) for one in specs]
    found: list[dict[tuple[str, ...], Any]] = [{} for _ in specs]
    for path in dict.fromkeys(path for one in split for path in one):
        lists = [one.get(path) for one in split]
        keys = [list_keys(spec, path, one) for spec, one in zip(specs, lists, strict=True)]
        for spec, value, into in zip(specs, lists, found, strict=True):
            if None in keys:
                into[path] = value
            else:
                entries = list_entries(spec, path, value) or []
                into.update({(*path, key): one for key, one in entries})
    return found


@given(edited_specs())
def test_no_change_is_lost_and_none_is_overwritten_unseen(specs: Specs) -> None:
    merge = merge_fields(specs[0], specs[1], specs[2])
    seen = set(paths(merge))
    base, mine, theirs, merged = values((*specs, merge.spec))
    for changed in (mine, theirs):
        for path in base.keys() | changed.keys():
            value = changed.get(path, ABSENT)
            if value != base.get(path, ABSENT):
                assert merged.get(path, ABSENT) == value or _is_part_of(path, seen), path


@given(st.permutations("ABC"), st.permutations("ABC"), st.sets(st.sampled_from("ABC"), min_size=1))
def test_the_order_of_the_side_that_changed_it_stays(
    base: list[str], theirs: list[str], kept: set[str]
) -> None:
    mine = [one for one in base if one in kept]
    assert merge_order(base, theirs, mine, kept) == [one for one in theirs if one in kept]


def _is_part_of(path: tuple[str, ...], conflicts: set[tuple[str, ...]]) -> bool:
    """Whether a conflict is about the value or a list that it is in."""
    return any(path[: len(one)] == one for one in conflicts)


@given(edited_specs(), st.data())
def test_decided_conflicts_have_the_chosen_value(specs: Specs, data: st.DataObject) -> None:
    base, mine, theirs = specs
    decided: dict[MergeConflict, Side] = {}
    merge = merge_fields(base, mine, theirs)
    while merge.conflicts:  # what was decided may leave the order of a list to be decided
        assert not decided.keys() & set(merge.conflicts)
        decided |= {one: data.draw(st.sampled_from(Side)) for one in merge.conflicts}
        merge = merge_fields(base, mine, theirs, decided)
    values = split_spec(merge.spec, base, mine, theirs)
    for conflict, side in decided.items():
        chosen = conflict.mine if side is Side.MINE else conflict.theirs
        if conflict.path in values:
            assert values[conflict.path] == chosen


# -- examples -----------------------------------------------------------------------------------


def test_changes_of_different_fields_are_merged() -> None:
    base = make(memory="16Gi", replicas=1)
    merge = merge_fields(base, base.replace(memory="32Gi"), base.replace(replicas=3))
    assert merge == FieldMerge(make(memory="32Gi", replicas=3), ())


def test_a_field_that_both_changed_is_a_conflict_with_all_three_values() -> None:
    base = make()
    merge = merge_fields(base, base.replace(image="a:2"), base.replace(image="a:3"))
    assert merge.conflicts == (MergeConflict(("image",), "a:1", "a:3", "a:2"),)
    assert merge.spec.image == "a:3"


def test_a_choice_counts_only_for_the_values_it_was_made_for() -> None:
    base = make()
    mine = base.replace(image="a:2")
    [seen] = merge_fields(base, mine, base.replace(image="a:3")).conflicts
    again = merge_fields(base, mine, base.replace(image="a:4"), {seen: Side.MINE})
    assert paths(again) == [("image",)]


def test_variables_merge_one_by_one() -> None:
    base = make(env=variables(A="1", B="1", C="1"))
    mine = make(env=variables(A="2", B="1", D="1"))
    theirs = make(env=variables(A="1", B="3", C="1", E="1"))
    merge = merge_fields(base, mine, theirs)
    assert merge == FieldMerge(make(env=variables(A="2", B="3", D="1", E="1")), ())


def test_a_variable_that_one_removed_and_the_other_changed_is_a_conflict() -> None:
    base = make(env=variables(A="1", B="1"))
    merge = merge_fields(base, make(env=variables(B="2")), make(env=variables(A="2", B="1")))
    assert paths(merge) == [("env", "A")]
    assert merge.conflicts[0].mine is ABSENT
    assert merge.spec.env == make(env=variables(A="2", B="2")).env


def test_settings_merge_one_by_one() -> None:
    base = make()
    mine = make(settings={"max_model_len": "8k"})
    theirs = make(settings={"dtype": "half"})
    merge = merge_fields(base, mine, theirs)
    assert merge == FieldMerge(make(settings={"max_model_len": "8k", "dtype": "half"}), ())


def arguments(text: str) -> ServingSpec:
    return make(settings={"additional_arguments": text})


def test_arguments_merge_by_flag() -> None:
    merge = merge_fields(
        arguments("--seed -1 --max-num-seqs 8"),
        arguments("--seed -1 --max-num-seqs 16 --enforce-eager"),
        arguments("--seed -2 --max-num-seqs 8"),
    )
    assert merge == FieldMerge(arguments("--seed -2 --max-num-seqs 16 --enforce-eager"), ())


def test_the_value_of_a_flag_that_both_changed_is_a_conflict() -> None:
    merge = merge_fields(arguments("--seed 1"), arguments("--seed 2"), arguments("--seed=3"))
    assert paths(merge) == [("settings", "additional_arguments", "--seed")]


def test_a_flag_that_is_repeated_makes_all_arguments_one_value() -> None:
    merge = merge_fields(
        arguments("--lora a --lora b"), arguments("--lora a"), arguments("--lora a --lora c")
    )
    assert paths(merge) == [("settings", "additional_arguments")]


def test_what_follows_the_end_of_the_flags_stays_last() -> None:
    merge = merge_fields(arguments("-- x"), arguments("--seed 1 -- x"), arguments("-O3 -- x"))
    assert merge == FieldMerge(arguments("--seed 1 -O3 -- x"), ())


def test_a_template_is_one_value_with_its_settings() -> None:
    base = make()
    mine = base.replace(template="custom", settings={})
    merge = merge_fields(base, mine, make(settings={"dtype": "half"}))
    assert paths(merge) == [("template",)]


def test_a_removed_accelerator_is_a_conflict_with_another_number_of_it() -> None:
    base = make(accelerator="nvidia.com/gpu", accelerator_count=2)
    merge = merge_fields(base, base.replace(accelerator=""), base.replace(accelerator_count=4))
    assert paths(merge) == [("accelerator",)]


def test_parts_of_a_transformer_merge_and_its_removal_is_a_conflict() -> None:
    base = make(transformer={"image": "t:1", "port": 8080})
    mine = make(transformer={"image": "t:2", "port": 8080})
    theirs = make(transformer={"image": "t:1", "port": 8081})
    merge = merge_fields(base, mine, theirs)
    assert merge == FieldMerge(make(transformer={"image": "t:2", "port": 8081}), ())
    assert paths(merge_fields(base, make(), theirs)) == [("transformer",)]


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "kept", "order"),
    [
        ("ABC", "ABC", "CBA", "ABC", "CBA"),
        ("ABC", "CAB", "CBA", "ABC", None),
        ("ABC", "CBA", "CBA", "ABC", "CBA"),
        ("AB", "AXB", "AYB", "AXYB", "AXYB"),
        ("AB", "XAB", "ABY", "ABXY", "XABY"),
        ("AB", "AB", "B", "B", "B"),
        ("", "YX", "Z", "XYZ", "YXZ"),
    ],
)
def test_the_order_of_a_merged_list(
    base: str, theirs: str, mine: str, kept: str, order: str | None
) -> None:
    for one, other in ((theirs, mine), (mine, theirs)):
        found = merge_order(base, one, other, kept)
        assert found == (None if order is None else list(order))
