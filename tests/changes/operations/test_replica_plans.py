"""Plans of scaling, stopping and starting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.operations.deployment_plans import plan_deployment_operation
from servedeck.changes.operations.merge_patch import apply_merge_patch
from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from servedeck.changes.operations.replica_plans import STOPPED_REPLICAS_ANNOTATION
from tests.changes.operations.factories import autoscaler, deployment, scaled_object

SCALE, STOP, START = OperationKind.SCALE, OperationKind.STOP, OperationKind.START
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def plan(kind: OperationKind, live: Any, replicas: int | None = None, *scalers: Any) -> Any:
    operation = Operation(kind, "chat", "llama", replicas)
    return plan_deployment_operation(operation, live, autoscalers=scalers, now=NOW)


def patch_of(found: OperationPlan) -> Any:
    assert found.patch is not None
    return found.patch.patch


def undone(found: OperationPlan, live: Any) -> Any:
    """The Deployment after the operation and its undo."""
    changed = apply_merge_patch(live, patch_of(found))
    assert found.undo is not None
    return apply_merge_patch(
        changed, patch_of(plan_deployment_operation(found.undo, changed, now=NOW))
    )


def test_scaling_up_changes_the_replicas_alone_and_needs_no_confirmation() -> None:
    found = plan(SCALE, deployment(3), 5)
    assert patch_of(found) == {"spec": {"replicas": 5}}
    assert found.effects == ("2 new Pods: 3 → 5 replicas.",)
    assert (found.new_pods, found.needs_confirmation) == (2, False)
    assert found.command == "kubectl -n chat scale deployment/llama --replicas=5"
    assert undone(found, deployment(3)) == deployment(3)


@pytest.mark.parametrize(("wanted", "text"), [(4, "1 Pod stops"), (2, "3 Pods stop")])
def test_scaling_down_says_how_many_pods_stop(wanted: int, text: str) -> None:
    [effect] = plan(SCALE, deployment(5), wanted).effects
    assert effect.startswith(text)


def test_pods_that_were_never_created_do_not_stop() -> None:
    live = deployment(5)
    live["status"]["replicas"] = 3
    assert plan(SCALE, live, 2).effects == ("1 Pod stops: 5 → 2 replicas.",)
    assert plan(SCALE, live, 4).effects == ("No Pod stops: 5 → 4 replicas.",)


@pytest.mark.parametrize("replicas", [None, -1, 100_001])
def test_an_impossible_number_is_blocked(replicas: int | None) -> None:
    found = plan(SCALE, deployment(3), replicas)
    assert found.blocked == "Replicas must be a number from 0 to 100,000."
    assert found.patch is None


def test_the_same_number_changes_nothing() -> None:
    found = plan(SCALE, deployment(3), 3)
    assert (found.unchanged, found.patch) == ("It has 3 replicas already.", None)


@pytest.mark.parametrize(("kind", "replicas"), [(STOP, None), (SCALE, 0)])
def test_scaling_to_0_notes_the_number_and_is_confirmed(
    kind: OperationKind, replicas: int | None
) -> None:
    found = plan(kind, deployment(3, ready=2), replicas)
    assert patch_of(found) == {
        "metadata": {"annotations": {STOPPED_REPLICAS_ANNOTATION: "3"}},
        "spec": {"replicas": 0},
    }
    assert found.needs_confirmation
    assert found.effects == (
        "All 3 Pods stop (2 ready now); nothing is served until it is started.",
    )
    assert undone(found, deployment(3)) == deployment(3)


def test_stopping_a_stopped_one_changes_nothing() -> None:
    assert plan(STOP, deployment(0)).unchanged == "It is stopped already."


def test_starting_goes_back_to_the_noted_number_and_removes_the_note() -> None:
    live = deployment(0, annotations={STOPPED_REPLICAS_ANNOTATION: "3"})
    found = plan(START, live)
    assert patch_of(found) == {
        "metadata": {"annotations": {STOPPED_REPLICAS_ANNOTATION: None}},
        "spec": {"replicas": 3},
    }
    assert found.warnings == ()
    assert found.command == "kubectl -n chat scale deployment/llama --replicas=3"
    assert undone(found, live) == live


def test_a_given_number_comes_before_the_noted_one() -> None:
    live = deployment(0, annotations={STOPPED_REPLICAS_ANNOTATION: "3"})
    assert patch_of(plan(START, live, 2))["spec"] == {"replicas": 2}


@pytest.mark.parametrize("note", [None, "", "x", "-2", "0", "999999999"])
def test_without_a_usable_note_it_starts_with_1_and_says_so(note: str | None) -> None:
    annotations = {} if note is None else {STOPPED_REPLICAS_ANNOTATION: note}
    found = plan(START, deployment(0, annotations=annotations))
    assert patch_of(found)["spec"] == {"replicas": 1}
    assert found.warnings == ("How many replicas it had before is not known; it starts with 1.",)


@pytest.mark.parametrize(
    ("entry", "replicas"),
    [
        ({"manager": "servedeck", "fieldsV1": {"f:spec": {"f:replicas": {}}}}, 3),
        ({"manager": "kubectl", "fieldsV1": {"f:spec": {"f:replicas": {}}}}, 1),
        ({"manager": "servedeck", "fieldsV1": {"f:metadata": {}}}, 1),
    ],
)
def test_a_note_is_not_used_once_somebody_else_has_scaled(
    entry: dict[str, Any], replicas: int
) -> None:
    live = deployment(
        0,
        annotations={STOPPED_REPLICAS_ANNOTATION: "3"},
        metadata={"managedFields": [entry]},
    )
    assert patch_of(plan(START, live))["spec"] == {"replicas": replicas}


def test_starting_a_started_one_changes_nothing() -> None:
    assert plan(START, deployment(3)).unchanged == "It is started already, with 3 replicas."
    assert plan(START, deployment(1), 5).unchanged == (
        "It is started already, with 1 replica; scale it to change their number."
    )


def test_starting_with_0_replicas_is_blocked() -> None:
    assert plan(START, deployment(0), 0).blocked == "Replicas must be a number from 1 to 100,000."


# -- autoscalers --------------------------------------------------------------------------------


def test_replicas_of_an_autoscaler_are_not_changed() -> None:
    found = plan(SCALE, deployment(3), 5, autoscaler())
    assert "HorizontalPodAutoscaler llama sets the replicas" in found.blocked
    assert found.patch is None


def test_an_autoscaler_that_is_off_at_0_replicas_prevents_neither_stop_nor_start() -> None:
    stopped = plan(STOP, deployment(3), None, autoscaler())
    assert stopped.warnings == (
        "HorizontalPodAutoscaler llama is off while the serving has 0 replicas.",
    )
    started = plan(START, deployment(0), 3, autoscaler())
    assert started.warnings == ("HorizontalPodAutoscaler llama sets the replicas from then on.",)
    scaled = plan(SCALE, deployment(0), 3, autoscaler())
    assert scaled.is_possible


@pytest.mark.parametrize(
    ("kind", "now", "replicas"), [(SCALE, 3, 5), (STOP, 3, None), (START, 0, 3)]
)
def test_a_scaled_object_must_be_paused_first(
    kind: OperationKind, now: int, replicas: int | None
) -> None:
    found = plan(kind, deployment(now), replicas, scaled_object())
    assert found.blocked.endswith(
        "pause it first: kubectl -n chat annotate --overwrite scaledobject llama "
        "autoscaling.keda.sh/paused=true"
    )
    paused = plan(kind, deployment(now), replicas, scaled_object(paused="true"))
    assert paused.is_possible


# -- what prevents every operation --------------------------------------------------------------


@pytest.mark.parametrize("kind", list(OperationKind)[:7])
def test_a_deployment_of_another_controller_is_left_alone(kind: OperationKind) -> None:
    owner = {"kind": "InferenceService", "name": "bert", "uid": "u", "controller": True}
    found = plan(kind, deployment(3, metadata={"ownerReferences": [owner]}), 5)
    assert found.blocked.startswith("InferenceService bert owns this Deployment")


@pytest.mark.parametrize("kind", list(OperationKind)[:7])
def test_a_deployment_that_is_being_deleted_is_left_alone(kind: OperationKind) -> None:
    live = deployment(3, metadata={"deletionTimestamp": "2026-11-28T12:00:00Z"})
    assert plan(kind, live, 5).blocked == "It is being deleted."


def test_a_change_that_gitops_reverts_has_a_warning() -> None:
    labels = {"helm.toolkit.fluxcd.io/name": "llama"}
    found = plan(SCALE, deployment(3, metadata={"labels": labels}), 5)
    assert any("Flux HelmRelease llama" in one for one in found.warnings)
    restarted = plan(OperationKind.RESTART, deployment(3, metadata={"labels": labels}))
    assert restarted.warnings == ()


def test_a_name_cannot_write_control_sequences() -> None:
    operation = Operation(SCALE, "chat", "a\x1b[31mb", 5)
    found = plan_deployment_operation(operation, deployment(3), now=NOW)
    assert found.command.isprintable()
    assert operation.target == "Deployment chat/ab"


def test_a_stop_names_the_pods_that_exist() -> None:
    live = deployment(5)
    live["status"] = {"replicas": 1, "readyReplicas": 1}
    [effect] = plan(STOP, live).effects
    assert effect == "Its Pod stops (1 ready now); nothing is served until it is started."
    live["status"] = {}
    [effect] = plan(STOP, live).effects
    assert effect == "It has no Pod now, and gets none until it is started."


@pytest.mark.parametrize("kind", [OperationKind.DELETE_POD, OperationKind.EXEC, OperationKind.EDIT])
def test_an_operation_of_another_kind_is_never_taken_for_a_number_of_replicas(
    kind: OperationKind,
) -> None:
    with pytest.raises(ValueError, match=kind.value):
        plan(kind, deployment(3), 5)
