"""Edits of whole objects: what was changed and nothing else, merged with what others changed."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.object_edit import (
    ObjectEdit,
    describe_conflict,
    find_conflicts,
    plan_object_edit,
    rebase,
)
from servedeck.changes.operations.operation import OperationPlan, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.operations.replica_plans import STOPPED_REPLICAS_ANNOTATION
from servedeck.serving.objects.object_document import editable_part
from servedeck.serving.yaml_text import LAST_APPLIED
from tests.changes.operations.factories import (
    PATH,
    autoscaler,
    deployment,
    scaled_object,
    service,
)
from tests.changes.operations.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def edit(base: Any, **spec: Any) -> ObjectEdit:
    """An edit of fields of the spec; of the image with `image`."""
    wanted = copy.deepcopy(editable_part(base))
    if image := spec.pop("image", ""):
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = image
    wanted["spec"].update(spec)
    return ObjectEdit.make(base, wanted)


def plan(operation: ObjectEdit, current: Any = None) -> OperationPlan:
    return plan_object_edit(operation, current if current is not None else operation.base)


def test_an_unchanged_object_sends_nothing() -> None:
    base = deployment(3)
    assert plan(ObjectEdit.make(base, editable_part(base))).unchanged == "Nothing is changed."


def test_a_changed_field_is_patched_alone() -> None:
    found = plan(edit(deployment(3), minReadySeconds=7))
    assert found.patch is not None
    assert found.patch.patch == {"spec": {"minReadySeconds": 7}}
    assert [(one.path, one.old, one.new) for one in found.differences] == [
        (".spec.minReadySeconds", "none", "7")
    ]
    assert found.effects == ("No Pod restarts.",)
    assert not found.needs_confirmation
    assert found.command == "kubectl -n chat edit deployment/llama"


def test_a_changed_pod_template_says_that_pods_are_replaced() -> None:
    found = plan(edit(deployment(3), image="vllm:2"))
    assert "3 Pods are replaced" in found.effects[0]
    assert found.needs_confirmation
    assert found.new_pods == 1


def test_zero_replicas_are_said() -> None:
    found = plan(edit(deployment(3), replicas=0))
    assert found.effects == (
        "All 3 Pods stop (3 ready now); nothing is served until it is started.",
    )
    assert found.needs_confirmation
    # For its start, as a stop notes it.
    assert found.patch is not None
    assert found.patch.patch["metadata"]["annotations"] == {STOPPED_REPLICAS_ANNOTATION: "3"}


@pytest.mark.parametrize(
    ("now", "wanted", "new_pods", "effect"),
    [(3, 1, 0, "2 Pods stop: 3 → 1 replica."), (3, 6, 3, "3 new Pods: 3 → 6 replicas.")],
)
def test_other_replicas_are_said_as_scaling_does(
    now: int, wanted: int, new_pods: int, effect: str
) -> None:
    found = plan(edit(deployment(now), replicas=wanted))
    assert (found.effects, found.new_pods) == ((effect,), new_pods)
    assert not found.needs_confirmation


def test_new_pods_of_both_other_replicas_and_another_template_are_counted() -> None:
    found = plan(edit(deployment(3), replicas=5, image="vllm:2"))
    assert "2 new Pods" in found.effects[0]
    assert found.effects[1] == "They start with the old Pod template before Pods are replaced."
    assert "5 Pods are replaced" in found.effects[2]
    assert (found.new_pods, found.replicas) == (3, 3)


@pytest.mark.parametrize("replicas", [-4, 1_000_000])
def test_a_number_of_replicas_that_scaling_refuses_is_refused(replicas: int) -> None:
    assert "Replicas must be a number" in plan(edit(deployment(3), replicas=replicas)).blocked


@pytest.mark.parametrize("scaler", [autoscaler(), scaled_object()])
def test_replicas_that_an_autoscaler_sets_are_not_changed(scaler: Any) -> None:
    operation = edit(deployment(3), replicas=1)
    found = plan_object_edit(operation, operation.base, [scaler])
    assert f"{scaler['kind']} llama sets the replicas" in found.blocked
    other = edit(deployment(3), minReadySeconds=7)
    assert plan_object_edit(other, other.base, [scaler]).is_possible


async def test_the_planner_asks_for_the_autoscalers() -> None:
    path = "/apis/autoscaling/v2/namespaces/chat/horizontalpodautoscalers"
    cluster = FakeCluster({PATH: deployment(3), path: [autoscaler()], "/apis": []})
    found = await plan_operation(cluster.connection, edit(deployment(3), replicas=1), NOW)
    assert "HorizontalPodAutoscaler llama sets the replicas" in found.blocked


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"deletionTimestamp": "2026-11-28T12:00:00Z"}, "It is being deleted."),
        (
            {"ownerReferences": [{"kind": "InferenceService", "name": "x", "controller": True}]},
            "InferenceService x owns this",
        ),
    ],
)
@pytest.mark.parametrize("make", [deployment, service])
def test_an_object_that_no_operation_changes_is_not_edited(
    make: Any, metadata: Any, message: str
) -> None:
    base = make()
    base["metadata"] |= metadata
    wanted = copy.deepcopy(editable_part(base))
    wanted["metadata"]["labels"] = {"a": "b"}
    assert message in plan(ObjectEdit.make(base, wanted)).blocked


def test_a_template_of_a_paused_deployment_restarts_nothing() -> None:
    found = plan(edit(deployment(3, paused=True), image="vllm:2"))
    assert found.effects == ("No Pod restarts while its rollout is paused.",)
    assert (found.needs_confirmation, found.new_pods) == (False, 0)


def test_an_edit_that_resumes_the_rollout_is_confirmed() -> None:
    found = plan(edit(deployment(3, paused=True), paused=False))
    assert "are replaced" in found.effects[0]
    assert found.needs_confirmation


async def test_a_field_that_the_api_server_sets_again_is_no_change() -> None:
    base = deployment(3)
    server = base["spec"]["template"]["spec"]["containers"][0]
    server["imagePullPolicy"] = "IfNotPresent"
    cluster = FakeCluster({PATH: base})
    cluster.defaults = {PATH: {"imagePullPolicy": "IfNotPresent"}}
    wanted = copy.deepcopy(editable_part(base))
    del wanted["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"]
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    assert found.unchanged == "Nothing is changed: the API server sets the same values again."


async def test_the_plan_is_what_the_api_server_would_store() -> None:
    cluster = FakeCluster({PATH: deployment(3)})
    cluster.defaults = {PATH: {"imagePullPolicy": "Always"}}
    operation = edit(deployment(3), image="vllm:2")
    found = await plan_operation(cluster.connection, operation, NOW)
    assert [one.new for one in found.differences] == ["vllm:2", "Always"]


async def test_a_default_of_the_api_server_does_not_prevent_the_undo() -> None:
    base = deployment(3)
    wanted = copy.deepcopy(editable_part(base))
    probe = {"httpGet": {"path": "/health", "port": 8000}}
    wanted["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    cluster = FakeCluster({PATH: base})
    cluster.defaults = {PATH: {"readinessProbe": {"timeoutSeconds": 1}}}
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    result = await run_plan(cluster.connection, found)
    assert result.undo is not None
    cluster.defaults = {}
    back = await plan_operation(cluster.connection, result.undo, NOW)
    assert (await run_plan(cluster.connection, back)).outcome is Outcome.DONE, back.blocked
    assert cluster.objects[PATH]["spec"] == base["spec"]


def test_a_changed_template_without_pods_restarts_none() -> None:
    found = plan(edit(deployment(0), image="vllm:2"))
    assert found.effects == ("No Pod restarts.",)
    assert not found.needs_confirmation


def test_another_object_than_a_deployment_has_no_pods() -> None:
    base = service()
    wanted = editable_part(base)
    wanted["metadata"]["labels"] = {"a": "b"}
    found = plan(ObjectEdit.make(base, wanted))
    assert found.patch is not None
    assert found.effects == ()
    assert found.operation.required_permission == ("patch", "services")


def test_what_others_changed_since_stays() -> None:
    operation = edit(deployment(3), image="vllm:2")
    found = plan(operation, deployment(5))
    assert found.patch is not None
    assert "replicas" not in found.patch.patch["spec"]
    assert [one.new for one in found.differences] == ["vllm:2"]


def test_what_both_changed_blocks_and_names_both_values() -> None:
    operation = edit(deployment(3), replicas=4)
    found = plan(operation, deployment(5))
    assert found.blocked == "Others changed spec.replicas 3 → 5; you changed spec.replicas 3 → 4."
    [conflict] = find_conflicts(operation, deployment(5))
    assert describe_conflict(conflict) == found.blocked
    assert rebase(operation, deployment(5))["spec"]["replicas"] == 4


def test_a_secret_in_a_conflict_is_masked() -> None:
    def with_token(value: str) -> Any:
        found = deployment(3)
        container = found["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": "API_TOKEN", "value": value}]
        return found

    mine = ObjectEdit.make(with_token("one-secret"), editable_part(with_token("two-secret")))
    found = plan(mine, with_token("three-secret"))
    assert found.blocked
    assert "secret" not in found.blocked


def test_an_object_that_was_made_again_is_not_changed() -> None:
    current = deployment(3, metadata={"uid": "another"})
    assert "created again" in plan(edit(deployment(3), replicas=4), current).blocked


async def test_an_edit_is_saved_and_undone() -> None:
    cluster = FakeCluster({PATH: deployment(3)})
    found = await plan_operation(cluster.connection, edit(deployment(3), image="vllm:2"), NOW)
    result = await run_plan(cluster.connection, found)
    assert result.outcome is Outcome.DONE
    assert result.message == "Deployment chat/llama is changed."
    assert result.undo is not None
    back = await plan_operation(cluster.connection, result.undo, NOW)
    assert (await run_plan(cluster.connection, back)).outcome is Outcome.DONE
    assert cluster.objects[PATH]["spec"] == deployment(3)["spec"]


@pytest.mark.parametrize("part", ["labels", "annotations", "finalizers"])
async def test_metadata_that_others_change_after_the_plan_are_not_overwritten(part: str) -> None:
    def value(text: str) -> Any:
        return [f"example.com/{text}"] if part == "finalizers" else {"team": text}

    base = deployment(3, metadata={part: value("base")})
    wanted = copy.deepcopy(editable_part(base))
    wanted["metadata"][part] = value("mine")
    cluster = FakeCluster({PATH: base})
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    cluster.change(PATH, metadata={part: value("theirs")})
    result = await run_plan(cluster.connection, found)
    assert (result.outcome, cluster.writes) == (Outcome.OUTDATED, [])


@pytest.mark.parametrize("name", ["labels", "annotations"])
async def test_removing_the_last_label_or_annotation_keeps_those_that_are_not_shown(
    name: str,
) -> None:
    hidden = {LAST_APPLIED: "{}"} if name == "annotations" else {}
    base = deployment(3, metadata={name: {"team": "x", **hidden}})
    wanted = copy.deepcopy(editable_part(base))
    del wanted["metadata"][name]
    cluster = FakeCluster({PATH: base})
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    assert found.patch is not None
    assert found.patch.patch == {"metadata": {name: {"team": None}}}
    cluster.change(PATH, metadata={name: {"theirs": "new"}})
    assert (await run_plan(cluster.connection, found)).outcome is Outcome.DONE
    assert cluster.objects[PATH]["metadata"][name] == {"theirs": "new", **hidden}


async def test_metadata_that_the_edit_leaves_alone_are_kept() -> None:
    base = deployment(3, metadata={"labels": {}})
    wanted = copy.deepcopy(editable_part(base))
    wanted["metadata"]["labels"] = {"team": "mine"}
    cluster = FakeCluster({PATH: base})
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    cluster.change(PATH, metadata={"labels": {"zone": "a"}, "annotations": {"note": "x"}})
    result = await run_plan(cluster.connection, found)
    assert result.outcome is Outcome.DONE
    metadata = cluster.objects[PATH]["metadata"]
    assert metadata["labels"] == {"team": "mine", "zone": "a"}
    assert metadata["annotations"]["note"] == "x"


@pytest.mark.parametrize("name", ["labels", "annotations"])
async def test_removed_labels_or_annotations_are_put_back_by_the_undo(name: str) -> None:
    base = deployment(3, metadata={name: {"team": "x"}})
    wanted = copy.deepcopy(editable_part(base))
    del wanted["metadata"][name]
    cluster = FakeCluster({PATH: base})
    found = await plan_operation(cluster.connection, ObjectEdit.make(base, wanted), NOW)
    result = await run_plan(cluster.connection, found)
    assert result.undo is not None
    back = await plan_operation(cluster.connection, result.undo, NOW)
    assert (await run_plan(cluster.connection, back)).outcome is Outcome.DONE
    assert cluster.objects[PATH]["metadata"][name] == {"team": "x"}


async def test_a_change_between_plan_and_answer_is_not_overwritten() -> None:
    cluster = FakeCluster({PATH: deployment(3)})
    found = await plan_operation(cluster.connection, edit(deployment(3), replicas=4), NOW)
    cluster.before_write = lambda: cluster.change(PATH, spec={"replicas": 9})
    result = await run_plan(cluster.connection, found)
    assert result.outcome is Outcome.OUTDATED
    assert cluster.objects[PATH]["spec"]["replicas"] == 9
