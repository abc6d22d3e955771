"""What somebody else changed in an object since it was read, and whether a write is in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.serving.objects.update_merge import (
    LostWriteState,
    find_changes_since,
    find_lost_write_state,
    has_change,
)

Json = dict[str, Any]


def deployment(**metadata: Any) -> Json:
    container = {
        "name": "server",
        "image": "a:1",
        "resources": {"limits": {"memory": "1Gi"}},
        "env": [{"name": "A", "value": "1"}],
    }
    return {
        "metadata": {
            "uid": "1",
            "resourceVersion": "1",
            "labels": {"app": "llm"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [
                {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {}}}
            ],
            **metadata,
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": {"replicas": 1},
    }


def server_of(value: Json) -> Json:
    found: Json = value["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_status_and_what_controllers_write_with_it_are_no_change() -> None:
    current = deployment(
        resourceVersion="2",
        annotations={"deployment.kubernetes.io/revision": "2"},
    )
    current["metadata"]["managedFields"].append(
        {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {}}
    )
    current["status"] = {"replicas": 2}
    assert find_changes_since(deployment(), current) == []


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"uid": "2"}, "metadata.uid"),
        ({"labels": {"app": "x"}}, "metadata.labels.app"),
        ({"annotations": {"note": "x"}}, "metadata.annotations.note"),
        ({"managedFields": []}, "metadata.managedFields"),
    ],
)
def test_other_metadata_are_a_change(metadata: Json, path: str) -> None:
    assert find_changes_since(deployment(), deployment(**metadata)) == [path]


def test_another_spec_is_a_change() -> None:
    current = deployment()
    current["spec"]["replicas"] = 2
    server_of(current)["image"] = "a:2"
    assert find_changes_since(deployment(), current) == [
        "spec.replicas",
        "spec.template.spec.containers[server].image",
    ]


def changed() -> Json:
    """What the write wants: another image and memory, a variable more, and one less."""
    found = deployment()
    server = server_of(found)
    server["image"] = "a:2"
    server["resources"]["limits"]["memory"] = "2048Mi"
    server["env"] = [{"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    return found


def test_an_object_has_the_change_with_defaults_and_in_another_form() -> None:
    current = changed()
    server_of(current)["resources"]["limits"]["memory"] = "2Gi"
    server_of(current)["env"][0]["valueFrom"]["secretKeyRef"]["optional"] = False
    server_of(current)["imagePullPolicy"] = "Always"
    current["spec"]["replicas"] = 5  # by somebody else
    assert has_change(deployment(), changed(), current)


@pytest.mark.parametrize("part", ["image", "memory", "added", "removed"])
def test_an_object_without_a_part_of_the_change_does_not_have_it(part: str) -> None:
    current = copy.deepcopy(changed())
    server = server_of(current)
    if part == "image":
        server["image"] = "a:1"
    elif part == "memory":
        server["resources"]["limits"]["memory"] = "1Gi"
    elif part == "added":
        server["env"] = []
    else:
        server["env"].append({"name": "A", "value": "1"})
    assert not has_change(deployment(), changed(), current)


def test_the_object_as_it_was_does_not_have_the_change() -> None:
    assert not has_change(deployment(), changed(), deployment())


@pytest.mark.parametrize(
    ("current", "state"),
    [
        (None, LostWriteState.DELETED),
        (deployment(uid="other"), LostWriteState.DELETED),
        (deployment(resourceVersion="7"), LostWriteState.POSSIBLE),
        (deployment(resourceVersion="8"), LostWriteState.IMPOSSIBLE),
        (changed(), LostWriteState.EXECUTED),
    ],
)
def test_what_became_of_a_write_whose_answer_was_lost(
    current: Json | None, state: LostWriteState
) -> None:
    assert find_lost_write_state(deployment(), [changed()], current, "7") is state


def test_an_object_of_the_same_name_does_not_have_the_change_of_the_one_before() -> None:
    """Also if it was created with the wanted values."""
    again = changed()
    again["metadata"]["uid"] = "other"
    found = find_lost_write_state(deployment(), [changed()], again, "7")
    assert found is LostWriteState.DELETED
