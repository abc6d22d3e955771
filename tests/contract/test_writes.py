"""Defaults, PUT, dry run, subresources and deletion."""

from __future__ import annotations

import pytest

from tests.contract.apply_requests import applied, apply, with_image
from tests.contract.object_fields import CONFLICT_MESSAGE, container, fields_by_manager
from tests.contract.target import (
    APPLY,
    MERGE,
    Target,
    configmap,
    deployment,
    scaled_down_deployment,
)


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
    fields = fields_by_manager(target.ok("GET", web))[("creator", "Update", "")]
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
    labeled = target.patch(web, {"metadata": {"labels": {"x": "y"}}})
    assert labeled["metadata"]["generation"] == 1
    paused = target.patch(web, {"spec": {"paused": True}})
    assert paused["metadata"]["generation"] == 2


def test_a_put_of_an_old_version_conflicts(target: Target, web: str) -> None:
    old = target.ok("GET", web)
    target.patch(web, {"spec": {"paused": True}})
    status = target.rejected(409, "PUT", web, old)
    assert (status["reason"], status["message"]) == ("Conflict", CONFLICT_MESSAGE)
    assert status["details"] == {"name": "web", "group": "apps", "kind": "deployments"}
    body = {"metadata": {"resourceVersion": "1"}, "spec": {"paused": False}}
    status = target.rejected(409, "PATCH", web, body, content_type=MERGE)
    assert status["message"] == CONFLICT_MESSAGE


def test_a_put_without_version_replaces(target: Target, web: str) -> None:
    body = scaled_down_deployment()
    body["metadata"]["labels"] = {"only": "this"}
    assert target.ok("PUT", web, body)["metadata"]["labels"] == {"only": "this"}


def test_a_dry_run_stores_nothing(target: Target, deployments: str, web: str) -> None:
    before = target.ok("GET", web)
    made = target.ok("POST", f"{deployments}?dryRun=All", scaled_down_deployment("other"))
    assert made["metadata"]["uid"] and "resourceVersion" not in made["metadata"]
    target.rejected(404, "GET", f"{deployments}/other")
    forced = apply(target, web, with_image("j"), "a", "&force=true&dryRun=All")
    assert container(forced)["image"] == "j"
    changed = target.patch(f"{web}?dryRun=All", {"spec": {"paused": True}})
    assert changed["metadata"]["generation"] == 2
    target.ok("DELETE", f"{web}?dryRun=All")
    found = target.ok("GET", web)
    assert (found["spec"], found["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])


def test_a_deletion_with_a_body_ignores_its_query(target: Target, web: str) -> None:
    options = {"kind": "DeleteOptions", "apiVersion": "v1"}
    target.ok("DELETE", web, {**options, "dryRun": ["All"]})
    assert target.ok("GET", web)
    target.ok("DELETE", f"{web}?dryRun=All", options)
    target.rejected(404, "GET", web)


def test_the_status_is_written_through_its_subresource_alone(target: Target, web: str) -> None:
    body = {"spec": {"paused": True}, "status": {"replicas": 3, "observedGeneration": 7}}
    changed = target.patch(f"{web}/status", body, agent="contr/1")
    assert changed["status"]["observedGeneration"] == 7
    assert "paused" not in changed["spec"]
    assert changed["metadata"]["generation"] == 1
    assert fields_by_manager(changed)[("contr", "Update", "status")] == {
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
    status = target.rejected(422, "PATCH", f"{web}/scale", body, content_type=MERGE)
    assert status["message"] == (
        'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -3: must be greater '
        "than or equal to 0"
    )
    scale["metadata"]["resourceVersion"] = "1"
    assert target.rejected(409, "PUT", f"{web}/scale", scale)["message"] == CONFLICT_MESSAGE


def test_who_scaled_is_named_in_a_conflict(target: Target, web: str) -> None:
    target.patch(web, {"spec": {"paused": True}})
    target.patch(f"{web}/scale", {"spec": {"replicas": 2}}, agent="scaler/1")
    entry = fields_by_manager(target.ok("GET", web)).get(("scaler", "Update", "scale"))
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
    status = target.rejected(409, "DELETE", web, body)
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
    status = target.rejected(409, "POST", configmaps, configmap("held"))
    assert status["message"] == 'object is being deleted: configmaps "held" already exists'
    target.patch(f"{configmaps}/held", {"metadata": {"finalizers": None}})
    target.rejected(404, "GET", f"{configmaps}/held")


def test_a_bad_propagation_policy(target: Target, web: str) -> None:
    status = target.rejected(422, "DELETE", f"{web}?propagationPolicy=Foo")
    assert status["message"] == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": '
        'supported values: "Foreground", "Background", "Orphan", "nil"'
    )
