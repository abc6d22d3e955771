"""Snapshots of the dialog of an operation. `pytest --snapshot-update` updates them; look at each
that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.changes.operations import room_check
from servedeck.changes.operations.operation import (
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.serving.capacity import SchedulingResult
from servedeck.serving.conventions import SERVING_LABEL
from tests.tui.adoption import ADOPT, adoption_plan, foreign
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import wait_for_text
from tests.tui.operations import (
    LLAMA,
    MISTRAL,
    QWEN,
    make_source,
    operation,
    operations_app,
    patch_plan,
)
from tests.tui.test_snapshots import LARGE, MEDIUM, SMALL, Compare, size_id

SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
ROOM = "0 of 4 nodes have room for 4 nvidia.com/gpu now (3 are full, 1 has other accelerators)."


def press(*parts: tuple[str, ...]) -> Callable[[Pilot[Any]], Any]:
    """Press keys of one length and wait for longer texts, in turn."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        for keys, *texts in parts:
            await pilot.press(*keys.split())
            await wait_for_text(pilot, *texts)

    return run


@pytest.fixture
def service(change_service: FakeChangeService) -> FakeChangeService:
    plans = change_service.operation_plans
    for key, command in ((LLAMA, "llama-8b"), (QWEN, "qwen"), (MISTRAL, "mistral")):
        restart = operation(OperationKind.RESTART, key)
        plans[restart] = OperationPlan(
            restart,
            effects=(
                "Its 2 Pods are replaced, at most 1 more and 0 fewer at a time.",
                "Both stay available: an old Pod stops after a new one is ready.",
            ),
            command=f"kubectl -n {key.namespace} rollout restart deployment/{command}",
        )
    return change_service


@SIZES
def test_restart(snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]) -> None:
    run = press(("r", "Its 2 Pods are replaced"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@SIZES
def test_scale_without_room(
    snap_compare: Compare,
    service: FakeChangeService,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scale = operation(OperationKind.SCALE, replicas=6)
    same = operation(OperationKind.SCALE, replicas=2)
    service.operation_plans[scale] = patch_plan(
        scale,
        "4 more: 2 → 6 replicas.",
        new_pods=4,
        wanted={"spec": {"replicas": 6, "template": {"spec": {"containers": []}}}},
        replicas=2,
    )
    service.operation_plans[same] = OperationPlan(same, unchanged="It has 2 replicas already.")
    result = SchedulingResult(4, 1, (), (), ROOM)
    monkeypatch.setattr(room_check, "simulate_scheduling", lambda *_of: result)
    run = press(("s", "It has 2 replicas already."), ("6", "4 more", "0 of 4 nodes"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@SIZES
def test_delete(snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]) -> None:
    delete_llama(service)
    run = press(("ctrl+d", "These stay:"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@SIZES
def test_the_typed_name(
    snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]
) -> None:
    delete_llama(service)
    app = operations_app(service, is_production_context=lambda _name: True)
    run = press(("ctrl+d", "These stay:"), ("l l a m a", "Type llama-8b to confirm."))
    assert snap_compare(app, terminal_size=size, run_before=run)


def delete_llama(service: FakeChangeService) -> None:
    delete = operation(OperationKind.DELETE)
    service.operation_plans[delete] = OperationPlan(
        delete,
        effects=(
            "The Deployment and its 2 Pods (2 ready now).",
            "Service llama-8b, made by servedeck for this serving.",
            "HTTPRoute llama-8b, made by servedeck for this serving.",
        ),
        kept=("PersistentVolumeClaim models", "HorizontalPodAutoscaler llama-8b"),
        warnings=("Argo CD (application chat) would create it again.",),
        command="kubectl -n team-a delete deployment/llama-8b service/llama-8b httproute/llama-8b",
    )


@SIZES
def test_adopt(snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]) -> None:
    service.operation_plans[ADOPT] = replace(
        adoption_plan(ADOPT),
        warnings=(
            "Helm release chat created this Deployment; helm upgrade keeps labels that the chart "
            "does not have, unless it creates the Deployment again; add the label to its values, "
            "too.",
        ),
        command=f"kubectl -n team-a label deployment/llama-8b {SERVING_LABEL}=llama-8b && kubectl "
        "-n team-a expose deployment/llama-8b --name=llama-8b --port=80 --target-port=8000 "
        f"--selector=app=llama-8b --labels={SERVING_LABEL}=llama-8b,"
        "app.kubernetes.io/managed-by=servedeck",
    )
    source = make_source(foreign())
    run = press(("A", "none → llama-8b", "new Service"))
    assert snap_compare(operations_app(service, source), terminal_size=size, run_before=run)


@SIZES
def test_several_servings(
    snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]
) -> None:
    paused = operation(OperationKind.RESTART, QWEN)
    service.operation_plans[paused] = OperationPlan(
        paused, blocked="Its rollout is paused; resume it first."
    )
    run = press(("M", "3 marked"), ("r", "Possible for 2 of 3", "Its 2 Pods"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@SIZES
def test_several_servings_after_they_were_restarted(
    snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]
) -> None:
    service.operation_results = [
        OperationResult(
            operation(OperationKind.RESTART, LLAMA),
            Outcome.DONE,
            "Deployment team-a/llama-8b restarts.",
        ),
        OperationResult(
            operation(OperationKind.RESTART, QWEN),
            Outcome.REJECTED,
            'admission webhook "policy.example.com" denied the request: no restarts at night.',
        ),
        OperationResult(
            operation(OperationKind.RESTART, MISTRAL),
            Outcome.UNKNOWN,
            "The connection was closed. It is not known whether Deployment team-b/mistral was "
            "changed; it is not sent again.",
        ),
    ]
    run = press(("M", "3 marked"), ("r", "Its 2 Pods"), ("y", "1 of 3 done"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@SIZES
def test_a_blocked_operation(
    snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]
) -> None:
    restart = operation(OperationKind.RESTART)
    service.operation_plans[restart] = OperationPlan(
        restart, blocked="KServe InferenceService llama-8b manages it and would undo the change."
    )
    run = press(("r", "would undo the change"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [(20, 10)], ids=size_id)
def test_a_tiny_terminal(
    snap_compare: Compare, service: FakeChangeService, size: tuple[int, int]
) -> None:
    run = press(("r", "Its 2 Pods"))
    assert snap_compare(operations_app(service), terminal_size=size, run_before=run)
