"""Merging an edit of an object with what others changed: nothing of either side is lost unseen."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objects.diff import MISSING, format_path
from servedeck.serving.objects.object_merge import merge_objects
from tests.serving.foreign_manifests import foreign_objects

BASE = {
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {"name": "server", "image": "a:1", "env": [{"name": "A", "value": "1"}]},
                    {"name": "proxy", "image": "p:1"},
                ]
            }
        },
    }
}


def edit(**changes: Any) -> dict[str, Any]:
    found = copy.deepcopy(BASE)
    server = found["spec"]["template"]["spec"]["containers"][0]
    for name, value in changes.items():
        if name == "replicas":
            found["spec"]["replicas"] = value
        else:
            server[name] = value
    return found


def test_what_each_side_changed_is_merged() -> None:
    merged, conflicts = merge_objects(BASE, edit(image="a:2"), edit(replicas=5))
    assert (merged, conflicts) == (edit(image="a:2", replicas=5), ())


def test_entries_of_a_list_are_merged_by_their_key() -> None:
    mine = edit(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    theirs = edit(env=[{"name": "C", "value": "3"}, {"name": "A", "value": "9"}])
    merged, conflicts = merge_objects(BASE, mine, theirs)
    env = merged["spec"]["template"]["spec"]["containers"][0]["env"]
    assert conflicts == ()
    assert env == [
        {"name": "C", "value": "3"},
        {"name": "A", "value": "9"},
        {"name": "B", "value": "2"},
    ]


A, B, C = ({"name": name, "value": "1"} for name in "ABC")


def merge_env(base: Any, mine: Any, theirs: Any) -> tuple[str, int]:
    """The order of the merged variables, and the number of conflicts."""
    merged, conflicts = merge_objects({"env": base}, {"env": mine}, {"env": theirs})
    return "".join(one["name"] for one in merged["env"]), len(conflicts)


def test_an_order_that_one_side_changed_is_kept_with_what_the_other_changed() -> None:
    changed = {"name": "A", "value": "77"}
    assert merge_env([A, B], [B, A], [changed, B]) == ("BA", 0)
    assert merge_env([A, B], [changed, B], [B, A]) == ("BA", 0)
    assert merge_env([A, B], [B, A], [A, B, C]) == ("BCA", 0)


def test_two_different_orders_are_a_conflict_and_mine_is_kept() -> None:
    changed = {"name": "A", "value": "77"}
    assert merge_env([A, B, C], [B, A, C], [changed, C, B]) == ("BAC", 1)
    _, [conflict] = merge_objects({"env": [A, B, C]}, {"env": [B, A, C]}, {"env": [A, C, B]})
    assert conflict[1:] == (["A", "B", "C"], ["A", "C", "B"], ["B", "A", "C"])


def test_true_and_1_are_different_values() -> None:
    assert merge_objects({"a": 1}, {"a": True}, {"a": 1}).merged["a"] is True
    assert merge_objects({"a": [1]}, {"a": [True]}, {"a": [1]}).merged["a"] == [True]
    assert merge_objects({"a": 2}, {"a": 1}, {"a": True}).conflicts
    assert merge_objects({"a": 1}, {"a": 2}, {"a": True}).conflicts


def test_what_both_changed_is_a_conflict_and_mine_is_kept() -> None:
    merged, [conflict] = merge_objects(BASE, edit(image="mine"), edit(image="theirs"))
    assert merged == edit(image="mine")
    assert format_path(conflict.path) == "spec.template.spec.containers[server].image"
    assert conflict[1:] == ("a:1", "theirs", "mine")


def test_the_same_change_of_both_is_no_conflict() -> None:
    assert merge_objects(BASE, edit(image="x"), edit(image="x")) == (edit(image="x"), ())


def test_an_entry_that_one_removed_and_the_other_changed_is_a_conflict() -> None:
    removed = copy.deepcopy(BASE)
    del removed["spec"]["template"]["spec"]["containers"][0]
    _, [conflict] = merge_objects(BASE, removed, edit(image="theirs"))
    assert conflict.mine is MISSING


def test_a_map_with_one_owner_is_merged_as_a_whole() -> None:
    base = {"spec": {"nodeSelector": {"a": "1"}}}
    mine = {"spec": {"nodeSelector": {"a": "1", "b": "2"}}}
    theirs = {"spec": {"nodeSelector": {"a": "1", "c": "3"}}}
    merged, conflicts = merge_objects(base, mine, theirs)
    assert merged == mine
    assert len(conflicts) == 1


def test_a_list_without_keys_is_merged_as_a_whole() -> None:
    base, mine, theirs = ({"args": one} for one in (["a"], ["a", "b"], ["a", "c"]))
    assert len(merge_objects(base, mine, theirs).conflicts) == 1


@given(foreign_objects(), foreign_objects())
def test_a_side_that_changed_nothing_gives_the_other(one: Any, other: Any) -> None:
    base, changed = one[0], other[0]
    assert merge_objects(base, base, changed) == (changed, ())
    assert merge_objects(base, changed, base) == (changed, ())
    assert merge_objects(base, changed, changed) == (changed, ())


@given(foreign_objects(), st.sampled_from(["image", "imagePullPolicy", "tty"]))
def test_changes_of_different_fields_do_not_depend_on_the_order(objects: Any, name: str) -> None:
    base = objects[0]
    mine, theirs = copy.deepcopy(base), copy.deepcopy(base)
    mine["spec"]["template"]["spec"]["containers"][0][name] = "changed"
    theirs["spec"]["minReadySeconds"] = 77
    assert merge_objects(base, mine, theirs) == merge_objects(base, theirs, mine)
    assert merge_objects(base, mine, theirs).conflicts == ()
