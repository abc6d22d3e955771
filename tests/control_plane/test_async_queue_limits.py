"""The limits of an async queue on a real control plane: by the plan, and from the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
import yaml

from servedeck.async_queue.queue_api import QueueApi
from servedeck.async_queue.tasks import ControlState
from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.async_queue.state import read_current_limits
from servedeck.changes.operations.operation import Outcome
from servedeck.config import Settings
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import DEFAULTS, AsyncQueueSettings
from servedeck.serving.objects.field_changes import FieldChange
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.gateway_stub import GatewayStub
from tests.control_plane.test_async_queue import ON, Queue
from tests.control_plane.test_async_queue_service import make_service
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tui.async_queue.action_flow import TaskActionFlow
from tui.async_queue_service import ClusterAsyncQueueService
from tui.screens.async_queue_limits_editor import LimitsEditor


@pytest.fixture
async def queue(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Queue]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Queue(control_plane, namespace, connection)


async def read(queue: Queue) -> AsyncQueueSettings:
    found = await read_current_limits(queue.connection, queue.namespace, "llama")
    assert found is not None and not found.has_objects
    return found.settings


def edit_settings(queue: Queue, manager: str, **values: Any) -> None:
    """Somebody edits the ConfigMap."""
    text = yaml.safe_dump({**queue.settings(), **values}, sort_keys=False)
    queue.plane.request(
        "PATCH",
        f"{queue.core}/configmaps/llama-async?fieldManager={manager}",
        {"data": {"gateway.yaml": text}},
    )


async def test_on_with_limits_and_then_with_others(queue: Queue) -> None:
    await queue.create_serving()
    assert await read_current_limits(queue.connection, queue.namespace, "llama") is None
    plan = await queue.turn_on(max_depth=50, lifetime=7200.0)
    assert len(plan.differences) == 9
    assert FieldChange("Task Lifetime", "none", "2h") in plan.differences
    assert any(one.startswith("Requests that wait may take 400.0 MiB") for one in plan.effects)
    before = await read(queue)
    assert before == replace(DEFAULTS, max_depth=50, lifetime=7200.0)
    pods = queue.plane.request("GET", f"{queue.deployments}/llama-async")["spec"]["template"]

    changes = (("max_depth", 80), ("max_body_bytes", 1 << 20))
    plan = await queue.plan(ON, changes=changes, seen=before)
    assert plan.differences == (
        FieldChange("Max Queue Depth", "50", "80"),
        FieldChange("Max Request Size", "8Mi", "1Mi"),
    )
    assert [one.ref.kind for one in plan.writes] == ["ConfigMap", "Deployment"]
    assert (
        "The Pods of the gateway are replaced one after the other. Tasks stay: what is being "
        "processed is handed back and delivered again."
    ) in plan.effects
    assert await read(queue) == before
    result = await queue.run(plan)
    assert (result.outcome, result.message) == (
        Outcome.DONE,
        f"The limits of the async queue of {queue.namespace}/llama: Max Queue Depth 80, "
        "Max Request Size 1Mi.",
    )
    assert await read(queue) == replace(before, max_depth=80, max_body_bytes=1 << 20)
    after = queue.plane.request("GET", f"{queue.deployments}/llama-async")["spec"]["template"]
    assert after != pods, "its Pods read the limits when they start"
    assert (await queue.plan(ON, changes=changes, seen=before)).unchanged


async def test_a_limit_that_others_changed_meanwhile_is_refused(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    seen = await read(queue)
    # With servedeck, too: that is no conflict of managers.
    await queue.turn_on(max_depth=500, max_attempts=9)
    plan = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
    assert plan.blocked == (
        "Somebody else changed Max Queue Depth meanwhile, from 1000 to 500; look at the limits "
        "again."
    )
    assert (await queue.run(plan)).outcome is Outcome.REJECTED
    # Another one is changed, and theirs kept.
    plan = await queue.plan(ON, changes=(("keep_failed", 3600.0),), seen=seen)
    assert [one.name for one in plan.limit_changes] == ["keep_failed"]
    stale = await queue.plan(ON, changes=(("keep_failed", 7200.0),), seen=seen)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    assert await read(queue) == replace(DEFAULTS, max_depth=500, max_attempts=9, keep_failed=3600.0)
    # Between the plan and the confirmation.
    result = await queue.run(stale)
    assert result.outcome is Outcome.OUTDATED, result.message
    assert "was changed by somebody else at the same time" in result.message
    assert (await read(queue)).keep_failed == 3600.0

    queue.plane.request("DELETE", f"{queue.core}/configmaps/llama-async")
    plan = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
    assert plan.blocked == "The async queue was turned off meanwhile."


async def test_a_conflict_names_the_limit_and_is_overwritten_if_that_is_asked(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    edit_settings(queue, "kubectl-edit", max_depth=9, max_wait=30)
    seen = await read(queue)
    assert seen.max_depth == 9
    changes = (("max_depth", 50),)
    plan = await queue.plan(ON, changes=changes, seen=seen)
    [rejected] = plan.rejections
    assert rejected.rejection is not None and plan.blocked
    assert [tuple(one) for one in rejected.rejection.conflicts] == [
        ("Max Queue Depth", "kubectl-edit", "9", "50")
    ]
    assert (await queue.run(plan)).outcome is Outcome.REJECTED
    assert queue.settings()["max_depth"] == 9
    plan = await queue.plan(ON, changes=changes, seen=seen, force=True)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    settings = queue.settings()
    assert (settings["max_depth"], settings["max_wait"]) == (50, 30)


async def test_limits_that_do_not_go_together_are_refused(queue: Queue) -> None:
    await queue.create_serving()
    for changes, problem in (
        ((("lifetime", 60.0),), "is shorter than Attempt Timeout (15m)"),
        ((("max_attempts", 0),), "Max Attempts must be from 1 to 100, not 0."),
        ((("max_body_bytes", 1 << 30),), "enter at most 511Mi"),
    ):
        assert problem in (await queue.plan(ON, changes=changes)).blocked
    assert queue.existing() == []
    await queue.turn_on()
    edit_settings(queue, "kubectl-edit", lifetime=60)
    plan = await queue.plan(ON, changes=(("max_depth", 50),), force=True)
    assert not plan.blocked
    assert any("(60s) is shorter than Attempt Timeout (15m)" in one for one in plan.warnings)
    edit_settings(queue, "kubectl-edit", objects="s3://bucket", lifetime=7200)
    plan = await queue.plan(ON, changes=(("max_body_bytes", 1 << 30),), force=True)
    assert not plan.blocked and any("is killed at 256Mi" in one for one in plan.warnings)


async def test_a_concurrency_that_was_set_at_run_time_stays_in_force(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    stub = GatewayStub(queue.plane, queue.namespace)
    with stub.serve():
        stub.control = control(2)
        [warning] = (await queue.plan(ON, changes=(("pod_concurrency", 8),))).warnings
        assert "Somebody set the concurrency of each Pod to 2 at run time" in warning
        assert not (await queue.plan(ON, changes=(("max_depth", 8),))).warnings
        assert not (await queue.plan(ON, changes=(("pod_concurrency", 2),))).warnings
        stub.control = control(None)
        assert not (await queue.plan(ON, changes=(("pod_concurrency", 8),))).warnings
        stub.status = 503
        assert not (await queue.plan(ON, changes=(("pod_concurrency", 8),))).blocked


async def test_a_queue_that_is_closed_keeps_its_limits_and_stays_closed(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    seen = await read(queue)
    stub = GatewayStub(queue.plane, queue.namespace)
    with stub.serve():
        change = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
        assert not change.blocked and not change.opens_queue
        stub.closed = True
        plan = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
        assert plan.blocked == (
            "Its queue is closed, as by who is turning it off: its limits are not changed; "
            f"servedeck async-queue on {queue.namespace}/llama opens it."
        )
        assert (await queue.run(plan)).outcome is Outcome.REJECTED
        on = await queue.plan(ON, changes=(("max_depth", 70),))
        assert on.closed and any("it is opened" in one for one in on.effects)
        # It was closed after the plan.
        assert (await run_without_writes(queue, change)).outcome is Outcome.DONE
        assert stub.closed and not any(one.startswith("POST") for one in stub.calls)
        # Whoever turns it on opens it, with other limits or without.
        assert (await run_without_writes(queue, on)).outcome is Outcome.DONE and not stub.closed


async def run_without_writes(queue: Queue, plan: AsyncQueuePlan) -> AsyncQueueResult:
    """What else it does: its Services would not lead to the stub any more."""
    return await queue.run(replace(plan, writes=()))


async def test_a_queue_that_may_be_closed_is_opened_only_if_that_was_said(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    seen = await read(queue)
    stub = GatewayStub(queue.plane, queue.namespace)
    with stub.serve():
        stub.status, stub.closed = 503, True
        on = await queue.plan(ON, changes=(("max_depth", 50),))
        change = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
        text = "It is not known whether its queue is closed; if it is, it is opened."
        assert on.closed is None and text in on.effects
        assert change.closed is None and text not in change.effects
        stub.status = 200
        assert (await run_without_writes(queue, change)).outcome is Outcome.DONE
        assert stub.closed and not any(one.startswith("POST") for one in stub.calls)
        assert (await run_without_writes(queue, on)).outcome is Outcome.DONE and not stub.closed


async def test_a_queue_that_is_being_turned_off_is_not_made_again(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    seen = await read(queue)
    queue.plane.request("DELETE", f"{queue.core}/services/llama-async")
    plan = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
    assert plan.blocked == (
        "The async queue is being turned off, or its Service was deleted; turn it on first."
    )
    queue.plane.request("DELETE", f"{queue.deployments}/llama-async")
    plan = await queue.plan(ON, changes=(("max_depth", 50),), seen=seen)
    assert plan.blocked == "The async queue was turned off meanwhile."


async def test_what_cannot_be_read_is_replaced_and_that_is_said(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    unread = "9" * 5000
    edit_settings(queue, "kubectl-edit", max_depth=unread, lifetime=7200)
    found = await read_current_limits(queue.connection, queue.namespace, "llama")
    assert found is not None and found.settings == replace(DEFAULTS, lifetime=7200)
    [problem] = found.problems
    plan = await queue.plan(ON, changes=(("keep_failed", 3600.0),), seen=found.settings, force=True)
    assert f"{problem} It becomes 1000." in plan.warnings
    assert queue.settings()["max_depth"] == unread
    queue.plane.request(
        "PATCH",
        f"{queue.core}/configmaps/llama-async?fieldManager=kubectl-edit",
        {"data": {"gateway.yaml": "[" * 3000}},
    )
    plan = await queue.plan(ON)
    assert plan.blocked, "of another manager"
    plan = await queue.plan(ON, force=True)
    assert any("what others added to them is lost" in one for one in plan.warnings)
    assert (await queue.run(plan)).outcome is Outcome.DONE
    assert await read(queue) == DEFAULTS


def control(pod_concurrency: int | None) -> ControlState:
    """What operators have set."""
    return ControlState(
        paused=False, closed=False, concurrency=None, pod_concurrency=pod_concurrency, version="1"
    )


async def test_without_the_right_to_change_the_gateway_it_says_so(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    ]
    user = "viewer"
    grant_role(queue.plane, queue.namespace, user, rules)
    key = NamespacedName(queue.namespace, "llama")
    async with open_connection(queue.plane, user=user, namespace=queue.namespace) as connection:
        limited = ClusterAsyncQueueService(lambda: connection, Settings)
        await limited.refresh_permissions(key)
        assert limited.disabled_reason(key) == (
            f"Needs patch on deployments.apps in namespace {queue.namespace}."
        )
        assert await limited.read_limits(key) is not None
    full = make_service(queue)
    await full.refresh_permissions(key)
    assert full.disabled_reason(key) == ""


# -- from the screen ------------------------------------------------------------------------------


async def test_a_limit_is_changed_and_undone_from_the_screen(queue: Queue) -> None:
    await queue.create_serving()
    await queue.turn_on()
    key = NamespacedName(queue.namespace, "llama")
    app = make_app(async_queue_service=make_service(queue))
    done: list[tuple[str, str]] = []

    def note(message: str, style_name: str) -> bool:
        done.append((message, style_name))
        return True

    async with app.run_test(size=(100, 40)) as pilot:
        await wait_for_text(pilot, "llama")
        flow = TaskActionFlow(
            app.servings, key, cast(QueueApi, None), now=lambda: 0.0, on_done=note
        )
        flow.change_limits()
        await wait_for(pilot, lambda: isinstance(app.screen, LimitsEditor), "the form")
        form = app.screen
        assert isinstance(form, LimitsEditor)
        field = form.field("max_depth")
        await pilot.press("down")
        await wait_for(pilot, lambda: field.input.has_focus, "the field")
        await pilot.press("ctrl+u", "5", "0")
        await wait_for(pilot, lambda: field.text == "50", "what was typed")
        edit_settings(queue, "kubectl-edit", max_depth=70)
        await pilot.press("enter")
        await wait_for_text(pilot, "Somebody else changed Max Queue Depth meanwhile", "n Close")
        await pilot.press("escape")
        await wait_for_text(pilot, "Max Queue Depth is 70 now, not 1000.")
        assert field.text == "50"
        await pilot.press("enter")
        await wait_for_text(pilot, "Max Queue Depth kubectl-edit set 70, the change needs 50")
        await pilot.press("o")
        await wait_for_text(pilot, "Max Queue Depth 70 → 50", "y Change limits")
        assert queue.settings()["max_depth"] == 70
        await wait_for(pilot, lambda: app.screen._is_plan_shown, "the plan")  # type: ignore[attr-defined]
        await pilot.press("y")
        await wait_for(pilot, lambda: done, "the change")
        assert done.pop() == (
            f"The limits of the async queue of {key}: Max Queue Depth 50. u undoes it.",
            "ready",
        )
        assert queue.settings()["max_depth"] == 50
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        await pilot.press("u")
        await wait_for_text(pilot, "Max Queue Depth 50 → 70", "y Change limits")
        await wait_for(pilot, lambda: app.screen._is_plan_shown, "the plan")  # type: ignore[attr-defined]
        await pilot.press("y")
        await wait_for(pilot, lambda: queue.settings()["max_depth"] == 70, "what was before")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        # Nobody's change since is overwritten.
        edit_settings(queue, "kubectl-edit", max_depth=90)
        await pilot.press("u")
        await wait_for_text(pilot, "Somebody else changed Max Queue Depth meanwhile, from 70 to 90")
        await pilot.press("escape")
    assert queue.settings()["max_depth"] == 90
