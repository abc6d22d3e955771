"""Which servings an operation is for: marks, several targets, permissions, undo, the pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.operations import (
    LLAMA,
    MISTRAL,
    QWEN,
    make_source,
    open_dialog,
    operation,
    operations_app,
    patch_plan,
    set_generation,
)
from tui.actions import ACTIONS_BY_ID
from tui.operation_flow import PERMISSION_MAX_AGE
from tui.ports.app_context import LimitsUndo, Undoable

KEYS = {
    "s": OperationKind.SCALE,
    "r": OperationKind.RESTART,
    "S": OperationKind.STOP,
    "P": OperationKind.PAUSE,
    "R": OperationKind.ROLLBACK,
    "ctrl+d": OperationKind.DELETE,
}


@pytest.fixture
def service(change_service: FakeChangeService) -> FakeChangeService:
    return change_service


def footer(screen: str) -> str:
    return screen.splitlines()[-1].strip()


# -- marks ----------------------------------------------------------------------------------------


async def test_an_operation_is_for_all_marked_servings_in_their_order(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("m", "j", "m")
        await wait_for_text(pilot, "2 marked; esc removes the marks.")
        await open_dialog(pilot, "r", "Restart: 2 Deployments", "It changes.")
        await pilot.press("y")
        screen = await wait_for_text(pilot, "Restart: 2 of 2 done.", "Close")
        assert footer(screen).startswith("enter close  ↓/↑ scroll")
        assert footer(screen).endswith("esc close")
        assert [one.name for one in service.run_operations] == ["llama-8b", "qwen"]
        await pilot.press("enter")
        screen = await wait_for_text(pilot, "NAME", "Restart: 2 of 2 done.")
        assert "* " not in screen


async def test_esc_removes_the_marks(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await wait_for_text(pilot, "3 marked")
        await pilot.press("escape")
        assert "* " not in screen_text(app)


async def test_a_filter_hides_marks_and_an_operation_leaves_what_it_hides(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M", "slash", *"qwen", "enter")
        await wait_for_text(pilot, "1 marked, 2 more not shown here")
        await open_dialog(pilot, "r", "Restart Deployment team-a/qwen")


async def test_a_deleted_serving_loses_its_mark(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "2 marked")
        source.add_views(fakes.serving(LLAMA.name, LLAMA.namespace))
        await wait_for_text(pilot, LLAMA.name)
        assert f"* {LLAMA.name}" not in screen_text(app)


async def test_marks_do_not_follow_to_another_context(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await wait_for_text(pilot, "3 marked")
        source.context = "staging"
        source.set_state(message="")
        await pilot.pause()
        assert "marked" not in screen_text(app)


async def test_a_serving_of_another_kind_is_not_marked_and_every_key_says_why(service):
    key = NamespacedName("team-a", "big", "StatefulSet")
    view = replace(fakes.serving("big"), key=key)
    app = operations_app(service, make_source(view))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "big")
        for pressed in ("m", *KEYS):
            await pilot.press("j", pressed)
            await wait_for_text(pilot, "A StatefulSet is shown read-only.")
        await pilot.press("M")
        assert "marked" not in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "big-7d9c-x2x1q")
        for pressed in KEYS:
            await pilot.press(pressed)
            await wait_for_text(pilot, "A StatefulSet is shown read-only.")
        assert service.planned_operations == []


# -- several targets ------------------------------------------------------------------------------


async def test_what_cannot_be_done_for_one_leaves_the_others(service):
    blocked = operation(OperationKind.RESTART, QWEN)
    service.operation_plans[blocked] = OperationPlan(blocked, blocked="Its rollout is paused.")
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await open_dialog(pilot, "r", "Possible for 2 of 3", "Its rollout is paused.")
        await pilot.press("y")
        await wait_for_text(pilot, "Restart: 2 of 3 done, 1 not changed.")
        assert {one.name for one in service.run_operations} == {"llama-8b", "mistral"}


async def test_each_of_several_deletions_says_what_stays(service):
    delete = operation(OperationKind.DELETE, QWEN)
    kept = ("PersistentVolumeClaim models",)
    service.operation_plans[delete] = OperationPlan(delete, effects=("It goes.",), kept=kept)
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await open_dialog(pilot, "ctrl+d", "It goes.", "stay: PersistentVolumeClaim models")


async def test_esc_stops_after_the_operation_that_was_sent(service):
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await open_dialog(pilot, "r", "It changes.", "y  Restart")
        await pilot.press("y")
        screen = await wait_for_text(pilot, "0 of 3 answered.")
        assert footer(screen).endswith("esc stop")
        await pilot.press("escape")
        service.run_gate.set()
        await wait_for_text(pilot, "Restart: 1 of 3 done, 2 not changed.")
        assert len(service.run_operations) == 1


async def test_a_key_typed_ahead_does_not_close_the_results(service):
    service.run_gate = asyncio.Event()
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        dialog = await open_dialog(pilot, "r", "It changes.", "y  Restart")
        await pilot.press("y", "y")
        service.run_gate.set()
        await wait_for_text(pilot, "Restart: 3 of 3 done.")
        app.input_read_at = 0.0  # a key that was read before
        dialog.do_confirm()
        await wait_for_text(pilot, "press it again")
        assert app.screen is dialog


async def test_different_replicas_propose_no_number(service):
    source = make_source()
    source.add_views(fakes.serving(QWEN.name, desired=5))
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await open_dialog(pilot, "s", "Enter the number of replicas, 0 or more.")
        await pilot.press("enter", "3")
        await wait_for_text(pilot, "It changes.")
        assert service.run_operations == []
        await pilot.press("enter")
        await wait_for_text(pilot, "Scale: 3 of 3 done.")
        assert {one.replicas for one in service.run_operations} == {3}


async def test_300_marked_servings(service):
    views = [fakes.serving(f"serving-{number:03}") for number in range(300)]
    app = operations_app(service, make_source(*views))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "serving-000")
        await pilot.press("M")
        await open_dialog(pilot, "r", "Restart: 300 Deployments", "serving-000 It changes.")
        await wait_for(pilot, lambda: len(service.planned_operations) == 300, "all plans")
        await pilot.press("pagedown", "y")
        await wait_for_text(pilot, "Restart: 300 of 300 done.")
        assert len({one.name for one in service.run_operations}) == 300
        await pilot.press("enter")
        await wait_for_text(pilot, "NAME")


async def test_in_a_production_context_the_number_of_servings_is_typed(service):
    app = operations_app(service, is_production_context=lambda _name: True)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("M")
        await open_dialog(pilot, "ctrl+d", "Type 3 servings to delete", "It changes.")
        await pilot.press(*"3 serving", "enter")
        assert service.run_operations == []
        await pilot.press("s", "enter")
        await wait_for_text(pilot, "Delete: 3 of 3 done.")


# -- what decides the operation -------------------------------------------------------------------


async def test_stop_starts_what_is_stopped(service):
    view = fakes.serving("llama-8b", status=Status.SCALED_DOWN, desired=0, ready=0, pods=())
    app = operations_app(service, make_source(view))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "S", "Start Deployment team-a/llama-8b", "▌ y  Start")


async def test_pause_resumes_what_is_paused(service):
    app = operations_app(service, make_source(fakes.serving("llama-8b", rollout="paused")))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "P", "Resume rollout Deployment team-a/llama-8b")


# -- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pressed", KEYS)
async def test_readonly_refuses_every_operation(service, pressed):
    app = operations_app(service, readonly=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press(pressed)
        await wait_for_text(pilot, "servedeck runs with --readonly")
        assert service.planned_operations == []


@pytest.mark.parametrize("pressed", KEYS)
async def test_a_missing_verb_is_named(service, pressed):
    reason = "Needs patch on deployments.apps in namespace team-a."
    service.operation_disabled_reasons[KEYS[pressed].value] = reason
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press(pressed)
        await wait_for_text(pilot, reason)
        assert service.planned_operations == []


async def test_a_permission_that_was_lost_is_noticed_before_the_dialog_opens(service, monkeypatch):
    reason = "Needs patch on deployments.apps in namespace team-a."

    async def lose(operation):
        service.operation_disabled_reasons["restart"] = reason

    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        monkeypatch.setattr(service, "refresh_operation_permission", lose)
        await pilot.press("r")
        await wait_for_text(pilot, reason)
        assert service.planned_operations == []


async def test_a_permission_that_was_granted_is_noticed_without_a_restart(service):
    service.operation_disabled_reasons["restart"] = "Needs patch."
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        before = len(service.permission_checks)
        requested = app.servings.operation_flow._requested_permissions
        requested.update((asked, at - 2 * PERMISSION_MAX_AGE) for asked, at in requested.items())
        await pilot.press("r")
        await wait_for(pilot, lambda: len(service.permission_checks) > before, "another check")


# -- undo -----------------------------------------------------------------------------------------


async def scale_and_undo(service, source, app, pilot):
    """Scale llama-8b from 2 to 5 replicas, and be back on the list."""
    scale = operation(OperationKind.SCALE, replicas=5)
    back = operation(OperationKind.SCALE, replicas=2)
    service.operation_plans[scale] = patch_plan(scale, "2 → 5 replicas.", undo=back)
    service.operation_plans[back] = patch_plan(back, "5 → 2 replicas.", generation=2)
    done = OperationResult(scale, Outcome.DONE, "It is scaled.", undo=back, generation=2)
    service.operation_results = [done]
    await open_dialog(pilot, "s", "Replicas")
    await pilot.press("5")
    await wait_for_text(pilot, "2 → 5 replicas.")
    await pilot.press("enter")
    await wait_for_text(pilot, "It is scaled. u undoes it.")
    set_generation(source, LLAMA, 2)
    return back


async def test_u_puts_back_what_the_last_operation_changed(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        back = await scale_and_undo(service, source, app, pilot)
        await open_dialog(pilot, "u", "Undo: scale Deployment team-a/llama-8b", "5 → 2 replicas.")
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations[-1] == back


async def test_nothing_is_undone_after_somebody_elses_change(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await scale_and_undo(service, source, app, pilot)
        set_generation(source, LLAMA, 3)
        await pilot.press("u")
        await wait_for_text(pilot, "Deployment team-a/llama-8b has changed since")


async def test_a_change_that_the_watch_has_not_shown_yet_is_not_overwritten(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        back = await scale_and_undo(service, source, app, pilot)
        service.operation_plans[back] = patch_plan(back, "5 → 2 replicas.", generation=3)
        await open_dialog(pilot, "u", "has changed since; it is not put back.", "Close")
        await pilot.press("enter")
        assert len(service.run_operations) == 1


async def test_what_cannot_be_undone_is_said(service):
    app = operations_app(service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "It changes.", "y  Restart")
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")
        await pilot.press("u")
        await wait_for_text(pilot, "The last change, restart, cannot be undone.")


def restart_result(generation: int) -> OperationResult:
    restart = operation(OperationKind.RESTART)
    return OperationResult(restart, Outcome.DONE, "It restarts.", generation=generation)


async def test_a_restart_leaves_the_undo_of_the_operation_before(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        back = await scale_and_undo(service, source, app, pilot)
        service.operation_results = [restart_result(3)]
        await open_dialog(pilot, "r", "It changes.")
        await pilot.press("y")
        await wait_for_text(pilot, "It restarts. u undoes the change before it.")
        set_generation(source, LLAMA, 3)
        service.operation_plans[back] = patch_plan(back, "5 → 2 replicas.", generation=3)
        await open_dialog(pilot, "u", "Undo: scale Deployment team-a/llama-8b", "5 → 2 replicas.")
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")
        assert service.run_operations[-1] == back


@pytest.mark.parametrize(("restarted", "left"), [(3, 3), (4, 2)])
def test_an_undo_survives_a_restart_if_nothing_else_has_changed(restarted: int, left: int):
    scale = operation(OperationKind.SCALE, replicas=5)
    done = OperationResult(scale, Outcome.DONE, "", undo=scale, generation=2)
    [found] = Undoable("a", (done,)).after("a", [restart_result(restarted)]).results
    assert (found.operation, found.generation) == (scale, left)


def test_an_undo_does_not_survive_a_deletion_another_context_or_another_undo():
    scale = operation(OperationKind.SCALE, replicas=5)
    done = OperationResult(scale, Outcome.DONE, "", undo=scale, generation=2)
    before = Undoable("a", (done,))
    deleted = OperationResult(operation(OperationKind.DELETE), Outcome.DONE, "")
    other = OperationResult(operation(OperationKind.DELETE, QWEN), Outcome.DONE, "")
    assert before.after("a", [deleted]) == Undoable("a", (deleted,))
    assert before.after("a", [other]) == before
    assert before.after("b", [restart_result(3)]) == Undoable("b", (restart_result(3),))
    assert Undoable("a").after("a", [deleted]) == Undoable("a", (deleted,))


async def test_nothing_is_undone_in_another_context(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await scale_and_undo(service, source, app, pilot)
        source.context = "staging"
        await pilot.press("u")
        await wait_for_text(pilot, "The last change was made in context prod-seoul")


async def test_a_failed_operation_leaves_the_undo_of_the_one_before(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await scale_and_undo(service, source, app, pilot)
        restart = operation(OperationKind.RESTART)
        service.operation_results = [OperationResult(restart, Outcome.REJECTED, "Denied.")]
        await open_dialog(pilot, "r", "It changes.")
        await pilot.press("y")
        await wait_for_text(pilot, "Denied.", "It changes.")
        await pilot.press("n")
        await open_dialog(pilot, "u", "5 → 2 replicas.")


async def test_several_are_undone_at_once_without_the_one_that_was_changed_since(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        for key in (LLAMA, QWEN):
            stop, start = operation(OperationKind.STOP, key), operation(OperationKind.START, key)
            done = OperationResult(stop, Outcome.DONE, "stopped", undo=start, generation=2)
            service.operation_results.append(done)
            generation = 2 if key == LLAMA else 3
            service.operation_plans[start] = patch_plan(start, generation=generation)
        await pilot.press("m", "j", "m")
        await open_dialog(pilot, "S", "Stop: 2 Deployments", "It changes.")
        await pilot.press("y")
        await wait_for_text(pilot, "Stop: 2 of 2 done.")
        await pilot.press("enter")
        set_generation(source, LLAMA, 2)
        set_generation(source, QWEN, 3)
        await open_dialog(pilot, "u", "Undo: 2 Deployments", "Possible for 1 of 2")
        await pilot.press("y")
        await wait_for_text(pilot, "Undo: 1 of 2 done, 1 not changed.")
        assert service.run_operations[-1] == operation(OperationKind.START)


# -- the pages ------------------------------------------------------------------------------------


async def test_ctrl_d_on_the_page_deletes_the_pod_under_the_cursor(service):
    app = operations_app(service)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-7d9c-x2x1q")
        await wait_for(pilot, lambda: app.screen._selected_pod, "the cursor on a Pod")
        pod = app.screen._selected_pod
        await pilot.press("ctrl+d")
        await wait_for_text(pilot, f"Delete Pod team-a/{pod.name}", "It changes.")
        await pilot.press("y")
        await wait_for_text(pilot, f"Pod team-a/{pod.name} is changed.")
        assert service.run_operations == [Operation(OperationKind.DELETE_POD, "team-a", pod.name)]


async def test_the_page_of_a_deleted_serving_refuses_every_operation(service):
    source = make_source()
    app = operations_app(service, source)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-8b-7d9c-x2x1q")
        source.remove_view(LLAMA)
        for pressed in KEYS:
            await pilot.press(pressed)
            await wait_for_text(pilot, "The serving was deleted.")


async def test_rollback_on_the_list_is_for_the_serving_under_the_cursor(service):
    app = operations_app(service)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("m", "j", "j", "R")
        await wait_for_text(pilot, MISTRAL.name, "Rollouts")
        assert app.screen.key == MISTRAL


@pytest.mark.parametrize("action_id", [f"servings.{name}" for name in ("scale", "restart")])
def test_the_list_and_the_page_have_the_same_keys(action_id):
    page = ACTIONS_BY_ID[action_id.replace("servings", "serving")]
    assert page.keys == ACTIONS_BY_ID[action_id].keys


def test_a_change_of_limits_is_undone_until_its_serving_is_deleted():
    key = NamespacedName("chat", "llama")
    limits = LimitsUndo(key, (("max_depth", 1000),), AsyncQueueSettings(max_depth=50))
    before = Undoable("a", limits=limits)
    assert not before.is_empty
    assert before.after("a", [restart_result(3)]) == before
    deletion = Operation(OperationKind.DELETE, key.namespace, key.name)
    deleted = OperationResult(deletion, Outcome.DONE, "Deleted.")
    assert before.after("a", [deleted]) == Undoable("a", (deleted,))
    other = OperationResult(replace(deletion, name="other"), Outcome.DONE, "Deleted.")
    assert before.after("a", [other]) == before
    assert before.after("b", [restart_result(3)]) == Undoable("b", (restart_result(3),))
