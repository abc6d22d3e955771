"""What server-side apply sends for a change, by the ownership that the API server reports."""

from __future__ import annotations

import copy
from typing import Any

from servedeck.serving.objects.diff import MISSING, format_path
from servedeck.serving.objects.managed_fields import (
    build_apply_configuration,
    foreign_changes,
    has_repeated_entries,
    has_update_entry,
    owned_paths,
)

Json = dict[str, Any]
SERVER = 'k:{"name":"server"}'


def entry(manager: str, fields: Json, operation: str = "Apply", **more: Any) -> Json:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def deployment(*owners: Json) -> Json:
    container: Json = {
        "name": "server",
        "image": "a:1",
        "args": ["m"],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "ports": [{"containerPort": 8000}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm", "namespace": "p", "managedFields": list(owners)},
        "spec": {"replicas": 1, "containers": [container, {"name": "sidecar", "image": "b"}]},
    }


def server_of(live: Json) -> Json:
    server: Json = live["spec"]["containers"][0]
    return server


IDENTITY = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llm", "namespace": "p"},
}


def test_an_unchanged_object_is_not_sent() -> None:
    live = deployment(entry("servedeck", {"f:spec": {"f:replicas": {}}}))
    assert build_apply_configuration(live, copy.deepcopy(live), "servedeck") is None


def test_a_change_of_a_field_that_we_do_not_own_is_sent_alone_with_its_list_keys() -> None:
    live = deployment()
    changed = copy.deepcopy(live)
    server_of(changed)["image"] = "a:2"
    spec = {"containers": [{"name": "server", "image": "a:2"}]}
    assert build_apply_configuration(live, changed, "servedeck") == {**IDENTITY, "spec": spec}


def test_what_is_owned_is_sent_as_it_is_and_what_was_removed_is_not() -> None:
    owned = {
        "f:spec": {
            "f:replicas": {},
            "f:containers": {SERVER: {".": {}, "f:env": {'k:{"name":"A"}': {".": {}}}}},
        }
    }
    live = deployment(entry("servedeck", owned), entry("helm", {"f:spec": {"f:containers": {}}}))
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 3
    spec = {"replicas": 3, "containers": [{"name": "server", "env": [{"name": "A"}]}]}
    assert build_apply_configuration(live, changed, "servedeck") == {**IDENTITY, "spec": spec}
    del server_of(changed)["env"][0]
    body = build_apply_configuration(live, changed, "servedeck")
    assert body == {
        **IDENTITY,
        "spec": {"replicas": 3, "containers": [{"name": "server", "env": []}]},
    }


def test_a_removal_alone_sends_nothing_else_and_leaves_the_object() -> None:
    live = deployment()
    changed = copy.deepcopy(live)
    del server_of(changed)["env"][0]
    before = copy.deepcopy(changed)
    assert build_apply_configuration(live, changed, "servedeck") == IDENTITY
    assert changed == before


def test_an_atomic_map_and_a_list_without_keys_are_sent_whole() -> None:
    live = deployment()
    changed = copy.deepcopy(live)
    server_of(changed)["env"][1]["valueFrom"]["secretKeyRef"]["key"] = "k2"
    server_of(changed)["args"].append("--x")
    body = build_apply_configuration(live, changed, "servedeck")
    assert body is not None
    [server] = body["spec"]["containers"]
    assert server["args"] == ["m", "--x"]
    assert server["env"] == [
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k2"}}}
    ]


def test_a_list_with_an_inserted_entry_is_sent_whole_and_one_with_an_appended_entry_is_not() -> (
    None
):
    live = deployment()
    new = {"name": "X", "value": "9"}
    for at, sent in ((1, ["A", "X", "T"]), (2, ["X"])):
        changed = copy.deepcopy(live)
        server_of(changed)["env"].insert(at, new)
        body = build_apply_configuration(live, changed, "servedeck")
        assert body is not None
        assert [one["name"] for one in body["spec"]["containers"][0]["env"]] == sent


def test_changes_of_what_others_own_are_named_with_their_managers() -> None:
    helm = {"f:spec": {"f:replicas": {}, "f:containers": {SERVER: {"f:image": {}}}}}
    live = deployment(
        entry("helm", helm, "Update"),
        entry("servedeck", {"f:spec": {"f:replicas": {}}}),
        entry("scaler", {"f:spec": {"f:replicas": {}}}, "Update", subresource="scale"),
    )
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 2
    del server_of(changed)["image"]
    server_of(changed)["workingDir"] = "/"
    found = foreign_changes(live, changed, "servedeck")
    assert [(format_path(one.path), one.managers) for one in found] == [
        ("spec.replicas", ("helm",)),
        ("spec.containers[server].image", ("helm",)),
    ]
    assert found[1].new is MISSING


def test_an_update_of_our_own_is_distinguished_from_an_apply() -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    assert not has_update_entry(deployment(entry("servedeck", fields)), "servedeck")
    live = deployment(entry("servedeck", fields, "Update"))
    assert has_update_entry(live, "servedeck")
    assert owned_paths(live, "servedeck") == []
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 2
    assert foreign_changes(live, changed, "servedeck") == []


def test_a_port_with_two_names_is_found_with_its_managers() -> None:
    key = 'k:{"containerPort":8000,"protocol":"TCP"}'
    owned = {"f:spec": {"f:containers": {SERVER: {"f:ports": {key: {}}}}}}
    live = deployment(entry("helm", owned, "Update"))
    server_of(live)["ports"] = [
        {"containerPort": 8000, "name": "http"},
        {"containerPort": 8000, "name": "metrics"},
    ]
    changed = copy.deepcopy(live)
    server_of(changed)["image"] = "a:2"
    assert not has_repeated_entries(build_apply_configuration(live, changed, "servedeck"))
    for one in server_of(changed)["ports"]:
        one["containerPort"] = 9100
    assert has_repeated_entries(build_apply_configuration(live, changed, "servedeck"))
    found = foreign_changes(live, changed, "servedeck")
    assert [(format_path(one.path), one.managers) for one in found] == [
        ("spec.containers[server].image", ()),
        ("spec.containers[server].ports[0].containerPort", ("helm",)),
        ("spec.containers[server].ports[1].containerPort", ("helm",)),
    ]


def test_fields_that_are_gone_or_cannot_be_read_are_no_error() -> None:
    odd = {"f:spec": {"f:gone": {}, "f:containers": {"k:x": {}, "k:[1]": {}, "i:0": {"f:a": {}}}}}
    assert owned_paths(deployment(entry("servedeck", odd)), "servedeck") == []
    assert owned_paths({"metadata": {"managedFields": [5, {"fieldsV1": 5}]}}, "servedeck") == []


def test_who_owns_a_list_without_entries_does_not_own_those_of_others() -> None:
    def fields(env: Json) -> Json:
        return {"f:spec": {"f:containers": {SERVER: {"f:env": env}}}}

    ours = fields({'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}})
    live = deployment(entry("helm", fields({}), "Update"), entry("servedeck", ours, "Update"))
    changed = copy.deepcopy(live)
    server_of(changed)["env"][0]["value"] = "2"
    assert foreign_changes(live, changed, "servedeck") == []
