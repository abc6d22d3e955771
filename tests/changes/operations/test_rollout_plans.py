"""Plans of restarting, rolling back, pausing and resuming."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.operations.deployment_plans import plan_deployment_operation
from servedeck.changes.operations.merge_patch import apply_merge_patch
from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from servedeck.changes.operations.rollout_plans import replacement_effects
from servedeck.serving.objects.template_changes import RESTARTED_AT_ANNOTATION
from servedeck.serving.status.rollout_status import read_strategy
from servedeck.serving.status.strategy import Strategy
from tests.changes.operations.factories import deployment, pod_template, replicaset

RESTART, ROLLBACK = OperationKind.RESTART, OperationKind.ROLLBACK
PAUSE, RESUME = OperationKind.PAUSE, OperationKind.RESUME
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, NEW = pod_template("server:1"), pod_template("server:2")
CAUSE = "kubernetes.io/change-cause"


def plan(kind: OperationKind, live: Any, *replicasets: Any, revision: int = 0) -> OperationPlan:
    operation = Operation(kind, "chat", "llama", revision=revision)
    return plan_deployment_operation(operation, live, replicasets=replicasets, now=NOW)


def applied(found: OperationPlan, live: Any) -> Any:
    assert found.patch is not None
    return apply_merge_patch(live, found.patch.patch)


# -- restart ------------------------------------------------------------------------------------


def restarted_at(found: OperationPlan) -> Any:
    assert found.patch is not None
    return found.patch.patch["spec"]["template"]["metadata"]["annotations"]


def test_a_restart_writes_its_time_into_the_pod_template_and_nothing_else() -> None:
    found = plan(RESTART, deployment(3))
    assert found.patch is not None
    annotations = {RESTARTED_AT_ANNOTATION: "2026-11-28T12:00:00Z"}
    assert found.patch.patch == {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    assert found.needs_confirmation
    assert found.command == "kubectl -n chat rollout restart deployment/llama"
    assert found.undo is None


def test_a_second_restart_within_the_second_restarts_again() -> None:
    first = deployment(3)
    for second in ("00", "01"):
        found = plan(RESTART, first)
        assert restarted_at(found) == {RESTARTED_AT_ANNOTATION: f"2026-11-28T12:00:{second}Z"}
        first = applied(found, first)
    assert plan(RESTART, first).is_possible


def test_a_restart_in_the_future_of_another_clock_does_not_prevent_one() -> None:
    template = pod_template()
    template["metadata"]["annotations"] = {RESTARTED_AT_ANNOTATION: "2027-01-01T00:00:00Z"}
    found = plan(RESTART, deployment(3, template=template))
    assert restarted_at(found) == {RESTARTED_AT_ANNOTATION: "2026-11-28T12:00:00Z"}


def test_without_a_pod_there_is_nothing_to_restart() -> None:
    assert plan(RESTART, deployment(0)).unchanged == (
        "It has 0 replicas: there is no Pod to restart."
    )


@pytest.mark.parametrize("kind", [RESTART, ROLLBACK])
def test_a_paused_deployment_is_resumed_first(kind: OperationKind) -> None:
    live = deployment(3, template=NEW, paused=True)
    found = plan(kind, live, replicaset(1, OLD), replicaset(2, NEW))
    assert found.blocked == "Its rollout is paused; resume it first."


# -- how Pods are replaced ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "available", "rolling", "expected"),
    [
        (1, 1, {"maxSurge": 1, "maxUnavailable": 0}, "It stays available: the old Pod stops"),
        (3, 3, {"maxSurge": 1, "maxUnavailable": 0}, "All 3 stay available: an old Pod stops"),
        (4, 4, {"maxSurge": 1, "maxUnavailable": 1}, "At least 3 of 4 stay available."),
        (1, 1, {"maxSurge": 0, "maxUnavailable": 1}, "Nothing may be served until a new Pod"),
        (
            3,
            2,
            {"maxSurge": 1, "maxUnavailable": 0},
            "2 of 3 are available now; no available",
        ),
        (4, 1, {"maxSurge": 1, "maxUnavailable": 1}, "1 of 4 is available now; available Pods"),
    ],
)
def test_what_stays_available_is_said_of_what_is_available_now(
    desired: int, available: int, rolling: Any, expected: str
) -> None:
    live = deployment(desired, ready=available, strategy={"rollingUpdate": rolling})
    assert plan(RESTART, live).effects[1].startswith(expected)


@pytest.mark.parametrize(("available", "when"), [(2, "meanwhile"), (0, "now")])
def test_recreate_serves_nothing_meanwhile(available: int, when: str) -> None:
    assert replacement_effects(2, Strategy("Recreate"), available) == (
        f"Its 2 Pods are stopped before new ones start (Recreate): nothing is served {when}.",
    )


def test_without_replicas_no_pod_restarts() -> None:
    live = deployment(0)
    assert replacement_effects(0, read_strategy(live), 0) == (
        "It has 0 replicas, so no Pod restarts.",
    )


@pytest.mark.parametrize(
    ("rolling", "expected"),
    [
        ({"maxSurge": 2, "maxUnavailable": 0}, (2, True)),
        ({"maxSurge": 1, "maxUnavailable": 1}, (1, False)),
        ({"maxSurge": 0, "maxUnavailable": 1}, (0, False)),
    ],
)
def test_the_pods_that_need_room_beside_the_old_ones(
    rolling: Any, expected: tuple[int, bool]
) -> None:
    found = plan(RESTART, deployment(3, strategy={"rollingUpdate": rolling}))
    assert (found.new_pods, found.needs_room) == expected


# -- rollback -----------------------------------------------------------------------------------


def test_a_rollback_makes_exactly_the_earlier_template() -> None:
    old = copy.deepcopy(OLD)
    old["metadata"]["annotations"] = {"note": "x"}
    old["spec"]["nodeSelector"] = {"zone": "a"}
    live = deployment(3, template=NEW)
    found = plan(ROLLBACK, live, replicaset(1, old), replicaset(2, NEW, pods=3))
    after = applied(found, live)
    assert after["spec"]["template"] == old
    assert {**after, "spec": {**after["spec"], "template": NEW}} == live
    assert found.operation.revision == 1
    assert found.command == "kubectl -n chat rollout undo deployment/llama --to-revision=1"
    assert [one.path for one in found.differences] == [
        ".metadata.annotations.note",
        ".spec.containers[inference-server].image",
        ".spec.nodeSelector.zone",
    ]
    assert found.undo == Operation(ROLLBACK, "chat", "llama", revision=2)


def test_the_revision_before_is_the_newest_that_is_not_current() -> None:
    revisions = [replicaset(number, pod_template(f"server:{number}")) for number in (1, 3, 4)]
    live = deployment(3, template=pod_template("server:3"))
    assert plan(ROLLBACK, live, *revisions).operation.revision == 4


def test_a_named_revision() -> None:
    revisions = [replicaset(number, pod_template(f"server:{number}")) for number in (1, 2, 3)]
    live = deployment(3, template=pod_template("server:3"))
    found = plan(ROLLBACK, live, *revisions, revision=1)
    assert applied(found, live)["spec"]["template"] == pod_template("server:1")


def test_a_revision_that_is_gone_is_blocked_with_those_that_are_there() -> None:
    live = deployment(3, template=NEW)
    found = plan(ROLLBACK, live, replicaset(1, OLD), replicaset(2, NEW), revision=7)
    assert found.blocked == "There is no revision 7; choose from 2, 1."
    found = plan(ROLLBACK, live, revision=7)
    assert found.blocked == "There is no revision 7, and no other one."


def test_the_current_revision_changes_nothing() -> None:
    live = deployment(3, template=NEW)
    found = plan(ROLLBACK, live, replicaset(1, OLD), replicaset(2, NEW), revision=2)
    assert found.unchanged == "It has revision 2 already."


def test_without_an_earlier_revision_there_is_none() -> None:
    found = plan(ROLLBACK, deployment(3, template=NEW), replicaset(2, NEW))
    assert found.blocked == "There is no earlier revision."


def test_a_replicaset_of_another_deployment_is_no_revision() -> None:
    other = replicaset(1, OLD)
    other["metadata"]["ownerReferences"][0]["uid"] = "uid-other"
    found = plan(ROLLBACK, deployment(3, template=NEW), other, replicaset(2, NEW))
    assert found.blocked == "There is no earlier revision."


@pytest.mark.parametrize("cause", ["first", None])
def test_the_change_cause_goes_back_with_the_template(cause: str | None) -> None:
    live = deployment(3, template=NEW, annotations={CAUSE: "second", "mine": "x"})
    annotations = {} if cause is None else {CAUSE: cause}
    found = plan(ROLLBACK, live, replicaset(1, OLD, annotations=annotations), replicaset(2, NEW))
    after = applied(found, live)["metadata"]["annotations"]
    assert after.get(CAUSE) == cause
    assert after["mine"] == "x"


# -- pause and resume ---------------------------------------------------------------------------


def test_pausing_and_resuming() -> None:
    live = deployment(3, template=NEW)
    found = plan(PAUSE, live)
    assert (found.needs_confirmation, found.command) == (
        False,
        "kubectl -n chat rollout pause deployment/llama",
    )
    paused = applied(found, live)
    assert paused["spec"] == {**live["spec"], "paused": True}
    assert plan(PAUSE, paused).unchanged == "Its rollout is paused already."
    resumed = plan(RESUME, paused, replicaset(2, NEW, pods=3))
    assert applied(resumed, paused) == live
    assert resumed.effects == ("No Pod restarts: all have the current Pod template.",)
    assert not resumed.needs_confirmation
    assert plan(RESUME, live).unchanged == "Its rollout is not paused."


def test_resuming_after_a_change_says_what_is_rolled_out_and_is_confirmed() -> None:
    live = deployment(3, template=NEW, paused=True)
    found = plan(RESUME, live, replicaset(1, OLD, pods=3))
    assert found.needs_confirmation
    assert found.effects[0] == (
        "Pods of revision 1 are replaced by those of the current Pod template."
    )
    [change] = found.differences
    assert (change.old, change.new) == ("server:1", "server:2")


def test_resuming_in_the_middle_of_a_rollout_is_confirmed() -> None:
    live = deployment(3, template=NEW, paused=True)
    found = plan(RESUME, live, replicaset(1, OLD, pods=2), replicaset(2, NEW, pods=1))
    assert found.needs_confirmation


@pytest.mark.parametrize(("desired", "current"), [(2, 0), (0, 2)])
def test_resuming_counts_pods_that_are_wanted_or_still_there(desired: int, current: int) -> None:
    live = deployment(3, template=NEW, paused=True)
    old = replicaset(1, OLD, pods=desired)
    old["status"]["replicas"] = current
    assert plan(RESUME, live, old, replicaset(2, NEW, pods=1)).needs_confirmation


def test_resuming_without_knowing_the_replicasets_is_confirmed() -> None:
    operation = Operation(RESUME, "chat", "llama")
    live = deployment(3, template=NEW, paused=True)
    found = plan_deployment_operation(operation, live, replicasets=None, now=NOW)
    assert found.needs_confirmation
    assert found.effects == ("If the Pod template was changed meanwhile, its Pods are replaced.",)
