"""Writes: PUT, the three patch types, apply with field owners, dry run, status, scale, deletion."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.target import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    Target,
    configmap,
    deployment,
    sleeper,
)

Json = dict[str, Any]
REJECTED = "the server rejected our request due to an error in our request"
MODIFIED = (
    'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
    "please apply your changes to the latest version and try again"
)


@pytest.fixture
def web(target: Target, deployments: str) -> str:
    """Path of a Deployment without Pods."""
    target.ok("POST", deployments, sleeper(), agent="creator/1")
    return f"{deployments}/web"


def container(obj: Json, index: int = 0) -> Json:
    found: Json = obj["spec"]["template"]["spec"]["containers"][index]
    return found


def owners(obj: Json) -> dict[tuple[str, str, str], Json]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"]["managedFields"]
    }


def test_what_the_server_fills_in(target: Target, web: str) -> None:
    made = target.ok("GET", web)
    assert made["metadata"]["generation"] == 1
    spec = made["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert container(made) == {
        "name": "c",
        "image": "ghcr.io/contract/app:v0.10.0",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    assert spec["template"]["spec"] | {"containers": []} == {
        "containers": [],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def test_quantities_are_written_in_one_way(target: Target, deployments: str) -> None:
    body = deployment()
    given = {"cpu": "0.5", "memory": "1.5Gi", "ephemeral-storage": "0.1Gi"}
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": given}
    made = target.ok("POST", deployments, body)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {
        "cpu": "500m",
        "memory": "1536Mi",
        "ephemeral-storage": "107374182400m",
    }


def test_plain_values_of_a_secret_are_kept_coded(target: Target, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/secrets"
    secret = {"metadata": {"name": "a"}, "data": {"k": "b25l"}, "stringData": {"l": "two"}}
    made = target.ok("POST", path, secret)
    assert made["data"] == {"k": "b25l", "l": "dHdv"}
    assert "stringData" not in made
    changed = target.patch(f"{path}/a", {"stringData": {"k": "new"}})
    assert changed["data"] == {"k": "bmV3", "l": "dHdv"}


def test_the_creator_owns_what_it_made_and_what_was_filled_in(target: Target, web: str) -> None:
    fields = owners(target.ok("GET", web))[("creator", "Update", "")]
    assert fields["f:metadata"] == {"f:labels": {".": {}, "f:app": {}}}
    pod = fields["f:spec"]["f:template"]["f:spec"]
    assert pod["f:containers"] == {
        'k:{"name":"c"}': {
            ".": {},
            "f:image": {},
            "f:imagePullPolicy": {},
            "f:name": {},
            "f:resources": {},
            "f:terminationMessagePath": {},
            "f:terminationMessagePolicy": {},
        }
    }


def test_a_generated_name(target: Target, configmaps: str) -> None:
    made = target.ok("POST", configmaps, {"metadata": {"generateName": "gen-"}})
    assert len(made["metadata"]["name"]) == len("gen-") + 5


def test_the_generation_counts_changes_of_the_spec(target: Target, web: str) -> None:
    labelled = target.patch(web, {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 1
    paused = target.patch(web, {"spec": {"paused": True}})
    assert paused["metadata"]["generation"] == 2


def test_a_put_of_an_old_version_conflicts(target: Target, web: str) -> None:
    old = target.ok("GET", web)
    target.patch(web, {"spec": {"paused": True}})
    status = target.refused(409, "PUT", web, old)
    assert (status["reason"], status["message"]) == ("Conflict", MODIFIED)
    assert status["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    body = {"metadata": {"resourceVersion": "1"}, "spec": {"paused": False}}
    status = target.refused(409, "PATCH", web, body, content_type=MERGE)
    assert status["message"] == MODIFIED


def test_a_put_without_version_replaces(target: Target, web: str) -> None:
    body = sleeper()
    body["metadata"]["labels"] = {"only": "this"}
    assert target.ok("PUT", web, body)["metadata"]["labels"] == {"only": "this"}


def test_a_merge_patch_replaces_lists_and_removes_with_null(target: Target, web: str) -> None:
    pod = {"containers": [{"name": "d", "image": "j"}]}
    change = {"metadata": {"labels": {"app": None}}, "spec": {"template": {"spec": pod}}}
    changed = target.patch(web, change)
    assert [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]] == ["d"]
    assert "labels" not in changed["metadata"] or not changed["metadata"]["labels"]


def test_a_strategic_patch_merges_lists_by_key(target: Target, web: str) -> None:
    def send(*containers: Json, **more: Any) -> Json:
        pod = {"containers": list(containers)} | more
        found: Json = target.patch(web, {"spec": {"template": {"spec": pod}}}, STRATEGIC)
        return found

    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    send({"name": "c", "image": "j", "env": env})
    changed = send(
        {"name": "side", "image": "s"}, {"name": "c", "env": [{"name": "B", "value": "3"}]}
    )
    by_name = {c["name"]: c for c in changed["spec"]["template"]["spec"]["containers"]}
    assert by_name["c"]["image"] == "j"
    assert by_name["c"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    gone = send({"name": "side", "$patch": "delete"})
    assert [c["name"] for c in gone["spec"]["template"]["spec"]["containers"]] == ["c"]
    replaced = send({"name": "c", "image": "k", "env": [{"$patch": "replace"}]})
    assert "env" not in container(replaced)


def test_a_strategic_patch_orders_and_retains(target: Target, web: str) -> None:
    order = {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "c"}],
        "containers": [{"name": "side", "image": "s"}],
    }
    changed = target.patch(web, {"spec": {"template": {"spec": order}}}, STRATEGIC)
    names = [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]]
    assert names == ["side", "c"]
    recreate = {"$retainKeys": ["type"], "type": "Recreate"}
    changed = target.patch(web, {"spec": {"strategy": recreate}}, STRATEGIC)
    assert changed["spec"]["strategy"] == {"type": "Recreate"}


def test_a_json_patch(target: Target, web: str) -> None:
    path = "/spec/template/spec/containers"
    changed = target.patch(
        web,
        [
            {"op": "test", "path": f"{path}/0/name", "value": "c"},
            {"op": "replace", "path": f"{path}/0/image", "value": "j"},
            {"op": "add", "path": f"{path}/-", "value": {"name": "d", "image": "k"}},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
            {"op": "copy", "from": "/metadata/labels/app", "path": "/metadata/labels/copy"},
            {"op": "remove", "path": "/metadata/labels/app"},
        ],
        JSON_PATCH,
    )
    assert container(changed)["image"] == "j"
    assert container(changed, 1)["name"] == "d"
    assert changed["metadata"]["labels"] == {"a/b": "x", "copy": "web"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/nope/x", "value": 1},
        {"op": "remove", "path": "/spec/nope"},
        {"op": "test", "path": "/spec/replicas", "value": 5},
        {"op": "foo", "path": "/spec/replicas", "value": 5},
        {"op": "add", "path": "/spec/replicas/x", "value": 1},
        {"op": "add", "path": "/spec/template/spec/containers/9", "value": {"name": "d"}},
        {"op": "move", "from": "/spec/nope", "path": "/spec/replicas"},
        {"op": "remove", "path": None},
        None,
    ],
)
def test_a_json_patch_that_cannot_be_done(target: Target, web: str, operation: Json) -> None:
    status = target.refused(422, "PATCH", web, [operation], content_type=JSON_PATCH)
    assert (status["reason"], status["message"]) == ("Invalid", REJECTED)


def test_a_value_that_a_json_patch_leaves_out_is_null(target: Target, web: str) -> None:
    operations = [
        {"op": "add", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/spec/replicas"},
    ]
    assert target.patch(web, operations, JSON_PATCH)["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        (
            {"op": "remove", "path": 5},
            "number into Go struct field jsonPatchOp.path of type string",
        ),
        ({"op": [], "path": "/a"}, "array into Go struct field jsonPatchOp.op of type string"),
        (
            {"op": "copy", "from": True, "path": "/a"},
            "bool into Go struct field jsonPatchOp.from of type string",
        ),
        ("x", "string into Go value of type handlers.jsonPatchOp"),
        ([], "array into Go value of type handlers.jsonPatchOp"),
    ],
)
def test_a_json_patch_that_cannot_be_decoded(
    target: Target, web: str, operation: Any, wrong: str
) -> None:
    status = target.refused(400, "PATCH", web, [operation], content_type=JSON_PATCH)
    assert status["message"] == f"error decoding patch: json: cannot unmarshal {wrong}"


def test_the_selector_is_immutable(target: Target, web: str) -> None:
    labels = {"app": "y"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}},
    }
    status = target.refused(422, "PATCH", web, {"spec": spec}, content_type=MERGE)
    assert status["message"] == (
        'Deployment.apps "web" is invalid: spec.selector: Invalid value: '
        '{"matchLabels":{"app":"y"}}: field is immutable'
    )


# -- apply ------------------------------------------------------------------------------------


def apply(target: Target, path: str, body: Json, manager: str, query: str = "") -> Json:
    found: Json = target.patch(f"{path}?fieldManager={manager}{query}", body, APPLY)
    return found


def applied(**spec: Any) -> Json:
    return sleeper("web", **spec)


def with_image(image: str) -> Json:
    body = applied()
    container(body)["image"] = image
    return body


def test_apply_creates_and_owns_what_it_names(target: Target, deployments: str) -> None:
    path = f"{deployments}/web?fieldManager=a"
    reply = target.send("PATCH", path, applied(), content_type=APPLY)
    assert reply.code == 201
    assert owners(reply.json) == {
        ("a", "Apply", ""): {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}}
                    },
                },
            },
        }
    }


def test_applying_the_same_again_changes_nothing(target: Target, configmaps: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap"} | configmap("a", k="v")
    path = f"{configmaps}/a?fieldManager=a"
    first = target.send("PATCH", path, body, content_type=APPLY)
    again = target.send("PATCH", path, body, content_type=APPLY)
    assert (first.code, again.code) == (201, 200)
    assert again.json == first.json


def test_apply_needs_a_manager(target: Target, deployments: str) -> None:
    status = target.refused(422, "PATCH", f"{deployments}/web", applied(), content_type=APPLY)
    assert status["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
        "apply patch"
    )


def test_another_value_of_an_owned_field_conflicts(target: Target, web: str) -> None:
    path = f"{web}?fieldManager=a"
    status = target.refused(409, "PATCH", path, with_image("other"), content_type=APPLY)
    field = '.spec.template.spec.containers[name="c"].image'
    words = 'conflict with "creator" using apps/v1'
    assert status["message"] == f"Apply failed with 1 conflict: {words}: {field}"
    assert status["reason"] == "Conflict"
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": words, "field": field}
    ]


def test_several_conflicts_are_listed(target: Target, web: str) -> None:
    body = with_image("other")
    body["spec"]["paused"] = True
    target.patch(web, {"spec": {"paused": False, "minReadySeconds": 1}}, agent="second/1")
    body["spec"]["minReadySeconds"] = 2
    path = f"{web}?fieldManager=a"
    status = target.refused(409, "PATCH", path, body, content_type=APPLY)
    assert status["message"] == (
        "Apply failed with 2 conflicts: "
        'conflicts with "creator" using apps/v1:\n'
        '- .spec.template.spec.containers[name="c"].image\n'
        'conflicts with "second" using apps/v1:\n'
        "- .spec.minReadySeconds"
    )


def test_force_takes_the_field(target: Target, web: str) -> None:
    forced = apply(target, web, with_image("other"), "a", "&force=true")
    assert container(forced)["image"] == "other"
    theirs = owners(forced)[("creator", "Update", "")]["f:spec"]["f:template"]["f:spec"]
    assert "f:image" not in theirs["f:containers"]['k:{"name":"c"}']
    # an update by another manager takes it over again, without a conflict
    changed = target.patch(web, {"spec": {"replicas": 0, "paused": True}}, agent="third/1")
    assert "f:paused" in owners(changed)[("third", "Update", "")]["f:spec"]


def test_the_same_value_is_shared(target: Target, web: str) -> None:
    shared = apply(target, web, applied(), "a")
    assert "f:replicas" in owners(shared)[("a", "Apply", "")]["f:spec"]
    assert "f:replicas" in owners(shared)[("creator", "Update", "")]["f:spec"]


def test_what_is_no_longer_applied_goes(target: Target, deployments: str) -> None:
    path = f"{deployments}/web"
    body = applied()
    side = {
        "name": "side",
        "image": "s",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}],
    }
    body["spec"]["template"]["spec"]["containers"].append(side)
    body["metadata"]["labels"]["more"] = "x"
    made = apply(target, path, body, "a")
    mine = owners(made)[("a", "Apply", "")]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert mine['k:{"name":"side"}'] == {
        ".": {},
        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:image": {},
        "f:name": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    less = apply(target, path, applied(), "a")
    assert [c["name"] for c in less["spec"]["template"]["spec"]["containers"]] == ["c"]
    assert less["metadata"]["labels"] == {"app": "web"}


def test_what_another_manager_owns_stays(target: Target, deployments: str) -> None:
    path = f"{deployments}/web"
    body = applied()
    body["metadata"]["labels"] |= {"both": "x", "mine": "x"}
    apply(target, path, body, "a")
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"both": "x"}},
    }
    apply(target, path, other, "b")
    less = apply(target, path, applied(), "a")
    assert less["metadata"]["labels"] == {"app": "web", "both": "x"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metadata": {"name": "web"}}, "invalid object type: /, Kind="),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}},
            "invalid object type: /v1, Kind=Pod",
        ),
        (
            sleeper() | {"metadata": {"name": "web", "managedFields": [{"manager": "x"}]}},
            "metadata.managedFields must be nil",
        ),
    ],
)
def test_a_configuration_that_is_none(
    target: Target, deployments: str, body: Json, message: str
) -> None:
    path = f"{deployments}/web?fieldManager=a"
    assert target.refused(400, "PATCH", path, body, content_type=APPLY)["message"] == message


# -- dry run, subresources, deletion -----------------------------------------------------------


def test_a_dry_run_stores_nothing(target: Target, deployments: str, web: str) -> None:
    before = target.ok("GET", web)
    made = target.ok("POST", f"{deployments}?dryRun=All", sleeper("other"))
    assert made["metadata"]["uid"] and "resourceVersion" not in made["metadata"]
    target.refused(404, "GET", f"{deployments}/other")
    forced = apply(target, web, with_image("j"), "a", "&force=true&dryRun=All")
    assert container(forced)["image"] == "j"
    changed = target.patch(f"{web}?dryRun=All", {"spec": {"paused": True}})
    assert changed["metadata"]["generation"] == 2
    target.ok("DELETE", f"{web}?dryRun=All")
    found = target.ok("GET", web)
    assert (found["spec"], found["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])


def test_the_status_is_written_through_its_subresource_alone(target: Target, web: str) -> None:
    body = {"spec": {"paused": True}, "status": {"replicas": 3, "observedGeneration": 7}}
    changed = target.patch(f"{web}/status", body, agent="contr/1")
    assert changed["status"]["observedGeneration"] == 7
    assert "paused" not in changed["spec"]
    assert changed["metadata"]["generation"] == 1
    assert owners(changed)[("contr", "Update", "status")] == {
        "f:status": {"f:observedGeneration": {}, "f:replicas": {}}
    }
    ignored = target.patch(web, {"status": {"observedGeneration": 9}})
    assert ignored["status"].get("observedGeneration") != 9


def test_the_scale(target: Target, web: str) -> None:
    target.patch(web, {"spec": {"paused": True}})
    scale = target.ok("GET", f"{web}/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({}, {"replicas": 0, "selector": "app=web"})
    target.patch(f"{web}/scale", {"spec": {"replicas": 0}}, agent="scaler/1")
    scale["spec"]["replicas"] = 2
    del scale["metadata"]["resourceVersion"]  # the controller also writes
    scaled = target.ok("PUT", f"{web}/scale", scale, agent="scaler/1")
    assert scaled["spec"] == {"replicas": 2}
    assert target.ok("GET", web)["spec"]["replicas"] == 2
    body = {"spec": {"replicas": -3}}
    status = target.refused(422, "PATCH", f"{web}/scale", body, content_type=MERGE)
    assert status["message"] == (
        'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -3: must be greater '
        "than or equal to 0"
    )
    scale["metadata"]["resourceVersion"] = "1"
    assert target.refused(409, "PUT", f"{web}/scale", scale)["message"] == MODIFIED


def test_who_scaled_is_named_in_a_conflict(target: Target, web: str) -> None:
    target.patch(web, {"spec": {"paused": True}})
    target.patch(f"{web}/scale", {"spec": {"replicas": 2}}, agent="scaler/1")
    entry = owners(target.ok("GET", web)).get(("scaler", "Update", "scale"))
    if target.name == "real" and entry is None:
        pytest.skip("the real server loses the entry when a controller writes at once")
    assert entry == {"f:spec": {"f:replicas": {}}}
    path = f"{web}?fieldManager=a"
    reply = target.send("PATCH", path, applied(), content_type=APPLY)
    if target.name == "real" and reply.code == 200:
        pytest.skip("as above, a moment later")
    status = reply.json
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using '
        "apps/v1: .spec.replicas"
    )


def test_a_deletion_answers_with_success(target: Target, configmaps: str, web: str) -> None:
    made = target.ok("POST", configmaps, configmap("a"))
    assert target.ok("DELETE", f"{configmaps}/a") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    }
    assert target.ok("DELETE", web)["details"]["group"] == "apps"


def test_a_deletion_may_ask_for_a_uid(target: Target, web: str) -> None:
    uid = target.ok("GET", web)["metadata"]["uid"]
    body = {"preconditions": {"uid": "abc"}}
    status = target.refused(409, "DELETE", web, body)
    assert status["message"] == (
        'Operation cannot be fulfilled on Deployment.apps "web": the UID in the precondition '
        f"(abc) does not match the UID in record ({uid}). The object might have been deleted and "
        "then recreated"
    )


def test_finalizers_hold_an_object(target: Target, configmaps: str) -> None:
    body = configmap("held")
    body["metadata"]["finalizers"] = ["contract.test/hold"]
    target.ok("POST", configmaps, body)
    going = target.ok("DELETE", f"{configmaps}/held")
    assert (going["kind"], going["metadata"]["deletionGracePeriodSeconds"]) == ("ConfigMap", 0)
    assert target.ok("GET", f"{configmaps}/held")["metadata"]["deletionTimestamp"]
    status = target.refused(409, "POST", configmaps, configmap("held"))
    assert status["message"] == 'object is being deleted: configmaps "held" already exists'
    target.patch(f"{configmaps}/held", {"metadata": {"finalizers": None}})
    target.refused(404, "GET", f"{configmaps}/held")


def test_a_bad_propagation_policy(target: Target, web: str) -> None:
    status = target.refused(422, "DELETE", f"{web}?propagationPolicy=Foo")
    assert status["message"] == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": '
        'supported values: "Foreground", "Background", "Orphan", "nil"'
    )
